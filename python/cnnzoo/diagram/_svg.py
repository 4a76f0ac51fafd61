"""Writes a page as SVG."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import pairwise

from cnnzoo.diagram._boxes import BADGE
from cnnzoo.diagram._colours import Theme, letter_number, style
from cnnzoo.diagram._page import Page
from cnnzoo.diagram._sketch import Box, Frame, Placed, Point, Text, Wire

# Style sheets of pictures that stand in one page hold for all of it, so rules have this class.
SCOPE = "cnnzoo-diagram"
FONTS = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,'DejaVu Sans',sans-serif"
CORNER = 6.0
# Length and half of the width of an arrow's head.
HEAD, WIDE = 6.0, 3.4


def svg(page: Page, theme: Theme) -> str:
    """The page as an SVG image."""
    scope = SCOPE if theme == "auto" else f"{SCOPE}-{theme}"
    width, height = _number(page.width), _number(page.height)
    title, about = html.escape(page.title), html.escape(page.about)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{scope}" role="img" '
        f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" font-family="{FONTS}">',
        f"<title>{title}</title>",
        f"<desc>{about}</desc>",
        f"<style>{style(scope, theme)}</style>",
        f'<rect class="paper" width="{width}" height="{height}" rx="8"/>',
    ]
    for name, sketches in (
        ("network", page.network),
        ("insides", page.insides),
        ("around", page.around),
    ):
        if sketches:
            lines += [f'<g class="{name}">', *_drawn(sketches), "</g>"]
    return "\n".join([*lines, "</svg>"])


def _drawn(sketches: Sequence[Placed]) -> Iterator[str]:
    """Frames below wires, and these below boxes."""
    parts = [part for sketch, x, y in sketches for part in sketch.parts(x, y)]
    for sketch, x, y in parts:
        for frame in sketch.frames:
            yield _frame(frame, x, y)
    for sketch, x, y in parts:
        for wire in sketch.wires:
            yield _wire(wire, x, y)
    for sketch, x, y in parts:
        for box in sketch.boxes:
            yield _box(box, x, y)
        for text in sketch.texts:
            yield _text(text, x, y)


def _frame(frame: Frame, x: float, y: float) -> str:
    left, top = x + frame.left, y + frame.top
    number = _number_of(frame.letter)
    texts = "".join(_text(text, left, top, number) for text in frame.texts)
    classes = f"{frame.look} {number}".strip()
    radius = 10 if frame.look in {"panel", "inset"} else 7
    return (
        f'<g class="part"><title>{html.escape(frame.title)}</title>'
        f'<rect class="{classes}" {_rectangle(left, top, frame.width, frame.height)} '
        f'rx="{radius}"/>{texts}</g>'
    )


def _box(box: Box, x: float, y: float) -> str:
    if box.look == "none":
        return ""
    left, top = x + box.left, y + box.top
    radius = {"rect": 5.0, "pill": 9.0}.get(box.look, box.height / 2)
    number = _number_of(box.letter)
    texts = "".join(_text(text, left, top, number) for text in box.texts)
    dashes = ' stroke-dasharray="4 3"' if box.kind == "auxiliary" else ""
    classes = f"{box.kind} {number}".strip()
    shape = (
        f'<rect class="{classes}" {_rectangle(left, top, box.width, box.height)} '
        f'rx="{_number(radius)}"{dashes}/>'
    )
    if not box.id:
        return shape + texts
    names = html.escape(" ".join(box.nodes))
    title = f"<title>{html.escape(box.title)}</title>" if box.title else ""
    return f'<g class="box" data-box="{box.id}" data-nodes="{names}">{title}{shape}{texts}</g>'


def _number_of(letter: str) -> str:
    """The class of the colours of a letter."""
    return f"c{letter_number(letter)}" if letter else ""


def _text(text: Text, x: float, y: float, number: str = "") -> str:
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    weight = ' font-weight="600"' if text.bold else ""
    left, base = x + text.x, y + text.y
    mark = ""
    if text.tone == "badge":
        rectangle = _rectangle(left - BADGE / 2, base - 11.9, BADGE, BADGE)
        mark = f'<rect class="mark {number}" {rectangle} rx="4"/>'
    return (
        f'{mark}<text class="{text.tone}" x="{_number(left)}" y="{_number(base)}" '
        f'font-size="{_number(text.size)}"{weight}{anchor}>{html.escape(text.text)}</text>'
    )


def _rectangle(left: float, top: float, width: float, height: float) -> str:
    return (
        f'x="{_number(left)}" y="{_number(top)}" '
        f'width="{_number(width)}" height="{_number(height)}"'
    )


def _wire(wire: Wire, x: float, y: float) -> str:
    points = [(left + x, top + y) for left, top in wire.points]
    if len(points) < 2:  # noqa: PLR2004
        return ""
    ends = f'data-from="{wire.source}" data-to="{wire.target}"'
    (before_x, before_y), (end_x, end_y) = points[-2:]
    length = abs(end_x - before_x) + abs(end_y - before_y)
    if wire.has_head and length > HEAD:
        across, down = (end_x - before_x) / length, (end_y - before_y) / length
        back_x, back_y = end_x - HEAD * across, end_y - HEAD * down
        points[-1] = (end_x - 0.6 * HEAD * across, end_y - 0.6 * HEAD * down)
        corners = (
            (end_x, end_y),
            (back_x - WIDE * down, back_y + WIDE * across),
            (back_x + WIDE * down, back_y - WIDE * across),
        )
        head = "L".join(f"{_number(left)} {_number(top)}" for left, top in corners)
        head = f'<path class="head" d="M{head}Z"/>'
    else:
        head = ""
    return f'<path class="wire" {ends} d="{_path(points)}"/>{head}'


def _path(points: Sequence[Point]) -> str:
    """A path through the points, with rounded corners."""
    (x, y) = points[0]
    path = [f"M{_number(x)} {_number(y)}"]
    for (before, corner), (_, after) in pairwise(pairwise(points)):
        start, stop = _towards(corner, before), _towards(corner, after)
        path.append(
            f"L{_number(start[0])} {_number(start[1])}"
            f"Q{_number(corner[0])} {_number(corner[1])} {_number(stop[0])} {_number(stop[1])}"
        )
    (x, y) = points[-1]
    return "".join([*path, f"L{_number(x)} {_number(y)}"])


def _towards(corner: Point, point: Point) -> Point:
    """The point on the way from a corner to another point where the rounding ends."""
    across, down = point[0] - corner[0], point[1] - corner[1]
    length = abs(across) + abs(down)
    share = min(CORNER, length / 2) / length if length else 0.0
    return corner[0] + across * share, corner[1] + down * share


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
