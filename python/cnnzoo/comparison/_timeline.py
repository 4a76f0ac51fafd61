"""The timeline: accuracy over the years of the papers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from cnnzoo._plots import PALE, PAPER, calm, ink, lines
from cnnzoo.comparison._style import SMALL_TEXT, Chart, colours, headline, nothing, root
from cnnzoo.comparison.row import ComparedModel, Rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes


# Widths of a year without models, and between two years, where a family has 1.
EMPTY, BETWEEN = 0.9, 0.4
# Room for the last name.
RIGHT = 0.7
# Angles of a name, of which the first is taken that leads it past other points and names.
ANGLES = (50, 65, 80, 90)
# Radius of a point and half the height of a name, in points.
RADIUS, HALF = 3.4, 4.2


class Slot(NamedTuple):
    """A family in a year, at its place on the axis; no family where the year has none."""

    x: float
    year: int
    family: str
    rows: list[ComparedModel]

    @property
    def tops(self) -> list[float]:
        """The accuracies, the least first."""
        return sorted(row.top1 or 0.0 for row in self.rows)


def timeline(rows: Rows) -> Chart:
    """The rows that have a year and an accuracy; each family has a place in its year."""
    drawn = [row for row in rows if row.top1 is not None and row.year is not None]
    if not drawn:
        raise nothing("a timeline", "a model with a year and an accuracy", rows)
    slots = _slots(drawn)
    width = min(14.0, max(6.0, 1.6 + 0.48 * (slots[-1].x + 1)))
    return Chart((width, 5.6), lambda ax: _draw(ax, drawn, slots))


def _slots(rows: Rows) -> list[Slot]:
    """Families by year, in each year the least accurate first; a gap stands for each year."""
    by_year: dict[int, dict[str, list[ComparedModel]]] = {}
    for row in rows:
        by_year.setdefault(row.year or 0, {}).setdefault(row.family, []).append(row)
    slots: list[Slot] = []
    x = 0.0
    for year in range(min(by_year), max(by_year) + 1):
        families = by_year.get(year, {})
        if not families:
            slots.append(Slot(x - (1 - EMPTY) / 2, year, "", []))
            x += EMPTY
        for family in sorted(families, key=lambda name: max(r.top1 or 0 for r in families[name])):
            slots.append(Slot(x, year, family, families[family]))
            x += 1
        x += BETWEEN
    return slots


def _draw(ax: Axes, rows: Rows, slots: list[Slot]) -> None:
    shown = colours(rows)
    calm(ax, grid="y")
    _draw_years(ax, slots)
    _draw_best(ax, slots)
    for slot in slots:
        colour = shown.get(slot.family, "")
        if slot.rows:
            ends = [slot.tops[0], slot.tops[-1]]
            ax.plot([slot.x] * 2, ends, color=colour, alpha=0.3, linewidth=4, zorder=2)
        for row in slot.rows:
            ax.scatter(
                slot.x,
                row.top1 or 0.0,
                s=math.pi * (2 * RADIUS) ** 2 / 4,
                facecolor=PAPER if row.data else colour,
                edgecolor=colour if row.data else PAPER,
                linewidth=1.2 if row.data else 0.7,
                zorder=3,
            )
    tops = [row.top1 or 0.0 for row in rows]
    high = max(tops) - min(tops)
    ax.set_ylim(min(tops) - max(1.0, 0.06 * high), max(tops) + max(4.0, 0.24 * high))
    ax.set_ylabel("top-1 accuracy on ImageNet, %")
    more = any(row.data for row in rows)
    line = "the best so far of filled points · hollow: more data than ImageNet-1k"
    headline(
        ax,
        "Accuracy by the year of the paper",
        "weights as published, with recipes of later years too · line: "
        + (line if more else "the best so far"),
    )
    root(ax).draw_without_rendering()  # which lays it out
    _write_names(ax, [slot for slot in slots if slot.rows])


def _draw_years(ax: Axes, slots: list[Slot]) -> None:
    """Years below the axis, each with a band."""
    by_year: dict[int, list[Slot]] = {}
    for slot in slots:
        by_year.setdefault(slot.year, []).append(slot)
    side = (1 + BETWEEN) / 2
    edges = {}
    for at, (year, own) in enumerate(by_year.items()):
        half = side if own[0].rows else (EMPTY + BETWEEN) / 2
        edges[year] = (own[0].x - half, own[-1].x + half)
        if at % 2:
            ax.axvspan(*edges[year], color=lines(ax), alpha=0.6, zorder=0, linewidth=0)
    middles = [(left + right) / 2 for left, right in edges.values()]
    labels = ax.set_xticks(middles, [str(year) for year in by_year], fontsize=8)
    ax.tick_params(axis="x", length=0, labelcolor=ink(ax))
    for tick, own in zip(labels, by_year.values(), strict=True):
        if not own[0].rows:
            tick.label1.set_color(PALE)
    ax.set_xlim(slots[0].x - side, slots[-1].x + side + RIGHT)


def _draw_best(ax: Axes, slots: list[Slot]) -> None:
    """A line of steps through the best accuracy so far, without weights of more data."""
    best = 0.0
    across, up = [], []
    for slot in slots:
        tops = [row.top1 or 0.0 for row in slot.rows if not row.data]
        if tops and max(tops) > best:
            best = max(tops)
            across.append(slot.x)
            up.append(best)
    right = ax.get_xlim()[1]
    ax.step([*across, right], [*up, best], where="post", color=PALE, linewidth=1.0, zorder=1)


def _write_names(ax: Axes, slots: list[Slot]) -> None:
    """The name of each family above its best, turned so far that it meets no point or name."""
    from matplotlib.textpath import TextPath

    dots = 72 / root(ax).dpi
    circles = [
        [(x, y, RADIUS) for x, y in (ax.transData.transform([(s.x, t) for t in s.tops]) * dots)]
        for s in slots
    ]
    # A name begins there.
    begins = [(x, y + 9, HALF) for x, y, _ in (own[-1] for own in circles)]
    written: list[tuple[float, float, float]] = []
    for at, slot in enumerate(slots):
        met = [one for other, own in enumerate(circles) if other != at for one in own]
        met += [*begins[at + 1 :], *written]
        length = float(TextPath((0, 0), slot.family, size=SMALL_TEXT).get_extents().width)
        for angle in ANGLES:
            way = _way(*circles[at][-1][:2], length, angle)
            if not any(
                math.hypot(x - there, y - above) < HALF + radius
                for x, y in way
                for there, above, radius in met
            ):
                break
        written += [(x, y, HALF) for x, y in way]
        _write(ax, slot, math.radians(angle))


def _write(ax: Axes, slot: Slot, turn: float) -> None:
    across, up = math.cos(turn), math.sin(turn)
    ax.annotate(
        slot.family,
        (slot.x, slot.tops[-1]),
        # The middle of its height leads away from the point.
        (6 * across + 2.5 * up, 6 * up - 2.5 * across),
        textcoords="offset points",
        rotation=math.degrees(turn),
        rotation_mode="anchor",
        fontsize=SMALL_TEXT,
        color=ink(ax, inside=True),
        zorder=4,
    )


def _way(x: float, y: float, length: float, angle: float) -> list[tuple[float, float]]:
    """Places along a name that begins beside a point, of a distance of half its height."""
    across, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    steps = [8 + HALF * step for step in range(int(length / HALF) + 1)]
    return [(x + step * across, y + step * up) for step in steps]
