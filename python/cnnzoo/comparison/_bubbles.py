"""The bubble chart: accuracy over a cost, with an area for the parameters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from cnnzoo._plots import GREY, PALE, PAPER, calm, ink
from cnnzoo.comparison._labels import Box, Labelled, places
from cnnzoo.comparison._style import (
    SMALL_TEXT,
    Chart,
    colours,
    headline,
    legend,
    names,
    nothing,
    root,
)
from cnnzoo.comparison.row import ComparedModel, Rows, measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 10.0
# The least height in inches, and that of the legend with these lines above and below it.
HEIGHT, LINE, BESIDE = 6.2, 0.195, 2.1
# The radius of the largest bubble in points, and the share of the axes that all may fill.
LARGEST = 30.0
FILLED = 0.12
# Points whose labels may have a line, of more than which only the best have one.
MANY = 45

TITLES = {
    "macs": ("multiply-adds", "multiply-adds for one image"),
    "params": ("parameters", "parameters"),
    "memory": ("memory", "memory for weights and values of one image, in bytes"),
    "milliseconds": ("latency", "milliseconds"),
}


def bubbles(rows: Rows, x: str) -> Chart:
    """The chart of the rows that have an accuracy and this cost."""
    drawn = [row for row in rows if row.top1 is not None and getattr(row, x) is not None]
    if not drawn:
        hint = "; `measure` measures times" * (x == "milliseconds" and not measurement(rows))
        raise nothing(f"a plot of accuracy over {TITLES[x][0]}", "a model with both", rows, hint)
    height = max(HEIGHT, BESIDE + LINE * len({row.family for row in drawn}))
    return Chart((WIDTH, height), lambda ax: _draw(ax, drawn, x))


class Bubble(NamedTuple):
    """A model at its cost and accuracy; the area is in square points."""

    row: ComparedModel
    x: float
    y: float
    area: float

    @property
    def radius(self) -> float:
        """The radius in points."""
        return math.sqrt(self.area / math.pi)


def _draw(ax: Axes, rows: Rows, x: str) -> None:
    shown = colours(rows)
    across = [float(getattr(row, x)) for row in rows]
    up = [row.top1 or 0.0 for row in rows]
    _set_axes(ax, across, up)
    title, label = TITLES[x]
    settings = measurement(rows) if x == "milliseconds" else []
    ax.set_xlabel(f"{label} for {settings[0]}" if len(settings) == 1 else label)
    ax.set_ylabel("top-1 accuracy on ImageNet, %")
    headline(ax, f"Accuracy and {title}", "area: parameters · accuracies as published")
    legend(ax, _entries(rows, shown))
    root(ax).draw_without_rendering()  # which lays it out
    scale = _scale(ax, rows)
    drawn = [
        Bubble(row, cost, top1, row.params * scale)
        for row, cost, top1 in zip(rows, across, up, strict=True)
    ]
    for family, colour in shown.items():
        _draw_family(ax, [one for one in drawn if one.row.family == family], colour)
    _draw_sizes(ax, rows, scale)
    root(ax).draw_without_rendering()
    _label(ax, drawn)


def _set_axes(ax: Axes, across: Sequence[float], up: Sequence[float]) -> None:
    """Limits and ticks of the axes, the horizontal one logarithmic."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ax.set_xscale("log")
    calm(ax, grid="both")
    spread = math.log10(max(across) / min(across)) if len(across) > 1 else 0
    margin = 10 ** max(0.08, 0.06 * spread)
    ax.set_xlim(min(across) / margin, max(across) * margin**1.5)
    high = max(up) - min(up)
    ax.set_ylim(min(up) - max(0.5, 0.08 * high), max(up) + max(0.5, 0.12 * high))
    subs = (1, 2, 5) if spread < 2.2 else (1, 3) if spread < 3 else (1,)  # noqa: PLR2004
    ax.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(_short))
    ax.tick_params(axis="x", which="minor", length=0)


def _scale(ax: Axes, rows: Rows) -> float:
    """The area of a parameter in square points."""
    dots = 72 / float(root(ax).dpi)
    space = FILLED * ax.bbox.width * ax.bbox.height * dots**2
    return min(
        math.pi * LARGEST**2 / max(row.params for row in rows),
        space / sum(row.params for row in rows),
    )


def _draw_family(ax: Axes, own: list[Bubble], colour: str) -> None:
    """The bubbles of a family, and a line through those that are better than all smaller ones."""
    own = sorted(own, key=lambda one: (one.x, -one.y))
    line = [one for at, one in enumerate(own) if all(one.y > other.y for other in own[:at])]
    if len(line) > 1:
        across, up = [one.x for one in line], [one.y for one in line]
        ax.plot(across, up, color=colour, alpha=0.45, linewidth=1.2, zorder=1.5)
    for one in own:
        more = bool(one.row.data)
        ax.scatter(
            one.x,
            one.y,
            # Matplotlib's size is that of the square around a circle.
            s=one.area * 4 / math.pi,
            facecolor=(colour, 0.18) if more else (colour, 0.8),
            edgecolor=colour if more else PAPER,
            linewidth=1.2 if more else 0.8,
            # Small ones lie on large ones.
            zorder=2 + 1 / (1 + one.row.params / 1e6),
        )


