"""The photographs in what scikit-learn calls X."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import is_sequence, kind_of, number, shown, whole
from cnnzoo._photo import is_photo
from cnnzoo.errors import ArgumentError, ShapeError

# Paths, bytes, Pillow images or arrays; or one array of pictures of one size.
Photographs: TypeAlias = "Sequence[Any] | NDArray[Any]"
Range: TypeAlias = "tuple[float, float]"

# Ranks of arrays: a table of rows, grey pictures, pictures with channels.
TABLE, GREY, COLOUR = 2, 3, 4
CHANNELS = (1, 3, 4)
WHITE = 255


def is_table(x: Any) -> bool:
    """Whether X is a table of numbers, and neither photographs nor an array of pictures."""
    array = np.asarray(x) if hasattr(x, "__array__") else x
    if isinstance(array, np.ndarray):
        return array.ndim < GREY and listed(array) is None
    return is_sequence(array) and listed(array) is None and np.ndim(_first(array)) < TABLE


def listed(x: Any) -> list[Any] | None:
    """The photographs of a list, a series or a column; None where X is something else.

    Raises:
        ArgumentError: Some are photographs and others are not, as a path that is missing.
    """
    array = np.asarray(x) if hasattr(x, "__array__") else x
    if isinstance(array, np.ndarray):
        is_column = array.ndim == 1 or (array.ndim == TABLE and array.shape[1] == 1)
        if array.dtype.kind not in "OUST" or not is_column:
            return None
        array = array.ravel().tolist()
    if not is_sequence(array) or len(array) == 0:
        return None
    photographs = list(array)
    other = [at for at, value in enumerate(photographs) if not _is_one(value)]
    if other and len(other) < len(photographs):
        raise ArgumentError(
            f"X[{other[0]}]: expected a path, Pillow image or array as the other photographs, got "
            f"{shown(photographs[other[0]])}"
        )
    return None if other else photographs


def _is_one(value: Any) -> bool:
    # A list of rows is a table.
    return is_photo(value) and (not isinstance(value, np.ndarray) or value.ndim >= TABLE)


def _first(x: Any) -> Any:
    return x[0] if len(x) else 0


def shape_of(value: Any) -> tuple[int, ...]:
    """The option `shape`: (H, W) or (H, W, C).

    Raises:
        ArgumentError: It is something else.
    """
    expected = "`shape`: expected (H, W) or (H, W, C) with 1, 3 or 4 channels"
    if not is_sequence(value) or len(value) not in {GREY - 1, COLOUR - 1}:
        raise ArgumentError(f"{expected}, got {shown(value)}")
    sizes = tuple(whole("`shape`", size, least=1) for size in value)
    if len(sizes) == COLOUR - 1 and sizes[2] not in CHANNELS:
        raise ArgumentError(f"{expected}, got {shown(value)}")
    return sizes


def range_of(value: Any) -> Range:
    """The option `value_range`: the numbers of black and of white.

    Raises:
        ArgumentError: It is something else.
    """
    if not is_sequence(value) or len(value) != len(("black", "white")):
        raise ArgumentError(
            f"`value_range`: expected two numbers, of black and white, got {shown(value)}"
        )
    black, white = (number("`value_range`", of) for of in value)
    if black >= white:
        raise ArgumentError(f"`value_range`: expected less for black than for white, got {value}")
    return black, white


def pictures(rows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The pictures (N, H, W, ...) whose pixels the rows (N, F) of a table are.

    Raises:
        ShapeError: A row has another number of pixels.
    """
    expected = int(np.prod(shape))
    if rows.shape[1] != expected:
        raise ShapeError(
            f"X: expected rows of {expected} numbers, pictures of shape {shape}, got rows of "
            f"{rows.shape[1]}"
        )
    return rows.reshape(len(rows), *shape)


def checked(array: NDArray[Any]) -> NDArray[Any]:
    """An array of pictures as the preprocessing takes each: (N, H, W), (N, H, W, 3) or 4 channels.

    Raises:
        ShapeError: It is none.
    """
    if array.ndim == COLOUR and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in {GREY, COLOUR} or (array.ndim == COLOUR and array.shape[3] == 2):  # noqa: PLR2004
        raise ShapeError(
            f"X: expected photographs (N, H, W, C) with 1, 3 or 4 channels or (N, H, W), got an "
            f"array of shape {array.shape}"
        )
    if array.ndim == COLOUR and array.shape[3] not in CHANNELS:
        raise ShapeError(
            f"X: expected photographs (N, H, W, C), the channels last, got an array of shape "
            f"{array.shape}"
        )
    if array.ndim == GREY and array.shape[2] in CHANNELS[1:]:
        raise ShapeError(
            f"X: expected photographs (N, H, W, C) or (N, H, W), got an array of shape "
            f"{array.shape}, which looks like one photograph: X[None] is an array of it; "
            "X[..., None] is an array of grey pictures of that width"
        )
    return array


@dataclass(frozen=True)
class Brightness:
    """Turns numbers of a range into bytes: `black` becomes 0, `white` 255, others are between."""

    black: float
    white: float

    @classmethod
    def of(cls, array: NDArray[Any]) -> Brightness:
        """From the lowest to the highest number of an array."""
        return cls(float(array.min()), float(array.max()))

    def __call__(self, array: NDArray[Any]) -> NDArray[np.uint8]:
        """The bytes of numbers; those outside of the range become 0 or 255."""
        span = self.white - self.black
        shares = (array.astype(np.float64) - self.black) / (span if span > 0 else 1.0)
        found: NDArray[np.uint8] = np.rint(WHITE * shares.clip(0, 1)).astype(np.uint8)
        return found


def photographs_of(x: Any) -> Photographs:
    """The photographs of X, if it is no table: a list of them, or an array of pictures.

    Raises:
        ArgumentError: It is something else.
    """
    found = listed(x)
    if found is not None:
        return found
    array = np.asarray(x) if hasattr(x, "__array__") or is_sequence(x) else None
    if array is None or array.dtype.kind not in "biuf":
        raise ArgumentError(
            "X: expected an array of photographs (N, H, W, C), a table of their pixels with "
            f"`shape`, or a list of paths or Pillow images, got {kind_of(x)}"
        )
    return checked(array)


def batches(photographs: Photographs, size: int) -> Iterator[list[Any]]:
    """The photographs, so many at a time."""
    for start in range(0, len(photographs), size):
        yield list(photographs[start : start + size])
