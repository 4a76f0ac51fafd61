"""Confusions of classes: the most frequent ones, and the picture of a confusion matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import whole
from cnnzoo._plots import GREY, INK, PALE, PAPER, axes_for, ink
from cnnzoo._text import counted, one_line, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More classes would have cells too small for a number.
MOST_CLASSES = 20
# More would make a picture too large to open.
MOST_DRAWN = 200
# Characters of a class's name beside the matrix.
NAME = 24
# The side of a cell in inches, for few classes and for many; more classes than these have no
# numbers in their cells.
CELL, SMALL_CELL, MOST_NUMBERS = 0.4, 0.16, 30
# The room for names and the title, in inches.
MARGIN = 2.0
# Numbers of so many digits are written smaller.
FOUR_DIGITS = 1000
# From this share of a row on, a number is white.
DARK = 0.55

RIGHT = ("#ffffff", "#cfdcea", "#6f97bf", "#1d4e89")
WRONG = ("#ffffff", "#f9dccf", "#e79b78", "#b3411a")


class Confusion(NamedTuple):
    """Images of one class that were predicted as another.

    Attributes:
        true: The class that they show.
        predicted: The class that was predicted.
        images: Their number.
        share: Their share of the true class's images.
    """

    true: str
    predicted: str
    images: int
    share: float


def confusions(
    matrix: NDArray[np.int64],
    undecided: NDArray[np.int64],
    labels: Sequence[str],
    *,
    count: int,
) -> list[Confusion]:
    """The `count` most frequent confusions of a matrix (true, predicted), the first before others.

    Raises:
        ArgumentError: `count` is no whole number of at least 0.
    """
    shown = matrix.sum(1) + undecided
    return [
        Confusion(labels[t], labels[p], int(matrix[t, p]), float(matrix[t, p] / shown[t]))
        for t, p in islice(_pairs(matrix), whole("`count`", count))
    ]


def draw_confusion(
    matrix: NDArray[np.int64],
    undecided: NDArray[np.int64],
    labels: Sequence[str],
    *,
    most_classes: int,
    ax: Axes | None,
) -> Axes:
    """Draw a confusion matrix: a cell's colour is its share of the row.

    Args:
        matrix: Number of images by true class (row) and predicted class (column).
        undecided: Number of images without a predicted class, by true class.
        labels: The class labels.
        most_classes: Number of classes to draw; of more, those are drawn that are in the most
            frequent confusions, and a column sums up the others.
        ax: Axes to draw on; new ones if not given.

    Raises:
        ArgumentError: `most_classes` is no whole number from 2 to 200.
        MissingPackageError: matplotlib is not installed.
        TypeError: `ax` is something else.
    """
    most = whole("`most_classes`", most_classes, least=2, most=MOST_DRAWN)
    chosen = _chosen(matrix, most)
    rows, names = matrix[chosen][:, chosen], [labels[index] for index in chosen]
    elsewhere = matrix[chosen].sum(1) - rows.sum(1) + undecided[chosen]
    columns = list(names)
    if len(chosen) < len(matrix) or undecided.any():
        rows = np.column_stack([rows, elsewhere])
        columns.append("others" if len(chosen) < len(matrix) else "none")
    side = CELL if len(chosen) <= MOST_NUMBERS else SMALL_CELL
    width, height = (MARGIN + side * length for length in reversed(rows.shape))
    drawn: Axes = axes_for(ax, "a confusion matrix", (width, height))
    _draw_cells(drawn, rows)
    _write_names(drawn, names, columns)
    of = f"the {len(chosen)} most confused of " if len(chosen) < len(matrix) else ""
    images = counted(int(matrix.sum() + undecided.sum()), "image")
    classes = counted(len(matrix), "class", "classes")
    drawn.set_title(f"{of}{classes}, {images}", fontsize=9, color=ink(drawn), wrap=True)
    return drawn


def _draw_cells(ax: Axes, rows: NDArray[np.int64]) -> None:
    from matplotlib.colors import LinearSegmentedColormap, PowerNorm

    shares = rows / np.maximum(rows.sum(1, keepdims=True), 1)
    right = np.equal.outer(np.arange(len(rows)), np.arange(rows.shape[1]))
    # By the root of a share, so that a few of many wrong images are seen.
    for colours, cells, power in ((RIGHT, right, 1.0), (WRONG, ~right, 0.5)):
        colormap = LinearSegmentedColormap.from_list("shares", colours)
        masked = np.ma.array(shares, mask=~cells)
        ax.imshow(masked, cmap=colormap, norm=PowerNorm(power, 0, 1), aspect="equal")
    # Lines between the cells.
    ax.set_xticks(np.arange(rows.shape[1] + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    ax.grid(which="minor", color=PALE, linewidth=0.4)
    if len(rows) > MOST_NUMBERS:
        return
    size = 8 if rows.max(initial=0) < FOUR_DIGITS else 6
    for (row, column), number in np.ndenumerate(rows):
        if number:
            ax.text(
                column,
                row,
                str(number),
                ha="center",
                va="center",
                fontsize=size,
                color=PAPER if shares[row, column] > DARK else INK,
            )


def _write_names(ax: Axes, names: Sequence[str], columns: Sequence[str]) -> None:
    size = 8 if len(names) <= MOST_NUMBERS else 6
    for axis, texts in ((ax.xaxis, columns), (ax.yaxis, names)):
        axis.set_ticks(range(len(texts)), [shorten(one_line(text), NAME) for text in texts])
        for label in axis.get_ticklabels():
            label.set(fontsize=size, color=ink(ax), parse_math=False)
    slanted = max(map(len, columns)) > len("0000")
    ax.tick_params(axis="x", rotation=90 if slanted else 0)
    ax.tick_params(which="both", length=0)
    ax.set_xlabel("predicted", fontsize=8, color=GREY)
    ax.set_ylabel("true", fontsize=8, color=GREY)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _chosen(matrix: NDArray[np.int64], most: int) -> list[int]:
    """The classes to draw, in their order: all, or those of the most frequent confusions."""
    if len(matrix) <= most:
        return list(range(len(matrix)))
    found: dict[int, None] = {}
    # Confusions first; then classes that no image was confused with, so that the number is right.
    for both in chain(_pairs(matrix), ((index, index) for index in range(len(matrix)))):
        both_and_others = {**found, **dict.fromkeys(both)}
        if len(both_and_others) <= most:
            found = both_and_others
        if len(found) == most:
            break
    return sorted(found)


def _pairs(matrix: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """True and predicted class of all confusions, the most frequent first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    true, predicted = np.nonzero(wrong)
    order = np.argsort(-wrong[true, predicted], kind="stable")
    return ((int(true[at]), int(predicted[at])) for at in order)
