"""Checks of arguments, where they are given."""

from __future__ import annotations

import numbers
from typing import Any

from cnnzoo.errors import ArgumentError

# The largest seed.
SEEDS = 2**64 - 1

# The largest size that the engine counts with.
SIZES = 2**63 - 1


def whole(at: str, value: Any, *, least: int = 0, most: int = SIZES) -> int:
    """A whole number within bounds: an int or one of NumPy's, but no bool and no float.

    Raises:
        ArgumentError: It is something else; the message begins with `at`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ArgumentError(f"{at}: expected a whole number, got {value!r}")
    number = int(value)
    if not least <= number <= most:
        raise ArgumentError(f"{at}: expected a whole number{_of(least, most)}, got {number}")
    return number


def seed_of(value: Any, at: str = "`seed`") -> int:
    """A seed, a whole number of 0 to 2^64 - 1."""
    return whole(at, value, most=SEEDS)


def _of(least: int, most: int) -> str:
    powers = {SEEDS: "2^64 - 1", SIZES: "2^63 - 1"}
    return f" of {least} to {powers.get(most, most)}"
