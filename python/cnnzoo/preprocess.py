"""Preprocessing: from photographs to a network's input."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._arguments import is_sequence, kind_of, number, one_of, shown, whole
from cnnzoo._arrays import as_given, is_tensor
from cnnzoo._copying import Value
from cnnzoo._html import html_facts
from cnnzoo._photo import INTERPOLATIONS, Contents, Photo, held, source
from cnnzoo.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    import torch

    from cnnzoo.transforms import Compose, Transform
    from cnnzoo.transforms.transform import Range

# The numbers of channels: grey; red, green and blue.
GREY, COLOURS = 1, 3


@dataclass(frozen=True, kw_only=True)
class Preprocess(Value):
    """The preprocessing of photographs for a network; it belongs to the network's weights.

    The short side is resized to `resize` pixels exactly as Pillow does it, the centre is cropped to
    a square of `crop` pixels, bytes are divided by 255, then `mean` is subtracted and the result
    divided by `std` in float32, channel by channel. This is torchvision's evaluation transform, bit
    for bit.

    With one number each for `mean` and `std`, photographs are converted to grey before they are
    resized, as by Pillow's `convert("L")`.

    Attributes:
        resize: Pixels of the short side.
        crop: Pixels of each side of the square.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
        mean: The channels' means, of red, green and blue, or of grey; between 0 and 1. Divide
            numbers of 0 to 255, as Caffe and Keras have them, by 255, those of `std` too.
        std: The channels' standard deviations, as many, above 0 and at most 1.
        orientation: Whether photographs in files, in data sets and in Pillow images are first
            turned upright by their EXIF orientation, as viewers do. torchvision does not turn them;
            with False neither does this.
    """

    resize: int
    crop: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    orientation: bool = True

    def __post_init__(self) -> None:
        for name in ("resize", "crop"):
            object.__setattr__(self, name, whole(f"preprocess: {name}", getattr(self, name)))
        one_of("preprocess: interpolation", self.interpolation, INTERPOLATIONS)
        for name, above in (("mean", None), ("std", 0.0)):
            values = _of_channels(name, getattr(self, name), above)
            object.__setattr__(self, name, values)
        if not self.mean or len(self.mean) != len(self.std):
            raise ArgumentError(
                "preprocess: mean and std: expected as many numbers of each as channels, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if not isinstance(self.orientation, bool):
            raise ArgumentError(
                f"preprocess: orientation: expected True or False, got {shown(self.orientation)}"
            )
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _native.Preprocess:
        return _native.Preprocess(
            resize=self.resize,
            crop=self.crop,
            interpolation=self.interpolation,
            mean=_of_colours(self.mean),
            std=_of_colours(self.std),
        )

    def _repr_html_(self) -> str:
        facts = {
            "resize": f"the short side to {self.resize} pixels, {self.interpolation}",
            "crop": f"the centre, {self.crop} × {self.crop}",
            "mean": ", ".join(f"{value:.6g}" for value in self.mean),
            "std": ", ".join(f"{value:.6g}" for value in self.std),
            "orientation": "" if self.orientation else "photographs are not turned upright",
        }
        return html_facts("Preprocess", facts.items())

    def resized(self, crop: int) -> Preprocess:
        """The same preprocessing for another crop size; `resize` is scaled in proportion."""
        return replace(self, resize=round(self.resize * crop / self.crop), crop=crop)

    def with_channels(self, channels: int) -> Preprocess:
        """The same preprocessing for a network with this number of input channels.

        If the number differs, `mean` and `std` are averaged, and the average is used for every
        channel. Photographs can be prepared for 1 or 3 channels only.
        """
        if channels == len(self.mean):
            return self
        mean, std = (math.fsum(of) / len(of) for of in (self.mean, self.std))
        return replace(self, mean=(mean,) * channels, std=(std,) * channels)

    @overload
    def __call__(self, images: torch.Tensor | Sequence[torch.Tensor]) -> torch.Tensor: ...
    @overload
    def __call__(self, images: Photo | Sequence[Photo]) -> NDArray[np.float32]: ...
    def __call__(self, images: Any) -> Any:
        """Prepare photographs.

        Args:
            images: A path, the bytes of a file or an open file (JPEG, PNG, WebP, GIF, BMP, TIFF or
                PNM), a uint8 array or torch tensor (H, W, 3), (H, W) or (H, W, 4), a Pillow image,
                or a list of these. Of 16-bit values (uint16 arrays, Pillow's modes I;16 and I,
                files) the high byte is kept.

        Returns:
            float32 of shape (N, C, crop, crop), N = 1 for a single photograph, C = 3, or 1 in grey.
            A tensor on the device of the first photograph if all are tensors, otherwise a NumPy
            array.

        Raises:
            DataError: A file does not decode; it names the path.
            ShapeError: An array is no image, or the network takes neither 1 nor 3 channels.
            TypeError: An array is neither of uint8 nor uint16, or an object is no photograph.
        """
        photos = images if isinstance(images, list | tuple) else [images]
        found = self.to_array(images)
        return as_given(found, photos[0]) if all(map(is_tensor, photos)) else found

    def to_array(self, images: Any) -> NDArray[np.float32]:
        """The same as a NumPy array, whatever the photographs are."""
        self.check_channels()
        photos: list[Any] = [images]
        if isinstance(images, list | tuple) and not isinstance(images, Contents):
            photos = [held(photo) for photo in images]
        if not photos:
            raise ArgumentError("images: expected at least one photograph, got an empty list")
        if len(photos) == 1:
            return self._one(photos[0])[np.newaxis]
        from concurrent.futures import ThreadPoolExecutor

        # Decoding and resizing run without the GIL.
        with ThreadPoolExecutor(max_workers=min(len(photos), os.cpu_count() or 1)) as pool:
            return np.stack(list(pool.map(self._one, photos)))

    def check_channels(self) -> None:
        """Check that photographs can be prepared for the network's input channels.

        Raises:
            ShapeError: The network takes neither 1 nor 3 channels.
        """
        if len(self.mean) not in {GREY, COLOURS}:
            raise ShapeError(
                "preprocess: expected a network that takes the 1 or 3 channels of photographs, got "
                f"one that takes {len(self.mean)}; give it arrays (N, {len(self.mean)}, H, W): "
                "model(x)"
            )

    def _one(self, photo: Any) -> NDArray[np.float32]:
        grey = len(self.mean) == GREY
        found = source(photo, orientation=self.orientation)
        if isinstance(found, np.ndarray):
            return self._engine.apply_array(found, grey=grey)
        return self._engine.apply_file(found, orientation=self.orientation, grey=grey)


def _of_channels(name: str, values: Any, above: float | None) -> tuple[float, ...]:
    """One number for each channel, on the scale on which pixels are 0 to 1.

    Raises:
        ArgumentError: They are something else.
    """
    at = f"preprocess: {name}"
    if not is_sequence(values):
        raise ArgumentError(f"{at}: expected a number for each channel, got {kind_of(values)}")
    least = None if above is not None else 0
    try:
        return tuple(number(at, value, least=least, above=above, most=1) for value in values)
    except ArgumentError as error:
        raise ArgumentError(f"{error}; photographs have values of 0 to 1 here") from None


def _of_colours(numbers: tuple[float, ...]) -> tuple[float, float, float]:
    """The three numbers that the engine takes; for grey, its one number three times."""
    red, green, blue = numbers if len(numbers) == COLOURS else numbers[:1] * COLOURS
    return red, green, blue


def train_transform(
    preprocess: Preprocess,
    *,
    scale: Range,
    ratio: Range,
    flip: float,
    vertical_flip: float,
    color_jitter: float | tuple[float, ...],
    augment: Transform | None,
    erasing: float,
) -> Compose:
    """The transform behind `Model.train_transform`."""
    # With its first use, since it takes a tenth of the time to import cnnzoo.
    from cnnzoo.transforms import (
        ColorJitter,
        Compose,
        Normalize,
        RandomErasing,
        RandomHorizontalFlip,
        RandomResizedCrop,
        RandomVerticalFlip,
    )

    size, grey = preprocess.crop, len(preprocess.mean) == GREY
    resized = RandomResizedCrop(
        size, scale=scale, ratio=ratio, interpolation=preprocess.interpolation
    )
    strengths = color_jitter if isinstance(color_jitter, Sequence) else (color_jitter,) * COLOURS
    jitter = ColorJitter(*strengths) if augment is None and any(strengths) else None
    steps = [
        resized,
        RandomHorizontalFlip(flip) if flip else None,
        RandomVerticalFlip(vertical_flip) if vertical_flip else None,
        augment,
        jitter,
        Normalize(preprocess.mean, preprocess.std),
        RandomErasing(erasing) if erasing else None,
    ]
    return Compose(
        [step for step in steps if step is not None],
        channels=GREY if grey else COLOURS,
        orientation=preprocess.orientation,
    )
