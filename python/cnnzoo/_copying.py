"""Copying and pickling of objects that hold a Rust engine.

A pickle holds options, bytes and plain values, from which the engine is rebuilt; the only callables
it names are classes of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnzoo.errors import CopyError

T_co = TypeVar("T_co", covariant=True)
K = TypeVar("K")
V = TypeVar("V")

# An array as dtype, shape and bytes, so that its pickle names no function of NumPy's.
Packed = tuple[str, tuple[int, ...], bytes]


class Value:
    """A frozen value whose engine is determined by its options."""

    def __getstate__(self) -> dict[str, Any]:
        """The state that is copied and pickled: the options, from which the engine is rebuilt."""
        return {name: value for name, value in vars(self).items() if name != "_engine"}


class ReadOnly(dict[K, V], Generic[K, V]):
    """A dict that does not change, and so may be hashed."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("it is read-only; dict(...) makes a copy that can be changed")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __hash__(self) -> int:  # type: ignore[override]  # a dict has none
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        """The class and a plain dict, since items cannot be set one by one."""
        return ReadOnly, (dict(self),)


class Iteration(Iterator[T_co], Generic[T_co]):
    """An iteration in progress, which can be neither copied nor pickled.

    Attributes:
        about: The error message: what is iterated over, and what to copy or pickle instead.
    """

    def __init__(self, items: Iterator[T_co], about: str) -> None:
        self._items = items
        self.about = about

    def __next__(self) -> T_co:
        """The next item."""
        return next(self._items)

    def close(self) -> None:
        """End the iteration early."""
        close = getattr(self._items, "close", None)
        if close is not None:
            close()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse to be copied or pickled.

        Raises:
            CopyError: Always.
        """
        raise CopyError(self.about)


def pack(array: NDArray[Any]) -> Packed:
    """An array as plain values."""
    return array.dtype.str, array.shape, array.tobytes()


def unpack(packed: Packed) -> NDArray[Any]:
    """The array that was packed, read-only."""
    dtype, shape, values = packed
    return np.frombuffer(values, dtype).reshape(shape)


def pack_memory(memory: Iterable[Any]) -> list[Any]:
    """An optimiser's state as plain values."""
    return [
        (
            name,
            steps,
            [(of, pack(average)) for of, average in averages],
            None if waiting is None else pack(waiting),
        )
        for name, steps, averages, waiting in memory
    ]


def unpack_memory(packed: Iterable[Any]) -> list[Any]:
    """The optimiser's state that was packed."""
    return [
        (
            name,
            steps,
            [(of, unpack(average)) for of, average in averages],
            None if waiting is None else unpack(waiting),
        )
        for name, steps, averages, waiting in packed
    ]
