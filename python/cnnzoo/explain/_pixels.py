"""Pictures of values: enlarging, scaling and colouring them, and laying them over photographs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._plots import LUMA

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# From cold to hot: dark violet, purple, red, orange, pale yellow; lighter at each step.
PALETTE = ("#100b2d", "#4a1173", "#8c2369", "#cf3f50", "#f3742b", "#fcb32d", "#fbf5a7")
# The colour where values are infinite or NaN: magenta, which the palette does not have.
ALARM = (255, 0, 255)
# The share of colour that photographs keep below a heatmap, so that its own colours stand out.
COLOUR = 0.25
# The share of the heatmap's colours where they cover most, and the value from which on they do.
ALPHA, COVERED = 0.75, 0.625
# The columns of a mosaic, at most, relative to a square one.
WIDEST = 1.5
# Pixels of the shorter side of a picture in a page, at least and at most.
LEAST_SHOWN, MOST_SHOWN = 256, 448
# Pixels between the tiles of a mosaic, as a share of their side.
GAP = 0.06


def scaled(values: NDArray[np.floating]) -> Floats:
    """The values from 0, the least, to 1, the largest; all 0 where they are equal.

    NaN where a value is infinite or NaN.
    """
    finite = np.isfinite(values)
    found = np.where(finite, values, np.nan).astype(np.float64)
    known = found[finite]
    if known.size:
        least, most = known.min(), known.max()
        found = (found - least) / ((most - least) or 1.0)
    return found.astype(np.float32)


def enlarged(values: NDArray[np.floating], height: int, width: int) -> Floats:
    """Values (h, w) at another size, bilinearly, with pixels whose centres lie between the cells'.

    As `torch.nn.functional.interpolate` does with `align_corners=False`, and OpenCV's `resize`. All
    pixels to which a value that is infinite or NaN would add are NaN.
    """
    found = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    for axis, size in enumerate((height, width)):
        length = found.shape[axis]
        at = ((np.arange(size) + 0.5) * length / size - 0.5).clip(0, length - 1)
        before = at.astype(np.intp)
        after = np.minimum(before + 1, length - 1)
        share = np.expand_dims(at - before, 1 - axis)
        found = found.take(before, axis) * (1 - share) + found.take(after, axis) * share
    return found.astype(np.float32)


def coloured(values: NDArray[np.floating]) -> Bytes:
    """Values of 0 to 1 as colours (..., 3), from dark violet to pale yellow; NaN is magenta."""
    colours = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in PALETTE])
    at = np.clip(np.nan_to_num(values.astype(np.float64)), 0, 1) * (len(PALETTE) - 1)
    marks = np.arange(len(PALETTE))
    found = np.stack([np.interp(at, marks, channel) for channel in colours.T], -1)
    pixels: Bytes = np.rint(found).astype(np.uint8)
    pixels[np.isnan(values)] = ALARM
    return pixels


def overlaid(photo: Bytes, values: Floats, alpha: float = ALPHA) -> Bytes:
    """A pale photograph (H, W, 3), with colours over it where values are large or NaN.

    Args:
        photo: The pixels.
        values: The values, 0 to 1, which are enlarged to the photograph.
        alpha: The share of the colours where they cover most.
    """
    heat = enlarged(values, *photo.shape[:2]).astype(np.float64)
    # Of a number and NaN, `fmin` is the number.
    share = alpha * np.fmin(1, heat / COVERED)[..., np.newaxis]
    found: Bytes = np.rint((1 - share) * pale(photo) + share * coloured(heat)).astype(np.uint8)
    return found


def pale(photo: Bytes, *, colour: float = COLOUR) -> NDArray[np.float64]:
    """A photograph with a share of its colour, the rest of it grey."""
    found = photo.astype(np.float64)
    mixed: NDArray[np.float64] = colour * found + (1 - colour) * (found @ LUMA)[..., np.newaxis]
    return mixed


def mosaic(tiles: Bytes, *, paper: int = 255) -> Bytes:
    """Tiles (N, H, W, 3) as one picture, row by row, at least about as wide as it is high."""
    count, height, width, _ = tiles.shape
    root = math.sqrt(count)
    # The number that leaves the fewest places empty.
    columns = min(range(math.ceil(root), math.ceil(WIDEST * root) + 1), key=lambda n: -count % n)
    rows = math.ceil(count / columns)
    gap = max(1, round(GAP * min(height, width)))
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, 3)
    found = np.full(shape, paper, np.uint8)
    for at, tile in enumerate(tiles):
        top, left = at // columns * (height + gap), at % columns * (width + gap)
        found[top : top + height, left : left + width] = tile
    return found


def for_page(pixels: Bytes) -> Bytes:
    """A picture in a size for a page: small ones with larger pixels, large ones reduced."""
    height, width = pixels.shape[:2]
    times = MOST_SHOWN / min(height, width)
    if times >= 1:
        return magnified(pixels, LEAST_SHOWN)
    size = max(1, round(width * times)), max(1, round(height * times))
    return _native.resize_photo(np.ascontiguousarray(pixels), *size, "lanczos")


def magnified(pixels: Bytes, least: int) -> Bytes:
    """A picture whose pixels are repeated until its shorter side has at least so many."""
    times = max(1, math.ceil(least / min(pixels.shape[:2])))
    return pixels.repeat(times, 0).repeat(times, 1)
