"""Pictures of the images of an evaluation, by their numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._tiles import COLOURS, denormalized, picture_of
from cnnzoo.data import Dataset
from cnnzoo.errors import ArgumentError

# The longer side of a photograph, in pixels; larger ones are reduced.
LARGEST = 512


class Pictures:
    """The pictures of an evaluation's images, by their numbers.

    Args:
        source: The data set; or batches (x, y); or nothing, where they are gone.
        mean: The means that the batches' images were normalised by.
        std: The standard deviations.
    """

    def __init__(self, source: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self._source = source
        self._mean, self._std = mean, std

    def name(self, index: int) -> str:
        """The path of an image, if it has one."""
        return self._source.name(index) if isinstance(self._source, Dataset) else f"image {index}"

    def picture(self, index: int) -> NDArray[Any]:
        """The pixels of an image: the photograph of a data set, else what the network got."""
        if isinstance(self._source, Dataset):
            return _small(self._source.photo(index))
        left = index
        for x, _ in self._source or ():
            if left < len(x):
                known = len(self._mean) == len(x[left])
                mean, std = (self._mean, self._std) if known else (None, None)
                return picture_of(denormalized(np.asarray(x)[left : left + 1], mean, std)[0])
            left -= len(x)
        raise ArgumentError(
            "a gallery: expected images of a loader or of a list of batches, got those of an "
            "iterator, which are gone"
        )


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph, made smaller where it is much larger than it is drawn."""
    height, width, channels = pixels.shape
    shrunk = LARGEST / max(height, width)
    if shrunk < 1 and channels == COLOURS:
        size = (max(1, round(shrunk * width)), max(1, round(shrunk * height)))
        return _native.resize_photo(pixels, *size, "bilinear")
    return pixels[..., 0] if channels == 1 else pixels
