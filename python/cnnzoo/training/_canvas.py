"""Curves in text: a canvas of characters, for terminals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The dots of a character of braille, as bits of its number: 4 rows of 2.
BRAILLE = 0x2800
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
# Colours of a terminal, which are legible on a dark and a light one: bright blue and magenta.
INKS = ("\x1b[94m", "\x1b[35m")
# A share of the highest value that is next to nothing.
SMALL = 0.1
DIM, PLAIN = "\x1b[2m", "\x1b[0m"
# Marks of curves where there are neither colours nor braille.
MARKS = "*o"


@dataclass(frozen=True)
class Curve:
    """A curve of points from left to right; its ink is one of `INKS`, or dim where it is none."""

    name: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    ink: int | None


@dataclass(frozen=True)
class Panel:
    """Curves on the same axes.

    Attributes:
        title: The vertical axis.
        curves: The curves, the later ones over the earlier.
        percent: Whether values are shares, which are written in per cent.
    """

    title: str
    curves: tuple[Curve, ...]
    percent: bool = False


def draw_panels(
    panels: Sequence[Panel], *, width: int, height: int, last: float, plain: bool
) -> list[str]:
    """The lines of text of panels beside each other.

    Args:
        panels: The panels.
        width: Columns of all together.
        height: Lines, with the title and the axis.
        last: The right end of the horizontal axis, which begins at 0.
        plain: Whether to use neither colours nor other characters than those of ASCII.
    """
    each = max(20, (width - 3 * (len(panels) - 1)) // max(1, len(panels)))
    blocks = [_panel(panel, each, max(4, height), last, plain) for panel in panels]
    return ["   ".join(parts).rstrip() for parts in zip(*blocks, strict=True)]


@dataclass(frozen=True)
class _Area:
    """The area between the axes: its characters, and the values at its ends."""

    columns: int
    rows: int
    low: float
    high: float
    last: float


def _panel(panel: Panel, width: int, height: int, last: float, plain: bool) -> list[str]:
    curves = [_finite(curve) for curve in panel.curves]
    low, high = _bounds(curves, panel)
    margin = max(len(_told(value, panel.percent)) for value in (low, high)) + 1
    columns, rows = width - margin - 1, height - 2
    cells = _cells(curves, _Area(columns, rows, low, high, last), plain)
    wall, corner, floor = ("|", "+", "-") if plain else ("│", "└", "─")
    dim, off = ("", "") if plain else (DIM, PLAIN)
    lines = [_title(panel.title, curves, width, plain)]
    for row, cell in enumerate(cells):
        told = _told(high, panel.percent) if row == 0 else ""
        told = _told(low, panel.percent) if row == rows - 1 else told
        lines.append(f"{dim}{told:>{margin}}{wall}{off}{cell}")
    right = f" {last:g}"
    ends = f"{corner}{floor * (columns - len(right))}{right}"
    return [*lines, f"{dim}{'0':>{margin}}{ends}{off}"]


def _cells(curves: Sequence[Curve], area: _Area, plain: bool) -> list[str]:
    """The characters of the area, a text for each row."""
    down, across = (1, 1) if plain else DOTS.shape
    dots = np.zeros((area.rows, area.columns), int)
    owner = np.full(dots.shape, -1)
    for number, curve in enumerate(curves):
        for x, y in _walk(curve, area, across, down):
            row, column = y // down, x // across
            before = int(owner[row, column])
            if before >= 0 and curves[before].ink is None:
                dots[row, column] = 0 if before != number else dots[row, column]
            owner[row, column] = number
            dots[row, column] |= DOTS[y % down, x % across]
    lines = []
    for row in range(area.rows):
        text = ""
        for column in range(area.columns):
            number = int(owner[row, column])
            if number < 0:
                text += " "
                continue
            ink = curves[number].ink
            if plain:
                text += "." if ink is None else MARKS[ink]
            else:
                text += (DIM if ink is None else INKS[ink]) + chr(BRAILLE + dots[row, column])
                text += PLAIN
        lines.append(text)
    return lines


def _walk(curve: Curve, area: _Area, across: int, down: int) -> list[tuple[int, int]]:
    """The dots of a curve, (x, y) from the top left, of so many to a character; joined by lines."""
    right, bottom = across * area.columns - 1, down * area.rows - 1
    xs = (curve.x / area.last * right).clip(0, right)
    ys = ((area.high - curve.y) / (area.high - area.low) * bottom).clip(0, bottom)
    found = {(round(x), round(y)) for x, y in zip(xs, ys, strict=True)}
    for at in range(len(xs) - 1):
        steps = math.ceil(max(abs(xs[at + 1] - xs[at]), abs(ys[at + 1] - ys[at]), 1))
        shares = np.linspace(0, 1, steps + 1)
        between = zip(
            xs[at] + shares * (xs[at + 1] - xs[at]),
            ys[at] + shares * (ys[at + 1] - ys[at]),
            strict=True,
        )
        found |= {(round(x), round(y)) for x, y in between}
    return sorted(found)


def _title(title: str, curves: Sequence[Curve], width: int, plain: bool) -> str:
    """The title, and the name of each curve in its colour, as far as there is room."""
    text, length = title, len(title)
    for curve in curves:
        if curve.ink is None or not len(curve.y):
            continue
        mark = f"{MARKS[curve.ink]} " if plain else ""
        name = f"  {mark}{curve.name}"
        if length + len(name) > width:
            break
        text += name if plain else f"{INKS[curve.ink]}{name}{PLAIN}"
        length += len(name)
    return text + " " * max(0, width - length)


def _bounds(curves: Sequence[Curve], panel: Panel) -> tuple[float, float]:
    """The lowest and the highest value; of dim curves, nearly all count."""
    ends = [end for curve in curves if len(curve.y) for end in _ends(curve)]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if panel.percent and not ends:
        return 0.0, 1.0
    if high - low < 1e-9 * max(abs(high), abs(low), 1e-9):
        room = max(abs(high), 1e-3) / 10
        return low - room, high + room
    # A loss that has become small is seen beside no loss at all.
    return (0.0 if 0 < low < high * SMALL else low), high


def _ends(curve: Curve) -> tuple[float, float]:
    if curve.ink is not None:
        return float(curve.y.min()), float(curve.y.max())
    return tuple(np.quantile(curve.y, (0.02, 0.98)).tolist())


def _finite(curve: Curve) -> Curve:
    known = np.isfinite(curve.y)
    return Curve(curve.name, curve.x[known], curve.y[known], curve.ink)


def _told(value: float, percent: bool) -> str:
    return f"{value:.1%}" if percent else f"{value:.3g}"
