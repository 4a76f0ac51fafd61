"""Schedules are PyTorch's and timm's, step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import timm.scheduler.cosine_lr
import torch
from torch.optim import lr_scheduler as theirs

import cnnzoo as cz
from cnnzoo import schedules as ours

# SequentialLR steps its parts in a way that PyTorch warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")

BASE = 0.4
EPOCHS = 12
UPDATES = 7  # in each epoch
NEAR = pytest.approx

Build = Callable[[torch.optim.Optimizer], Any]


def rates(build: Build, steps: int) -> list[float]:
    """The rate of each step of a schedule of PyTorch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    schedule = build(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def after_warmup(epochs: int, main: Build) -> Build:
    """As torchvision's recipes begin: evenly from a hundredth."""

    def build(optimizer: torch.optim.Optimizer) -> Any:
        rising = theirs.LinearLR(optimizer, start_factor=0.01, total_iters=epochs)
        return theirs.SequentialLR(optimizer, [rising, main(optimizer)], [epochs])

    return build


PAIRS: dict[str, tuple[ours.Schedule, Build]] = {
    "constant": (ours.Constant(), lambda o: theirs.ConstantLR(o, factor=1.0)),
    "step": (ours.Step(every=5, gamma=0.3), lambda o: theirs.StepLR(o, 5, gamma=0.3)),
    "multi-step": (
        ours.MultiStep(at=(3, 7, 8), gamma=0.5),
        lambda o: theirs.MultiStepLR(o, [3, 7, 8], gamma=0.5),
    ),
    "exponential": (
        ours.Exponential(gamma=0.9),
        lambda o: theirs.ExponentialLR(o, gamma=0.9),
    ),
    "polynomial": (
        ours.Polynomial(power=2.0),
        lambda o: theirs.PolynomialLR(o, total_iters=EPOCHS, power=2.0),
    ),
    "cosine": (
        ours.Cosine(min_lr=0.01),
        lambda o: theirs.CosineAnnealingLR(o, EPOCHS, eta_min=0.01),
    ),
    "restarts": (
        ours.Cosine(cycle=2, cycle_growth=2, min_lr=0.01),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 2, T_mult=2, eta_min=0.01),
    ),
    "torchvision-cosine": (
        ours.Cosine(warmup=3, warmup_start=0.01),
        after_warmup(3, lambda o: theirs.CosineAnnealingLR(o, EPOCHS - 3)),
    ),
    "torchvision-step": (
        ours.Step(warmup=3, warmup_start=0.01, every=4),
        after_warmup(3, lambda o: theirs.StepLR(o, 4)),
    ),
    "torchvision-exponential": (
        ours.Exponential(warmup=2, warmup_start=0.01, gamma=0.8),
        after_warmup(2, lambda o: theirs.ExponentialLR(o, gamma=0.8)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_rate_per_epoch_is_pytorchs(name: str) -> None:
    schedule, build = PAIRS[name]
    expected = rates(build, EPOCHS)
    assert [schedule.lr(BASE, epoch, EPOCHS) for epoch in range(EPOCHS)] == NEAR(expected)


@pytest.mark.parametrize("per_epoch", [False, True])
def test_a_rate_changes_with_updates_or_epochs(*, per_epoch: bool) -> None:
    schedule = ours.Cosine(warmup=3, warmup_start=0.01, per_epoch=per_epoch)
    times = [update / UPDATES for update in range(EPOCHS * UPDATES)]
    found = [schedule.lr(BASE, at, EPOCHS) for at in times]
    if per_epoch:
        of_epochs = rates(PAIRS["torchvision-cosine"][1], EPOCHS)
        expected = [rate for rate in of_epochs for _ in range(UPDATES)]
    else:
        # The same curve, measured in updates.
        build = after_warmup(
            3 * UPDATES, lambda o: theirs.CosineAnnealingLR(o, (EPOCHS - 3) * UPDATES)
        )
        expected = rates(build, EPOCHS * UPDATES)
    assert found == NEAR(expected)


LENGTHS = (1, 2, 3, 5, 10, 50, 333)


@pytest.mark.parametrize("steps", LENGTHS)
@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("rise", [0.3, 0.7, 0.123])
def test_one_cycle_is_pytorchs_to_the_last_step(*, rise: float, linear: bool, steps: int) -> None:
    strategy: Literal["linear", "cos"] = "linear" if linear else "cos"

    def build(optimizer: torch.optim.Optimizer) -> Any:
        return theirs.OneCycleLR(
            optimizer,
            BASE,
            total_steps=steps,
            pct_start=rise,
            anneal_strategy=strategy,
            div_factor=20.0,
            final_div_factor=1e3,
        )

    schedule = ours.OneCycle(rise=rise, linear=linear, start_divisor=20.0, end_divisor=1e3)
    expected = rates(build, steps)

    assert [schedule.lr(BASE, i / steps, 1, steps=steps) for i in range(steps)] == NEAR(expected)


def test_timms_cosine_is_covered_by_its_warm_up() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler = timm.scheduler.cosine_lr.CosineLRScheduler(
        optimizer, t_initial=EPOCHS, lr_min=0.01, warmup_t=3, warmup_lr_init=0.1 * BASE
    )
    expected = []
    for epoch in range(EPOCHS):
        scheduler.step(epoch)
        expected.append(optimizer.param_groups[0]["lr"])
    schedule = ours.Cosine(min_lr=0.01, warmup=3, warmup_start=0.1, shifted=False)
    assert [schedule.lr(BASE, epoch, EPOCHS) for epoch in range(EPOCHS)] == NEAR(expected)


@pytest.mark.parametrize("epochs", [1, 2, 5, 12])
def test_one_cycle_spreads_over_the_epochs_of_a_fit(epochs: int) -> None:
    steps = epochs * UPDATES

    def build(optimizer: torch.optim.Optimizer) -> Any:
        return theirs.OneCycleLR(optimizer, BASE, epochs=epochs, steps_per_epoch=UPDATES)

    found = [ours.OneCycle().lr(BASE, i / UPDATES, epochs, steps=UPDATES) for i in range(steps)]
    assert found == NEAR(rates(build, steps))


def test_a_fit_takes_the_rates_of_one_cycle_from_the_first_to_the_last() -> None:
    model = cz.create_model("mobilenet_v1_025", num_classes=2, image_size=32)
    x, y = np.zeros((2, 3, 32, 32), np.float32), np.array([0, 1])
    taken: list[float] = []

    class Rates(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            taken.append(result.lr)

    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=1e-3), schedule=cz.OneCycle())
    trainer.fit([(x, y)] * 3, epochs=2, progress=False, callbacks=[Rates()])

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1e-3)
    schedule = theirs.OneCycleLR(optimizer, 1e-3, epochs=2, steps_per_epoch=3)
    expected = []
    for _ in range(6):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert taken == NEAR(expected)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("steps", LENGTHS)
def test_every_schedule_is_pytorchs_to_the_last_step(name: str, steps: int) -> None:
    """Both count in steps; a warm-up that is longer than the fit is cut off."""
    schedule, _ = PAIRS[name]
    of_length: dict[str, Build] = {
        "polynomial": lambda o: theirs.PolynomialLR(o, total_iters=steps, power=2.0),
        "cosine": lambda o: theirs.CosineAnnealingLR(o, steps, eta_min=0.01),
        "torchvision-cosine": after_warmup(3, lambda o: theirs.CosineAnnealingLR(o, steps - 3)),
    }
    build = of_length.get(name, PAIRS[name][1])
    if name == "torchvision-cosine" and steps <= 3:
        build = lambda o: theirs.LinearLR(o, start_factor=0.01, total_iters=3)  # noqa: E731

    found = [schedule.lr(BASE, step, steps, steps=1) for step in range(steps)]

    assert found == NEAR(rates(build, steps))


@pytest.mark.parametrize("epochs", [1, 3, 10])
def test_restarts_within_epochs_are_pytorchs(epochs: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    schedule = theirs.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=2, eta_min=0.01)
    expected = []
    for update in range(epochs * UPDATES):
        optimizer.step()
        schedule.step(update / UPDATES)
        expected.append(optimizer.param_groups[0]["lr"])

    mine = ours.Cosine(cycle=2, cycle_growth=2, min_lr=0.01)
    found = [mine.lr(BASE, i / UPDATES, epochs, steps=UPDATES) for i in range(epochs * UPDATES)]

    assert found == NEAR(expected)


@pytest.mark.parametrize("t_initial", [1, 2, 7, 40])
@pytest.mark.parametrize("warmup", [0, 1, 3])
@pytest.mark.parametrize("prefix", [False, True])
def test_timms_cosine_is_ours_at_every_length(*, t_initial: int, warmup: int, prefix: bool) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)
    scheduler = timm.scheduler.cosine_lr.CosineLRScheduler(
        optimizer,
        t_initial=t_initial,
        lr_min=0.01,
        warmup_t=warmup,
        warmup_lr_init=0.1 * BASE,
        warmup_prefix=prefix,
    )
    # timm's length leaves out a warm-up that stands before it.
    epochs = t_initial + warmup if prefix else t_initial
    expected = []
    for epoch in range(epochs):
        scheduler.step(epoch)
        expected.append(optimizer.param_groups[0]["lr"])

    schedule = ours.Cosine(min_lr=0.01, warmup=warmup, warmup_start=0.1, shifted=prefix)

    assert [schedule.lr(BASE, epoch, epochs) for epoch in range(epochs)] == NEAR(expected)


