"""Presets: the training and evaluation transforms of the networks' data sets."""

from __future__ import annotations

from cnnzoo._arguments import instance, number
from cnnzoo.transforms._options import margins
from cnnzoo.transforms.steps import (
    CenterCrop,
    ColorJitter,
    Normalize,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomShift,
    Resize,
)
from cnnzoo.transforms.transform import Compose, Range, Transform

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# (125.3, 123.0, 113.9) / 255 and (63.0, 62.1, 66.7) / 255, which the CIFAR networks here expect.
CIFAR_MEAN, CIFAR_STD = (0.49137256, 0.48235294, 0.44666666), (0.24705882, 0.24352941, 0.2615686)
FASHION_MNIST_MEAN, FASHION_MNIST_STD = (0.2860,), (0.3530,)


def imagenet_train(
    size: int = 224,
    *,
    scale: Range = (0.08, 1.0),
    ratio: Range = (3 / 4, 4 / 3),
    interpolation: str = "bilinear",
    flip: float = 0.5,
    color_jitter: float = 0.0,
    augment: Transform | None = None,
    erasing: float = 0.0,
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Compose:
    """Training on ImageNet as in torchvision's recipes: random resized crop and horizontal flip.

    Args:
        size: Pixels of each side.
        scale: See `RandomResizedCrop`.
        ratio: See `RandomResizedCrop`.
        interpolation: See `RandomResizedCrop`.
        flip: Probability of a horizontal flip.
        color_jitter: Strength of the jitter of brightness, contrast and saturation.
        augment: An augmentation policy: `RandAugment()`, `TrivialAugmentWide()` or `AutoAugment()`.
        erasing: Probability of random erasing.
        mean: Means of red, green and blue, between 0 and 1.
        std: Standard deviations of red, green and blue.

    Returns:
        A transform to float32 (3, size, size).
    """
    jitter = number("`color_jitter`", color_jitter, least=0)
    flip, augment, erasing = _settled(flip, augment, erasing)
    steps = [
        RandomResizedCrop(size, scale=scale, ratio=ratio, interpolation=interpolation),
        RandomHorizontalFlip(flip) if flip else None,
        ColorJitter(jitter, jitter, jitter) if jitter else None,
        augment,
        Normalize(mean, std),
        RandomErasing(erasing) if erasing else None,
    ]
    return Compose([step for step in steps if step is not None])


def imagenet_eval(
    size: int = 224,
    *,
    resize: int = 256,
    interpolation: str = "bilinear",
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> Compose:
    """Evaluation on ImageNet: resizing and a centre crop, as `Preprocess` does it.

    Args:
        size: Pixels of each side.
        resize: Pixels of the short side before the centre crop.
        interpolation: See `Resize`.
        mean: Means of red, green and blue, between 0 and 1.
        std: Standard deviations of red, green and blue.

    Returns:
        A transform to float32 (3, size, size).
    """
    return Compose(
        [Resize(resize, interpolation=interpolation), CenterCrop(size), Normalize(mean, std)]
    )


def cifar_train(
    *,
    padding: int = 4,
    flip: float = 0.5,
    augment: Transform | None = None,
    erasing: float = 0.0,
) -> Compose:
    """Training on CIFAR-10 and CIFAR-100 as in the ResNet paper: random shift and horizontal flip.

    Args:
        padding: The largest shift in pixels.
        flip: Probability of a horizontal flip.
        augment: An augmentation policy: `AutoAugment("cifar10")`, `RandAugment()` or
            `TrivialAugmentWide()`.
        erasing: Probability of random erasing.

    Returns:
        A transform to float32 (3, 32, 32).
    """
    normalize = Normalize(CIFAR_MEAN, CIFAR_STD)
    return Compose(_shifted(padding, flip, augment, normalize, erasing), channels=3)


def cifar_eval() -> Compose:
    """Evaluation on CIFAR-10 and CIFAR-100: the pictures as they are, to float32 (3, 32, 32)."""
    return Compose([Normalize(CIFAR_MEAN, CIFAR_STD)])


def fashion_mnist_train(
    *,
    padding: int = 2,
    flip: float = 0.5,
    augment: Transform | None = None,
    erasing: float = 0.0,
) -> Compose:
    """Training on Fashion-MNIST: random shift and horizontal flip, in one channel.

    Args:
        padding: The largest shift in pixels.
        flip: Probability of a horizontal flip.
        augment: An augmentation policy: `RandAugment()` or `TrivialAugmentWide()`.
        erasing: Probability of random erasing.

    Returns:
        A transform to float32 (1, 28, 28).
    """
    normalize = Normalize(FASHION_MNIST_MEAN, FASHION_MNIST_STD)
    return Compose(_shifted(padding, flip, augment, normalize, erasing), channels=1)


def fashion_mnist_eval() -> Compose:
    """Evaluation on Fashion-MNIST: the pictures as they are, to float32 (1, 28, 28)."""
    return Compose([Normalize(FASHION_MNIST_MEAN, FASHION_MNIST_STD)])


def _shifted(
    padding: int, flip: float, augment: Transform | None, normalize: Normalize, erasing: float
) -> list[Transform]:
    flip, augment, erasing = _settled(flip, augment, erasing)
    steps = [
        RandomShift(padding) if any(margins("`padding`", padding).values()) else None,
        RandomHorizontalFlip(flip) if flip else None,
        augment,
        normalize,
        RandomErasing(erasing) if erasing else None,
    ]
    return [step for step in steps if step is not None]


def _settled(
    flip: float, augment: Transform | None, erasing: float
) -> tuple[float, Transform | None, float]:
    """Check the arguments of a preset that add steps to it."""
    if augment is not None:
        instance("`augment`", augment, Transform, "a transform, as RandAugment()")
    flip = number("`flip`", flip, least=0, most=1)
    return flip, augment, number("`erasing`", erasing, least=0, most=1)
