"""Where branches stand beside each other, and where what hangs on a series does."""

from __future__ import annotations

from collections.abc import Sequence

from cnnzoo.diagram._sketch import End, Sketch

# Below a box, where branches begin, and the height at which wires to several of them part.
FORK, BAR = 30.0, 11.0
# Between branches, and beside one that is a wire alone.
BETWEEN, WIRE = 16.0, 14.0
# Beside the series, for what hangs on it.
HANG = 30.0


def around_main(
    sketches: Sequence[Sketch | None], join: Sketch | None, *, is_gate: bool
) -> list[float]:
    """Columns of branches of which the longest is the main one, below the item before.

    No sketch is a wire alone, which is the main branch of a gate. `join` is the box that wires
    enter from the side, if they do.
    """
    places = range(len(sketches))
    main = max(places, key=lambda at: _height(sketches[at]))
    if is_gate:
        main = next((at for at in places if sketches[at] is None), main)
    found = [0.0] * len(sketches)
    edge = _right(sketches[main])
    # Wires alone are the outermost.
    for at in sorted(places, key=lambda at: sketches[at] is None):
        if at != main:
            sketch = sketches[at]
            x = edge + (WIRE if sketch is None else BETWEEN + sketch.left)
            found[at] = max(x, join.right + WIRE) if join is not None else x
            edge = found[at] + _right(sketch)
    return found


def centred(sketches: Sequence[Sketch | None]) -> list[float]:
    """Columns of branches that are alike: in a row, with the item before above its middle."""
    found, edge = [], 0.0
    for sketch in sketches:
        left = WIRE / 2 if sketch is None else sketch.left
        found.append(edge + left)
        edge += left + (WIRE / 2 if sketch is None else sketch.right) + BETWEEN
    middle = (found[0] + found[-1]) / 2
    return [x - middle for x in found]


def reach(sketches: Sequence[Sketch | None], columns: Sequence[float]) -> tuple[float, float]:
    """Extents of branches to the left and to the right."""
    pairs = list(zip(sketches, columns, strict=True))
    left = max(-x if sketch is None else sketch.left - x for sketch, x in pairs)
    return left, max(x + _right(sketch) for sketch, x in pairs)


def _height(sketch: Sketch | None) -> float:
    return 0.0 if sketch is None else sketch.height


def _right(sketch: Sketch | None) -> float:
    return 0.0 if sketch is None else sketch.right


def hang(sketch: Sketch, hangs: Sequence[tuple[End, Sketch]]) -> None:
    """Put what leads nowhere at the right, beside the series.

    Later ones are nearer: the wire to an earlier one passes above them.
    """
    columns: list[list[tuple[End, Sketch, float]]] = []
    for start, one in reversed(hangs):
        top = start.points[-1][1] + FORK
        for at, column in enumerate(columns):
            # Above all wires that pass this column, those into it among them.
            wires = (other - FORK + BAR for beyond in columns[at:] for _, _, other in beyond)
            if top + one.height + BAR < min(wires):
                column.append((start, one, top))
                break
        else:
            columns.append([(start, one, top)])
    for column in columns:
        x = sketch.right + HANG + max(one.left for _, one, _ in column)
        for start, one, top in column:
            sketch.put(one, x, top)
            for entry in one.entries:
                sketch.connect(start, entry.moved(x, top), start.points[-1][1] + BAR)
