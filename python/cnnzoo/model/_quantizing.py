"""Quantization of a network to int8, with ranges that are measured on images."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import instance, kind_of, number, whole
from cnnzoo._arrays import as_array, is_tensor
from cnnzoo._photo import is_photo
from cnnzoo._progress import Count
from cnnzoo.errors import ArgumentError, DeviceError, Notice, ShapeError
from cnnzoo.model._running import Running
from cnnzoo.model.predict import prepare_photos
from cnnzoo.quantization import Quantization, quantization_of

# The largest error of a layer in int8, and the number of images that it is measured with.
MOST_ERROR = 0.05
MOST_IMAGES = 100
# With fewer images, those that come later have many values outside the measured ranges.
FEW_IMAGES = 16


class Quantizing(Running):
    """A network that can be quantized."""

    def quantize(
        self,
        images: Any,
        *,
        most_error: float = MOST_ERROR,
        most_images: int = MOST_IMAGES,
        progress: bool | None = None,
    ) -> Quantization:
        """Quantize the model with images that it will be used for, for `precision="int8"`.

        The lowest and the highest value of every activation are measured on the images; between
        them, 256 numbers represent the others in int8. Weights get 255 numbers for each output
        channel, as far as its largest. Then each convolution and linear layer runs in int8 alone,
        on up to 8 images: the network's other layers are in float32. A layer that changes the
        output too much stays in float32 for good.

        Parameters keep their values, and runs in other precisions their bits. Any change of a
        parameter makes the model one that is not quantized. Ctrl-C leaves the model as it was.

        Args:
            images: Photographs, as for `predict`: some dozens of those that the model is used for,
                without labels. Or an array or tensor (N, C, H, W) of preprocessed images, as for
                `__call__`; or batches of these, with or without labels: a `Loader`, of torch too.
            most_error: The largest error of a layer that runs in int8: the root of the mean square
                of the output's differences from float32, relative to the spread of an image's
                logits around their mean.
            most_images: Number of images that are used, the first of them.
            progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

        Returns:
            The model's `quantization`: the error of each layer, and that of the network. `print`
            shows a table.

        Warns:
            Notice: There are fewer than 16 images.

        Raises:
            ArgumentError: An option is invalid, there are no images, they have one value alone, or
                a value is not finite.
            DataError: A photograph cannot be read.
            DeviceError: The model is not on the CPU, or has no parameters.
            ShapeError: The images have another number of channels or are too small, or the network
                takes no photographs.
            TypeError: They are no photographs, and no array of floating-point numbers.
        """
        most_error = number("`most_error`", most_error, least=0.0)
        most_images = whole("`most_images`", most_images, least=1)
        if self.device != "cpu":
            raise DeviceError(
                f"quantization of {self.name}: expected a model with parameters on the CPU, got "
                f"one on {self.device}"
            )
        if progress is not None:
            instance("`progress`", progress, bool, "True, False or None")
        x = self._calibration(images, most_images)
        if len(x) == 0:
            raise ArgumentError(f"images for {self.name}: expected at least one, got none")
        if len(x) < FEW_IMAGES:
            warnings.warn(
                f"quantization of {self.name}: expected at least {FEW_IMAGES} images, got "
                f"{len(x)}; the ranges of all values are measured on them, and what lies outside "
                "in later images is cut off: give some dozens of those that the model is used for",
                Notice,
                stacklevel=2,
            )
        with self._change() as engine, ExitStack() as shown:
            bar: Count | None = None

            def count(_: int, steps: int) -> None:
                nonlocal bar
                if bar is None:
                    bar = shown.enter_context(Count(steps, "steps", shown=progress is not False))
                else:
                    bar.advance()

            rows, error, ranges = engine.quantize(x, most_error, count)
            self._quantization = found = quantization_of(
                self.name, rows, ranges, images=len(x), most_error=most_error, error=error
            )
        return found

    def _calibration(self, images: Any, most: int) -> NDArray[Any]:
        """At most so many images (N, C, H, W), ready for the network."""
        from cnnzoo.data import Loader

        if isinstance(images, Loader):
            return _of_batches(images, most, self.name)
        given = as_array(images) if is_tensor(images) else images
        if isinstance(given, np.ndarray) and given.dtype.kind == "f":
            return given[:most]
        if is_photo(images) or not isinstance(images, Iterable):
            return prepare_photos(self, [images], most=most)
        several = iter(images)
        first = next(several, None)
        whole_again = chain([] if first is None else [first], several)
        if _is_batch(first):
            return _of_batches(whole_again, most, self.name)
        # A data set is read by its indices.
        return prepare_photos(self, whole_again if several is images else images, most=most)


def _images_of(batch: Any) -> Any:
    """The images of a batch, which may have labels beside them."""
    images = batch[0] if isinstance(batch, tuple | list) and batch else batch
    return as_array(images) if is_tensor(images) else images


def _is_batch(given: Any) -> bool:
    images = _images_of(given)
    return isinstance(images, np.ndarray) and images.dtype.kind == "f"


def _of_batches(batches: Iterable[Any], most: int, name: str) -> NDArray[Any]:
    """The images (N, C, H, W) of the first batches, as of a loader."""
    found: list[NDArray[Any]] = []
    count = 0
    for batch in batches:
        x = _images_of(batch)
        if not _is_batch(batch) or x.ndim != 4 or x.shape[1:] != (found or [x])[0].shape[1:]:  # noqa: PLR2004
            like = f" like the first, {found[0].shape}" if found else ""
            raise ShapeError(
                f"images for {name}: expected a batch of images (N, C, H, W){like}, got "
                f"{getattr(x, 'shape', kind_of(x))}"
            )
        found.append(x[: most - count])
        count += len(found[-1])
        if count >= most:
            break
    if not found:
        raise ArgumentError(f"images for {name}: expected at least one, got none")
    return np.concatenate(found)
