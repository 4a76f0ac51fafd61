"""Validation of arguments."""

from __future__ import annotations

import math
import numbers as kinds
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cnnzoo.errors import ArgumentError, ShapeError

T = TypeVar("T")

# The largest seed.
SEEDS = 2**64 - 1

# The largest size that the engine takes.
SIZES = 2**63 - 1

# Characters of a value in a message.
MOST_SHOWN = 120

# So many names are listed in a message; of more, so many that are alike by difflib's ratio.
FEW, MOST_ALIKE, ALIKE = 12, 3, 0.5


def whole(at: str, value: Any, *, least: int = 0, most: int = SIZES) -> int:
    """A whole number within bounds: an int or one of NumPy's, but no bool and no float.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    if isinstance(value, bool) or not isinstance(value, kinds.Integral):
        raise ArgumentError(f"{at}: expected a whole number, got {shown(value)}")
    number = int(value)
    if not least <= number <= most:
        raise ArgumentError(f"{at}: expected a whole number{_of(least, most)}, got {shown(number)}")
    return number


def seed_of(value: Any, at: str = "`seed`") -> int:
    """A seed, a whole number of 0 to 2^64 - 1."""
    return whole(at, value, most=SEEDS)


def number(
    at: str,
    value: Any,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """A finite number within bounds: Python's or one of NumPy's, but no bool.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    bounds = [
        f"{word} {bound}"
        for word, bound in (
            ("of at least", least),
            ("of at most", most),
            ("above", above),
            ("below", below),
        )
        if bound is not None
    ]
    expected = f"a number {' and '.join(bounds)}" if bounds else "a finite number"
    if isinstance(value, bool) or not isinstance(value, kinds.Real):
        raise ArgumentError(f"{at}: expected {expected}, got {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        raise ArgumentError(f"{at}: expected {expected}, got {shown(value)}") from None
    if (
        not math.isfinite(found)
        or (least is not None and found < least)
        or (most is not None and found > most)
        or (above is not None and found <= above)
        or (below is not None and found >= below)
    ):
        raise ArgumentError(f"{at}: expected {expected}, got {found}")
    return found


def numbers(at: str, value: Any, **bounds: float) -> list[float]:
    """The finite numbers of a list, tuple or array.

    Raises:
        ArgumentError: It is something else, or one of them is; the message begins with `at`.
    """
    if not is_sequence(value):
        raise ArgumentError(f"{at}: expected a list of numbers, got {shown(value)}")
    return [number(at, item, **bounds) for item in value]


def is_sequence(value: Any) -> bool:
    """Whether a value is a list, tuple or array, and neither text nor bytes."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(
        value, str | bytes | bytearray | memoryview
    )


def image_size(x_shape: Any, own: Sequence[int]) -> tuple[int, int]:
    """Height and width of images of a shape, (N, C, H, W) or (H, W); of `own` if it is None.

    Args:
        x_shape: The shape; (C, H, W) too.
        own: Channels, height and width of the network's images.

    Raises:
        ArgumentError: It is no such shape.
        ShapeError: The channels are not those of the network, as in (H, W, C).
    """
    sizes = own if x_shape is None else x_shape
    if not is_sequence(sizes) or not 2 <= len(sizes) <= 4:  # noqa: PLR2004  # (C, H, W) too
        raise ArgumentError(f"`x_shape`: expected (N, C, H, W) or (H, W), got {shown(x_shape)}")
    *before, height, width = sizes
    found = whole("`x_shape`: height", height), whole("`x_shape`: width", width)
    if before and whole("`x_shape`: channels", before[-1]) != own[0]:
        raise ShapeError(
            f"`x_shape`: expected (N, {own[0]}, H, W) or (H, W), got {shown(tuple(x_shape))}"
        )
    if before[:-1]:
        whole("`x_shape`: images", before[0], least=1)
    return found


def optional(at: str, value: Any) -> float | None:
    """A finite number, or none.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    return None if value is None else number(at, value)


def instance(at: str, value: Any, kind: type[T], expected: str) -> T:
    """A value of a class.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    if not isinstance(value, kind):
        raise ArgumentError(f"{at}: expected {expected}, got {kind_of(value)}")
    return value


def in_order(at: str, values: Any, expected: str) -> list[Any]:
    """The values of an ordered collection, as a list.

    The order of a set differs between processes, and the keys of a mapping need not be in the order
    of its values; a text is one value.

    Raises:
        ArgumentError: It is one of these, or not iterable; the message begins with `at`.
    """
    unordered = isinstance(values, str | bytes | Mapping | set | frozenset)
    try:
        if not unordered:
            return list(values)
    except TypeError:
        pass
    raise ArgumentError(f"{at}: expected {expected} in a list, got {kind_of(values)}")


def node_names(at: str, value: Any) -> list[str]:
    """Names of nodes, one or several.

    Raises:
        ArgumentError: It is neither a text nor a list of texts; the message begins with `at`.
    """
    names = [value] if isinstance(value, str) else in_order(at, value, "names of nodes")
    return [text(at, name, "the name of a node") for name in names]


def alike(name: str, names: Iterable[str], *, most: int = MOST_ALIKE) -> list[str]:
    """The names that are most like one, the closest first; none where none is."""
    import difflib

    return difflib.get_close_matches(name, list(names), n=most, cutoff=ALIKE)


def some_classes(name: str, classes: int, use: str) -> int:
    """The number of classes of a model that has some.

    Raises:
        ArgumentError: It has none; the message ends with the `use` of a classifier.
    """
    if classes == 0:
        raise ArgumentError(f"{name} has no classifier (num_classes=0) {use}")
    return classes


def one_of_names(name: str, names: Sequence[str], what: str) -> str:
    """The names that were expected in place of one that is none of them, for messages.

    A few are listed; of many, which are counted as `what`, those that begin with it or are alike.
    """
    if len(names) <= FEW:
        return f"one of {', '.join(names)}"
    below = [one for one in names if name and one.startswith(name)]
    some = list(dict.fromkeys([*below, *alike(name, names)] or names))[:MOST_ALIKE]
    return f"one of the {len(names)} {what}, such as {', '.join(some)}"


def text(at: str, value: Any, expected: str = "text") -> str:
    """A text that encodes as UTF-8, as the engine requires.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    try:
        instance(at, value, str, expected).encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"{at}: expected {expected}, got {shown(value)}") from None
    found: str = value
    return found


