"""The shape of a page: in how many columns a network is drawn, beside the insides of its blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cnnzoo.diagram._column import Row
from cnnzoo.diagram._insets import BETWEEN, heights, packed
from cnnzoo.diagram._items import Level
from cnnzoo.diagram._sketch import Sketch

# The width of a page that is good to read, relative to its height, and the most columns.
ASPECT = {"block": 0.8, "node": 1.4}
MOST_COLUMNS = 24
# Rows that are not parted: a layer, its norm and its activation.
MOST_TOGETHER = 3


class Shape(NamedTuple):
    """The rows of each column, and the height of the columns of insides."""

    chunks: Sequence[Sequence[Row]]
    height: float


def shape_of(rows: Sequence[Row], insets: Sequence[Sketch], level: Level, gutter: float) -> Shape:
    """The shape in which a page shows a network the largest, whose rows are those of one column."""
    best: tuple[float, Shape] | None = None
    for count in range(1, MOST_COLUMNS + 1):
        chunks = _chunks(rows, count)
        width = sum(map(_width, chunks)) + gutter * (len(chunks) - 1)
        tallest = max(map(_height, chunks))
        for height in heights(insets, tallest):
            columns = packed(insets, height)
            beside = sum(BETWEEN + max(one.width for one in column) for column in columns)
            cost = max(width + beside, ASPECT[level] * max(tallest, height))
            if best is None or cost < best[0]:
                best = cost, Shape(chunks=chunks, height=height)
    assert best is not None  # there are columns
    return best[1]


def _width(chunk: Sequence[Row]) -> float:
    return max(row.left for row in chunk) + max(row.right for row in chunk)


def _height(chunk: Sequence[Row]) -> float:
    return chunk[-1].bottom - chunk[0].top


def _chunks(rows: Sequence[Row], count: int) -> list[list[Row]]:
    """Rows in at most `count` columns, of which the tallest is as low as it can be."""
    runs = _runs(rows)
    low, high = max(map(_height, runs)), _height(rows)
    best = [list(rows)]
    while high - low > 1.0:
        height = (low + high) / 2
        chunks = _filled(runs, height)
        if len(chunks) <= count:
            best, high = chunks, height
        else:
            low = height
    return best


def _runs(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that stay in one column: a layer with its norm and activation, or one row."""
    runs: list[list[Row]] = []
    for row in rows:
        if runs and row.is_minor and len(runs[-1]) < MOST_TOGETHER:
            runs[-1].append(row)
        else:
            runs.append([row])
    return runs


def _filled(runs: Sequence[Sequence[Row]], height: float) -> list[list[Row]]:
    """Rows in columns of at most this height."""
    chunks: list[list[Row]] = [[]]
    for run in runs:
        if chunks[-1] and run[-1].bottom - chunks[-1][0].top > height:
            chunks.append([])
        chunks[-1] += run
    return chunks
