"""From photographs to what a network sees."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo.errors import ArgumentError


@runtime_checkable
class PillowImage(Protocol):
    """What is used of `PIL.Image.Image`, so that Pillow need not be there."""

    def convert(self, mode: str) -> Any:
        """The same image in another mode."""


Photo: TypeAlias = "str | os.PathLike[str] | NDArray[np.uint8] | PillowImage"


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """How photographs are prepared for a network; it belongs to the network's weights.

    The short side is resized to `resize` pixels exactly as Pillow does it, a square of `crop`
    pixels is cut from the middle, bytes are divided by 255, then `mean` is subtracted and the
    result divided by `std` in float32, channel by channel. This is torchvision's evaluation
    transform, bit for bit.

    Attributes:
        resize: Pixels of the short side.
        crop: Pixels of each side of the square.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
        mean: Of red, green and blue, between 0 and 1.
        std: Of red, green and blue.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _native.Preprocess:
        return _native.Preprocess(
            resize=self.resize,
            crop=self.crop,
            interpolation=self.interpolation,
            mean=self.mean,
            std=self.std,
        )

    def resized(self, crop: int) -> Preprocess:
        """The same for squares of `crop` pixels: as much of a photograph is cut off."""
        return replace(self, resize=round(self.resize * crop / self.crop), crop=crop)

    def __call__(self, images: Photo | Sequence[Photo]) -> NDArray[np.float32]:
        """Prepare photographs.

        Args:
            images: A path (JPEG, PNG or WebP), a uint8 array (H, W, 3), (H, W) or (H, W, 4), a
                Pillow image, or a list of these.

        Returns:
            float32 of shape (N, 3, crop, crop), N = 1 for a single photograph.

        Raises:
            DataError: A file does not decode; it names the path.
            ShapeError: An array is no image.
            TypeError: An array is not of uint8, or an object is no photograph.
        """
        photos: list[Any] = list(images) if isinstance(images, list | tuple) else [images]
        if not photos:
            raise ArgumentError("images: expected at least one photograph, got an empty list")
        if len(photos) == 1:
            return self._one(photos[0])[np.newaxis]
        from concurrent.futures import ThreadPoolExecutor

        # Decoding and resizing run without the GIL.
        with ThreadPoolExecutor(max_workers=min(len(photos), os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(self._one, photos)))

    def _one(self, photo: Photo) -> NDArray[np.float32]:
        if isinstance(photo, str | os.PathLike):
            return self._engine.apply_file(os.fspath(photo))
        if isinstance(photo, np.ndarray):
            return self._engine.apply_array(photo)
        if isinstance(photo, PillowImage):
            return self._engine.apply_array(np.asarray(photo.convert("RGB")))
        raise TypeError(
            "a photograph: expected a path, a uint8 array (H, W, 3) or a Pillow image, "
            f"got {type(photo).__name__}"
        )
