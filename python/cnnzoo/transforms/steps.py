"""The steps: resizing, crops, flips, colours, augmentation policies, normalisation."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

from cnnzoo._arguments import instance, is_sequence, one_of, shown
from cnnzoo._photo import INTERPOLATIONS
from cnnzoo.errors import ArgumentError
from cnnzoo.transforms._options import (
    count,
    fill_of,
    margins,
    number,
    numbers,
    pair,
    sides,
)
from cnnzoo.transforms.transform import Range, Size, Transform

Padding: TypeAlias = "int | tuple[int, int] | tuple[int, int, int, int]"
Fill: TypeAlias = "int | tuple[int, int, int]"

PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


@dataclass(frozen=True, repr=False)
class Resize(Transform):
    """Resize, as Pillow does.

    Attributes:
        size: Pixels of the short side; the long side keeps the aspect ratio, rounded down. Or
            (height, width).
        max_size: The most pixels of the long side; the short side follows.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
    """

    size: Size
    _: KW_ONLY
    max_size: int | None = None
    interpolation: str = "bilinear"

    def _options(self) -> dict[str, Any]:
        single = isinstance(self.size, int)
        height, width = sides("Resize: size", self.size)
        options = {
            "height": height,
            "interpolation": one_of(
                f"{type(self).__name__}: interpolation", self.interpolation, INTERPOLATIONS
            ),
        }
        if not single:
            options["width"] = width
        if self.max_size is not None:
            options["max_size"] = count("Resize: max_size", self.max_size)
        return options


@dataclass(frozen=True, repr=False)
class CenterCrop(Transform):
    """Crop the centre; a smaller photograph is padded with black.

    Attributes:
        size: Pixels of each side, or (height, width).
    """

    size: Size

    def _options(self) -> dict[str, Any]:
        height, width = sides("CenterCrop: size", self.size)
        return {"height": height, "width": width}


@dataclass(frozen=True, repr=False)
class RandomCrop(Transform):
    """Crop at a random position.

    Attributes:
        size: Pixels of each side, or (height, width).
        padding: Pixels of padding before the crop: of all sides, (left and right, top and bottom)
            or (left, top, right, bottom).
        pad_if_needed: Pad a photograph that is too small, which is an error otherwise.
        fill: A byte, or (red, green, blue).
        padding_mode: constant (the fill), edge, reflect or symmetric.
    """

    size: Size
    _: KW_ONLY
    padding: Padding = 0
    pad_if_needed: bool = False
    fill: Fill = 0
    padding_mode: str = "constant"

    def _options(self) -> dict[str, Any]:
        height, width = sides("RandomCrop: size", self.size)
        return {
            "height": height,
            "width": width,
            "padding": margins("RandomCrop: padding", self.padding),
            "pad_if_needed": instance(
                "RandomCrop: pad_if_needed", self.pad_if_needed, bool, "True or False"
            ),
            "fill": fill_of("RandomCrop: fill", self.fill),
            "padding_mode": one_of(
                f"{type(self).__name__}: padding_mode", self.padding_mode, PADDING_MODES
            ),
        }


@dataclass(frozen=True, repr=False)
class RandomShift(Transform):
    """Shift the photograph by a few pixels: a random crop of its own size, after padding.

    With `RandomHorizontalFlip`, this is the augmentation of AlexNet and the CIFAR networks.

    Attributes:
        padding: The largest shift in pixels; see `RandomCrop`.
        fill: A byte, or (red, green, blue).
        padding_mode: constant (the fill), edge, reflect or symmetric.
    """

    padding: Padding
    _: KW_ONLY
    fill: Fill = 0
    padding_mode: str = "constant"

    def _options(self) -> dict[str, Any]:
        return {
            "padding": margins("RandomShift: padding", self.padding),
            "fill": fill_of("RandomShift: fill", self.fill),
            "padding_mode": one_of(
                f"{type(self).__name__}: padding_mode", self.padding_mode, PADDING_MODES
            ),
        }


@dataclass(frozen=True, repr=False)
class RandomResizedCrop(Transform):
    """Crop a random area of random aspect ratio, and resize it.

    If none of ten random crops lies inside the photograph, the largest crop in the centre is taken.

    Attributes:
        size: Pixels of each side, or (height, width).
        scale: Range of the crop's area over the photograph's.
        ratio: Range of the crop's aspect ratio, width over height.
        interpolation: nearest, box, bilinear, hamming, bicubic or lanczos.
    """

    size: Size
    _: KW_ONLY
    scale: Range = (0.08, 1.0)
    ratio: Range = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"

    def _options(self) -> dict[str, Any]:
        height, width = sides("RandomResizedCrop: size", self.size)
        return {
            "height": height,
            "width": width,
            "scale": pair("RandomResizedCrop: scale", self.scale),
            "ratio": pair("RandomResizedCrop: ratio", self.ratio),
            "interpolation": one_of(
                f"{type(self).__name__}: interpolation", self.interpolation, INTERPOLATIONS
            ),
        }


@dataclass(frozen=True, repr=False)
class RandomHorizontalFlip(Transform):
    """Flip horizontally (swap left and right) at random.

    Attributes:
        p: The probability.
    """

    p: float = 0.5

    def _options(self) -> dict[str, Any]:
        return {"p": number("RandomHorizontalFlip: p", self.p)}


@dataclass(frozen=True, repr=False)
class RandomVerticalFlip(Transform):
    """Flip vertically (swap top and bottom) at random.

    Attributes:
        p: The probability.
    """

    p: float = 0.5

    def _options(self) -> dict[str, Any]:
        return {"p": number("RandomVerticalFlip: p", self.p)}


@dataclass(frozen=True, repr=False)
class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue by random factors, in random order.

    Attributes:
        brightness: The factor is drawn from 1 - x (not below 0) to 1 + x, or from the given pair.
        contrast: Likewise.
        saturation: Likewise.
        hue: The shift, as a fraction of the colour circle, is drawn from -x to x, at most 0.5, or
            from the given pair.
    """

    brightness: float | Range = 0.0
    contrast: float | Range = 0.0
    saturation: float | Range = 0.0
    hue: float | Range = 0.0

    def _options(self) -> dict[str, Any]:
        options = {}
        for name, middle in (
            ("brightness", 1.0),
            ("contrast", 1.0),
            ("saturation", 1.0),
            ("hue", 0.0),
        ):
            at, value = f"ColorJitter: {name}", getattr(self, name)
            if is_sequence(value):
                low, high = pair(at, value)
            else:
                reach = number(at, value)
                if reach < 0:
                    raise ArgumentError(f"{at}: expected a number not below 0, got {shown(value)}")
                low, high = middle - reach, middle + reach
                low = max(low, 0.0) if middle else low
            if (low, high) != (middle, middle):
                options[name] = [low, high]
        return options


