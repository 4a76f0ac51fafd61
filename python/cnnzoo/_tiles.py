"""Grids of pictures with captions, drawn on one pair of axes; and pictures of a network's input."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._plots import GREY, INK, axes_for, ink
from cnnzoo._text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The most pictures of a grid, in which they would be too small to be seen.
MOST_TILES = 400
# The most channels that are drawn beside each other.
MOST_CHANNELS = 16
# Smaller pictures are enlarged without smoothing.
SMALL = 64

# In points: the side of a tile in a figure of its own, and the text below it.
SIDE = 97.0
LEAST_WIDTH = 3 * SIDE
FONT = 8.0
LEAST_FONT = 4.0
LEADING = 1.35
INCH = 72
# The gap between two tiles, as a share of a tile's side.
GAP = 0.08
# Pixels that are no numbers.
ALARM = (1.0, 0.0, 1.0)
COLOURS = 3


@dataclass(frozen=True)
class Line:
    """A line of a caption."""

    text: str
    colour: str = GREY


@dataclass(frozen=True)
class Tile:
    """A picture (H, W) or (H, W, 3), of bytes or of numbers from 0 to 1, and its caption."""

    pixels: NDArray[Any]
    caption: tuple[Line, ...] = ()


def picture_of(x: NDArray[Any]) -> NDArray[np.float32]:
    """The picture (H, W, 3) of an image (C, H, W) whose values are mostly from 0 to 1.

    One channel is grey and three are red, green and blue. Others are grey pictures in a square of
    their own, beginning at the top left, at most the first 16. Pixels that are not finite are
    magenta.
    """
    image = np.asarray(x, np.float32)
    if len(image) in {1, COLOURS}:
        pixels = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], COLOURS))
        return _finite(pixels)
    # A white line at the right and at the bottom of each.
    channels = np.pad(image[:MOST_CHANNELS], ((0, 0), (0, 1), (0, 1)), constant_values=1)
    count, height, width = channels.shape
    side = math.ceil(math.sqrt(count))
    rows = math.ceil(count / side)
    paper = np.ones((rows * side, height, width), np.float32)
    paper[:count] = channels
    mosaic = paper.reshape(rows, side, height, width).swapaxes(1, 2)
    flat = mosaic.reshape(rows * height, side * width, 1)[:-1, :-1]
    return _finite(np.broadcast_to(flat, (*flat.shape[:2], COLOURS)))


def denormalized(
    x: NDArray[Any], mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[np.float32]:
    """Images (N, C, H, W) with the normalisation by `mean` and `std` undone.

    Where these are not known, or not of so many channels, values of 0 to 1 stay and others are
    scaled from the lowest to the highest.
    """
    images = np.asarray(x, np.float32)
    known = mean is not None and std is not None
    if mean is not None and std is not None and {len(mean), len(std)} <= {1, images.shape[1]}:
        factor, shift = (np.array(one, np.float32).reshape(1, -1, 1, 1) for one in (std, mean))
        return np.asarray(images * factor + shift, np.float32)
    finite = images[np.isfinite(images)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if not known and low >= 0 and high <= 1:
        return images
    return np.asarray((images - low) / max(high - low, np.finfo(np.float32).tiny), np.float32)


def draw_tiles(tiles: Sequence[Tile], *, what: str, ax: Axes | None) -> Axes:
    """Draw pictures in a grid, each with its caption below.

    Args:
        tiles: At least one.
        what: The thing that is drawn, for the error's message: "a batch".
        ax: Axes to draw on; new ones if not given.

    Raises:
        MissingPackageError: matplotlib is not installed.
        TypeError: `ax` is something else.
    """
    lines = max(len(tile.caption) for tile in tiles)
    # The height of the tallest, in sides of a tile.
    tall = max(tile.pixels.shape[0] / max(tile.pixels.shape[:2]) for tile in tiles)
    rows = math.isqrt(len(tiles))
    columns = math.ceil(len(tiles) / rows)
    side, font = max(SIDE, LEAST_WIDTH / columns), FONT
    below = lines * font * LEADING
    size = columns * side * (1 + GAP) / INCH, rows * (side * (tall + GAP) + below) / INCH
    drawn: Axes = axes_for(ax, what, size)
    if ax is not None:
        columns, side, font = _sizes(drawn, len(tiles), lines, tall)
        rows = math.ceil(len(tiles) / columns)
    pitch = tall + GAP + lines * font * LEADING / side
    for place, tile in enumerate(tiles):
        left, top = place % columns * (1 + GAP), place // columns * pitch
        _draw(drawn, tile, left, top, tall=tall, font=font, side=side)
    drawn.set_xlim(0, columns * (1 + GAP) - GAP)
    drawn.set_ylim(rows * pitch - GAP, 0)
    drawn.set_aspect("equal")
    drawn.set_axis_off()
    return drawn


def _draw(
    ax: Axes, tile: Tile, left: float, top: float, *, tall: float, font: float, side: float
) -> None:
    height, width = tile.pixels.shape[:2]
    longest = max(height, width)
    w, h = width / longest, height / longest
    x, y = left + (1 - w) / 2, top + (tall - h) / 2
    ax.imshow(
        tile.pixels,
        extent=(x, x + w, y + h, y),
        cmap="gray",
        vmin=0,
        vmax=255 if tile.pixels.dtype == np.uint8 else 1,
        interpolation="nearest" if longest <= SMALL else "antialiased",
    )
    for number, line in enumerate(tile.caption):
        ax.text(
            left + 0.5,
            top + tall + (number * LEADING + 0.25) * font / side,
            fitted(line.text, side, font),
            ha="center",
            va="top",
            fontsize=font,
            color=ink(ax) if line.colour == INK else line.colour,
            parse_math=False,
        )


def _sizes(ax: Axes, tiles: int, lines: int, tall: float) -> tuple[int, float, float]:
    """The number of columns with which tiles are largest; their side and their text, in points."""
    figure: Any = ax.figure
    box, (width, height) = ax.get_position(), INCH * figure.get_size_inches()
    width, height = box.width * width, box.height * height

    def side(columns: int, font: float) -> float:
        below = height / math.ceil(tiles / columns) - lines * font * LEADING
        return float(min(width / columns / (1 + GAP), below / (tall + GAP)))

    font = FONT
    while True:
        columns = max(range(1, tiles + 1), key=lambda columns: side(columns, font))
        largest = side(columns, font)
        # Text takes at most about a third of what its picture does.
        if font <= LEAST_FONT or largest >= lines * 3 * font:
            return columns, max(largest, 1.0), font
        font -= 0.5


def fitted(text: str, width: float, font: float) -> str:
    """A text on one line, shortened with an ellipsis to a width in points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    properties = FontProperties(size=font)

    def length(text: str) -> float:
        return float(text_to_path.get_text_width_height_descent(text, properties, False)[0])

    text = one_line(text)
    if length(text) <= width:
        return text
    kept = bisect(range(len(text)), width, key=lambda count: length(text[:count] + "…"))
    return text[: max(kept - 1, 0)].rstrip() + "…"


def caption(lines: Iterable[str], *, first: str = INK, others: str = GREY) -> tuple[Line, ...]:
    """Lines of text, the first in another colour."""
    return tuple(Line(text, others if place else first) for place, text in enumerate(lines))


def _finite(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    known = np.isfinite(pixels).all(2, keepdims=True)
    return np.where(known, pixels.clip(0, 1), np.array(ALARM, np.float32))
