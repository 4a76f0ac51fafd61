"""The learning-rate search: it leaves everything as it was, and its losses are PyTorch's."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
import random
import signal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.figure import Figure

import cnnzoo as cz
from cnnzoo.training import search
from small_network import BATCHES, tiny
from tolerance import ROUNDING_OF_GRADIENTS, STATISTICAL
from train import small_run
from train.small_run import loaders


def bits(trainer: cz.Trainer) -> dict[str, Any]:
    """Everything that a run is made of, as values that compare."""
    optimizer, models = trainer.optimizer, [trainer.model, trainer.averaged]
    memory = optimizer._engine.memory(trainer.model._for_training())
    return {
        "arrays": [
            {name: array.tobytes() for name, array in model.state_dict().items()}
            for model in filter(None, models)
        ],
        "memory": [
            (name, steps, [(of, one.tobytes()) for of, one in averages], waiting is None)
            for name, steps, averages, waiting in memory
        ],
        "optimizer": (optimizer.lr, optimizer._batches, optimizer._engine.waiting()),
        "state": dataclasses.asdict(trainer._state),
        "model": [
            (m.labels, m.task, m.preprocess, m.trained, m.quantized) for m in filter(None, models)
        ],
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),  # type: ignore[index]
    }


def adamw() -> cz.Trainer:
    """Another optimiser, with the same parts at random."""
    one = small_run.trainer()
    return cz.Trainer(
        one.model, optimizer=cz.AdamW(one.model), cutmix=1.0, ema=0.9, accumulate=2, seed=4
    )


@pytest.mark.parametrize("make", [small_run.trainer, adamw], ids=["sgd", "adamw"])
def test_a_run_after_a_search_has_the_bits_of_a_run_without(make: Callable[[], cz.Trainer]) -> None:
    def run(*, searching: bool) -> tuple[dict[str, Any], str]:
        one, (train, validation) = make(), loaders()
        for _ in range(2):
            if searching:
                before, at = bits(one), train.state()
                found = one.find_lr(train, steps=20, progress=False)
                assert len(found.rows) > 10
                assert bits(one) == before
                assert train.state() == at
            one.fit(train, validation, epochs=1, progress=False)
        found_bits = bits(one)
        # The name of a run, and its times.
        for name in ("run", "seconds"):
            del found_bits["state"][name]
        return found_bits, small_run.summary(one)

    assert run(searching=True) == run(searching=False)


def test_gradients_that_wait_for_an_update_still_wait() -> None:
    model = tiny()
    optimizer = cz.SGD(model, lr=0.1, momentum=0.9)
    trainer = cz.Trainer(model, optimizer=optimizer)
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(4, 3, 16, 16)).astype(np.float32), np.arange(4) % 3
    model.train_step(x, y, optimizer, accumulate=3)
    twin = copy.deepcopy(trainer)
    trainer.find_lr([(x, y)], steps=5, progress=False)
    assert bits(trainer) == bits(twin)
    for one in (trainer, twin):
        one.model.train_step(x, y, one.optimizer, accumulate=3)
        one.optimizer.step()
    assert bits(trainer) == bits(twin)


def test_ctrl_c_in_the_middle_leaves_everything_as_it_was() -> None:
    calls: list[float] = []

    def squared(logits: Any, targets: Any) -> Any:
        calls.append(0.0)
        if len(calls) == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return (logits**2).mean(), 2 * logits / logits.size

    signal.signal(signal.SIGINT, signal.default_int_handler)
    model = cz.create_model("resnet20", num_classes=4, seed=3)
    one = cz.Trainer(model, optimizer=cz.AdamW(model), loss=squared, ema=0.9)
    train, _ = loaders()
    one.fit([next(iter(train))], epochs=1, progress=False)
    before, at = bits(one), train.state()
    with pytest.raises(KeyboardInterrupt):
        one.find_lr(train, progress=False)
    assert 7 <= len(calls) <= 8
    assert bits(one) == before
    assert train.state() == at
    # And another one can begin.
    assert len(one.find_lr(train, steps=3, progress=False).rows) == 3


def test_losses_are_those_of_a_run_with_this_schedule() -> None:
    """In every bit: the same batches, mixing, dropout and updates."""

    @dataclasses.dataclass(frozen=True)
    class Rising(cz.Schedule):
        def lr(self, base: float, at: float, epochs: float, *, steps: float | None = None) -> float:
            assert steps is not None
            # Two batches make an update.
            return float(np.geomspace(1e-4, 0.1, 3)[min(2, round(at * steps) // 2)])

    class Seen(cz.callbacks.Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            self.losses.append(result.loss)

    one, seen = small_run.trainer(), Seen()
    found = one.find_lr(loaders()[0], lowest=1e-4, highest=0.1, steps=3, progress=False)
    model = one.model
    options = {**one._options, "schedule": Rising()}
    other = cz.Trainer(model, optimizer=one.optimizer, **options)
    other.fit(*loaders(), epochs=1, progress=False, callbacks=[seen])
    pairs = [sum(seen.losses[at : at + 2]) / 2 for at in (0, 2, 4)]
    assert [row.loss for row in found.rows] == pytest.approx(pairs, rel=1e-14)


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_losses_are_those_of_a_loop_in_pytorch(rule: str) -> None:
    """With torchvision's network, and the same batches and learning rates."""
    model = cz.create_model("resnet18", num_classes=5, seed=2)
    twin = torchvision.models.resnet18(num_classes=5)
    state = {name: torch.from_numpy(array.copy()) for name, array in model.state_dict().items()}
    twin.load_state_dict(state)
    generator = np.random.default_rng(0)
    y = [generator.integers(0, 5, 8) for _ in range(6)]
    x = [
        (generator.normal(size=(8, 3, 48, 48)) + labels[:, None, None, None]).astype(np.float32)
        for labels in y
    ]
    if rule == "sgd":
        ours: Any = cz.SGD(model, lr=0.1, momentum=0.9, weight_decay=1e-3)
        theirs: Any = torch.optim.SGD(twin.parameters(), momentum=0.9, weight_decay=1e-3)
    else:
        ours, theirs = cz.AdamW(model), torch.optim.AdamW(twin.parameters())
    trainer = cz.Trainer(model, optimizer=ours)
    steps = 16
    found = trainer.find_lr(
        list(zip(x, y, strict=True)), lowest=1e-5, highest=1e-3, steps=steps, progress=False
    )
    losses = []
    for step, lr in enumerate(1e-5 * 100 ** np.linspace(0, 1, steps)):
        for group in theirs.param_groups:
            group["lr"] = lr
        theirs.zero_grad()
        images, labels = x[step % 6], y[step % 6]
        logits = twin.train()(torch.from_numpy(images))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
        loss.backward()
        theirs.step()
        losses.append(loss.item())
        assert found.rows[step].lr == pytest.approx(lr)
    assert found.ended_by == "highest" and len(found.rows) == steps
    apart = np.abs(np.array([row.loss for row in found.rows]) - losses) / losses[0]
    assert apart[:3].max() < ROUNDING_OF_GRADIENTS
    assert apart.max() < STATISTICAL
    assert losses[-1] < 0.8 * losses[0]


