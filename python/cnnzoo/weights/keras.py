"""Keras weights: names, array layouts and .h5 files."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnzoo._package import NAME
from cnnzoo.errors import WeightsError, WeightsFileError, WeightsFileNotFoundError
from cnnzoo.weights import _keras_reader

Array = NDArray[Any]

# Keras numbers layers without a name of their own, and the numbers continue from model to model.
COUNTED = re.compile(
    r"(batch_normalization|conv2d|dense|depthwise_conv2d|separable_conv2d)(?:_(\d+))?"
)

# Entries of a Keras file that are no weights of the network, and what they are.
BESIDE = {
    re.compile(r"(.*/)?normalization(_\d+)?/(mean|variance|count|\d+)"): "preprocessing",
    re.compile(r".*seed_generator(_state|(_\d+)?/vars/\d+)"): "the state of random draws",
    re.compile("optimizer(_weights)?/.*"): "the state of an optimizer",
}

# Axes of a convolution's kernel: height, width, inputs, outputs.
KERNEL_AXES = 4
COLOURS = 3

# Older versions' name of the kernel of a depthwise convolution.
OTHER_NAMES = {"kernel": "depthwise_kernel"}


class Variable(NamedTuple):
    """A Keras variable; its value is `ours.reshape(view).transpose(axes).reshape(shape)`.

    Attributes:
        own: The name in our Keras edition.
        own_shape: The shape in our Keras edition.
        path: `layer/variable`, as in Keras's `Variable.path`.
        view: The sizes of the view that is transposed.
        axes: The axes of the view, in Keras's order.
        shape: The shape in Keras.
    """

    own: str
    own_shape: list[int]
    path: str
    view: list[int]
    axes: list[int]
    shape: list[int]

    @property
    def layer(self) -> str:
        """The layer: the path before its last slash."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The variable's name: the path after its last slash."""
        return self.path.rpartition("/")[2]

    def to_keras(self, ours: Array) -> Array:
        """Convert an array from our layout to Keras's."""
        return np.ascontiguousarray(
            ours.reshape(self.view).transpose(self.axes).reshape(self.shape)
        )

    def to_ours(self, theirs: Array) -> Array:
        """Convert an array from Keras's layout to ours.

        An array of another shape than expected is transposed if it can be, so that the mismatch is
        reported in our layout.
        """
        if _without_ones(theirs.shape) != _without_ones(self.shape):
            turns = self.view == self.own_shape and theirs.ndim == len(self.axes)
            back = np.argsort(self.axes)
            return np.ascontiguousarray(theirs.transpose(back)) if turns else theirs
        turned = [self.view[axis] for axis in self.axes]
        values = theirs.reshape(turned).transpose(np.argsort(self.axes))
        return np.ascontiguousarray(values.reshape(self.own_shape))


def _without_ones(shape: Iterable[int]) -> list[int]:
    return [size for size in shape if size != 1]


def beside(arrays: Iterable[str]) -> dict[str, str]:
    """The paths of entries that are no weights of the network, and what they are."""
    return {path: what for path in arrays for form, what in BESIDE.items() if form.fullmatch(path)}


def to_ours(arrays: Mapping[str, Array], variables: list[Variable]) -> dict[str, Array]:
    """Convert Keras arrays to our Keras edition's names and layout; others keep their paths."""
    layers: dict[str, dict[str, Array]] = {}
    for path, array in arrays.items():
        layer, _, name = path.rpartition("/")
        layers.setdefault(layer, {})[name] = array
    theirs = dict(zip(_recounted(layers), layers.items(), strict=True))
    wanted: dict[str, list[Variable]] = {}
    for variable in variables:
        wanted.setdefault(variable.layer, []).append(variable)
    ours: dict[str, Array] = {}
    for key, group in zip(_recounted(wanted), wanted.values(), strict=True):
        _, found = theirs.get(key, (key, {}))
        for index, variable in enumerate(group):
            # A file may have numbers instead of names for the variables of a layer.
            names = (variable.name, OTHER_NAMES.get(variable.name, ""), str(index))
            for there in names:
                if there in found:
                    ours[variable.own] = variable.to_ours(found.pop(there))
                    break
    for layer, rest in layers.items():
        ours.update({f"{layer}/{name}": array for name, array in rest.items()})
    return ours


