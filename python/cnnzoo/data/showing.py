"""Pictures of a batch with its labels, as a network gets it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import in_order, numbers, whole
from cnnzoo._arrays import as_array
from cnnzoo._tiles import MOST_TILES, Tile, caption, denormalized, draw_tiles, picture_of
from cnnzoo.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES_RANK = 4
# The channels of photographs, which arrays of bytes have last.
PHOTO_CHANNELS = (1, 3)
# A caption's lines: the largest shares of a soft target, or the labels of an image.
MOST_LINES = 2


class Mixes(Protocol):
    """The call of `cnnzoo.Mixing`."""

    def __call__(
        self, x: Any, y: Any, *, num_classes: int, seed: int, epoch: int, batch: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mix the images and the targets of a batch."""


def show_batch(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    classes: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    count: int = 16,
    ax: Axes | None = None,
) -> Axes:
    """Draw the images of a batch, with their targets below.

    A class is drawn by its name, a soft target by its two largest shares. Where each target is 0 or
    1 for every label, and they are not one for each image, the labels that an image has are drawn.
    An image of one channel is grey; one that has neither one nor three is a grey picture for each
    of its channels, at most 16. Pixels that are not finite are magenta.

    Args:
        x: Images (N, C, H, W).
        y: Targets: classes (N,), soft targets or labels (N, K); none if not given.
        classes: The names of the K classes; numbers if not given.
        mean: The channels' means, as of `Preprocess` and `Normalize`, to undo the normalisation. If
            not given, values of 0 to 1 are drawn as they are, and others are scaled.
        std: The channels' standard deviations.
        count: Number of images to draw, the first of the batch.
        ax: Matplotlib axes to draw on; new ones if not given.

    Returns:
        The axes.

    Raises:
        ArgumentError: An option is invalid, one of `mean` and `std` is missing, or a class has no
            name.
        ShapeError: The images are not (N, C, H, W) but, for example, (N, H, W, C), there are none,
            or the targets not as many.
        MissingPackageError: matplotlib is not installed.
        TypeError: `ax` is something else.
    """
    count = whole("`count`", count, least=1, most=MOST_TILES)
    images = as_array(x)
    if images.ndim != IMAGES_RANK or 0 in images.shape or images.dtype.kind not in "fiub":
        raise ShapeError(
            "a batch: expected images (N, C, H, W), at least one, got "
            f"{images.dtype} {images.shape}"
        )
    _, channels, _, width = images.shape
    if width in PHOTO_CHANNELS and channels not in PHOTO_CHANNELS and images.shape[2] > width:
        raise ShapeError(
            f"a batch: expected images (N, C, H, W), got {images.shape}, which looks like "
            "(N, H, W, C); x.transpose(0, 3, 1, 2) has the channels first"
        )
    names = None
    if classes is not None:
        names = [str(n) for n in in_order("`classes`", classes, "the names of the classes")]
    captions = [()] * len(images) if y is None else captions_of(as_array(y), names, len(images))
    if (mean is None) != (std is None):
        raise ArgumentError("`mean` and `std`: expected both or neither, got one")
    mean = None if mean is None else numbers("`mean`", mean)
    std = None if std is None else numbers("`std`", std, above=0)
    if mean is not None and std is not None and {len(mean), len(std)} - {1, images.shape[1]}:
        raise ArgumentError(
            f"`mean` and `std`: expected one number for each of the {images.shape[1]} channels, "
            f"got {len(mean)} and {len(std)}"
        )
    pictures = denormalized(images[:count], mean, std)
    tiles = [
        Tile(picture_of(picture), caption(lines))
        for picture, lines in zip(pictures, captions, strict=False)
    ]
    return draw_tiles(tiles, what="a batch", ax=ax)


def normalization_of(transform: Any) -> tuple[Sequence[float] | None, Sequence[float] | None]:
    """Mean and standard deviation that a loader's transform normalises by; 0 and 1 if it does not.

    Args:
        transform: A `Preprocess`, a transform, or none.
    """
    steps = transform._flat() if hasattr(transform, "_flat") else [transform]
    for step in steps:
        mean, std = (getattr(step, name, None) for name in ("mean", "std"))
        if mean is not None and std is not None:
            # `Normalize` takes one number for all channels too.
            return tuple(np.atleast_1d(mean)), tuple(np.atleast_1d(std))
    return (0.0,), (1.0,)


def captions_of(
    targets: NDArray[Any], names: Sequence[str] | None, images: int
) -> list[tuple[str, ...]]:
    """The lines below each image.

    Raises:
        ArgumentError: A class has no name.
        ShapeError: There are not as many targets as images.
    """
    kinds = {1: "iu", 2: "fiub"}
    if len(targets) != images or targets.dtype.kind not in kinds.get(targets.ndim, ""):
        raise ShapeError(
            f"a batch: expected integer classes ({images},), or a share or label for each class "
            f"({images}, K), got {targets.dtype} {targets.shape}"
        )
    if targets.ndim == 1:
        return [(_name(int(index), names),) for index in targets]
    several = bool(np.isin(targets, (0, 1)).all()) and bool((targets.sum(1) != 1).any())
    write = _labels if several else _shares
    return [write(row.astype(np.float64), names) for row in targets]


def _shares(row: NDArray[np.float64], names: Sequence[str] | None) -> tuple[str, ...]:
    """The largest shares of a soft target."""
    largest = [int(index) for index in np.argsort(-row, kind="stable") if row[index] != 0]
    found = [(_name(index, names), row[index]) for index in largest[:MOST_LINES]]
    if len(found) == 1 and found[0][1] == 1:
        return (found[0][0],)
    return tuple(f"{share:.0%} {name}" for name, share in found)


def _labels(row: NDArray[np.float64], names: Sequence[str] | None) -> tuple[str, ...]:
    """The labels that an image has, a line for each; the last line has those that are left."""
    found = [_name(int(index), names) for index in np.flatnonzero(row)]
    if len(found) <= MOST_LINES:
        return tuple(found or ["no label"])
    return (*found[: MOST_LINES - 1], ", ".join(found[MOST_LINES - 1 :]))


def _name(index: int, names: Sequence[str] | None) -> str:
    if names is None:
        return str(index)
    if not 0 <= index < len(names):
        raise ArgumentError(
            f"`classes`: expected a name for each class, got {len(names)} names and class {index}"
        )
    return names[index]
