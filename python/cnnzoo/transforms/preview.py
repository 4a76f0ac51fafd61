"""Previews: grids of pictures that show a transform's random draws."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._package import NAME
from cnnzoo.errors import MissingPackageError

if TYPE_CHECKING:
    from PIL.Image import Image

# In pixels: the size that small tiles are enlarged to, and the gap between two.
TILE = 112
GAP = 4
MOST_TILES = 400


@dataclass(frozen=True, repr=False, eq=False)
class Preview:
    """A grid of pictures; Jupyter shows it.

    Attributes:
        pixels: uint8 of shape (H, W, 3).
        count: The number of pictures in it.
    """

    pixels: NDArray[np.uint8]
    count: int

    @property
    def image(self) -> Image:
        """A Pillow image.

        Raises:
            MissingPackageError: Pillow is not installed.
        """
        try:
            from PIL import Image as pillow  # noqa: N813
        except ImportError as error:
            raise MissingPackageError(
                "drawing needs Pillow, which is not installed; "
                f"install it with: pip install '{NAME}[pictures]'"
            ) from error
        image: Image = pillow.fromarray(self.pixels)
        return image

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the grid to a file, in the format of the name's ending."""
        self.image.save(path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        height, width, _ = self.pixels.shape
        return f"Preview(count={self.count}, {width} x {height} pixels)"


def tile(x: NDArray[np.float32], specs: Iterable[dict[str, Any]]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) of a transform's output (C, H, W), with `Normalize` undone."""
    for spec in specs:
        if spec["step"] == "Normalize":
            mean, std = (np.float32(spec[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
            x = x * std + mean
    pixels = np.rint(255 * x.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def grid(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size in a grid on white; small ones are enlarged by a whole factor."""
    enlarged = max(1, math.ceil(TILE / max(tiles[0].shape[:2])))
    tiles = [tile.repeat(enlarged, axis=0).repeat(enlarged, axis=1) for tile in tiles]
    height, width, _ = tiles[0].shape
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    paper = np.full(shape, 255, np.uint8)
    for place, tile in enumerate(tiles):
        top = GAP + place // columns * (height + GAP)
        left = GAP + place % columns * (width + GAP)
        paper[top : top + height, left : left + width] = tile
    return paper
