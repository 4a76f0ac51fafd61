"""Frames around items: those of parts and of repeated steps, and the panels of stages."""

from __future__ import annotations

from cnnzoo.diagram._letters import fitted, text_width
from cnnzoo.diagram._sketch import FrameLook, Sketch, Text

SIDE, TOP, BOTTOM = 12.0, 24.0, 12.0
SIZE = 11.0
MOST = 240.0
# Between a title and a wire.
CLEAR = 8.0


def framed(inner: Sketch, name: str, title: str, look: FrameLook) -> Sketch:
    """A sketch in a frame with a title, past which the wires go; `name` is its tooltip."""
    title = fitted(title, MOST, SIZE, bold=True)
    left, right = inner.left + SIDE, inner.right + SIDE
    size = text_width(title, SIZE, bold=True)
    entry = inner.entries[0].points[0][0] if inner.entries else 0.0
    x, left, right = _title_place(left, right, size, entry)
    outer = Sketch(left=left, right=right, height=TOP + inner.height + BOTTOM)
    heading = Text(x=x + left, y=16.0, text=title, size=SIZE, bold=True, tone="title")
    outer.surround(look, (left, right, 0.0, outer.height), [heading], title=name)
    outer.put(inner, 0.0, TOP)
    outer.entries = tuple(end.moved(0.0, TOP) for end in inner.entries)
    outer.exits = tuple(end.moved(0.0, TOP).down_to(outer.height) for end in inner.exits)
    return outer


def _title_place(
    left: float, right: float, size: float, entry: float
) -> tuple[float, float, float]:
    """The left end of a title that a wire in the column `entry` does not cross, and the extents."""
    if left + entry >= size + SIDE + CLEAR:
        return -left + SIDE, left, right
    start = entry + CLEAR
    return start, left, max(right, start + size + SIDE)


def panel(sketch: Sketch, name: str, rows: tuple[float, float], reach: tuple[float, float]) -> None:
    """Draw the panel of a stage behind rows of a column."""
    top, bottom = rows
    title = fitted(name, MOST, SIZE, bold=True)
    size = text_width(title, SIZE, bold=True)
    left = max(reach[0] + SIDE, size + SIDE + CLEAR)
    right = reach[1] + SIDE
    heading = Text(x=SIDE, y=16.0, text=title, size=SIZE, bold=True, tone="title")
    sketch.surround("panel", (left, right, top, bottom), [heading], title=name)
    sketch.left, sketch.right = max(sketch.left, left), max(sketch.right, right)
