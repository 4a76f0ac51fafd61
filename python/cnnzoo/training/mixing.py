"""Mixup and CutMix: regularisation by mixing the images of a batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import SEEDS, number, seed_of, whole
from cnnzoo._copying import Value

if TYPE_CHECKING:
    from cnnzoo import _training


@dataclass(frozen=True, kw_only=True)
class Mix:
    """The parameters that `Mixing` draws for one batch.

    Attributes:
        share: Weight (lambda) of each image's own target; the rest is the weight of the image
            before it in the batch, which for the first is the last.
        window: The window pasted from the other image (CutMix), as (left, top, right, bottom) in
            pixels; None for mixup, which blends all pixels.
    """

    share: float
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixing(Value):
    """Mixup and CutMix: mixes each image of a batch, and its target, with the one before it.

    As `MixUp` and `CutMix` of `torchvision.transforms.v2` do (Zhang et al., arXiv:1710.09412; Yun
    et al., arXiv:1905.04899). The weight lambda is drawn from Beta(alpha, alpha). Mixup blends
    images and targets with it; CutMix pastes a window of the other image, of 1 - lambda of the
    area, and weights the targets by the area that is covered after cropping at the border. Where
    both are on, each batch takes one of the two with equal probability.

        mixing = cz.Mixing(mixup=0.2, cutmix=1.0)
        x, shares = mixing(x, y, num_classes=10, seed=0, epoch=3, batch=17)

    Attributes:
        mixup: The alpha of mixup; 0 is off.
        cutmix: The alpha of CutMix; 0 is off.

    Raises:
        ArgumentError: Not a number, or one below 0.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            object.__setattr__(self, name, number(f"`{name}`", getattr(self, name), least=0))
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _training.Mixing:
        from cnnzoo import _training

        return _training.Mixing(self.mixup, self.cutmix)

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
        """Mix a batch. The random numbers depend on seed, epoch and batch alone.

        Args:
            x: Images (N, C, H, W), which are not modified.
            y: Targets: integer classes (N,), or soft targets, a float share for each class (N, K).
            num_classes: K; required where `y` are classes.
            seed: Seed of the run.
            epoch: Number of the epoch.
            batch: Number of the batch in the epoch.

        Returns:
            Mixed images (N, C, H, W) and soft targets (N, K); where both ways are off, the images
            as they are, and their soft targets.

        Raises:
            ShapeError: Images are not (N, C, H, W), or the targets not one for each.
            ArgumentError: A class is not below `num_classes`, or that is missing.
        """
        if num_classes is not None:
            num_classes = whole("`num_classes`", num_classes, least=1)
        return self._engine.apply(x, y, num_classes, *_key(seed, epoch, batch))

    def draw(self, *, height: int, width: int, seed: int, epoch: int, batch: int) -> Mix | None:
        """Draw the parameters for a batch of images of this size; None if both ways are off."""
        drawn = self._engine.draw(
            whole("`height`", height), whole("`width`", width), *_key(seed, epoch, batch)
        )
        return None if drawn is None else Mix(share=drawn[0], window=drawn[1])


def _key(seed: int, epoch: int, batch: int) -> tuple[int, int, int]:
    """The numbers that seed the draws of a batch."""
    numbers = (whole("`epoch`", epoch, most=SEEDS), whole("`batch`", batch, most=SEEDS))
    return (seed_of(seed), *numbers)
