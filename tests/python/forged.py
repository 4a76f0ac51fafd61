"""Files whose arrays are whole and whose description is not what `save` writes."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from cnnzoo import _native

# Values of every type that JSON has, and such as no count, rate or name can be.
OTHERS: list[Any] = [
    None,
    True,
    -1,
    0,
    2**64,
    10**400,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "../other.safetensors",
    "\ud800",
    [],
    [1, "a"],
    {},
    {"weights": "default"},
]


def described(path: Path, key: str = "cnnzoo") -> dict[str, Any]:
    """The metadata of a file, beside its arrays."""
    found: dict[str, Any] = json.loads(_native.read_checkpoint(path).metadata[key])
    return found


def forge(path: Path, text: str, arrays: dict[str, NDArray[Any]], *, run: bool = False) -> None:
    """Write a file with another description, and the checksum that goes with it."""
    metadata = {"cnnzoo-run" if run else "cnnzoo": text}
    if run:
        metadata["checksum"] = checksum(text, arrays)
    save_file(arrays, path, metadata=metadata)


def checksum(text: str, arrays: dict[str, NDArray[Any]]) -> str:
    total = zlib.crc32(text.encode())
    for name in sorted(arrays):
        shape = ", ".join(map(str, arrays[name].shape))
        total = zlib.crc32(f"{name}[{shape}]".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(arrays[name]).tobytes(), total)
    return f"{total:08x}"


def mutations(whole: Any) -> Iterator[tuple[str, Any]]:
    """The same with one leaf or branch replaced, left out, or added to; and the place."""
    for place in _places(whole):
        for other in OTHERS:
            yield (
                f"{place} = {str(other)[:20]!r}",
                _changed(whole, place, partial(_set, value=other)),
            )
        yield f"del {place}", _changed(whole, place, _delete)
        if isinstance(_at(whole, place), dict):
            for name in ("weights", "device", "seed", "meta", "source", "name", "checkpoint"):
                yield (
                    f"{place} + {name}",
                    _changed(whole, place, partial(_add, name=name)),
                )


def arrays_of(path: Path) -> dict[str, NDArray[Any]]:
    return load_file(path)


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value[:2])
    for key, inner in items:
        yield (key,)
        yield from ((key, *below) for below in _places(inner))


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _changed(whole: Any, place: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Any:
    other = copy.deepcopy(whole)
    change(_at(other, place[:-1]), place[-1])
    return other


def _set(at: Any, key: Any, value: Any) -> None:
    at[key] = value


def _add(at: Any, key: Any, name: str) -> None:
    at[key].setdefault(name, "x")


def _delete(at: Any, key: Any) -> None:
    del at[key]
