"""A learning-rate search: the loss while the learning rate rises, and a suggestion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import one_of
from cnnzoo._html import html_table
from cnnzoo._plots import GREY, PALE, SERIES, axes_for, calm, ink
from cnnzoo._rows import Rows
from cnnzoo._text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rule: TypeAlias = Literal["valley", "steepest", "minimum"]
End: TypeAlias = Literal["highest", "loss", "divergence"]

# The standard deviation of the window that smooths the losses, as a share of the sweep.
WINDOW = 0.03
# Fewer losses are too few to see where they fall.
LEAST_ROWS = 5
# The fall of the smoothed loss that counts as one: in standard errors of a smoothed loss, of which
# the highest and the lowest of a search are up to five apart by noise alone; and relative to it.
LEAST_FALL = 6.0
LEAST_SHARE = 1e-3

ENDS = {
    "highest": "the highest learning rate",
    "loss": "a loss far above the lowest",
    "divergence": "a loss that is infinite or NaN",
}


@dataclass(frozen=True, kw_only=True)
class LearningRateRow:
    """One update of a search.

    Attributes:
        lr: The learning rate.
        loss: The batch's mean loss before the update; of all batches where gradients accumulate.
        smoothed: The mean loss of the updates around it, weighted by a Gaussian whose standard
            deviation is 3 % of the search.
    """

    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True, kw_only=True, repr=False)
class LearningRateSearch(Rows[LearningRateRow]):
    """The losses of a training that began with a low learning rate and ended with a high one.

    Attributes:
        rows: A row for each update, in the order of the learning rates.
        steps: The number of learning rates from the lowest to the highest, of which the search may
            not have come to the last ones.
        ended_by: The end of the search: `"highest"`, all learning rates were tried; `"loss"`, the
            loss rose too far; `"divergence"`, it became infinite or NaN, after the last row.
    """

    rows: tuple[LearningRateRow, ...]
    steps: int
    ended_by: End

    @property
    def suggestion(self) -> float | None:
        """The learning rate that the rule `valley` suggests; None where the loss never fell."""
        return self.suggest("valley")

    def suggest(self, rule: Rule = "valley") -> float | None:
        """Suggest a learning rate, from the part of the search in which the smoothed loss falls.

        That part ends at the lowest smoothed loss; what comes after a later loss above all of the
        beginning does not count. A start with a warm-up, or a schedule that lowers the learning
        rate, stands more than others.

        Args:
            rule: `"valley"`: the middle, on a logarithmic scale, between the last learning rate
                with less than half of the fall behind it and that of the lowest smoothed loss.
                `"steepest"`: where the smoothed loss falls most for a factor of the learning rate.
                `"minimum"`: a tenth of the learning rate of the lowest smoothed loss.

        Returns:
            The learning rate; None where there are fewer than 5 rows, or the smoothed loss falls by
            less than six standard errors, or a thousandth.

        Raises:
            ArgumentError: There is no such rule.
        """
        one_of("`rule`", rule, get_args(Rule))
        rates, _, smoothed = self._columns()
        lowest = self._lowest()
        if lowest is None:
            return None
        falling = smoothed[: lowest + 1]
        if rule == "minimum":
            return float(rates[lowest] / 10)
        if rule == "steepest":
            slopes = np.gradient(falling, np.log(rates[: lowest + 1]))
            return float(rates[int(slopes.argmin())])
        half = (falling.max() + falling[-1]) / 2
        return float(np.sqrt(rates[np.flatnonzero(falling >= half)[-1]] * rates[lowest]))

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the losses by learning rate, and the suggestion.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "a learning-rate search", (6.0, 3.4))
        rates, losses, smoothed = self._columns()
        ax.plot(rates, losses, color=PALE, linewidth=0.9, label="loss of a batch")
        ax.plot(rates, smoothed, color=SERIES[0], linewidth=1.8, label="smoothed")
        ax.set_xscale("log")
        if len(rates):
            # Losses that explode would flatten all others.
            lowest = self._lowest()
            shown = smoothed[: len(rates) // 2 + 1 if lowest is None else lowest + 1]
            low, high = float(shown.min()), float(shown.max())
            room = max(high - low, 1e-3 * max(abs(high), 1e-12))
            ax.set_ylim(low - 0.25 * room, high + 0.6 * room)
        suggestion = self.suggestion
        if suggestion is not None:
            at = int(np.argmin(np.abs(rates - suggestion)))
            ax.axvline(suggestion, color=SERIES[1], linewidth=1)
            ax.plot(suggestion, smoothed[at], "o", color=SERIES[1], markersize=5)
            ax.annotate(
                f" {suggestion:.2g}",
                (suggestion, 1),
                xycoords=("data", "axes fraction"),
                va="top",
                fontsize=9,
                color=ink(ax, inside=True),
            )
        calm(ax, grid="y")
        ax.set_xlabel("learning rate")
        ax.set_ylabel("loss")
        ax.legend(frameon=False, fontsize=8, labelcolor=GREY, loc="lower left")
        return ax

    def _lowest(self) -> int | None:
        """The place at which the falling part ends."""
        _, losses, smoothed = self._columns()
        return _lowest(losses, smoothed, WINDOW * self.steps)

    def _columns(self) -> tuple[NDArray[np.float64], ...]:
        return tuple(
            np.array([getattr(row, name) for row in self.rows], np.float64)
            for name in ("lr", "loss", "smoothed")
        )

    def _ending(self) -> str:
        of = f"{len(self.rows)} of {counted(self.steps, 'learning rate')}"
        return f"{of}, until {ENDS[self.ended_by]}"

    def __repr__(self) -> str:
        found = self.suggestion
        told = "no suggestion" if found is None else f"suggestion {found:.2g}"
        return f"<LearningRateSearch: {told}; {self._ending()}>"

    def _repr_html_(self) -> str:
        rows = []
        for rule in get_args(Rule):
            found = self.suggest(rule)
            rows.append((rule, "none" if found is None else f"{found:.2g}"))
        return html_table(("rule", "learning rate"), rows, right=(1,), caption=self._ending())


def search_of(
    rates: Sequence[float], losses: Sequence[float], *, steps: int, ended_by: End
) -> LearningRateSearch:
    """The search with these losses."""
    rows = zip(rates, losses, smooth(losses, WINDOW * steps), strict=True)
    return LearningRateSearch(
        rows=tuple(LearningRateRow(lr=lr, loss=loss, smoothed=mean) for lr, loss, mean in rows),
        steps=steps,
        ended_by=ended_by,
    )


def smooth(values: Sequence[float], deviation: float) -> list[float]:
    """Means of the values around each, with the weights of a Gaussian of this deviation."""
    count = len(values)
    if not count:
        return []
    # What is farther away weighs nothing.
    reach = min(math.ceil(8 * deviation), count - 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    both = (np.asarray(values, np.float64), np.ones(count))
    sums, total = (np.convolve(of, weights)[reach : reach + count] for of in both)
    means: list[float] = (sums / total).tolist()
    return means


def _lowest(
    losses: NDArray[np.float64], smoothed: NDArray[np.float64], deviation: float
) -> int | None:
    """The place of the lowest smoothed loss, before the loss rises above all of the beginning.

    Args:
        losses: The losses.
        smoothed: The smoothed losses.
        deviation: The deviation with which they were smoothed.

    Returns:
        The place; None where there is no fall but what noise explains.
    """
    lowest, fell = 0, False
    # The number of losses whose plain mean would have the same error.
    averaged = max(1.0, 2 * math.sqrt(math.pi) * deviation)
    for place, loss in enumerate(smoothed):
        if fell and loss > smoothed[: lowest + 1].max():
            break
        if loss < smoothed[lowest]:
            lowest = place
        before = smoothed[: lowest + 1]
        error = np.std(losses[: lowest + 1] - before) / math.sqrt(averaged)
        least = max(LEAST_FALL * error, LEAST_SHARE * abs(before.max()))
        fell = bool(before.max() - smoothed[lowest] > least)
    return lowest if fell and len(losses) >= LEAST_ROWS else None
