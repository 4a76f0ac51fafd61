"""Reads a Keras weights file in a process with resource limits: HDF5 is unsafe for hostile files.

It imports nothing of cnnzoo. It prints the length of a JSON list of (path, dtype, shape), the list,
and the values; or, with exit status 3, the error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Values may take this much memory, or this many times the file's size if they are compressed.
LEAST = 256 << 20
COMPRESSION = 20

# The limit of processor time: these seconds, and one more for every so many bytes.
SECONDS = 10
BYTES_A_SECOND = 20 << 20

REFUSED = 3
MOST_LINKS = 100_000


def main(path: str) -> None:
    """Read a file, and print it."""
    import h5py
    import numpy as np

    size = Path(path).stat().st_size
    most = max(LEAST, size * COMPRESSION)
    seconds = SECONDS + size // BYTES_A_SECOND
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 3 * most
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        with h5py.File(path, "r") as stored:
            paths = check(stored, most)
            arrays = [(at, np.ascontiguousarray(values)) for at, values in _arrays(stored, paths)]
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, MemoryError) as error:
        said = str(error) or type(error).__name__
        os.write(1, said.encode("utf-8", "backslashreplace")[:4000])
        sys.exit(REFUSED)
    head = json.dumps([(path, array.dtype.str, array.shape) for path, array in arrays]).encode()
    with os.fdopen(1, "wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for _, array in arrays:
            out.write(array.tobytes())


def check(stored: Any, most: int) -> set[str]:
    """Refuse links out of the file, and values that exceed the limit, before any value is read.

    Returns:
        The paths of all arrays.
    """
    import h5py

    taken, links = 0, 0
    groups = [stored]
    paths: set[str] = set()

    def note(path: str, item: Any) -> None:
        nonlocal taken
        if isinstance(item, h5py.Group):
            groups.append(item)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"`{item.name}` keeps its values in another file")
            taken += item.nbytes
            if taken > most:
                raise ValueError(f"its arrays take more than {most} bytes")
            paths.add(path)

    stored.visititems(note)
    for group in groups:
        for name in group:
            links += 1
            if links > MOST_LINKS:
                raise ValueError(f"it has more than {MOST_LINKS} names")
            if isinstance(name, bytes):
                raise ValueError(f"{name!r} is no name in UTF-8")
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ValueError(f"`{name}` leads to another file")
    return paths


def _arrays(stored: Any, rest: set[str]) -> Iterator[tuple[str, Any]]:
    """The arrays of layers, by layer and variable or number; of other arrays only the paths."""
    import numpy as np

    for path, values in _numbered(stored) if "layers" in stored else _named(stored):
        rest.discard(values.name.lstrip("/"))
        if values.dtype.kind not in "fiub":
            raise ValueError(f"`{path}`: expected numbers, got {values.dtype}")
        if values.shape is None:
            raise ValueError(f"`{path}`: expected numbers, got none")
        yield path, values[()]
    yield from ((path, np.empty(0)) for path in sorted(rest))


def _numbered(stored: Any) -> Iterator[tuple[str, Any]]:
    """The arrays of `.weights.h5`, by layer and number."""
    for layer in stored["layers"].values():
        group = layer["vars"]
        if "name" not in group.attrs:
            # Their order is that of Keras's layers, which a graph does not hold.
            raise ValueError(
                "it counts its layers and does not name them, as Keras 3.4 does; "
                "load it there, and save the model as .h5"
            )
        for number, values in group.items():
            yield f"{group.attrs['name']}/{number}", values


def _named(stored: Any) -> Iterator[tuple[str, Any]]:
    """The arrays of `.h5`, with or without the model, by layer and variable."""
    model = stored.get("model_weights", stored)
    for layer in model.attrs["layer_names"]:
        name = _text(layer)
        for weight in model[name].attrs["weight_names"]:
            variable = _text(weight).rpartition("/")[2].partition(":")[0]
            yield f"{name}/{variable}", model[name][_text(weight)]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    main(sys.argv[1])