def test_a_search_ends_where_the_loss_diverges() -> None:
    one, (train, _) = small_run.trainer(), loaders()
    before = bits(one)
    far = one.find_lr(train, lowest=0.01, highest=1e6, steps=60, progress=False)
    assert far.ended_by == "loss" and 5 < len(far.rows) < 60
    losses = [row.loss for row in far.rows]
    means = [sum(losses[at - 4 : at + 1]) / 5 for at in range(4, len(losses))]
    assert means[-1] > 4 * min(means) and all(mean <= 4 * min(means) for mean in means[:-1])
    # The parameters overflow in the end.
    model = tiny()
    endless = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    whole = endless.find_lr(
        noisy(), lowest=1e20, highest=1e38, steps=60, stop_at=None, progress=False
    )
    assert whole.ended_by == "divergence" and 0 < len(whole.rows) < 60
    assert all(map(math.isfinite, [v for row in whole.rows for v in (row.loss, row.smoothed)]))
    assert bits(one) == before


def noisy() -> list[Any]:
    generator = np.random.default_rng(0)
    return [
        (generator.normal(size=(8, 3, 16, 16)).astype(np.float32), np.arange(8) % 3)
        for _ in range(3)
    ]


def test_images_that_are_not_finite_end_it_at_once() -> None:
    model = tiny()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    before = bits(one)
    found = one.find_lr([(np.full((4, 3, 16, 16), np.nan, np.float32), np.arange(4) % 3)])
    assert found.rows == () and found.ended_by == "divergence" and found.suggestion is None
    assert "no suggestion" in repr(found)
    assert bits(one) == before
    found.plot(ax=Figure().subplots())


