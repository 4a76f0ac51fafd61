"""The layout of a tangle: items one below the other, and a track at the right for each value."""

from __future__ import annotations

from collections.abc import Sequence

from cnnzoo.diagram._sketch import End, Sketch
from cnnzoo.diagram._steps import Tangle

GAP, BAR = 24.0, 9.0
# Between the boxes and the first track, and between tracks.
MARGIN, TRACK = 16.0, 10.0
# The place of the value that comes in, and of the one that goes out.
BEFORE = -1


def tangled(tangle: Tangle, items: Sequence[Sketch]) -> Sketch:
    """Items in the order in which they run.

    A value goes straight down into the item below; to others it takes a track of its own, so that
    wires of different values never lie on each other.
    """
    return _Tangled(tangle, items).sketch


class _Tangled:
    def __init__(self, tangle: Tangle, items: Sequence[Sketch]) -> None:
        self._tangle, self._items = tangle, items
        self.sketch = Sketch()
        self._tops: list[float] = []
        height = 0.0
        for item in items:
            self._tops.append(height)
            self.sketch.put(item, 0.0, height)
            height += item.height + GAP
        self._height = height - GAP + BAR
        # The places that read each one by its track; the height of the sketch stands for the end.
        self._far = self._targets()
        self._taps = self._heights()
        self._columns = self._tracks()
        self._wire()

    def _targets(self) -> dict[int, list[int]]:
        far: dict[int, list[int]] = {}
        for at, reads in enumerate(self._tangle.reads):
            for read in reads:
                if read != at - 1:
                    far.setdefault(read, []).append(at)
        for at in self._tangle.first:
            if at and self._items[at].entries:
                far.setdefault(BEFORE, []).append(at)
        end = len(self._items)
        for at in self._tangle.last:
            if at != end - 1 and self._items[at].exits:
                far.setdefault(at, []).append(end)
        return {read: sorted(readers) for read, readers in far.items()}

    def _heights(self) -> dict[tuple[int, int], float]:
        """The height at which a wire from one item meets another, or leaves its own."""
        taps: dict[tuple[int, int], float] = {}
        for at, item in enumerate(self._items):
            top = self._tops[at]
            sources = [read for read, readers in self._far.items() if at in readers]
            leaves = [at] if at in self._far else []
            if not item.boxes:
                # A frame, into which one wire goes from above.
                taps |= {(source, at): top - BAR for source in sources}
                taps[at, at] = top + item.height + BAR
                continue
            every = sorted(sources) + leaves
            for rank, source in enumerate(every, 1):
                taps[source, at] = top + item.height * rank / (len(every) + 1)
        for at in self._far:
            taps[at, len(self._items)] = self._height
        taps[BEFORE, BEFORE] = 0.0
        return taps

    def _tracks(self) -> dict[int, float]:
        """The column of each track; those that do not meet share one."""
        ends: list[float] = []
        columns = {}
        for source in sorted(self._far, key=lambda source: self._taps[source, source]):
            start = self._taps[source, source]
            end = max(self._taps[source, reader] for reader in self._far[source])
            index = next((at for at, used in enumerate(ends) if used < start - 2.0), len(ends))
            ends[index : index + 1] = [end]
            columns[source] = self.sketch.right + MARGIN + TRACK * index
        return columns

    def _leaving(self, at: int) -> End:
        """The track of an item's value, as far as it goes from the item."""
        item, x, y = self._items[at], self._columns[at], self._taps[at, at]
        [end] = item.exits
        if not item.boxes:
            out_x, out_y = end.moved(0.0, self._tops[at]).points[-1]
            return End(box=end.box, points=((out_x, out_y), (out_x, y), (x, y)))
        return End(box=end.box, points=((item.right, y), (x, y)))

    def _meeting(self, source: int, at: int) -> End:
        """The way from a track into an item."""
        item, x, y = self._items[at], self._columns[source], self._taps[source, at]
        entry = item.entries[0].moved(0.0, self._tops[at])
        if not item.boxes:
            return End(box=entry.box, points=((x, y), (entry.points[0][0], y), *entry.points))
        return End(box=entry.box, points=((x, y), (item.right, y)))

    def _wire(self) -> None:
        sketch, items, count = self.sketch, self._items, len(self._items)
        entries, exits = [], []
        for at, reads in enumerate(self._tangle.reads):
            if at - 1 in reads and at:
                start = items[at - 1].exits[0].moved(0.0, self._tops[at - 1])
                sketch.connect(start, items[at].entries[0].moved(0.0, self._tops[at]))
            if at in self._tangle.first and not at and items[at].entries:
                entries.append(items[at].entries[0].moved(0.0, self._tops[at]))
        for source, readers in self._far.items():
            for reader in readers:
                if source == BEFORE:
                    way = self._meeting(source, reader)
                    x = self._columns[source]
                    entries.append(End(box=way.box, points=((x, 0.0), *way.points)))
                elif reader == count:
                    way = self._leaving(source)
                    x = self._columns[source]
                    exits.append(End(box=way.box, points=(*way.points, (x, self._height))))
                else:
                    sketch.connect(self._leaving(source), self._meeting(source, reader))
        if count - 1 in self._tangle.last:
            exits += [end.moved(0.0, self._tops[-1]) for end in items[-1].exits]
        sketch.entries, sketch.exits = tuple(entries), tuple(exits)
        sketch.right = max([sketch.right, *self._columns.values()])
        sketch.height = max(sketch.height, self._height)