def _entries(rows: Rows, shown: dict[str, str]) -> list[Any]:
    """The entries of the legend: families, and the mark of more data."""
    from matplotlib.lines import Line2D

    def circle(label: str, fill: str, edge: str) -> Line2D:
        line = Line2D([], [], linestyle="", marker="o", markersize=9, label=label)
        line.set(markerfacecolor=fill, markeredgecolor=edge, markeredgewidth=0.9)
        return line

    entries = [circle(family or "other", colour, PAPER) for family, colour in shown.items()]
    if any(row.data for row in rows):
        entries.append(circle("more data than\nImageNet-1k", "none", GREY))
    return entries


def _draw_sizes(ax: Axes, rows: Rows, scale: float) -> None:
    """Below the legend, circles of round numbers of parameters, one in the other."""
    from matplotlib.offsetbox import AnchoredOffsetbox, DrawingArea
    from matplotlib.patches import Circle
    from matplotlib.text import Text

    sizes = _round_sizes(max(row.params for row in rows))
    radii = [math.sqrt(size * scale / math.pi) for size in sizes]
    largest = radii[-1]
    area = DrawingArea(2 * largest + 42, max(2 * largest, 30) + 14, clip=False)
    for at, (size, radius) in enumerate(zip(sizes, radii, strict=True)):
        circle = Circle((largest, radius), radius, fill=False, edgecolor=GREY, linewidth=0.8)
        area.add_artist(circle)
        height = max(2 * radius, 10 * (at + 1) - 5)
        text = Text(2 * largest + 6, height - 3, _short(size), fontsize=SMALL_TEXT, color=ink(ax))
        area.add_artist(text)
    area.add_artist(Text(0, max(2 * largest, 30) + 7, "parameters", fontsize=8, color=ink(ax)))
    key = AnchoredOffsetbox(
        "lower left",
        child=area,
        pad=0,
        borderpad=0,
        frameon=False,
        bbox_to_anchor=(1.02, 0.0),
        bbox_transform=ax.transAxes,
    )
    ax.add_artist(key)


def _round_sizes(most: int) -> list[float]:
    """Three round numbers of parameters, the largest near the most."""
    whole = 10 ** math.floor(math.log10(most))
    largest = whole * max(one for one in (1, 2, 5) if one * whole <= most)
    return [largest / 20, largest / 5, largest]


def _short(value: float, _: object = None) -> str:
    """A round number of an axis: `200M`, `1G`."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _label(ax: Axes, drawn: Sequence[Bubble]) -> None:
    """Names beside the bubbles; of many, all those of the best."""
    from matplotlib.textpath import TextPath

    dots = 72 / root(ax).dpi
    middles = ax.transData.transform([(one.x, one.y) for one in drawn]) * dots
    texts = names([one.row for one in drawn])
    points = [
        Labelled(
            x=float(x),
            y=float(y),
            radius=one.radius,
            width=float(TextPath((0, 0), text, size=SMALL_TEXT).get_extents().width) + 2,
            height=1.25 * SMALL_TEXT,
            important=len(drawn) <= MANY or _leads(one, drawn),
        )
        for one, text, (x, y) in zip(drawn, texts, middles, strict=True)
    ]
    left, bottom, right, top = (float(side) * dots for side in ax.bbox.extents)
    found = places(points, Box(left, bottom, right, top))
    for one, text, point, box in zip(drawn, texts, points, found, strict=True):
        if box is not None:
            _write(ax, text, point, box, (one.x, one.y))


def _leads(one: Bubble, drawn: Sequence[Bubble]) -> bool:
    """Whether no cheaper model is as accurate."""
    return not any(
        other.y >= one.y and other.x <= one.x and other.row is not one.row for other in drawn
    )


def _write(ax: Axes, text: str, point: Labelled, box: Box, place: tuple[float, float]) -> None:
    note = ax.annotate(
        text,
        place,
        (box.left - point.x + 1, box.bottom - point.y + 1),
        textcoords="offset points",
        fontsize=SMALL_TEXT,
        color=ink(ax, inside=True),
        zorder=5,
    )
    note.set_in_layout(False)
    if box.distance(point.x, point.y) < point.radius + SMALL_TEXT / 2:
        return
    nearest = (
        min(max(point.x, box.left), box.right) - point.x,
        min(max(point.y, box.bottom), box.top) - point.y,
    )
    style = {"arrowstyle": "-", "color": PALE, "linewidth": 0.6}
    style |= {"shrinkA": 0, "shrinkB": point.radius}
    line = ax.annotate("", place, nearest, textcoords="offset points", arrowprops=style, zorder=4)
    line.set_in_layout(False)
