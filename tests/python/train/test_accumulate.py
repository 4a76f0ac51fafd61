"""Gradients of several batches make one update of their mean, however many there are."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import cnnzoo as cz
from forged import arrays_of, described, forge
from reference import images
from tolerance import ROUNDING, difference
from train.small_run import SIDE, pictures
from train.test_optimizers import small, torch_gradients

LR = 0.05

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


def batches(count: int) -> list[Batch]:
    generator = np.random.default_rng(4)
    return [(images((8, 8), 6, seed=seed), generator.integers(0, 4, 6)) for seed in range(count)]


def pytorch(
    state: dict[str, NDArray[np.float32]], data: Sequence[Batch], groups: Sequence[int], lr: float
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """The parameters after PyTorch's loop over groups of batches, and their average of 0.5."""
    leaves = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
    averages = {name: leaf.clone() for name, leaf in leaves.items()}
    optimizer = torch.optim.SGD(list(leaves.values()), lr=lr, momentum=0.9)
    left = list(data)
    for size in groups:
        optimizer.zero_grad()
        for x, y in left[:size]:
            now = {name: leaf.numpy() for name, leaf in leaves.items()}
            for name, gradient in torch_gradients(now, x, y).items():
                share = torch.from_numpy(gradient) / size
                leaf = leaves[name]
                leaf.grad = share if leaf.grad is None else leaf.grad + share
        optimizer.step()
        for name, average in averages.items():
            average.lerp_(leaves[name], 0.5)
        left = left[size:]
    assert not left
    return (
        {name: leaf.numpy() for name, leaf in leaves.items()},
        {name: average.numpy() for name, average in averages.items()},
    )


@pytest.mark.parametrize(
    ("accumulate", "count", "groups"),
    [(2, 3, [2, 1, 2, 1]), (4, 3, [3, 3]), (8, 5, [5, 5]), (3, 3, [3, 3]), (1, 2, [1, 1, 1, 1])],
)
def test_what_is_left_of_an_epoch_makes_an_update_of_its_mean(
    accumulate: int, count: int, groups: list[int]
) -> None:
    model, data = small(), batches(count)
    expected, average = pytorch(model.state_dict(), data + data, groups, LR)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    norms: list[float | None] = []

    class Notes(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            norms.append(result.grad_norm)

    one = cz.Trainer(model, optimizer=optimizer, accumulate=accumulate, ema=0.5, ema_warmup=False)
    one.fit(data, epochs=2, progress=False, callbacks=[Notes()])
    ends = np.cumsum(groups)
    assert [norm is not None for norm in norms] == [n + 1 in ends for n in range(2 * count)]
    assert one.averaged is not None
    for ours, theirs in ((model, expected), (one.averaged, average)):
        for name, value in ours.state_dict().items():
            assert difference(value, theirs[name]) <= ROUNDING, name


class Short:
    """Says that it has more batches than it gives, as where a loader leaves out what is damaged."""

    def __init__(self, data: list[Batch], says: int) -> None:
        self.data, self.says = data, says

    def __len__(self) -> int:
        return self.says

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.data)


def test_batches_that_do_not_come_leave_nothing_waiting() -> None:
    model, data = small(), batches(3)
    expected, average = pytorch(model.state_dict(), data + data, [2, 1, 2, 1], LR)
    train: Any = Short(data, 4)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    one = cz.Trainer(model, optimizer=optimizer, accumulate=2, ema=0.5, ema_warmup=False)
    one.fit(train, epochs=2, progress=False)
    assert one.averaged is not None
    for ours, theirs in ((model, expected), (one.averaged, average)):
        for name, value in ours.state_dict().items():
            assert difference(value, theirs[name]) <= ROUNDING, name


def test_an_update_of_fewer_can_be_asked_for() -> None:
    model, data = small(), batches(5)
    expected, _ = pytorch(model.state_dict(), data, [3, 2], LR)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    assert optimizer.step() is None
    for x, y in data:
        model.train_step(x, y, optimizer, accumulate=3)
    norm = optimizer.step(clip_norm=1e6)
    assert norm is not None and norm > 0
    for name, value in model.state_dict().items():
        assert difference(value, expected[name]) <= ROUNDING, name
    after = model.state_dict()
    assert optimizer.step() is None
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, after[name])
    with pytest.raises(cz.ArgumentError, match="`clip_norm`"):
        optimizer.step(clip_norm=-1.0)


def test_batches_count_alike_when_their_number_changes() -> None:
    model, data = small(), batches(3)
    expected, _ = pytorch(model.state_dict(), data, [3], LR)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    results = [
        model.train_step(x, y, optimizer, accumulate=number)
        for (x, y), number in zip(data, (5, 4, 2), strict=True)
    ]
    assert [result.grad_norm is None for result in results] == [True, True, False]
    for name, value in model.state_dict().items():
        assert difference(value, expected[name]) <= ROUNDING, name


