"""Strict JSON, which every reader accepts: without NaN and infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

# Non-finite numbers as text, which Python's `float` reads.
NAMES = ("nan", "inf", "-inf")


def line(value: Any) -> str:
    """A value as JSON on one line; non-finite numbers become null."""
    return json.dumps(_finite(value, lambda _: None), default=_plain, allow_nan=False)


def lines(value: Any) -> str:
    """A value as indented JSON, for people; non-finite numbers become null."""
    return json.dumps(_finite(value, lambda _: None), default=_plain, allow_nan=False, indent=2)


def exact(value: Any) -> str:
    """A value as JSON to be read again; non-finite numbers become "nan", "inf" or "-inf"."""
    return json.dumps(_finite(value, str), default=_plain, allow_nan=False)


def _finite(value: Any, instead: Callable[[float], Any]) -> Any:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _finite(inner, instead) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner, instead) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return instead(value)
    return value


def _plain(value: Any) -> Any:
    raise TypeError(f"expected plain values, got {type(value).__name__}")
