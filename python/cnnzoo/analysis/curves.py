"""Robustness as curves: the accuracy of a network by the strength of a distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnzoo._html import html_table
from cnnzoo._plots import GREY, SERIES, axes_for, calm, ink, literal
from cnnzoo._rows import Rows
from cnnzoo._text import counted, percent, table
from cnnzoo.analysis._intervals import with_bounds
from cnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, kw_only=True)
class RobustnessPoint:
    """The accuracy at one strength of a distortion.

    Attributes:
        strength: The strength, in the curve's unit.
        images: Number of images.
        correct: Number of these whose predicted class is the true one.
        accuracy: Their share.
        interval: Its 95 % confidence interval (Wilson's).
    """

    strength: float
    images: int
    correct: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True, repr=False)
class RobustnessCurve(Rows[RobustnessPoint]):
    """The accuracy by the strength of one distortion.

    Attributes:
        name: The distortion: shift, rotation, scale, noise or occlusion.
        unit: The unit of its strength.
        points: A point for each strength, in ascending order; one of them changes nothing.
    """

    name: str
    unit: str
    points: tuple[RobustnessPoint, ...]

    _rows_are = "points"

    def _values(self, row: RobustnessPoint) -> dict[str, Any]:
        return with_bounds(super()._values(row))

    def plot(self, *, ax: Axes | None = None, label: str | None = None) -> Axes:
        """Draw accuracy by strength, with the 95 % confidence interval as a band.

        Args:
            ax: Matplotlib axes to draw on, beside the curves that are there; new ones if not given.
            label: The curve's name in the legend, if it should have one.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "robustness", (3.6, 2.8))
        from matplotlib.ticker import PercentFormatter

        colour = SERIES[len(ax.lines) % len(SERIES)]
        x = [point.strength for point in self.points]
        low, high = zip(*(point.interval for point in self.points), strict=True)
        name = None if label is None else literal(label)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        y = [point.accuracy for point in self.points]
        ax.plot(x, y, "o-", color=colour, markersize=3.5, linewidth=1.4, label=name)
        ax.set_title(self.name, fontsize=9, color=ink(ax))
        ax.set_xlabel(self.unit)
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        if self.name == "occlusion":
            ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_ylim(0, 1)
        calm(ax, grid="both")
        if label is not None:
            ax.legend(frameon=False, fontsize=8, labelcolor=GREY, loc="lower left")
        return ax

    def __repr__(self) -> str:
        accuracies = ", ".join(f"{p.strength:g}: {percent(p.accuracy)}" for p in self.points)
        return f"<RobustnessCurve {self.name} ({self.unit}): {accuracies}>"


@dataclass(frozen=True, kw_only=True, repr=False)
class Robustness(Rows[RobustnessCurve]):
    """The accuracy of a network on distorted images, a curve for each distortion.

    `found["rotation"]` is a curve; `to_dict` and `to_pandas` have a row for each point of each.

    Attributes:
        name: The name of the network.
        images: Number of images.
        accuracy: The share of right predictions on the images as they are.
        curves: A curve for each distortion.
    """

    name: str
    images: int
    accuracy: float
    curves: tuple[RobustnessCurve, ...]

    _rows_are = "curves"
    _found_by = "name"

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns by their names, as `pandas.DataFrame` takes them; a value for each point."""
        columns: dict[str, list[Any]] = {"distortion": [], "unit": []}
        for curve in self.curves:
            columns["distortion"] += [curve.name] * len(curve)
            columns["unit"] += [curve.unit] * len(curve)
            for name, values in curve.to_dict().items():
                columns.setdefault(name, []).extend(values)
        return columns

    def plot(self, *, label: str | None = None, ax: Any = None) -> Any:
        """Draw the curves beside each other.

        Drawn on the axes of another network's, each has a line in each of them.

            second.plot(ax=first.plot())

        Args:
            label: The name in the legend; the network's if not given.
            ax: As many matplotlib axes as there are curves; new ones if not given.

        Returns:
            The axes, one for each curve.

        Raises:
            ArgumentError: The axes are more or fewer, or there are no curves.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        count = len(self.curves)
        if not count:
            raise ArgumentError("a plot of robustness: expected at least one distortion, got none")
        axes = list(np.ravel(axes_for(ax, "robustness", (2.5 * count + 0.3, 2.6), columns=count)))
        for curve, on in zip(self.curves, axes, strict=True):
            curve.plot(ax=on, label=(label or self.name) if on is axes[0] else None)
            if on is not axes[0]:
                on.tick_params(labelleft=False)
        axes[0].set_ylabel("accuracy")
        return axes

    def table(self) -> str:
        """A table of accuracies by distortion and strength, as text."""
        return table(("distortion", "strength", "accuracy", "95 %"), self._rows(), right=(1, 2, 3))

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                f"{curve.name}, {curve.unit}",
                f"{point.strength:.3g}",
                percent(point.accuracy),
                "{:.1%} to {:.1%}".format(*point.interval),
            )
            for curve in self.curves
            for point in curve.points
        ]

    def __repr__(self) -> str:
        worst = ", ".join(
            f"{curve.name} {percent(min(point.accuracy for point in curve.points))}"
            for curve in self.curves
        )
        at_worst = f"; at worst {worst}" if worst else ""
        return (
            f"<Robustness of {self.name} on {counted(self.images, 'image')}: "
            f"{percent(self.accuracy)}{at_worst}>"
        )

    def _repr_html_(self) -> str:
        head = ("distortion", "strength", "accuracy", "95 %")
        return html_table(head, self._rows(), right=(1, 2, 3), caption=repr(self)[1:-1])