def red_first(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays, for red, green and blue: the first convolution's were for the reverse.

    Its kernel (height, width, 3, outputs) is the only one of three channels.
    """
    return {
        path: array[:, :, ::-1]
        if array.ndim == KERNEL_AXES and array.shape[2] == COLOURS
        else array
        for path, array in arrays.items()
    }


def to_keras(state: Mapping[str, Array], variables: list[Variable]) -> dict[str, Array]:
    """Convert the state dict of our Keras edition to Keras's paths and layout."""
    return {v.path: v.to_keras(state[v.own]) for v in variables if v.own in state}


def _recounted(layers: Iterable[str]) -> Iterator[str]:
    """The layers' names, with the numbers of numbered ones counted from 0."""
    layers = list(layers)
    counts: dict[str, list[int]] = {}
    for layer in layers:
        if match := COUNTED.fullmatch(layer):
            counts.setdefault(match[1], []).append(int(match[2] or 0))
    ranks = {kind: sorted(numbers) for kind, numbers in counts.items()}
    for layer in layers:
        match = COUNTED.fullmatch(layer)
        yield f"{match[1]} {ranks[match[1]].index(int(match[2] or 0))}" if match else layer


def read(file: str | os.PathLike[str], *, blue_first: bool = False) -> dict[str, Array]:
    """Read the arrays of a Keras file: `.weights.h5`, or `.h5` with or without the model.

    A separate process reads it, with limits of time and memory. Where the network of the file takes
    blue first, its first convolution is turned around to take red first.

    Raises:
        WeightsError: The file is missing, damaged, or no weights; or h5py is not installed.
    """
    path = os.fspath(file)
    try:
        facts = os.stat(path)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise WeightsFileNotFoundError(f"{path}: there is no such file") from error
        raise WeightsFileError(f"{path}: {error.strerror or error}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise WeightsFileError(f"{path}: not a regular file")
    if importlib.util.find_spec("h5py") is None:
        raise WeightsError(
            f"{path}: reading Keras files needs the package h5py; "
            f"install it with: pip install '{NAME}[keras]'"
        )
    arrays = _framed(path, _in_a_child(path, facts.st_size))
    return red_first(arrays) if blue_first else arrays


def _in_a_child(path: str, size: int) -> bytes:
    """Run the reader on a file in a separate process, and return its output."""
    import subprocess

    source = Path(_keras_reader.__file__).read_text(encoding="utf-8")
    lines = f"import sys; sys.path[:] = {sys.path!r}\n"
    # After the import of annotations, which has to come first.
    head, mark, rest = source.partition("from __future__ import annotations\n")
    seconds = 3 * (_keras_reader.SECONDS + size // _keras_reader.BYTES_A_SECOND)
    try:
        done = subprocess.run(
            [sys.executable, "-c", head + mark + lines + rest, path],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            check=False,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    except subprocess.TimeoutExpired as error:
        raise WeightsError(
            f"{path}: no Keras weights (reading it did not end in {seconds} seconds)"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot start a process to read it ({error})") from error
    if done.returncode == _keras_reader.REFUSED:
        said = done.stdout.decode("utf-8", "backslashreplace")
        raise WeightsError(f"{path}: no Keras weights ({said})")
    if done.returncode != 0:
        why = f"the process that read it ended with {done.returncode}"
        raise WeightsError(f"{path}: no Keras weights ({why})")
    return done.stdout


def _framed(path: str, printed: bytes) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    try:
        at = 8 + int.from_bytes(printed[:8], "little")
        for name, kind, shape in json.loads(printed[8:at]):
            dtype = np.dtype(kind)
            count = math.prod(shape)
            arrays[name] = np.frombuffer(printed, dtype, count, at).reshape(shape)
            at += count * dtype.itemsize
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path}: no Keras weights ({error})") from error
    return arrays