def test_an_error_leaves_what_waits_as_it_was() -> None:
    model, data = small(), batches(3)
    expected, _ = pytorch(model.state_dict(), data, [3], LR)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    x, y = data[0]
    wrong: list[tuple[Any, Any, Any]] = [
        (x[:, :2], y, None),
        (x, y + 9, None),
        (x, y, lambda logits, targets: 1 / 0),
    ]
    for x, y in data:
        for images_, targets, loss in wrong:
            with pytest.raises((cz.CnnzooError, ZeroDivisionError)):
                model.train_step(images_, targets, optimizer, loss=loss, accumulate=3)
        model.train_step(x, y, optimizer, accumulate=3)
    for name, value in model.state_dict().items():
        assert difference(value, expected[name]) <= ROUNDING, name


def test_a_copy_waits_for_as_many_batches() -> None:
    model, data = small(), batches(3)
    expected, _ = pytorch(model.state_dict(), data, [3], LR)
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    for x, y in data[:2]:
        model.train_step(x, y, optimizer, accumulate=4)
    twin = copy.deepcopy(optimizer)
    model.train_step(*data[2], optimizer, accumulate=4)
    twin.model.train_step(*data[2], twin, accumulate=4)
    for one in (optimizer, twin):
        assert one.step() is not None
        for name, value in one.model.state_dict().items():
            assert difference(value, expected[name]) <= ROUNDING, name


def test_nothing_waits_into_another_fit() -> None:
    model, twin, data = small(), small(), batches(3)

    class Fails(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            raise RuntimeError("enough")

    fits = []
    for one in (model, twin):
        fits.append(cz.Trainer(one, optimizer=cz.SGD(one, lr=LR), accumulate=3))
    with pytest.raises(RuntimeError, match="enough"):
        fits[0].fit(data, epochs=1, progress=False, callbacks=[Fails()])
    for fit in fits:
        fit.fit(data, epochs=1, progress=False)
    expected = twin.state_dict()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, expected[name])


class Log(cz.callbacks.Callback):
    """Every bit of a step; saves after some."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.results: dict[int, cz.StepResult] = {}

    def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
        self.results[trainer.step] = result
        if self.folder is not None:
            trainer.save(self.folder / f"{trainer.step}.safetensors")


@pytest.mark.parametrize(("name", "says"), [("resnet20", 5), ("mobilenet_v2_035", 6)])
def test_a_resumed_run_has_the_same_norms_to_the_last_bit(
    name: str, says: int, tmp_path: Path
) -> None:
    """With 5 batches the last group is of two; of 6, the last never comes, and none is full."""
    photos = pictures(60, seed=1)
    data = list(cz.data.Loader(photos, batch_size=12, shuffle=False))
    train: Any = Short([(x, y) for x, y in data], says)

    def trainer() -> cz.Trainer:
        model = cz.create_model(
            name, num_classes=4, image_size=SIDE * 2 if name != "resnet20" else SIDE, seed=2
        )
        return cz.Trainer(
            model,
            optimizer=cz.LAMB(model, lr=0.01),
            accumulate=3,
            clip_norm=0.5,
            ema=0.9,
        )

    straight, log = trainer(), Log(tmp_path)
    straight.fit(train, epochs=2, progress=False, callbacks=[log])
    assert sum(result.grad_norm is not None for result in log.results.values()) >= 2
    for step in (1, 2, 5, 7):
        again = Log()
        file = tmp_path / f"{step}.safetensors"
        on = cz.Trainer.resume(file, train, progress=False, callbacks=[again])
        for number, result in again.results.items():
            assert result == log.results[number], (step, number)
        expected = straight.model.state_dict()
        for array, value in on.model.state_dict().items():
            np.testing.assert_array_equal(value, expected[array], err_msg=f"{step}: {array}")


@pytest.mark.parametrize(
    ("waiting", "accumulate", "taken"),
    [(1, 3, True), (1, None, True), (2, 3, True), (0, 3, False), (3, 3, False), (2**63, 3, False)],
)
def test_a_checkpoint_says_of_how_many_batches_gradients_wait(
    waiting: int, accumulate: int | None, taken: bool, tmp_path: Path
) -> None:
    """Those from before said how many batches wait, and not how many make an update."""
    model, data = small(), batches(3)
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=LR), accumulate=3)
    trainer.fit(data, epochs=1, progress=False, callbacks=[Log(tmp_path)])
    path = tmp_path / "1.safetensors"
    text, arrays = described(path, "cnnzoo-run"), arrays_of(path)
    assert any(name.startswith("waiting/") for name in arrays)
    assert (text["optimizer"]["waiting"], text["optimizer"].pop("accumulate")) == (1, 3)
    text["optimizer"]["waiting"] = waiting
    if accumulate is not None:
        text["optimizer"]["accumulate"] = accumulate
    forge(path, json.dumps(text), arrays, run=True)
    if not taken:
        with pytest.raises(cz.CheckpointError, match="accumulated gradients"):
            cz.Trainer.resume(path, data, progress=False)
        return
    on = cz.Trainer.resume(path, data, progress=False)
    if waiting == 1:
        expected = model.state_dict()
        for name, value in on.model.state_dict().items():
            np.testing.assert_array_equal(value, expected[name])
