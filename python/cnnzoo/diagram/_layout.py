"""Lays out groups: sketches of their items, of what frames surround, and of steps that repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cnnzoo.diagram._beside import BAR, FORK
from cnnzoo.diagram._boxes import Boxes
from cnnzoo.diagram._branches import Wiring, series_of
from cnnzoo.diagram._column import Column, Row, stage_of
from cnnzoo.diagram._frames import framed
from cnnzoo.diagram._items import Group, Leaf, Level, is_auxiliary
from cnnzoo.diagram._network import Network, channels
from cnnzoo.diagram._repeats import repeated
from cnnzoo.diagram._sketch import Sketch
from cnnzoo.diagram._steps import Repeat, Series, Step, StepItem, Tangle
from cnnzoo.diagram._tangle import tangled
from cnnzoo.diagram._words import AUXILIARY, short_name

# Looks of boxes that are equally wide where they stand below each other.
EVEN = {"layer", "node", "block"}
GATE = "squeeze-and-excite"
# In the picture of a part, as many blocks are drawn even if they are equal.
MOST_SHOWN = 8


class Layout:
    """Lays out the items of one picture."""

    def __init__(self, network: Network, boxes: Boxes, level: Level) -> None:
        self._network, self._boxes, self._level = network, boxes, level

    def found(self, group: Group) -> Series | Tangle:
        """The items of a group as a series; equal blocks in a row are one at block level."""
        found = series_of(Wiring(self._network, group))
        if self._level == "node" or isinstance(found, Tangle):
            return found
        is_short = group.part is not None and len(found.steps) <= MOST_SHOWN
        return found if is_short else repeated(self._network, found)

    def group(self, group: Group) -> Sketch:
        """The items of a group, with at most one entry and an exit for each value that goes out."""
        within = "" if group.part is None else group.part.name
        sketch = self.lane(self.found(group), within)
        out = Wiring(self._network, group).out
        sketch.exits = tuple(end for end in sketch.exits if self._boxes.outputs[end.box] in out)
        return self.with_one_entry(sketch)

    def with_one_entry(self, sketch: Sketch) -> Sketch:
        """The same sketch; several entries become one, from which wires go on."""
        if len(sketch.entries) < 2:  # noqa: PLR2004
            return sketch
        outer, fork = Sketch(), self._boxes.fork()
        outer.put(fork, 0.0, 0.0)
        outer.put(sketch, 0.0, FORK - BAR)
        for entry in sketch.entries:
            outer.connect(fork.exits[0], entry.moved(0.0, FORK - BAR), 0.0)
        outer.entries = fork.entries
        outer.exits = tuple(end.moved(0.0, FORK - BAR) for end in sketch.exits)
        return outer

    def lane(self, lane: Series | Tangle, within: str) -> Sketch:
        """The items of a branch."""
        if isinstance(lane, Series):
            return self.column(lane.steps, within)[0]
        return tangled(lane, [self.item(item, within) for item in lane.items])

    def item(self, item: StepItem, within: str, span: tuple[float, float] | None = None) -> Sketch:
        """An item; a box reaches over the columns of `span`."""
        if isinstance(item, Leaf):
            return self._boxes.leaf(item, within, span)
        if isinstance(item, Repeat):
            return self._repeat(item, within)
        return framed(self.group(item), *self._title(item, within), "frame")

    def _title(self, group: Group, within: str) -> tuple[str, str]:
        """The name of a group's part, and its title."""
        if group.part is None:
            return "", ""
        name = group.part.name
        if group.part.kind == "gate" and self._level == "block":
            return name, GATE
        note = f" · {AUXILIARY}" if is_auxiliary(self._network, group.part) else ""
        return name, f"{short_name(name, within)}{note}"

    def _repeat(self, repeat: Repeat, within: str) -> Sketch:
        inner = self.with_one_entry(self.column(repeat.series.steps, within)[0])
        for end in inner.exits:
            self._boxes.outputs[end.box] = repeat.last
        about = self._about(repeat)
        return framed(inner, about, about, "repeat")

    def _about(self, repeat: Repeat) -> str:
        """The line about steps that repeat; in a dense block, how the features grow."""
        nodes, count = self._network.nodes, repeat.count
        [*_, step] = repeat.series.steps
        if len(step.lanes) == 1:
            return f"×{count}"
        after, end = channels(nodes[repeat.first].shape), channels(nodes[repeat.last].shape)
        added = (end - after) // (count - 1)
        return f"×{count}: {after - added} + {count} · {added} = {end} channels"

    def widths(self, steps: Sequence[Step], within: str) -> dict[str, float]:
        """The widths of boxes that stand below each other, by their looks."""
        widths: dict[str, float] = {}
        for step in steps:
            if isinstance(step.item, Leaf) and step.item.look in EVEN and step.lanes == (None,):
                width = self._boxes.width(step.item, within)
                widths[step.item.look] = max(width, widths.get(step.item.look, 0.0))
        return widths

    def column(
        self,
        steps: Sequence[Step],
        within: str,
        *,
        widths: Mapping[str, float] | None = None,
        before: Step | None = None,
        has_panels: bool = False,
    ) -> tuple[Sketch, list[Row]]:
        """Steps from top to bottom, and the row of each, with a panel behind each stage.

        Args:
            steps: The steps.
            within: The path of what holds them.
            widths: The widths of boxes, by their looks; those of these steps if not given.
            before: The last step of the column before, whose stage may go on.
            has_panels: Whether there are panels.
        """
        if widths is None:
            widths = self.widths(steps, within)
        column = Column(self, self._network, within, widths)
        stage = None if before is None else stage_of(before)
        return column.drawn(steps, stage, has_panels=has_panels)
