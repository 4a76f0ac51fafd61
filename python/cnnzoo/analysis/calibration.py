"""Calibration: whether predictions are right as often as their probabilities say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import whole
from cnnzoo._html import html_bar, html_table
from cnnzoo._plots import GREY, PALE, SERIES, axes_for, calm, ink
from cnnzoo._rows import Rows
from cnnzoo._text import counted, percent, table
from cnnzoo.analysis._intervals import wilson, with_bounds
from cnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BINS = 1000
WRONG = "#d1603d"


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """The predictions whose probability is in one range.

    Attributes:
        low: The range's lower end, which does not belong to it, unless it is 0.
        high: The range's upper end, which belongs to it.
        images: Number of images.
        confidence: Mean probability of the predicted class; NaN without images.
        accuracy: Share of right predictions; NaN without images.
        interval: 95 % confidence interval of the accuracy (Wilson's).
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, repr=False)
class Calibration(Rows[CalibrationBin]):
    """The accuracy of predictions by their probability (reliability diagram).

    Attributes:
        bins: Ranges of equal width from 0 to 1.
        undecided: Number of images without a predicted class, which are in no bin.
    """

    bins: tuple[CalibrationBin, ...]
    undecided: int = 0

    _rows_are = "bins"

    def _values(self, row: CalibrationBin) -> dict[str, Any]:
        return with_bounds(super()._values(row))

    @property
    def images(self) -> int:
        """Number of images in the bins."""
        return sum(one.images for one in self.bins)

    @property
    def error(self) -> float:
        """Expected calibration error (ECE; Guo et al., arXiv:1706.04599).

        The mean of |accuracy - confidence| over the bins, weighted by their images; NaN without
        images.
        """
        gaps = [one.images * abs(one.accuracy - one.confidence) for one in self.bins if one.images]
        return math.fsum(gaps) / self.images if gaps else math.nan

    @property
    def most_error(self) -> float:
        """Maximum calibration error (MCE): the largest |accuracy - confidence| of a bin."""
        gaps = [abs(one.accuracy - one.confidence) for one in self.bins if one.images]
        return max(gaps, default=math.nan)

    @property
    def confidence(self) -> float:
        """Mean probability of the predicted classes."""
        total = math.fsum(one.images * one.confidence for one in self.bins if one.images)
        return total / self.images if self.images else math.nan

    @property
    def accuracy(self) -> float:
        """Share of right predictions among the images in the bins."""
        total = math.fsum(one.images * one.accuracy for one in self.bins if one.images)
        return total / self.images if self.images else math.nan

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw accuracy by confidence, with 95 % confidence intervals.

        Points below the diagonal are of predictions that are right less often than they say. The
        pale bars at the bottom are the bins' shares of the images.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "a calibration", (4.0, 4.0))
        full = [one for one in self.bins if one.images]
        for one in full:
            share = one.images / self.images
            ax.bar(
                (one.low + one.high) / 2,
                0.3 * share,
                0.9 * (one.high - one.low),
                color=PALE,
                alpha=0.5,
                linewidth=0,
            )
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        x = [one.confidence for one in full]
        for one in full:
            ax.plot(
                [one.confidence] * 2, [one.confidence, one.accuracy], color=WRONG, linewidth=1.2
            )
            ax.plot([one.confidence] * 2, one.interval, color=SERIES[0], linewidth=5, alpha=0.2)
        y = [one.accuracy for one in full]
        ax.plot(x, y, "o-", color=SERIES[0], linewidth=1, markersize=4, clip_on=False, zorder=3)
        if full:
            told = f"ECE {self.error:.1%}, {counted(self.images, 'image')}"
            colour = ink(ax, inside=True)
            ax.text(0.02, 0.97, told, va="top", fontsize=9, color=colour, transform=ax.transAxes)
        calm(ax, grid="both")
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        ax.set_aspect("equal")
        return ax

    def table(self) -> str:
        """A table of the bins that have images, as text."""
        head = ("confidence", "images", "mean", "accuracy", "95 %")
        return table(head, [self._cells(one) for one in self.bins if one.images], right=range(1, 5))

    def _cells(self, one: CalibrationBin) -> tuple[str, ...]:
        low, high = one.interval
        return (
            f"{one.low:.2f} to {one.high:.2f}",
            str(one.images),
            percent(one.confidence),
            percent(one.accuracy),
            f"{low:.1%} to {high:.1%}",
        )

    def __repr__(self) -> str:
        return (
            f"<Calibration: ECE {percent(self.error) or 'none'}, confidence "
            f"{percent(self.confidence) or 'none'}, accuracy {percent(self.accuracy) or 'none'}, "
            f"{counted(self.images, 'image')}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (*self._cells(one), html_bar(one.images / self.images))
            for one in self.bins
            if one.images
        ]
        head = ("confidence", "images", "mean", "accuracy", "95 %", "")
        return html_table(head, rows, right=range(1, 5), caption=repr(self)[1:-1])


def calibration_of(
    confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15, undecided: int = 0
) -> Calibration:
    """Sort predictions into bins by their probability.

    Args:
        confidence: Probability of each predicted class (N,), from 0 to 1.
        correct: Whether each prediction is right (N,).
        bins: Number of bins.
        undecided: Number of images without a predicted class.

    Raises:
        ArgumentError: `bins` is no whole number from 1 to 1000, or the arrays are no probabilities
            and no truth values of the same number.
    """
    bins = whole("`bins`", bins, least=1, most=MOST_BINS)
    p, right = np.asarray(confidence, np.float64), np.asarray(correct)
    if p.ndim != 1 or right.shape != p.shape or right.dtype != bool:
        raise ArgumentError(
            "calibration: expected probabilities (N,) and as many truth values, got "
            f"{p.shape} and {right.dtype} {right.shape}"
        )
    if not ((p >= 0) & (p <= 1)).all():
        raise ArgumentError("calibration: expected probabilities of 0 to 1, got others")
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges[1:-1], p)
    return Calibration(
        bins=tuple(
            _bin(p[place == at], right[place == at], edges[at : at + 2].tolist())
            for at in range(bins)
        ),
        undecided=undecided,
    )


def _bin(
    p: NDArray[np.float64], right: NDArray[np.bool_], edges: Sequence[float]
) -> CalibrationBin:
    images, hits = len(p), int(right.sum())
    return CalibrationBin(
        low=edges[0],
        high=edges[1],
        images=images,
        confidence=float(p.mean()) if images else math.nan,
        accuracy=hits / images if images else math.nan,
        interval=wilson(hits, images),
    )
