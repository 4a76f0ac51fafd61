"""Finds the state dict in a mapping, as the readers of files do."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import numpy as np

from cnnzoo._arrays import is_tensor
from cnnzoo.errors import WeightsError

# Keys under which trainers save a state dict; EMA weights are taken only if there are no others.
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")
AVERAGED = ("state_dict_ema", "model_ema")
DEEPEST = 2


def find(
    mapping: Mapping[str, Any], key: str | None
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The arrays of a state dict, the ignored entries, and the keys that led to it.

    Raises:
        WeightsError: There are several state dicts, or none, or no such key.
    """
    ignored: dict[str, str] = {}
    under: list[str] = []
    here: Mapping[Any, Any] = mapping
    if key is not None:
        inner = mapping.get(key)
        if not isinstance(inner, Mapping):
            raise WeightsError(
                f"the mapping: expected a state dict under the key `{key}`, got the keys "
                f"{', '.join(map(str, list(mapping)[:8]))}"
            )
        here = _into(here, key, inner, ignored, under)
    for depth in range(DEEPEST, -1, -1):
        found = _candidates(here, CONTAINERS, depth) or _candidates(here, AVERAGED, depth)
        if not found:
            break
        first, inner = found[0]
        if any(other is not inner for _, other in found):
            keys = "`, `".join(name for name, _ in found)
            raise WeightsError(
                f"the mapping: expected one state dict (`key` chooses), got several, under `{keys}`"
            )
        here = _into(here, first, inner, ignored, under)
    arrays = {str(name): value for name, value in here.items() if _is_array(value)}
    ignored.update({str(n): _told(n, value) for n, value in here.items() if not _is_array(value)})
    if here and not arrays:
        raise WeightsError(
            "the mapping: expected arrays by name, perhaps under `state_dict` or `model`, or "
            f"under a key that `key` names, got the keys {', '.join(map(str, list(here)[:8]))}"
        )
    return arrays, ignored, under


def _into(
    here: Mapping[Any, Any],
    key: str,
    inner: Mapping[Any, Any],
    ignored: dict[str, str],
    under: list[str],
) -> Mapping[Any, Any]:
    ignored.update({str(n): _told(n, v) for n, v in here.items() if v is not inner})
    under.append(key)
    return inner


def _candidates(
    here: Mapping[Any, Any], keys: tuple[str, ...], depth: int
) -> list[tuple[str, Mapping[Any, Any]]]:
    if depth == 0:
        return []
    return [(key, here[key]) for key in keys if key in here and _holds(here[key], depth - 1)]


def _holds(value: Any, depth: int) -> bool:
    return isinstance(value, Mapping) and (
        any(map(_is_array, value.values()))
        or any(_candidates(value, keys, depth) for keys in (CONTAINERS, AVERAGED))
    )


def _is_array(value: Any) -> bool:
    # A nested tensor fails when it is asked for a shape.
    if is_tensor(value):
        return True
    return hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.generic)


def _told(key: object, value: Any) -> str:
    if isinstance(value, Mapping) and any(map(_is_array, islice(value.values(), 16))):
        return f'another state dict, which key="{key}" loads'
    return f"an object of {type(value).__name__}"
