"""The layout of a series: steps from top to bottom, branches side by side above what joins them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from cnnzoo.diagram._beside import BAR, FORK, HANG, around_main, centred, hang, reach
from cnnzoo.diagram._frames import BOTTOM, TOP, panel
from cnnzoo.diagram._items import Leaf
from cnnzoo.diagram._layers import ACTIVATIONS, NORMS
from cnnzoo.diagram._lines import PAD_X
from cnnzoo.diagram._network import Network, Part
from cnnzoo.diagram._sketch import End, Sketch
from cnnzoo.diagram._steps import Repeat, Series, Step, StepItem, Tangle

# Between boxes of a series, and above one that joins branches.
GAP, JOIN = 18.0, 20.0
# Joins into which all branches but the main one come from the side.
SIDEWAYS = {"add", "gate", "collect"}


class Sketcher(Protocol):
    """Sketches what a column holds."""

    def item(
        self, item: StepItem, within: str, span: tuple[float, float] | None = None
    ) -> Sketch: ...
    def lane(self, lane: Series | Tangle, within: str) -> Sketch: ...
    def with_one_entry(self, sketch: Sketch) -> Sketch: ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """A step at its height in a column, and how far it reaches.

    Attributes:
        step: The step.
        top: The top edge.
        bottom: The bottom edge.
        left: The reach to the left of the column's wire.
        right: The reach to the right.
        is_minor: It is a norm or an activation, which belongs to the layer above it.
    """

    step: Step
    top: float
    bottom: float
    left: float
    right: float
    is_minor: bool = False


class Column:
    """A column while it grows downwards."""

    def __init__(
        self, sketcher: Sketcher, network: Network, within: str, widths: Mapping[str, float]
    ) -> None:
        """Begin a column; `widths` are those of boxes below each other, by their looks."""
        self._sketcher, self._network = sketcher, network
        self._within, self._widths = within, widths
        self._sketch = Sketch()
        self._height = 0.0
        # The value from above: none at the beginning; several where branches are the end.
        self._open: list[End] | None = None
        self._entries: list[End] = []
        self._rows: list[Row] = []
        self._hangs: list[tuple[End, Sketch]] = []

    def drawn(
        self, steps: Sequence[Step], before: Part | None, *, has_panels: bool
    ) -> tuple[Sketch, list[Row]]:
        """The column, and the row of each step, with a panel behind each stage.

        The first stage may be `before`, that of the column before, which goes on.
        """
        stage: Part | None = None
        start = 0
        for at, step in enumerate([*steps, None]):
            own = stage_of(step) if has_panels and step is not None else None
            if own != stage:
                self._close(stage, self._rows[start:], is_continued=not start and stage == before)
                start = at
                self._height += 0.0 if own is None else TOP
            stage = own
            if step is not None:
                self._step(step)
        sketch = self._sketch
        sketch.height = max(sketch.height, self._height)
        hang(sketch, self._hangs)
        sketch.entries = tuple(self._entries)
        sketch.exits = tuple(end.down_to(sketch.height) for end in self._open or ())
        return sketch, self._rows

    def _close(self, stage: Part | None, rows: Sequence[Row], *, is_continued: bool) -> None:
        """Draw the panel of a stage."""
        if stage is not None:
            self._height += BOTTOM
            name = f"{stage.name}, continued" if is_continued else stage.name
            across = max(row.left for row in rows), max(row.right for row in rows)
            panel(self._sketch, name, (rows[0].top - TOP, self._height), across)

    def _step(self, step: Step) -> None:
        is_plain = len(step.lanes) == 1 and step.lanes[0] is None
        left, right, top = self._plain(step) if is_plain else self._branches(step)
        for one in step.hangs:
            if self._open:
                sketch = self._sketcher.with_one_entry(self._sketcher.lane(one, self._within))
                self._hangs.append((self._open[0], sketch))
                right = max(right, right + HANG + sketch.width)
        self._rows.append(
            Row(
                step=step,
                top=top,
                bottom=self._height,
                left=left,
                right=right,
                is_minor=is_plain and self._is_minor(step.item),
            )
        )

    def _is_minor(self, item: StepItem | None) -> bool:
        """Whether an item is a node that is a norm or an activation."""
        if not isinstance(item, Leaf) or item.look != "node":
            return False
        return self._network.nodes[item.output].op in NORMS | ACTIVATIONS

    def _plain(self, step: Step) -> tuple[float, float, float]:
        """An item below the one before."""
        assert step.item is not None  # only branches may be the end
        span = None
        if isinstance(step.item, Leaf) and (width := self._widths.get(step.item.look)):
            span = PAD_X - width / 2, width / 2 - PAD_X
        item = self._sketcher.item(step.item, self._within, span)
        top = self._height + (GAP if self._open is not None else 0.0)
        self._sketch.put(item, 0.0, top)
        for entry in item.entries:
            self._enter(entry.moved(0.0, top))
        self._open = [end.moved(0.0, top) for end in item.exits]
        self._height = top + item.height
        return item.left, item.right, top

    def _enter(self, entry: End) -> None:
        """Connect an entry with the value from above."""
        if self._open is None:
            self._entries.append(entry)
        elif self._open:
            start = self._open[0]
            self._sketch.connect(start, entry, start.points[-1][1] + BAR)

    def _branches(self, step: Step) -> tuple[float, float, float]:
        """Branches side by side, and the item that joins them."""
        sketcher, within = self._sketcher, self._within
        sketches = [None if lane is None else sketcher.lane(lane, within) for lane in step.lanes]
        op = self._join_op(step)
        item = None if step.item is None else sketcher.item(step.item, within)
        if op in SIDEWAYS or sum(sketch is not None for sketch in sketches) == 1:
            columns = around_main(sketches, item if op in SIDEWAYS else None, is_gate=op == "gate")
        else:
            columns = centred(sketches)
        top = self._height + (FORK if self._open is not None else 0.0)
        self._height = top + max((one.height for one in sketches if one is not None), default=0.0)
        pending, wires = self._put(sketches, columns, top)
        left, right = reach(sketches, columns)
        if step.item is None or item is None:
            self._open = pending
            return left, right, top
        if op not in SIDEWAYS:
            # A box is as wide as the wires into it, a concatenation as the branches.
            xs = [end.points[-1][0] for end in pending] + wires
            xs += [PAD_X - left, right - PAD_X] if op == "concat" else []
            item = sketcher.item(step.item, within, (min(xs), max(xs)) if xs else None)
        self._join(item, pending, [(x, top) for x in wires], is_sideways=op in SIDEWAYS)
        return max(left, item.left), max(right, item.right), top

    def _put(
        self, sketches: Sequence[Sketch | None], columns: Sequence[float], top: float
    ) -> tuple[list[End], list[float]]:
        """Put branches in their columns; find wires out of them, and columns of outer ones."""
        pending: list[End] = []
        wires: list[float] = []
        for sketch, x in zip(sketches, columns, strict=True):
            if sketch is None:
                self._sketch.reach(x)
                pending += self._past(x)
                wires += [x] if self._open is None else []
                continue
            down = top + (self._height - top - sketch.height) / 2
            self._sketch.put(sketch, x, down)
            for entry in sketch.entries:
                self._enter(entry.moved(x, down))
            pending += [end.moved(x, down) for end in sketch.exits]
        return pending, wires

    def _past(self, x: float) -> list[End]:
        """A wire past the branches, if the value comes from this column."""
        if not self._open:
            return []
        start = self._open[0]
        (from_x, from_y) = start.points[-1]
        bar = from_y + BAR
        points = (*start.points, (from_x, bar), (x, bar), (x, self._height))
        return [replace(start, points=points)]

    def _join(
        self,
        item: Sketch,
        pending: Sequence[End],
        wires: Sequence[tuple[float, float]],
        *,
        is_sideways: bool,
    ) -> None:
        """The item below the branches, and the wires into it."""
        down = self._height + JOIN
        self._sketch.put(item, 0.0, down)
        for entry in item.entries:
            into = entry.moved(0.0, down)
            for end in pending:
                x = end.points[-1][0]
                self._sketch.connect(end, _meeting(into, x, item, is_sideways=is_sideways))
            for x, top in wires:
                inside = _meeting(into, x, item, is_sideways=is_sideways)
                self._entries.append(replace(inside, points=((x, top), *inside.points)))
        self._open = [end.moved(0.0, down) for end in item.exits]
        self._height = down + item.height

    def _join_op(self, step: Step) -> str:
        """The operation that joins branches; of a frame, none."""
        item = step.item
        if not isinstance(item, Leaf) or item.look == "block":
            return ""
        return self._network.nodes[item.layers[0].main[0]].op


def _meeting(entry: End, x: float, item: Sketch, *, is_sideways: bool) -> End:
    """Where a wire in the column x meets an item."""
    (_, top) = entry.points[0]
    if is_sideways and abs(x) >= min(item.left, item.right):
        middle = top + item.height / 2
        edge = item.right if x > 0 else -item.left
        return replace(entry, points=((x, middle), (edge, middle)))
    # A frame has one entry; a box is as wide as what comes in.
    return replace(entry, points=((x, top),)) if item.boxes else entry


def stage_of(step: Step) -> Part | None:
    """The stage of a step's items, if they have the same."""
    stages = {
        stage
        for item in Series(steps=(step,)).items()
        for stage in (
            map(stage_of, item.series.steps) if isinstance(item, Repeat) else [item.stage]
        )
    }
    return stages.pop() if len(stages) == 1 else None
