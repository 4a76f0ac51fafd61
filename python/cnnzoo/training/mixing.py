"""Mixup and CutMix: what regularises across the images of a batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arguments import SEEDS, number, seed_of, whole
from cnnzoo._copying import Value


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What `Mixing` does to one batch.

    Attributes:
        share: How much of what it shows is each image's own; the rest is that of the image before
            it, and of the last for the first.
        window: Where pixels are the other image's (CutMix), as (left, top, right, bottom) in
            pixels; none if all are blended (mixup).
    """

    share: float
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixing(Value):
    """Each image of a batch is mixed with the one before it, and so is what they show.

    As `MixUp` and `CutMix` of `torchvision.transforms.v2` do (Zhang et al., arXiv:1710.09412; Yun
    et al., arXiv:1905.04899). Mixup blends images, by a share that is drawn from Beta(a, a);
    CutMix pastes a window of the other image, of one minus that share of the area, and what it
    covers, cut off at the border, is what counts. Where both are on, a batch is mixed in one way
    or the other, evenly.

        mixing = cz.Mixing(mixup=0.2, cutmix=1.0)
        x, shares = mixing(x, y, num_classes=10, seed=0, epoch=3, batch=17)

    Attributes:
        mixup: The a of mixup; 0 is off.
        cutmix: The a of CutMix; 0 is off.

    Raises:
        ArgumentError: A number below 0, or that is none.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            object.__setattr__(self, name, number(f"`{name}`", getattr(self, name), least=0))
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _native.Mixing:
        return _native.Mixing(self.mixup, self.cutmix)

    def __call__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        num_classes: int | None = None,
        seed: int,
        epoch: int,
        batch: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mix a batch. What is drawn follows from seed, epoch and batch alone.

        Args:
            x: Images (N, C, H, W); they stay as they are.
            y: What they show: integer classes (N,), or float shares of each class (N, K).
            num_classes: K; it must be given where `y` are classes.
            seed: Of the run.
            epoch: Of the run.
            batch: Which batch of the epoch it is.

        Returns:
            Mixed images (N, C, H, W), and the shares (N, K) of each class that they show; where
            both ways are off, the images as they are, and their shares.

        Raises:
            ShapeError: Images are not (N, C, H, W), or the targets not one for each.
            ArgumentError: A class that is not below `num_classes`, which may be missing.
        """
        if num_classes is not None:
            num_classes = whole("`num_classes`", num_classes, least=1)
        return self._engine.apply(x, y, num_classes, *_key(seed, epoch, batch))

    def draw(self, *, height: int, width: int, seed: int, epoch: int, batch: int) -> Mix | None:
        """Say what is done to a batch of images of this size; none if both ways are off."""
        drawn = self._engine.draw(
            whole("`height`", height), whole("`width`", width), *_key(seed, epoch, batch)
        )
        return None if drawn is None else Mix(share=drawn[0], window=drawn[1])


def _key(seed: int, epoch: int, batch: int) -> tuple[int, int, int]:
    """The numbers that draws follow from."""
    numbers = (whole("`epoch`", epoch, most=SEEDS), whole("`batch`", batch, most=SEEDS))
    return (seed_of(seed), *numbers)
