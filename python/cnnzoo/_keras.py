"""Weights of Keras: its names, its layouts, its .h5 files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnnzoo.errors import WeightsError, WeightsFileNotFoundError

Array = NDArray[Any]

SUFFIXES = {".h5", ".hdf5"}

# Keras counts what has no name of its own, and goes on counting from one model to the next.
COUNTED = re.compile(
    r"(batch_normalization|conv2d|dense|depthwise_conv2d|separable_conv2d)(?:_(\d+))?"
)

# What a model of Keras keeps beside the weights of its network, and what that is.
BESIDE = {
    re.compile(r"(.*/)?normalization(_\d+)?/(mean|variance|count|\d+)"): "preprocessing",
    re.compile(r".*seed_generator(_state|(_\d+)?/vars/\d+)"): "the state of random draws",
    re.compile("optimizer(_weights)?/.*"): "the state of an optimizer",
}

# What older versions called the kernel of a depthwise convolution, besides.
OTHER_NAMES = {"kernel": "depthwise_kernel"}


class Variable(NamedTuple):
    """A variable of Keras: `ours.reshape(view).transpose(axes).reshape(shape)` is its value.

    Attributes:
        own: The name in our Keras edition.
        own_shape: There.
        path: `layer/variable`, as in Keras's `Variable.path`.
        view: Sizes.
        axes: Of the view, in Keras's order.
        shape: In Keras.
    """

    own: str
    own_shape: list[int]
    path: str
    view: list[int]
    axes: list[int]
    shape: list[int]

    @property
    def layer(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def to_keras(self, ours: Array) -> Array:
        return np.ascontiguousarray(
            ours.reshape(self.view).transpose(self.axes).reshape(self.shape)
        )

    def to_ours(self, theirs: Array) -> Array:
        """An array of another shape than expected comes in our layout if it can, to be judged."""
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
    """The paths of what is no weight of the network, and what it is."""
    return {path: what for path in arrays for form, what in BESIDE.items() if form.fullmatch(path)}


def to_ours(arrays: Mapping[str, Array], variables: list[Variable]) -> dict[str, Array]:
    """By our Keras edition's names, in our layout. What has no place keeps its path."""
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
            # A file may only number the variables of a layer.
            names = (variable.name, OTHER_NAMES.get(variable.name, ""), str(index))
            for there in names:
                if there in found:
                    ours[variable.own] = variable.to_ours(found.pop(there))
                    break
    for layer, rest in layers.items():
        ours.update({f"{layer}/{name}": array for name, array in rest.items()})
    return ours


def to_keras(state: Mapping[str, Array], variables: list[Variable]) -> dict[str, Array]:
    """By Keras's paths, in its layout, from the state of our Keras edition."""
    return {v.path: v.to_keras(state[v.own]) for v in variables if v.own in state}


def _recounted(layers: Iterable[str]) -> Iterator[str]:
    """The names, where the counted ones begin with 0."""
    layers = list(layers)
    counts: dict[str, list[int]] = {}
    for layer in layers:
        if match := COUNTED.fullmatch(layer):
            counts.setdefault(match[1], []).append(int(match[2] or 0))
    ranks = {kind: sorted(numbers) for kind, numbers in counts.items()}
    for layer in layers:
        match = COUNTED.fullmatch(layer)
        yield f"{match[1]} {ranks[match[1]].index(int(match[2] or 0))}" if match else layer


def read(file: str | os.PathLike[str]) -> dict[str, Array]:
    """The arrays of a file that Keras wrote: `.weights.h5`, or `.h5` with or without the model.

    Raises:
        WeightsError: The file is missing, damaged, or no weights; or h5py is not installed.
    """
    if not Path(file).exists():
        raise WeightsFileNotFoundError(f"{os.fspath(file)}: there is no such file")
    try:
        import h5py
    except ImportError:
        raise WeightsError(
            f"{os.fspath(file)}: reading a file of Keras needs the package h5py; "
            "install it with: pip install 'cnnzoo[keras]'"
        ) from None
    try:
        with h5py.File(file, "r") as stored:
            return dict(_arrays(stored))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{os.fspath(file)}: no weights of Keras ({error})") from error


def _arrays(stored: Any) -> Iterator[tuple[str, Array]]:
    """By path, or by layer and number. Of what is no layer's, only the names."""
    rest = set()

    def note(path: str, item: Any) -> None:
        if hasattr(item, "shape"):
            rest.add(path)

    stored.visititems(note)
    for path, values in _numbered(stored) if "layers" in stored else _named(stored):
        rest.discard(values.name.lstrip("/"))
        yield path, np.asarray(values)
    yield from ((path, np.empty(0)) for path in sorted(rest))


def _numbered(stored: Any) -> Iterator[tuple[str, Any]]:
    """Of `.weights.h5`."""
    for layer in stored["layers"].values():
        group = layer["vars"]
        if "name" not in group.attrs:
            # Their order is that of Keras's layers, which a graph does not tell.
            raise ValueError(
                "it counts its layers and does not name them, as Keras 3.4 does; "
                "load it there, and save the model as .h5"
            )
        for number, values in group.items():
            yield f"{group.attrs['name']}/{number}", values


def _named(stored: Any) -> Iterator[tuple[str, Any]]:
    """Of `.h5`, with or without the model."""
    model = stored.get("model_weights", stored)
    for layer in model.attrs["layer_names"]:
        name = _text(layer)
        for weight in model[name].attrs["weight_names"]:
            variable = _text(weight).rpartition("/")[2].partition(":")[0]
            yield f"{name}/{variable}", model[name][_text(weight)]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