def one_of(at: str, value: Any, names: Sequence[str]) -> str:
    """One of the names.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    if not isinstance(value, str) or value not in names:
        raise ArgumentError(f"{at}: expected one of {', '.join(names)}, got {shown(value)}")
    return str(value)


def path_of(at: str, value: Any) -> Path:
    """A path.

    Raises:
        ArgumentError: It is something else, bytes, or a text that no file can be called; the
            message begins with `at`.
    """
    name = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(name, str):
        raise ArgumentError(f"{at}: expected a path, got {kind_of(value)}")
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        raise ArgumentError(f"{at}: expected a path, got {shown(name)}") from None
    return Path(name)


def kind_of(value: Any) -> str:
    """A value as messages describe it: None, text and numbers by `repr`, others by their class."""
    if isinstance(value, type):
        return f"the class {value.__name__} itself"
    if value is None or isinstance(value, str | int | float):
        return shown(value)
    name = getattr(value, "__name__", None)
    return f"{type(value).__name__} {name}" if name else f"an object of {type(value).__name__}"


def shown(value: Any) -> str:
    """The `repr` of a value on one line, cut after `MOST_SHOWN` characters."""
    try:
        text = repr(value)
    except Exception:  # a class's own `__repr__` may fail; and Python prints no number so long
        is_long = isinstance(value, int)
        text = "a number of many digits" if is_long else f"an object of {type(value).__name__}"
    return cut(text.replace("\n", " "))


def cut(text: str) -> str:
    """A text for a message, with an ellipsis after `MOST_SHOWN` characters if it is longer."""
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def _of(least: int, most: int) -> str:
    powers = {SEEDS: "2^64 - 1", SIZES: "2^63 - 1"}
    return f" of {least} to {powers.get(most, most)}"