@dataclass(frozen=True, repr=False)
class Grayscale(Transform):
    """Convert to greyscale, by the luma.

    Attributes:
        num_output_channels: 1, or 3 for three equal channels.
    """

    num_output_channels: int = 1

    def _options(self) -> dict[str, Any]:
        at = "Grayscale: num_output_channels"
        return {"num_output_channels": count(at, self.num_output_channels)}


@dataclass(frozen=True, repr=False)
class RandAugment(Transform):
    """Apply `num_ops` random operations of 14, at one magnitude (Cubuk et al., 1909.13719).

    Attributes:
        num_ops: The number of operations, one after another.
        magnitude: The magnitude, 0 to `num_magnitude_bins` - 1.
        num_magnitude_bins: The number of magnitudes.
        fill: A byte, or (red, green, blue), for pixels uncovered by shears, shifts and rotations.
    """

    _: KW_ONLY
    num_ops: int = 2
    magnitude: int = 9
    num_magnitude_bins: int = 31
    fill: Fill = 0

    def _options(self) -> dict[str, Any]:
        return {
            "num_ops": count("RandAugment: num_ops", self.num_ops),
            "magnitude": count("RandAugment: magnitude", self.magnitude),
            "num_magnitude_bins": count("RandAugment: num_magnitude_bins", self.num_magnitude_bins),
            "fill": fill_of("RandAugment: fill", self.fill),
        }


@dataclass(frozen=True, repr=False)
class TrivialAugmentWide(Transform):
    """Apply one random operation of 14, at a random magnitude (2103.10158).

    Attributes:
        num_magnitude_bins: The number of magnitudes.
        fill: A byte, or (red, green, blue), for pixels uncovered by shears, shifts and rotations.
    """

    _: KW_ONLY
    num_magnitude_bins: int = 31
    fill: Fill = 0

    def _options(self) -> dict[str, Any]:
        at = "TrivialAugmentWide: num_magnitude_bins"
        return {
            "num_magnitude_bins": count(at, self.num_magnitude_bins),
            "fill": fill_of("TrivialAugmentWide: fill", self.fill),
        }


@dataclass(frozen=True, repr=False)
class AutoAugment(Transform):
    """Apply one of 25 learned pairs of operations, at random (Cubuk et al., 1805.09501).

    Attributes:
        policy: The data set that the policy was learned on: imagenet, cifar10 or svhn.
        fill: A byte, or (red, green, blue), for pixels uncovered by shears, shifts and rotations.
    """

    policy: str = "imagenet"
    _: KW_ONLY
    fill: Fill = 0

    def _options(self) -> dict[str, Any]:
        policy = one_of("AutoAugment: policy", self.policy, ("imagenet", "cifar10", "svhn"))
        return {"policy": policy, "fill": fill_of("AutoAugment: fill", self.fill)}


@dataclass(frozen=True, repr=False)
class Normalize(Transform):
    """Divide bytes by 255, subtract `mean`, divide by `std`, channel by channel, in float32.

    Attributes:
        mean: The mean of each channel, or one for all.
        std: The standard deviation of each channel, or one for all.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def _options(self) -> dict[str, Any]:
        return {
            "mean": numbers("Normalize: mean", self.mean),
            "std": numbers("Normalize: std", self.std),
        }


@dataclass(frozen=True, repr=False)
class RandomErasing(Transform):
    """Erase a random rectangle, after normalisation (Zhong et al., 1708.04896).

    Attributes:
        p: The probability.
        scale: Range of the rectangle's area over the picture's.
        ratio: Range of the rectangle's aspect ratio, height over width.
        value: The new values: a number, one for each channel, or "random" for normal noise.
    """

    p: float = 0.5
    _: KW_ONLY
    scale: Range = (0.02, 0.33)
    ratio: Range = (0.3, 3.3)
    value: float | tuple[float, ...] | str = 0.0

    def _options(self) -> dict[str, Any]:
        if isinstance(self.value, str):
            if self.value != "random":
                raise ArgumentError(
                    f"RandomErasing: value: expected a number, one for each channel or 'random', "
                    f"got {shown(self.value)}"
                )
            value: Any = "noise"
        else:
            value = {"numbers": numbers("RandomErasing: value", self.value)}
        return {
            "p": number("RandomErasing: p", self.p),
            "scale": pair("RandomErasing: scale", self.scale),
            "ratio": pair("RandomErasing: ratio", self.ratio),
            "value": value,
        }
