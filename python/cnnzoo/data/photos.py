"""Photographs without labels, for prediction."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo.data.dataset import Samples
from cnnzoo.errors import ArgumentError, DataError


class Photos(Samples):
    """Photographs without labels: `photos[3]` is uint8 of shape (H, W, 3).

    A `Loader` of them yields x alone, in their order with `shuffle=False`, and `Model.predict`
    takes them as they are.

    Args:
        source: A folder, whose photographs are taken at any depth, sorted by path; or paths of
            photographs. In a folder, other files, hidden ones and those of programs are skipped, as
            by `ImageFolder`.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: There is no photograph in it, or a folder cannot be read.
        ArgumentError: There are no paths, or something else among them.
    """

    def __init__(self, source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
        if isinstance(source, str | os.PathLike):
            root = os.path.expanduser(source)
            found, unreadable = _native.list_photos(root)
            if unreadable:
                raise unreadable[0]
            if not found:
                raise DataError(f"{root}: expected a photograph in the folder, got none")
            paths = [os.path.relpath(path, root) for path in found]
            about = f"{len(paths)} photographs in {root}"
        else:
            root, paths = "", list(_paths(source))
            if not paths:
                raise ArgumentError("photographs: expected a folder or paths, got no path")
            about = f"{len(paths)} photographs"
        # The engine needs a label for each; it is not used.
        none = np.zeros(len(paths), np.int64)
        given = (root, paths, none, None)
        super().__init__(_native.Dataset.files(*given), about, made=("files", *given))

    def subset(self, indices: Iterable[int]) -> Photos:
        """The photographs at these indices, in this order.

        Raises:
            ArgumentError: There is no index.
            IndexError: An index is out of range.
            TypeError: The indices are not whole numbers, such as a mask.
        """
        chosen = self._indices(indices)
        part = Photos.__new__(Photos)
        about, made = f"{len(chosen)} of {self!r}", ("subset", self, chosen)
        Samples.__init__(part, self._engine.subset(chosen), about, made=made)
        return part

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.photo(index)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[index] for index in range(len(self)))


def _paths(source: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    for path in source:
        if not isinstance(path, str | os.PathLike):
            raise ArgumentError(f"photographs: expected paths, got {type(path).__name__}")
        yield os.fspath(path)
