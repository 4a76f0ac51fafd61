"""Style that the charts of a comparison share: colours of families, names, titles and legends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnzoo._plots import GREY, SERIES, ink, literal
from cnnzoo._text import counted
from cnnzoo.comparison.row import ComparedModel, Rows
from cnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# As many as there are families; neighbours differ in hue and in lightness.
COLOURS = (
    *SERIES,
    *("#a4243b", "#3a7d44", "#a8c256", "#8c5e34", "#e58fb1", "#5c6b8a", "#46b8c4", "#b8860b"),
    *("#4f4789", "#f2c14e", "#2d6a4f", "#ff8c69", "#577590", "#cdb4db", "#7d4f50", "#98c1d9"),
    *("#b23a48", "#52b788", "#9d8189", "#dda15e"),
)
SMALL_TEXT = 7.5


class Chart(NamedTuple):
    """A chart: the size in inches of a figure that it fills, and the function that draws it."""

    size: tuple[float, float]
    draw: Callable[[Axes], None]


def colours(rows: Rows) -> dict[str, str]:
    """A colour for each family, in the order of their years."""
    years: dict[str, int] = {}
    for row in rows:
        years.setdefault(row.family, row.year or 0)
    ordered = sorted(years, key=lambda name: (years[name], name))
    return {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(ordered)}


def names(rows: Rows) -> list[str]:
    """A short name to draw for each row: where names repeat, with what tells them apart."""
    found = [row.name for row in rows]
    additions: tuple[Callable[[ComparedModel], str], ...] = (
        lambda row: row.source,
        lambda row: row.weights.partition("/")[2],
        lambda row: f"{row.input_size} px",
    )
    for addition in additions:
        told: dict[str, set[str]] = {}
        for name, row in zip(found, rows, strict=True):
            told.setdefault(name, set()).add(addition(row))
        found = [
            f"{name} {addition(row)}".rstrip() if len(told[name]) > 1 else name
            for name, row in zip(found, rows, strict=True)
        ]
    return [literal(name) for name in found]


def headline(ax: Axes, title: str, note: str) -> None:
    """A title with a note below it, above the axes."""
    for text, height, size, colour, weight in (
        (title, 20, 11, ink(ax), "bold"),
        (note, 7, 8, GREY, "normal"),
    ):
        ax.annotate(
            text,
            (0, 1),
            (0, height),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=size,
            color=colour,
            weight=weight,
        )


def legend(ax: Axes, entries: Sequence[Any]) -> None:
    """A legend to the right of the axes."""
    ax.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        fontsize=8,
        frameon=False,
        labelcolor=ink(ax),
        handlelength=1.6,
        handletextpad=0.7,
        labelspacing=0.55,
        borderaxespad=0,
        borderpad=0,
    )


def root(ax: Axes) -> Any:
    """The whole figure of the axes, which may be in a part of it."""
    part: Any = ax.figure
    return part.figure


def nothing(what: str, expected: str, rows: Rows, hint: str = "") -> ArgumentError:
    """The error that a chart has no row to draw."""
    of = f" of {counted(len(rows), 'model')}" if rows else ""
    return ArgumentError(f"{what}: expected {expected}, got none{of}{hint}")