def synthetic(loss: Callable[[float], float], *, steps: int = 400, noise: float = 0.0) -> Any:
    rates = np.geomspace(1e-6, 10, steps)
    random = np.random.default_rng(0).normal(size=steps) * noise
    losses = [loss(math.log10(lr)) for lr in rates] + random
    return search.search_of(rates.tolist(), losses.tolist(), steps=steps, ended_by="highest")


def falls(at: float) -> float:
    """From 3 at 1e-4 to 1 at 1e-1, fastest at about 1e-2.5, then back; all by log10(lr)."""
    if at <= -4:
        return 3.0
    if at <= -1:
        return 2 + math.cos((at + 4) / 3 * math.pi)
    return 1 + 3 * (at + 1) ** 2


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_suggestions_are_where_a_known_curve_has_them(noise: float) -> None:
    found = synthetic(falls, noise=noise)
    # A window of 3 % of the search spans half a decade.
    near = 10**0.3
    expected = {"steepest": 10**-2.5, "valley": 10**-1.75, "minimum": 10**-2}
    for rule, lr in expected.items():
        assert lr / near < found.suggest(rule) < lr * near, rule
    assert found.suggestion == found.suggest("valley") == found.suggest()
    assert f"{found.suggestion:.2g}" in repr(found)
    page = found._repr_html_()
    assert all(f"{found.suggest(rule):.2g}" in page for rule in expected)


def test_a_loss_that_does_not_fall_suggests_nothing() -> None:
    def rises(at: float) -> float:
        return 2 + max(0.0, at) ** 2

    for found in (synthetic(rises, noise=0.2), synthetic(rises), synthetic(lambda _: 1.0)):
        for rule in ("steepest", "valley", "minimum"):
            assert found.suggest(rule) is None
        assert "no suggestion" in repr(found) and "none" in found._repr_html_()
        found.plot(ax=Figure().subplots())
    few = search.search_of([1e-3, 1e-2], [3.0, 1.0], steps=100, ended_by="loss")
    assert few.suggestion is None


def test_a_second_fall_after_an_explosion_does_not_count() -> None:
    """As of a network whose activations die."""

    def dies(at: float) -> float:
        return falls(at) if at <= 0 else 0.5 if at > 0.6 else 9.0

    found = synthetic(dies)
    assert found.suggestion == pytest.approx(synthetic(falls).suggestion, rel=0.2)


def test_smoothing_is_the_mean_with_the_weights_of_a_gaussian() -> None:
    from scipy.ndimage import gaussian_filter1d

    losses = np.random.default_rng(1).normal(size=200).tolist()
    found = search.search_of(np.geomspace(1, 2, 200).tolist(), losses, steps=200, ended_by="loss")
    # Zeros around the losses, divided by the weights that are inside.
    both = [
        gaussian_filter1d(values, 6.0, mode="constant", truncate=30)
        for values in (np.array(losses), np.ones(200))
    ]
    np.testing.assert_allclose([row.smoothed for row in found.rows], both[0] / both[1], rtol=1e-9)


def test_it_is_drawn_with_its_suggestion() -> None:
    from matplotlib import pyplot

    found = synthetic(falls, noise=0.1)
    ax = found.plot()
    batch, smoothed, line, point = ax.lines
    assert list(batch.get_ydata()) == [row.loss for row in found.rows]
    assert list(smoothed.get_ydata()) == [row.smoothed for row in found.rows]
    assert line.get_xdata()[0] == point.get_xdata()[0] == found.suggestion
    assert ax.get_xscale() == "log"
    pyplot.close(ax.figure)


