"""The page: a heading, the network, pictures of the insides of its blocks, and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from cnnzoo.diagram._boxes import Boxes
from cnnzoo.diagram._chunks import Shape, shape_of
from cnnzoo.diagram._insets import BETWEEN, examples_of, inset, letter_of, packed
from cnnzoo.diagram._items import Group, Level
from cnnzoo.diagram._layout import Layout
from cnnzoo.diagram._legend import legend
from cnnzoo.diagram._letters import text_width
from cnnzoo.diagram._network import Network
from cnnzoo.diagram._sketch import Box, End, Frame, Placed, Sketch, Text, opened
from cnnzoo.diagram._steps import Series, Tangle

MARGIN = 24.0
HEADING, FACTS = 19.0, 12.0
# From the top to the network.
HEAD = 82.0
# Between columns of the network; above and below them, for the wires from one to the next.
GUTTER, TURN = 48.0, 16.0


@dataclass(kw_only=True)
class Page:
    """Sketches at their places: the network, insides of blocks, and heading and legend around."""

    title: str
    about: str
    width: float = 0.0
    height: float = 0.0
    network: list[Placed] = field(default_factory=list)
    insides: list[Placed] = field(default_factory=list)
    around: list[Placed] = field(default_factory=list)


def page(network: Network, group: Group, level: Level, title: str, about: str) -> Page:
    """The page of a group, with a heading and a line about it."""
    found = Layout(network, Boxes(network, {}), level).found(group)
    examples = examples_of(network, found) if level == "block" else {}
    letters = {key: letter_of(rank) for rank, key in enumerate(examples)}
    layout = Layout(network, Boxes(network, letters), level)
    insets = [inset(network, layout, leaf, letters[key]) for key, leaf in examples.items()]
    within = "" if group.part is None else group.part.name
    made = Page(title=title, about=about)
    columns, height = _columns(layout, found, within, insets, level)
    if group.part is not None:
        columns[0] = opened(columns[0], below=False)
        columns[-1] = opened(columns[-1], above=False)
    _place_columns(made, columns)
    _place_insets(made, insets, height)
    _finish(made)
    return made


def _columns(
    layout: Layout, found: Series | Tangle, within: str, insets: Sequence[Sketch], level: Level
) -> tuple[list[Sketch], float]:
    """The columns of the network, and the height of those of the insides."""
    if isinstance(found, Tangle):
        sketch = layout.with_one_entry(layout.lane(found, within))
        return [sketch], sketch.height
    widths = layout.widths(found.steps, within)
    _, rows = layout.column(found.steps, within, widths=widths, has_panels=True)
    shape: Shape = shape_of(rows, insets, level, GUTTER)
    columns, before = [], None
    for chunk in shape.chunks:
        steps = [row.step for row in chunk]
        sketch, _ = layout.column(steps, within, widths=widths, before=before, has_panels=True)
        columns.append(layout.with_one_entry(sketch))
        before = steps[-1]
    return columns, shape.height


def _place_columns(made: Page, columns: Sequence[Sketch]) -> None:
    """Columns from left to right, and wires from the end of each to the beginning of the next."""
    turn = TURN if len(columns) > 1 else 0.0
    wires = Sketch()
    x, below = MARGIN, 0.0
    ends: list[End] = []
    for column in columns:
        spine, gutter = x + column.left, x - GUTTER / 2
        made.network.append((column, spine, turn))
        for end in ends:
            (from_x, _) = end.points[-1]
            turns = ((from_x, below), (gutter, below), (gutter, 0.0))
            for entry in column.entries:
                into = entry.moved(spine, turn)
                way = (*end.points, *turns, (into.points[0][0], 0.0))
                wires.connect(replace(end, points=way), into)
        ends = [end.moved(spine, turn) for end in column.exits]
        below = turn + column.height + TURN
        x = spine + column.right + GUTTER
    made.network.append((wires, 0.0, 0.0))
    made.width = x - GUTTER
    made.height = max(column.height for column in columns) + 2 * turn


def _place_insets(made: Page, insets: Sequence[Sketch], height: float) -> None:
    """Pictures of insides at the right of the network, as near as its boxes allow."""
    x = 0.0
    for column in packed(insets, height):
        places, y = [], 0.0
        x += BETWEEN
        for sketch in column:
            places.append((sketch, y))
            x = max(x, _edge(made.network, y, y + sketch.height) + BETWEEN)
            y += sketch.height + BETWEEN
        made.insides += [(sketch, x + sketch.left, y) for sketch, y in places]
        x += max(sketch.width for sketch in column)
        made.height = max(made.height, y - BETWEEN)
    made.width = max(made.width, x) + MARGIN


def _edge(placed: Sequence[Placed], top: float, bottom: float) -> float:
    """The right edge of everything that is drawn between two heights."""
    edge = 0.0
    for sketch, right, down in placed:
        for part, x, y in sketch.parts(right, down):
            shapes: list[Box | Frame] = [*part.boxes, *part.frames]
            for shape in shapes:
                if y + shape.top < bottom + BETWEEN and y + shape.top + shape.height > top:
                    edge = max(edge, x + shape.left + shape.width)
            for wire in part.wires:
                heights = [y + point[1] for point in wire.points]
                if min(heights) < bottom + BETWEEN and max(heights) > top:
                    edge = max(edge, *(x + point[0] for point in wire.points))
    return edge


def _finish(made: Page) -> None:
    """Heading above, legend below."""
    size = text_width(made.title, HEADING, bold=True), text_width(made.about, FACTS)
    made.width = max(made.width, 2 * MARGIN + max(size))
    head = Sketch(
        texts=[
            Text(x=MARGIN, y=40.0, text=made.title, size=HEADING, bold=True),
            Text(x=MARGIN, y=60.0, text=made.about, size=FACTS, tone="muted"),
        ]
    )
    made.around.append((head, 0.0, 0.0))
    for placed in (made.network, made.insides):
        placed[:] = [(sketch, x, y + HEAD) for sketch, x, y in placed]
    made.height += HEAD + MARGIN
    sketches = [sketch for sketch, _, _ in (*made.network, *made.insides)]
    below = legend(sketches, made.width - 2 * MARGIN)
    if below is not None:
        made.around.append((below, MARGIN, made.height))
        made.width = max(made.width, below.right + 2 * MARGIN)
        made.height += below.height + MARGIN - 6.0
