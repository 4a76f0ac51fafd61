"""Data augmentation by torchvision's names and definitions, in Rust.

    import cnnzoo as cz

    train = cz.transforms.imagenet_train(224, augment=cz.transforms.RandAugment())
    x = train("photo.jpg", seed=0, epoch=3, index=17)    # float32 (3, 224, 224)
    train.preview("photo.jpg")                           # a grid picture, which Jupyter shows

Random draws depend on seed, epoch and index alone, not on earlier draws or the number of threads.
Distributions are torchvision's, and pixels are bit-identical to those of its functions on Pillow
images; its random number generator would draw other numbers.

A transform turns 8-bit photographs into float32 numbers, as if torchvision's `ToTensor` stood
before `Normalize`: bytes are divided by 255, then normalised.
"""

from __future__ import annotations

from cnnzoo.transforms.presets import (
    CIFAR_MEAN,
    CIFAR_STD,
    FASHION_MNIST_MEAN,
    FASHION_MNIST_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    cifar_eval,
    cifar_train,
    fashion_mnist_eval,
    fashion_mnist_train,
    imagenet_eval,
    imagenet_train,
)
from cnnzoo.transforms.preview import (
    Preview,
)
from cnnzoo.transforms.steps import (
    AutoAugment,
    CenterCrop,
    ColorJitter,
    Grayscale,
    Normalize,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomShift,
    RandomVerticalFlip,
    Resize,
    TrivialAugmentWide,
)
from cnnzoo.transforms.transform import (
    Compose,
    Transform,
)

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "FASHION_MNIST_MEAN",
    "FASHION_MNIST_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "AutoAugment",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Grayscale",
    "Normalize",
    "Preview",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomShift",
    "RandomVerticalFlip",
    "Resize",
    "Transform",
    "TrivialAugmentWide",
    "cifar_eval",
    "cifar_train",
    "fashion_mnist_eval",
    "fashion_mnist_train",
    "imagenet_eval",
    "imagenet_train",
]
