"""Validation and printing of the options of transforms."""

from __future__ import annotations

from typing import Any

from cnnzoo import _arguments
from cnnzoo._arguments import SEEDS, is_sequence, shown, whole
from cnnzoo.errors import ArgumentError


def readable(value: Any) -> str:
    """The `repr` of a value, with simple fractions such as 4/3 written as such."""
    if isinstance(value, tuple):
        inner = ", ".join(readable(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and len(repr(value)) > 10:  # noqa: PLR2004
        from fractions import Fraction

        fraction = Fraction(value).limit_denominator(16)
        if fraction.numerator / fraction.denominator == value:
            return str(fraction)
    return repr(value)


def count(at: str, value: Any) -> int:
    """A whole number of 0 to 2^64 - 1."""
    return whole(at, value, most=SEEDS)


def number(at: str, value: Any) -> float:
    """A finite number."""
    return _arguments.number(at, value)


def numbers(at: str, value: Any) -> list[float]:
    """One number or several, as a list."""
    if not is_sequence(value):
        return [number(at, value)]
    if not len(value):
        raise ArgumentError(f"{at}: expected a number, or one for each channel, got none")
    return [number(at, item) for item in value]


def pair(at: str, value: Any) -> list[float]:
    """A range: two numbers, from and to."""
    if not is_sequence(value) or len(value) != 2:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected two numbers, from and to, got {shown(value)}")
    return [number(at, item) for item in value]


def sides(at: str, value: Any) -> tuple[int, int]:
    """Height and width, from one number or two."""
    if not is_sequence(value):
        return count(at, value), count(at, value)
    if len(value) != 2:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected pixels or (height, width), got {shown(value)}")
    height, width = (count(at, item) for item in value)
    return height, width


def margins(at: str, value: Any) -> dict[str, int]:
    """Padding of each side in pixels, from 1, 2 or 4 numbers."""
    given = tuple(value) if is_sequence(value) else (value,)
    if len(given) not in (1, 2, 4):
        raise ArgumentError(
            f"{at}: expected pixels, (left and right, top and bottom) or "
            f"(left, top, right, bottom), got {shown(value)}"
        )
    left, top, right, bottom = (count(at, item) for item in given * (4 // len(given)))
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def fill_of(at: str, value: Any) -> list[int]:
    """A fill colour as red, green and blue, from one byte or three."""
    given = tuple(value) if is_sequence(value) else (value,) * 3
    colour = [count(at, item) for item in given]
    if len(colour) != 3 or max(colour) > 255:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected a byte or (red, green, blue), got {shown(value)}")
    return colour
