"""Models that are not finite are never the best, and never replace a run checkpoint that is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnzoo as cz
from cnnzoo.history import EpochRow, History
from train.small_run import loaders
from train.small_run import trainer as whole_trainer

NAN = float("nan")

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


def data(*, seed: int = 0, count: int = 9, classes: int = 3) -> Batch:
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3, 32, 32)).astype(np.float32)
    return x, np.arange(count) % classes


def model(classes: int = 3) -> cz.Model:
    return cz.create_model("resnet20", num_classes=classes, seed=1)


class Spoiled:
    """Batches of which one image has a NaN in some passes."""

    def __init__(self, batches: list[Batch], passes: set[int], batch: int = 0) -> None:
        self.batches, self.passes, self.batch = batches, passes, batch
        self.passed = 0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        self.passed += 1
        for index, (clean, y) in enumerate(self.batches):
            x = clean.copy()
            if self.passed in self.passes and index == self.batch:
                x[1] = NAN
            yield x, y


@pytest.mark.parametrize("monitor", ["val_loss", "val_top1"])
def test_a_nan_is_never_the_best_and_keeps_no_other_from_it(monitor: str, tmp_path: Path) -> None:
    one = model()
    batch = data()
    # The first pass is of the check before training.
    validation: Any = Spoiled([batch], {2, 4})
    trainer = cz.Trainer(one, optimizer=cz.SGD(one, lr=1e-3))
    history = trainer.fit(
        [batch], validation, epochs=4, monitor=monitor, progress=False, checkpoint=tmp_path
    )
    assert [math.isnan(row.val_loss or 0.0) for row in history] == [True, False, True, False]
    best = cz.metrics.evaluate(cz.load(tmp_path / "best.safetensors"), [batch])
    assert isinstance(best, cz.metrics.Metrics)
    if monitor == "val_loss":
        losses = [row.val_loss or 0.0 for row in history]
        finite = [value for value in losses if math.isfinite(value)]
        assert best.loss == pytest.approx(min(finite), rel=1e-6)
    else:
        assert best.top1 == max(row.val_top1 or 0.0 for row in history)


def rows(values: list[float]) -> list[EpochRow]:
    return [
        EpochRow(
            epoch=index + 1,
            step=index,
            lr=0.1,
            train_loss=value,
            train_top1=0.0,
            seconds=1.0,
            images_per_second=1.0,
        )
        for index, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ([NAN, 3.0, 2.0], False),
        ([3.0, NAN, 2.0], False),
        ([-math.inf, 3.0, 2.0], False),
        ([3.0, -math.inf, NAN], True),
        ([NAN, NAN], True),
    ],
)
def test_early_stopping_counts_what_is_not_finite_as_no_best(
    values: list[float], stops: bool
) -> None:
    one = model()
    trainer = cz.Trainer(one, optimizer=cz.SGD(one, lr=1e-3))
    trainer.history = History(rows(values))
    stopping = cz.callbacks.EarlyStopping(monitor="train_loss", patience=2)
    stopping.on_epoch(trainer, trainer.history[-1])
    assert trainer._state.stopped == stops


def test_a_run_that_diverges_keeps_its_checkpoints(tmp_path: Path) -> None:
    """A rate of 1e30 leaves parameters that are finite, of which nothing finite comes."""
    one = model(10)
    x, y = data(count=10, classes=10)
    validation = [(x, np.array([0] * 8 + [1, 2]))]
    trainer = cz.Trainer(one, optimizer=cz.SGD(one, lr=1e-3))
    trainer.fit([(x, y)], validation, epochs=1, progress=False, checkpoint=tmp_path)
    best = (tmp_path / "best.safetensors").read_bytes()
    trainer.optimizer.lr = 1e30
    with pytest.raises(cz.DivergenceError, match="finite"):
        trainer.fit([(x, y)], validation, epochs=2, progress=False, checkpoint=tmp_path)
    assert (tmp_path / "best.safetensors").read_bytes() == best
    last = cz.Trainer.resume  # of the beginning of the second fit, which diverges as before
    with pytest.raises(cz.DivergenceError, match="finite"):
        last(tmp_path, [(x, y)], validation, progress=False)
    assert (tmp_path / "best.safetensors").read_bytes() == best


@pytest.mark.parametrize("batch", [0, 3])
def test_resume_goes_on_from_before_the_divergence(batch: int, tmp_path: Path) -> None:
    """A damaged batch in the second epoch; the run goes on without it as if it had never been."""
    batches = [data(seed=seed) for seed in range(4)]

    def trainer() -> cz.Trainer:
        one = model()
        optimizer = cz.SGD(one, lr=0.01, momentum=0.9)
        return cz.Trainer(one, optimizer=optimizer, accumulate=2, ema=0.5)

    straight = trainer()
    straight.fit(batches, epochs=3, progress=False)
    spoiled: Any = Spoiled(batches, {2}, batch)
    with pytest.raises(cz.DivergenceError, match="expected a finite loss, got nan"):
        trainer().fit(spoiled, epochs=3, progress=False, checkpoint=tmp_path, checkpoint_every=1)
    on = cz.Trainer.resume(tmp_path, batches, progress=False)
    assert [row.train_loss for row in on.history] == [r.train_loss for r in straight.history]
    for ours, theirs in ((on.model, straight.model), (on.averaged, straight.averaged)):
        assert ours is not None and theirs is not None
        expected = theirs.state_dict()
        for name, value in ours.state_dict().items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.parametrize("name", ["conv1.weight", "bn1.running_var"])
def test_an_array_that_is_not_finite_is_not_written(name: str, tmp_path: Path) -> None:
    one = model()
    batch = data()

    class Breaks(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            if trainer.step == 4:
                state = one.state_dict()
                state[name].flat[0] = np.inf
                one.load_state_dict(state)

    trainer = cz.Trainer(one, optimizer=cz.SGD(one, lr=1e-3))
    with pytest.raises(cz.DivergenceError, match=name):
        trainer.fit(
            [batch, batch], epochs=3, progress=False, callbacks=[Breaks()], checkpoint=tmp_path
        )
    on = cz.Trainer.resume(tmp_path, [batch, batch], progress=False)
    assert [row.epoch for row in on.history] == [1, 2, 3]
    last = (tmp_path / "last.safetensors").read_bytes()
    state = on.model.state_dict()
    state[name].flat[0] = np.nan
    on.model.load_state_dict(state)
    with pytest.raises(cz.DivergenceError, match=name):
        on.fit([batch, batch], epochs=1, progress=False, checkpoint=tmp_path)
    assert (tmp_path / "last.safetensors").read_bytes() == last


def test_gradients_that_are_not_finite_end_the_run() -> None:
    one = model()
    x, y = data()

    def loss(logits: NDArray[np.float32], _: NDArray[Any]) -> tuple[float, NDArray[np.float32]]:
        return 1.0, np.full_like(logits, np.inf)

    trainer = cz.Trainer(one, optimizer=cz.SGD(one, lr=1e-3), loss=loss)
    with pytest.raises(cz.DivergenceError, match="batch 1 of resnet20: expected gradients"):
        trainer.fit([(x, y)], epochs=1, progress=False)


def test_checks_change_no_bit() -> None:
    """They look at dropout, mixing and what norms track without touching them."""
    one, other = whole_trainer(), whole_trainer()
    one.fit(*loaders(), epochs=1, progress=False)
    other._check_finite = lambda fit: None  # type: ignore[method-assign]
    other.fit(*loaders(), epochs=1, progress=False)
    expected = other.model.state_dict()
    for name, value in one.model.state_dict().items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
