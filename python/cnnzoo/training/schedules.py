"""How the learning rate changes while a model trains, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cnnzoo._arguments import instance, number, numbers

# By so much a time that is meant to be a whole number may lie below it, since division rounds.
ROUNDING = 1e-9

# Epochs between two changes of the rate: less is none that a step would see.
LEAST = 1e-6

# As many restarts are counted one by one.
COUNTED = 1000


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A learning rate that stays the same, after a linear warm-up.

    Times are in epochs, with fractions. A schedule of one's own overrides `after_warmup`.

    Attributes:
        warmup: Epochs in which the rate rises evenly to the base.
        warmup_start: Where it begins, as a share of the base; torchvision's recipes use 0.01.
        shifted: Whether what follows begins after the warm-up, as in PyTorch and torchvision, or
            is only covered by it, as in timm.
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
            at: Epochs that are over, with the fraction of the present one: the number of the step,
                counted from 0, divided by the steps of an epoch.
            epochs: All epochs of the fit.
            steps: Steps of each epoch, which are its batches. `OneCycle` needs them to end with
                the last step; without them it takes a fit to have very many.
        """
        if self.per_epoch:
            at = math.floor(at + ROUNDING)
        if at < self.warmup:
            return base * (self.warmup_start + (1 - self.warmup_start) * at / self.warmup)
        begin = self.warmup if self.shifted else 0.0
        return self._at(base, at - begin, max(epochs - begin, 0.0), steps)

    def _at(self, base: float, at: float, epochs: float, steps: float | None) -> float:
        """The rate after the warm-up, of a schedule that may count steps."""
        return self.after_warmup(base, at, epochs)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate where `at` of `epochs` epochs are over."""
        return base


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The same rate all the time."""


@dataclass(frozen=True, kw_only=True)
class Step(Schedule):
    """A factor every so many epochs (`torch.optim.lr_scheduler.StepLR`).

    Attributes:
        every: Epochs between two steps.
        gamma: The factor.
    """

    every: float = 30.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "every", least=LEAST)
        settle(self, "gamma", above=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate where `at` of `epochs` epochs are over."""
        return base * power(self.gamma, math.floor(at / self.every + ROUNDING))


@dataclass(frozen=True, kw_only=True)
class MultiStep(Schedule):
    """A factor at some epochs (`torch.optim.lr_scheduler.MultiStepLR`).

    Attributes:
        at: The epochs.
        gamma: The factor.
    """

    at: Sequence[float] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "gamma", above=0)
        object.__setattr__(self, "at", tuple(numbers("`at` of MultiStep", self.at)))

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate where `at` of `epochs` epochs are over."""
        return base * power(self.gamma, sum(at + ROUNDING >= milestone for milestone in self.at))


@dataclass(frozen=True, kw_only=True)
class Exponential(Schedule):
    """A factor for each epoch (`torch.optim.lr_scheduler.ExponentialLR`).

    Attributes:
        gamma: The factor.
    """

    gamma: float = 0.97

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "gamma", above=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate where `at` of `epochs` epochs are over."""
        return base * power(self.gamma, at)


@dataclass(frozen=True, kw_only=True)
class Polynomial(Schedule):
    """Down to `min_lr` along a power of what is left (`torch.optim.lr_scheduler.PolynomialLR`).

    Attributes:
        power: 1 is a straight line.
        min_lr: The rate at the end.
    """

    power: float = 1.0
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "power", "min_lr", least=0)

    def after_warmup(self, base: float, at: float, epochs: float) -> float:
        """The rate where `at` of `epochs` epochs are over."""
        left = 1 - min(at / epochs, 1.0) if epochs > 0 else 0.0
        return self.min_lr + (base - self.min_lr) * math.pow(left, self.power)


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Down to `min_lr` along half a cosine (Loshchilov and Hutter, arXiv:1608.03983).

    As `torch.optim.lr_scheduler.CosineAnnealingLR`, or with a cycle `CosineAnnealingWarmRestarts`.

    Attributes:
        min_lr: The rate at the end, and before each restart.
        cycle: Epochs after which the cosine starts again; never if not given.
        cycle_growth: How many times as long as the one before each cycle is.
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
        """The rate where `at` of `epochs` epochs are over."""
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
        """Epochs of cycles that are surely over, where they are many, and how long the next is."""
        growth = self.cycle_growth
        if growth == 1:
            count = max(0, math.floor(at / first) - COUNTED)
            return count * first, first
        rate = math.log(growth)
        count = max(0, math.floor(math.log1p(at / first * (growth - 1)) / rate) - COUNTED)
        return first * math.expm1(count * rate) / (growth - 1), first * math.exp(count * rate)


@dataclass(frozen=True, kw_only=True)
class OneCycle(Schedule):
    """Up to the base rate and down again (Smith and Topin, arXiv:1708.07120).

    As `torch.optim.lr_scheduler.OneCycleLR` without its momentum; the base is its `max_lr`, `rise`
    its `pct_start`, and the two divisors its `div_factor` and `final_div_factor`. As there,
    the first step takes the first rate and the last step the last one, and the peak comes one step
    before `rise` of all steps.

    Attributes:
        rise: The share of the steps in which the rate rises.
        start_divisor: It begins at the base divided by this.
        end_divisor: It ends at the beginning divided by this.
        linear: Whether along straight lines instead of cosines.
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
        """The rate where `at` of `epochs` epochs are over, if there are very many steps."""
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
    """Make plain numbers of fields, and refuse those that are none within the bounds."""
    for name in names:
        found = number(f"`{name}` of {type(of).__name__}", getattr(of, name), **bounds)
        object.__setattr__(of, name, found)


def power(factor: float, times: float) -> float:
    """A factor so many times; infinite where no number is as large."""
    try:
        return math.pow(factor, times)
    except OverflowError:
        return math.inf