def test_a_loader_goes_on_with_its_next_epochs_and_skips_what_it_skips() -> None:
    train, _ = loaders()
    train.set_epoch(3, first_batch=2)
    at, one = train.state(), small_run.trainer()
    assert len(one.find_lr(train, steps=11, stop_at=None, progress=False).rows) == 11
    assert train.state() == at
    skipping = cz.data.Loader(small_run.pictures(20, seed=1), batch_size=8, on_error="skip")
    assert len(one.find_lr(skipping, steps=4, progress=False).rows) == 4


def test_new_labels_are_for_the_copy_only_and_without_a_notice() -> None:
    model = cz.create_model("resnet20", num_classes=4)
    model.labels = ["a", "b", "c", "d"]
    pixels = np.random.default_rng(0).integers(0, 255, (8, 16, 16, 3), np.uint8)
    data = cz.data.Arrays(pixels, np.arange(8) % 4, classes=["p", "q", "r", "s"])
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.find_lr(cz.data.Loader(data, batch_size=4), steps=3, progress=False)
    assert model.labels == ("a", "b", "c", "d")


def test_what_cannot_be_searched_is_refused() -> None:
    model = tiny()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    wrong: list[dict[str, Any]] = [
        {"lowest": 0.0},
        {"lowest": -1.0},
        {"lowest": math.nan},
        {"lowest": "1e-3"},
        {"lowest": 1.0, "highest": 1.0},
        {"highest": math.inf},
        {"steps": 1},
        {"steps": 10.0},
        {"steps": 10_001},
        {"stop_at": 1.0},
        {"stop_at": math.nan},
        {"progress": 1},
    ]
    for options in wrong:
        with pytest.raises(cz.ArgumentError, match=next(reversed(options))):
            one.find_lr(BATCHES, **options)
    refused: list[Any] = [[], None, 3, BATCHES[0][0], "batches", small_run.pictures(4, seed=0)]
    for data in refused:
        with pytest.raises(cz.ArgumentError):
            one.find_lr(data, progress=False)
    with pytest.raises(cz.ArgumentError, match="`rule`"):
        synthetic(falls, steps=10).suggest("best")

    class Nested(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            trainer.find_lr(BATCHES)

    with pytest.raises(cz.ArgumentError, match="expected no fit that runs"):
        one.fit(BATCHES, epochs=1, progress=False, callbacks=[Nested()])


def test_generators_that_a_loss_draws_from_stay_where_they_are() -> None:
    def drawn() -> tuple[float, float, float]:
        # The shared ones, from which users draw.
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def noisy(logits: Any, targets: Any) -> Any:
        drops.append(drawn())
        scale = 1 + sum(drops[-1]) / 100
        return scale * (logits**2).mean(), scale * 2 * logits / logits.size

    drops: list[tuple[float, float, float]] = []
    losses: list[list[float]] = []
    for searching in (False, True):
        for seed in (random.seed, np.random.seed, torch.manual_seed):
            seed(5)
        model = tiny()
        trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=noisy)
        if searching:
            drops.clear()
            trainer.find_lr(BATCHES, steps=6, progress=False)
            assert len(drops) >= 6
        trainer.fit(BATCHES, epochs=2, progress=False)
        losses.append([row.train_loss for row in trainer.history])
        after = drawn()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    steps = 2 * len(BATCHES)
    for _ in range(steps):
        expected = drawn()
    assert losses[0] == losses[1]
    assert drops[-1] == expected
    assert after == drawn()


def test_generators_go_back_when_a_search_fails() -> None:
    def broken(logits: Any, targets: Any) -> Any:
        random.random(), np.random.rand(), torch.rand(())
        raise ZeroDivisionError

    def states() -> tuple[Any, ...]:
        numpy = np.random.get_state()
        return random.getstate(), str(numpy), torch.get_rng_state().numpy().tobytes()

    model = tiny()
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=broken)
    before = states()
    with pytest.raises(ZeroDivisionError):
        trainer.find_lr(BATCHES, progress=False)
    assert states() == before
