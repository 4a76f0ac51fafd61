"""Reads JSON into values of annotated types; an error names the place that does not fit."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from cnnzoo._arguments import cut, shown
from cnnzoo._json import NAMES
from cnnzoo.errors import CnnzooError

T = TypeVar("T")

# The bound of whole numbers: they go to Rust, where counts and seeds have 64 bits.
WHOLE_NUMBERS = 2**64

KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number of 0 to 2⁶⁴ - 1",
    float: "a number",
    str: "text",
    type(None): "null",
}


class Misfit(Exception):  # noqa: N818 (it becomes an error of the file)
    """A value that does not fit: its place, what was expected, and what was found."""

    def __init__(self, at: str, expected: str, got: Any) -> None:
        super().__init__(f"`{at}`: expected {expected}, got {_shown(got)}")


def decoded(text: str, at: str) -> Any:
    """Decode JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misfit(at, "JSON", f"{text[:40]} ({error})") from error


def read(annotation: Any, given: Any, at: str) -> Any:  # noqa: PLR0911 (one for each kind)
    """Read a value of an annotated type: plain, tuple, dict, choice, or a dataclass of these.

    A dataclass field named after a Python keyword has a trailing underscore, which JSON lacks. A
    float may be given as a whole number or as "nan", "inf" or "-inf"; nothing else is converted.
    Whole numbers are not negative.

    Raises:
        Misfit: It does not fit the type.
    """
    if annotation is Any:
        return given
    if annotation in KINDS:
        return _plain(annotation, given, at)
    if dataclasses.is_dataclass(annotation) and isinstance(annotation, type):
        return record(annotation, given, at)
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return _one_of(inner, given, at)
    if origin is typing.Literal:
        if not any(type(given) is type(choice) and given == choice for choice in inner):
            raise Misfit(at, " or ".join(map(json.dumps, inner)), given)
        return given
    if origin is dict:
        if not isinstance(given, dict):
            raise Misfit(at, "an object", given)
        return {_plain(str, k, at): read(inner[1], v, f"{at}.{k}") for k, v in given.items()}
    if origin in {tuple, collections.abc.Sequence}:
        return _several(inner, given, at)
    raise NotImplementedError(f"no reader of {annotation}")


def record(kind: type[T], given: Any, at: str) -> T:
    """Read a dataclass from a JSON object, as `read`; errors of its own checks become misfits."""
    fields = arguments(kind, given, at)
    try:
        return kind(**fields)
    except (CnnzooError, ArithmeticError) as error:
        raise Misfit(at, f"a valid {kind.__name__}", error) from error


def arguments(
    function: Callable[..., Any], given: Any, at: str, *, beside: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Read a function's keyword arguments from a JSON object; `beside` holds further ones."""
    if not isinstance(given, dict):
        raise Misfit(at, "an object", given)
    hints = _hints(function)
    wanted = {p.name: p for p in inspect.signature(function).parameters.values()}
    names = {name.rstrip("_"): name for name in wanted if name not in (beside or {})}
    for name in given:
        if name not in names:
            raise Misfit(at, f"no more than {', '.join(names)}", name)
    found = dict(beside or {})
    for there, name in names.items():
        if there in given:
            found[name] = read(hints[name], given[there], f"{at}.{there}")
        elif wanted[name].default is inspect.Parameter.empty:
            raise Misfit(f"{at}.{there}", "a value", "none")
    return found


@functools.cache
def _hints(function: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(function):
        return typing.get_type_hints(function)
    code: Any = function.__init__ if isinstance(function, type) else function  # type: ignore[misc]
    return typing.get_type_hints(code)


def _plain(kind: Any, given: Any, at: str) -> Any:
    if kind is float and given in NAMES:
        # A run checkpoint holds non-finite numbers, which JSON lacks, as text.
        return float(given)
    fits = type(given) is kind
    if kind is float and type(given) is int:
        fits = abs(given) < WHOLE_NUMBERS
    if fits and kind is int:
        fits = 0 <= given < WHOLE_NUMBERS
    if fits and kind is str:
        fits = not any("\ud800" <= letter <= "\udfff" for letter in given)
    if not fits:
        raise Misfit(at, KINDS[kind], given)
    return given


def _one_of(choices: tuple[Any, ...], given: Any, at: str) -> Any:
    misfits = []
    for choice in choices:
        try:
            return read(choice, given, at)
        except Misfit as misfit:
            misfits.append(misfit)
    # The misfit deepest inside tells more than that the whole is of another kind.
    raise max(misfits, key=lambda misfit: str(misfit).partition(":")[0].count("."))


def _several(inner: tuple[Any, ...], given: Any, at: str) -> tuple[Any, ...]:
    if not isinstance(given, list):
        raise Misfit(at, "a list", given)
    if len(inner) == 1 or inner[1] is Ellipsis:
        kinds = inner[:1] * len(given)
    elif len(inner) == len(given):
        kinds = inner
    else:
        raise Misfit(at, f"a list of {len(inner)}", given)
    return tuple(
        read(kind, value, f"{at}.{index}")
        for index, (kind, value) in enumerate(zip(kinds, given, strict=True))
    )


def _shown(value: Any) -> str:
    if isinstance(value, Exception):
        return str(value)
    if isinstance(value, str):
        text = value
    else:
        try:
            text = json.dumps(value, default=shown)
        except (ValueError, RecursionError):
            text = type(value).__name__
    return cut(text.encode("utf-8", "backslashreplace").decode())
