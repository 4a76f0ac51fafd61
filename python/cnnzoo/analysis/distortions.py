"""Exact distortions of a network's input: shift, rotation, scale, noise and occlusion.

Each takes images (N, C, H, W) as the network gets them, after the preprocessing, and returns
float32 of the same shape. Pixels that come from outside the image are `fill`, a number for each
channel (C,).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]


def shifted(x: Images, pixels: int, *, fill: Images) -> Images:
    """Images moved to the right by so many pixels; to the left where it is negative."""
    moved = np.empty(x.shape, np.float32)
    moved[:] = _of_channels(fill)
    width = x.shape[3]
    if pixels >= 0:
        moved[..., pixels:] = x[..., : max(width - pixels, 0)]
    else:
        moved[..., : max(width + pixels, 0)] = x[..., -pixels:]
    return moved


def rotated(x: Images, degrees: float, *, fill: Images) -> Images:
    """Images rotated counter-clockwise around their centre, with bilinear interpolation."""
    height, width = x.shape[2:]
    angle = math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    # Distances of the result's pixels from the centre; where each comes from.
    down, right = np.mgrid[:height, :width].astype(np.float64)
    down, right = down - (height - 1) / 2, right - (width - 1) / 2
    row = cos * down + sin * right + (height - 1) / 2
    column = cos * right - sin * down + (width - 1) / 2
    return _bilinear(x, row, column, fill)


def scaled(x: Images, factor: float, *, fill: Images) -> Images:
    """Images enlarged around their centre, or reduced by a factor below 1.

    Resampled along each axis with a triangle filter, whose width is two pixels of the image or of
    the result, whichever are larger: bilinear interpolation where it enlarges, and antialiased, as
    by Pillow's `BILINEAR`, where it reduces.
    """
    rows, columns = (_resampling(side, factor) for side in x.shape[2:])
    found = np.asarray(rows @ x @ columns.T, np.float32)
    outside = ~np.logical_and.outer(rows.sum(1) > 0, columns.sum(1) > 0)
    return np.where(outside, _of_channels(fill), found)


def noisy(x: Images, deviation: Images, numbers: NDArray[np.int64], *, seed: int) -> Images:
    """Images with Gaussian noise, the same for an image at every deviation but for its size.

    Args:
        x: Images (N, C, H, W).
        deviation: The noise's standard deviation in each channel (C,).
        numbers: The image's numbers (N,), with which the noise is seeded.
        seed: The seed of all noise.
    """
    noise = np.stack(
        [
            np.random.default_rng([seed, int(number)]).standard_normal(x.shape[1:], np.float32)
            for number in numbers
        ]
    )
    return np.asarray(x + noise * deviation.reshape(1, -1, 1, 1), np.float32)


def occluded(
    x: Images, area: float, numbers: NDArray[np.int64], *, seed: int, fill: Images
) -> Images:
    """Images of which a square is covered, at a random place within the image.

    Args:
        x: Images (N, C, H, W).
        area: The square's share of the image's area; no side is longer than the image's.
        numbers: The image's numbers (N,), with which the place is seeded: the same for an image at
            every size, relative to the room that there is.
        seed: The seed of all places.
        fill: The square's colour (C,).
    """
    height, width = x.shape[2:]
    side = round(math.sqrt(area * height * width))
    tall, wide = min(side, height), min(side, width)
    covered = np.array(x, np.float32)
    for image, number in zip(covered, numbers, strict=True):
        down, right = np.random.default_rng([seed, int(number)]).random(2)
        top, left = int(down * (height - tall + 1)), int(right * (width - wide + 1))
        image[:, top : top + tall, left : left + wide] = fill[:, None, None]
    return covered


def _of_channels(fill: Images) -> Images:
    """One number for each channel, (1, C, 1, 1)."""
    return fill.astype(np.float32).reshape(1, -1, 1, 1)


def _bilinear(
    x: Images, row: NDArray[np.float64], column: NDArray[np.float64], fill: Images
) -> Images:
    """The images at these places, between four pixels each."""
    height, width = x.shape[2:]
    flat = np.empty((*x.shape[:2], height * width + 1), np.float32)
    flat[..., :-1] = x.reshape(*x.shape[:2], -1)
    # The last place is that of all pixels outside.
    flat[..., -1] = fill
    top, left = np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)
    found = np.zeros(x.shape, np.float32)
    for down in (0, 1):
        for right in (0, 1):
            y, z = top + down, left + right
            weight = ((1 - np.abs(row - y)) * (1 - np.abs(column - z))).astype(np.float32)
            inside = (y >= 0) & (y < height) & (z >= 0) & (z < width)
            np.add(found, weight * flat[..., np.where(inside, y * width + z, -1)], out=found)
    return found


def _resampling(side: int, factor: float) -> Images:
    """The matrix (side, side) that scales one axis around its middle."""
    places = np.arange(side)
    # The centre of each of the result's pixels, in pixels of the image.
    centre = (places + 0.5 - side / 2) / factor + side / 2
    reach = max(1.0, 1 / factor)
    distance = np.abs(np.subtract.outer(centre, places + 0.5)) / reach
    weights = np.maximum(0, 1 - distance)
    total = weights.sum(1, keepdims=True)
    inside = (centre > 0) & (centre < side)
    weights = np.where(inside[:, None], weights / np.maximum(total, 1e-12), 0)
    return np.asarray(weights, np.float32)
