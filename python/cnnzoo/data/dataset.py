"""Data sets: photographs by index, with class labels."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arguments import in_order, kind_of, number, seed_of
from cnnzoo._arrays import as_array
from cnnzoo.data._pages import MOST_NAMES, classes_page, names_page
from cnnzoo.errors import DataError, ShapeError

# How to rebuild a data set's engine: the name of its constructor, or subset or split, and the
# arguments. Pixels in memory are left out.
Made: TypeAlias = tuple[Any, ...]

GREY_RANK = 3
COLOUR_RANK = 4


class Samples:
    """Photographs by index, as a `Loader` and `Model.predict` take them."""

    def __init__(self, engine: _native.Dataset, about: str, *, made: Made) -> None:
        self._engine = engine
        self._about = about
        self._made = made

    def __getstate__(self) -> dict[str, Any]:
        """The state that is copied and pickled: pixels in memory, but of files only the names."""
        how, *arguments = self._made
        if how == "arrays":
            pixels = [self._engine.read(index) for index in range(len(self))]
            arguments = ["arrays", np.stack(pixels), self._engine.labels(), self._engine.classes()]
        return {**vars(self), "_made": (how, *arguments), "_engine": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the data set that was pickled.

        Raises:
            DataError: Its files are missing, or are others now.
        """
        how, *arguments = state["_made"]
        vars(self).update(state)
        if how == "arrays":
            self._made = (how,)
        self._engine = _engine(how, arguments)
        if self.fingerprint != state["_engine"]:
            raise DataError(f"a pickled data set: expected {self!r} as before, got other files")

    @property
    def fingerprint(self) -> str:
        """A hash that tells data sets apart: 16 hexadecimal digits.

        It is of the samples, their order and their labels. Of files it covers the paths below the
        root and not the contents, so that a folder may be moved.
        """
        return self._engine.fingerprint()

    def name(self, index: int) -> str:
        """The name of a sample in messages: its path, if it has one."""
        return self._engine.name(self._index(index))

    def photo(self, index: int) -> NDArray[np.uint8]:
        """The photograph of a sample: (H, W, 3), or (H, W, 1) where it is grey and in memory.

        Raises:
            DataError: It cannot be read.
            IndexError: There is no such sample.
        """
        return self._engine.read(self._index(index))

    def __len__(self) -> int:
        return len(self._engine)

    def __repr__(self) -> str:
        return self._about

    def _repr_html_(self) -> str:
        names = [self.name(index) for index in range(min(len(self), MOST_NAMES))]
        return names_page(self._about, names, len(self))

    def _indices(self, indices: Any) -> list[int]:
        if hasattr(indices, "__array__"):
            indices = as_array(indices).tolist()
        if isinstance(indices, str) or not isinstance(indices, Iterable):
            raise TypeError(f"subset: expected whole numbers in a list, got {kind_of(indices)}")
        return [self._index(index) for index in indices]

    def _index(self, index: Any) -> int:
        try:
            if isinstance(index, bool):
                raise TypeError
            place: int = operator.index(index)
        except TypeError:
            hints = {
                slice: "; `subset` takes several, as range(3)",
                bool: "; for a mask, use numpy.flatnonzero(mask)",
            }
            raise TypeError(
                f"{self!r}: expected a whole number, got {index!r}{hints.get(type(index), '')}"
            ) from None
        size = len(self)
        if not -size <= place < size:
            raise IndexError(f"{self!r}: expected an index below {size}, got {place}")
        return place % size


