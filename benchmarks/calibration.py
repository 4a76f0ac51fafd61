"""Images for calibration, the same for every engine: random crops of scikit-image's photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    import cnnzoo as cz

COUNT = 32
# Crops of at least a quarter of the photograph.
SCALE = (0.25, 1.0)
# Seeds of the crops that engines are calibrated on, and of those that they are raced on.
CALIBRATING, RACING = 0, 1


def photographs() -> list[Path]:
    """The PNG and JPEG files that come with scikit-image, sorted by name."""
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    return sorted(path for path in folder.iterdir() if path.suffix in {".png", ".jpg"})


def crops(
    transform: cz.transforms.Transform, *, count: int = COUNT, seed: int = CALIBRATING
) -> NDArray[np.float32]:
    """Photographs in turn, transformed by random draws of a seed: (N, C, H, W)."""
    paths = photographs()
    return np.stack([transform(paths[i % len(paths)], seed=seed, index=i) for i in range(count)])


def imagenet_crops(
    size: int, *, count: int = COUNT, seed: int = CALIBRATING
) -> NDArray[np.float32]:
    """Crops with the mean and standard deviation that most networks for ImageNet have."""
    import cnnzoo as cz

    return crops(cz.transforms.imagenet_train(size, scale=SCALE), count=count, seed=seed)
