"""Schedules are PyTorch's and timm's, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

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


@pytest.mark.parametrize("linear", [False, True])
def test_one_cycle_is_pytorchs(*, linear: bool) -> None:
    total = EPOCHS * UPDATES + 1

    def build(optimizer: torch.optim.Optimizer) -> Any:
        strategy: Literal["linear", "cos"] = "linear" if linear else "cos"
        return theirs.OneCycleLR(
            optimizer, BASE, total_steps=total, pct_start=0.25, anneal_strategy=strategy
        )

    schedule = ours.OneCycle(rise=0.25, linear=linear)
    # PyTorch counts the steps between the first update and the last, and rises one fewer of them.
    expected = rates(build, total - 1)
    peak = (0.25 * total - 1) / (total - 1)
    schedule = ours.OneCycle(rise=peak, linear=linear)
    found = [schedule.lr(BASE, update / (total - 1), 1) for update in range(total - 1)]
    assert found == NEAR(expected)


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


def test_nonsense_is_refused() -> None:
    for message, build in (
        (
            "`warmup` of Cosine: expected a number of at least 0, got -1",
            lambda: ours.Cosine(warmup=-1),
        ),
        ("`every` of Step: expected a number above 0, got 0", lambda: ours.Step(every=0)),
        ("`rise` of OneCycle: expected a number below 1, got 1", lambda: ours.OneCycle(rise=1)),
        ("`cycle` of Cosine: .* got nan", lambda: ours.Cosine(cycle=float("nan"))),
    ):
        with pytest.raises(cz.ArgumentError, match=message):
            build()