class Dataset(Samples):
    """Photographs with a class label each: `dataset[3]` is `(photo, label)`.

    The photo is uint8 of shape (H, W, 3), or (H, W, 1) where it is grey and in memory; the label is
    an index into `classes`.
    """

    def __init__(
        self, engine: _native.Dataset, about: str, *, made: Made, named: bool = True
    ) -> None:
        super().__init__(engine, about, made=made)
        self._named = named

    @property
    def classes(self) -> list[str]:
        """The names of the classes, in the order of their labels."""
        return self._engine.classes()

    @property
    def named(self) -> bool:
        """Whether `classes` are given names, and not numbers in their place.

        If they are, training and evaluation compare classes with the model's `labels` by name, else
        by index.
        """
        return self._named

    @property
    def num_classes(self) -> int:
        """The number of classes."""
        return len(self._engine.classes())

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class label of every sample, int64 of shape (N,)."""
        return self._engine.labels()

    def subset(self, indices: Iterable[int]) -> Dataset:
        """The samples at these indices, in this order. The classes stay the same.

        Raises:
            ArgumentError: There is no index.
            IndexError: An index is out of range.
            TypeError: The indices are not whole numbers, such as a mask.
        """
        chosen = self._indices(indices)
        made = ("subset", self, chosen)
        about = f"{len(chosen)} of {self!r}"
        return Dataset(self._engine.subset(chosen), about, made=made, named=self.named)

    def split(self, fraction: float, *, seed: int = 0) -> tuple[Dataset, Dataset]:
        """A stratified split: two parts with the same share of every class, in the original order.

        Args:
            fraction: The first part's share of the samples, between 0 and 1.
            seed: The seed of the random choice of samples.

        Raises:
            ArgumentError: A part would be empty.
        """
        seed, fraction = seed_of(seed), number("split", fraction)
        parts = self._engine.split(fraction, seed)
        first, second = (
            Dataset(
                part,
                f"{len(part)} of {self!r}",
                made=("split", self, fraction, seed, index),
                named=self.named,
            )
            for index, part in enumerate(parts)
        )
        return first, second

    def _repr_html_(self) -> str:
        return classes_page(self._about, self.classes, self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], int]:
        return self.photo(index), self._engine.label(self._index(index))

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], int]]:
        return (self[index] for index in range(len(self)))


class ImageFolder(Dataset):
    """A folder of pictures for each class, as torchvision's `ImageFolder` reads it.

    The classes are the folders in `root`, sorted by name. Each has the picture files below it, at
    any depth, in torchvision's order. Unlike torchvision's, this skips hidden files and folders
    (those whose name begins with a dot, as `.ipynb_checkpoints`, and `__MACOSX`, `@eaDir` and
    `$RECYCLE.BIN`), pipes, sockets and devices. Links are followed, unless they lead back to a
    folder that they lie in. The command `cnnzoo predict` finds the same files below a folder.

    Args:
        root: The folder that holds a folder for each class.
        allow_empty: Whether a class may have no picture.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: There is no class, a class has no picture, or a folder cannot be read.
    """

    def __init__(self, root: str | os.PathLike[str], *, allow_empty: bool = False) -> None:
        self.root = os.path.expanduser(root)
        engine = _native.Dataset.image_folder(self.root, allow_empty)
        about = f"{len(engine)} pictures of {len(engine.classes())} classes in {self.root}"
        super().__init__(engine, about, made=("image_folder", self.root, allow_empty))


class Arrays(Dataset):
    """Photographs in memory. They are copied, so later changes of `x` are not seen.

    Args:
        x: uint8 of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3).
        y: Class labels: whole numbers of shape (N,), from 0 to the number of classes less one.
        classes: The names of the classes; if not given, numbers up to the largest of `y`.

    Raises:
        TypeError: `x` is not of uint8, or `y` not of whole numbers.
        ShapeError: An array has another shape.
        ArgumentError: A label has no class.
    """

    def __init__(self, x: ArrayLike, y: ArrayLike, *, classes: Sequence[str] | None = None) -> None:
        pixels, labels = as_array(x), whole_numbers(y)
        if pixels.dtype != np.uint8:
            raise TypeError(f"arrays: expected x of uint8, got {pixels.dtype}")
        if pixels.ndim == GREY_RANK:
            pixels = pixels[..., np.newaxis]
        if pixels.ndim != COLOUR_RANK or pixels.shape[3] not in {1, 3}:
            raise ShapeError(
                "arrays: expected x of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), "
                f"got {np.shape(x)}"
            )
        if labels.shape != pixels.shape[:1]:
            raise ShapeError(f"arrays: expected y of shape {pixels.shape[:1]}, got {labels.shape}")
        names = names_of("arrays", classes)
        engine = _native.Dataset.arrays("arrays", pixels, labels, names)
        count, height, width, _ = pixels.shape
        about = f"{count} pictures of {height}x{width} pixels and {len(engine.classes())} classes"
        super().__init__(engine, about, made=("arrays",), named=names is not None)


def _engine(how: str, arguments: Sequence[Any]) -> _native.Dataset:
    """Build a data set's engine by the constructor `how` and its arguments."""
    engine: _native.Dataset
    if how == "subset":
        whole, indices = arguments
        engine = whole._engine.subset(indices)
    elif how == "split":
        whole, fraction, seed, part = arguments
        engine = whole._engine.split(fraction, seed)[part]
    else:
        engine = getattr(_native.Dataset, how)(*arguments)
    return engine


def names_of(at: str, classes: Any) -> list[str] | None:
    """The names of the classes in the order of their labels, if they are given.

    Raises:
        ArgumentError: They have no order.
    """
    if classes is None:
        return None
    expected = "the names of the classes, in the order of their labels,"
    return [str(name) for name in in_order(f"{at}: `classes`", classes, expected)]


def whole_numbers(labels: Any) -> NDArray[np.int64]:
    """Class labels as int64.

    Raises:
        TypeError: They are no whole numbers.
    """
    array = as_array(labels)
    if array.dtype.kind not in "iu":
        raise TypeError(f"labels: expected whole numbers, got {array.dtype}")
    return array.astype(np.int64, copy=False)