def test_nonsense_is_refused() -> None:
    for message, build in (
        (
            "`warmup` of Cosine: expected a number of at least 0, got -1",
            lambda: ours.Cosine(warmup=-1),
        ),
        ("`every` of Step: expected a number of at least 1e-06, got 0", lambda: ours.Step(every=0)),
        ("`rise` of OneCycle: expected .* below 1, got 1", lambda: ours.OneCycle(rise=1)),
        ("`warmup` of Cosine: .* got '5'", lambda: ours.Cosine(warmup="5")),  # type: ignore[arg-type]
        ("`per_epoch` of Step: .* got 'no'", lambda: ours.Step(per_epoch="no")),  # type: ignore[arg-type]
        ("`linear` of OneCycle: .* got 1", lambda: ours.OneCycle(linear=1)),  # type: ignore[arg-type]
        ("`at` of MultiStep: .* got 3", lambda: ours.MultiStep(at=3)),  # type: ignore[arg-type]
        ("`at` of MultiStep: .* got '12'", lambda: ours.MultiStep(at="12")),  # type: ignore[arg-type]
        ("`cycle` of Cosine: .* got nan", lambda: ours.Cosine(cycle=float("nan"))),
    ):
        with pytest.raises(cz.ArgumentError, match=message):
            build()


@pytest.mark.parametrize("growth", [1.0, 1.0000001, 1.5])
def test_restarts_beyond_counting_end_at_once(growth: float) -> None:
    """Cycles of a millionth of an epoch restart 10^8 times in a hundred epochs."""
    short = ours.Cosine(cycle=1e-6, cycle_growth=growth)
    assert 0 <= short.lr(1.0, 100.0, 300.0) <= 1
    # Where restarts are skipped, the rates are those of counting one by one.
    some = ours.Cosine(cycle=0.01, cycle_growth=min(growth, 1.001))
    for at in (0.0, 3.003, 15.0049, 29.9921):
        rest, length = at, 0.01
        while rest >= length:
            rest, length = rest - length, length * some.cycle_growth
        expected = (1 + math.cos(math.pi * rest / length)) / 2
        assert some.lr(1.0, at, 30.0) == pytest.approx(expected, abs=1e-5)


def test_a_factor_that_grows_without_end_is_infinite() -> None:
    assert ours.Exponential(gamma=1e300).lr(0.1, 5.0, 9.0) == math.inf
