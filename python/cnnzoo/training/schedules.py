"""Learning-rate schedules in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnzoo._arguments import instance, number, numbers

# Tolerance below a whole number of epochs, for the rounding of divisions.
ROUNDING = 1e-9

# The least number of epochs between two changes of the rate: steps would see no shorter one.
LEAST = 1e-6

# The number of last restarts that are counted one by one.
COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Base class of the schedules: a constant learning rate after a linear warm-up.

    Times are in epochs, with fractions. A custom schedule overrides `after_warmup`.

    Attributes:
        warmup: Epochs of linear warm-up to the base rate.
        warmup_start: First rate of the warm-up, as a factor on the base; torchvision's recipes use
            0.01.
        shifted: Whether the schedule starts after the warm-up, as in PyTorch and torchvision, or
            with it, and is replaced by it at first, as in timm.
        per_epoch: Whether the rate changes between epochs only, instead of with every update.
    """

    warmup: float = 0.0
    warmup_start: float = 0.0
    shifted: bool = True
    per_epoch: bool = False

    def __post_init__(self) -> None:
        settle(self, "warmup", "warmup_start", least=0)
        for name in ("shifted", "per_epoch"):
            instance(f"`{name}` of {type(self).__name__}", getattr(self, name), bool, TRUTH)

    def lr(self, base: float, at: float, epochs: float, *, steps: float | None = None) -> float:
        """The learning rate of a step.

        Args:
            base: The optimiser's rate.
            at: Epochs done, with the fraction of the current one: the number of the step, counted
                from 0, divided by the steps of an epoch.
            epochs: Number of epochs of the fit.
            steps: Steps, that is batches, of each epoch. `OneCycle` needs them to end exactly with
                the last step; without them it assumes very many.
        """
        if self.per_epoch:
            at = math.floor(at + ROUNDING)
        if at < self.warmup:
            return base * (self.warmup_start + (1 - self.warmup_start) * at / self.warmup)
        begin = self.warmup if self.shifted else 0.0
        return self._at(base, at - begin, max(epochs - begin, 0.0), steps)

    def _at(self, base: float, at: float, epochs: float, steps: float | None) -> float:
        """The rate after the warm-up, for schedules that depend on the number of steps."""
        return self.after_warmup(base, at, epochs)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        return base


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A constant learning rate."""


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """Step decay: a factor every `every` epochs (`torch.optim.lr_scheduler.StepLR`).

    Attributes:
        every: Epochs between two steps.
        gamma: Factor on the rate at each step.
    """

    every: float = 30.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "every", least=LEAST)
        settle(self, "gamma", above=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        return base * power(self.gamma, math.floor(at / self.every + ROUNDING))


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """Step decay at milestones (`torch.optim.lr_scheduler.MultiStepLR`).

    Attributes:
        at: The milestones, in epochs.
        gamma: Factor on the rate at each milestone.
    """

    at: Sequence[float] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "gamma", above=0)
        object.__setattr__(self, "at", tuple(numbers("`at` of MultiStep", self.at)))

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        return base * power(self.gamma, sum(at + ROUNDING >= milestone for milestone in self.at))


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """Exponential decay (`torch.optim.lr_scheduler.ExponentialLR`).

    Attributes:
        gamma: Factor on the rate for each epoch.
    """

    gamma: float = 0.97

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "gamma", above=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        return base * power(self.gamma, at)


@dataclass(frozen=True, kw_only=True)
class Polynomial(Schedule):
    """Polynomial decay to `min_lr` (`torch.optim.lr_scheduler.PolynomialLR`).

    Attributes:
        power: Power of the remaining share of epochs; 1 is linear decay.
        min_lr: The rate at the end.
    """

    power: float = 1.0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "power", "min_lr", least=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        left = 1 - min(at / epochs, 1.0) if epochs > 0 else 0.0
        return self.min_lr + (base - self.min_lr) * math.pow(left, self.power)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Cosine annealing to `min_lr` (Loshchilov and Hutter, arXiv:1608.03983).

    As `torch.optim.lr_scheduler.CosineAnnealingLR`, or with a cycle `CosineAnnealingWarmRestarts`.

    Attributes:
        min_lr: The rate at the end, and before each restart.
        cycle: Epochs of the first cycle, after which the cosine restarts. None: no restarts.
        cycle_growth: Factor on the length of each cycle after the first.
    """

    min_lr: float = 0.0
    cycle: float | None = None
    cycle_growth: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "min_lr", least=0)
        settle(self, "cycle_growth", least=1)
        if self.cycle is not None:
            settle(self, "cycle", least=LEAST)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done."""
        length = epochs
        if self.cycle is not None:
            over, length = self._restarts(self.cycle, at)
            at -= over
            while at + ROUNDING >= length:
                at -= length
                length *= self.cycle_growth
        over = min(max(at, 0.0) / length, 1.0) if length > 0 else 1.0
        return self.min_lr + (base - self.min_lr) * (1 + math.cos(math.pi * over)) / 2

    def _restarts(self, first: float, at: float) -> tuple[float, float]:
        """Total epochs of cycles that are surely done, if many, and the length of the next."""
        growth = self.cycle_growth
        if growth == 1:
            count = max(0, math.floor(at / first) - COUNTED)
            return count * first, first
        rate = math.log(growth)
        count = max(0, math.floor(math.log1p(at / first * (growth - 1)) / rate) - COUNTED)
        return first * math.expm1(count * rate) / (growth - 1), first * math.exp(count * rate)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """One-cycle policy: up to the base rate and down again (Smith and Topin, arXiv:1708.07120).

    As `torch.optim.lr_scheduler.OneCycleLR` without its momentum; the base is its `max_lr`, `rise`
    its `pct_start`, and the two divisors its `div_factor` and `final_div_factor`. As there,
    the first step takes the first rate and the last step the last one, and the peak comes one step
    before `rise` of all steps.

    Attributes:
        rise: Share of the steps in which the rate rises.
        start_divisor: The first rate is the base divided by this.
        end_divisor: The last rate is the first rate divided by this.
        linear: Whether to change the rate linearly instead of along cosines.
    """

    rise: float = 0.3
    start_divisor: float = 25.0
    end_divisor: float = 1e4
    linear: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "rise", above=0, below=1)
        settle(self, "start_divisor", "end_divisor", above=0)
        instance("`linear` of OneCycle", self.linear, bool, TRUTH)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate when `at` of `epochs` epochs are done, if there are very many steps."""
        return self._along(base, at, self.rise * epochs, epochs)

    def _at(self, base: float, at: float, epochs: float, steps: float | None) -> float:
        if steps is None:
            return self.after_warmup(base, at, epochs)
        total = epochs * steps
        return self._along(base, at * steps, self.rise * total - 1, total - 1)

    def _along(self, base: float, at: float, peak: float, end: float) -> float:
        """The rate at a place between 0 and the end; the peak may lie before both in short fits."""
        start = base / self.start_divisor
        if at <= peak + ROUNDING:
            return self._between(start, base, min(at / peak, 1.0) if peak > 0 else 1.0)
        over = min((at - peak) / (end - peak), 1.0) if end > peak else 1.0
        return self._between(base, start / self.end_divisor, over)

    def _between(self, begin: float, end: float, over: float) -> float:
        share = over if self.linear else (1 - math.cos(math.pi * over)) / 2
        return begin + (end - begin) * share


TRUTH = "True or False"


def settle(of: object, *names: str, **bounds: float) -> None:
    """Convert fields to plain numbers, and refuse values outside the bounds."""
    for name in names:
        found = number(f"`{name}` of {type(of).__name__}", getattr(of, name), **bounds)
        object.__setattr__(of, name, found)


def power(factor: float, times: float) -> float:
    """A factor to the power `times`; infinity where that overflows."""
    try:
        return math.pow(factor, times)
    except OverflowError:
        return math.inf
