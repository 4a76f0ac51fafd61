"""Loading and saving the parameters of a network: weights files, model files, state dicts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _json
from cnnzoo._arguments import kind_of, one_of
from cnnzoo._arrays import as_array
from cnnzoo._configuration import MODEL, Configuration, WeightsFile, check_ending, damaged
from cnnzoo.errors import ArgumentError, WeightsError
from cnnzoo.model._network import Network
from cnnzoo.model._packing import has_libtorch
from cnnzoo.weights import LoadReport, Mismatch, state_dict

if TYPE_CHECKING:
    from cnnzoo.weights import keras

# File name endings of Keras's weights, whose reader is imported with the first of them.
KERAS = {".h5", ".hdf5"}


class Filling(Network):
    """A network that loads parameters from files and arrays, and saves them."""

    def state_dict(self, *, source: str | None = None) -> dict[str, NDArray[Any]]:
        """A copy of every parameter and buffer.

        Args:
            source: Source whose names and shapes the arrays have, as its library loads them; the
                model's own if not given. Those of `"keras"` are `layer/variable`, in Keras's
                layout. Arrays that only the other source has are left out.

        Raises:
            ArgumentError: There is no such source of this network, or its layers do not correspond.
        """
        arrays = self._engine.state_dict()
        if source is None:
            return arrays
        names = self._engine.names_in(source)
        theirs = {name: arrays[own].reshape(shape) for own, name, shape in names}
        if source != "keras":
            return theirs
        from cnnzoo.weights import keras

        return keras.to_keras(theirs, self._keras_variables())

    def load_state_dict(
        self,
        mapping: Mapping[str, Any],
        *,
        source: str = "auto",
        prefix: str | None = None,
        key: str | None = None,
        strict: bool = True,
    ) -> LoadReport:
        """Load the parameters from a state dict of arrays or torch tensors.

        Args:
            mapping: State dict, names to float arrays, or a dict that holds one, as for
                `load_weights`.
            source: Source whose names these are, as in `load_weights`.
            prefix: Prefix of the names, as in `load_weights`.
            key: Key of the state dict in the mapping, as in `load_weights`.
            strict: Refuse, and change nothing, unless every name and shape matches. Batch counts
                (`num_batches_tracked`) may be missing.

        Raises:
            ArgumentError: It is no mapping.
            WeightsError: A name or shape does not match; the message lists which.
        """
        if not isinstance(mapping, Mapping):
            raise ArgumentError(
                f"`mapping`: expected a state dict, names to arrays, got {kind_of(mapping)}"
            )
        found, ignored, under = state_dict.find(mapping, key)
        arrays = {name: _array(name, value) for name, value in found.items()}
        origin = f"the mapping, under `{'`, `'.join(under)}`" if under else "the mapping"
        policy = "strict" if strict else "lenient"
        report = self._load_arrays(arrays, source, policy, origin, prefix=prefix, ignored=ignored)
        return _warned(report, self.name, strict=strict)

    def load_weights(
        self,
        file: str | os.PathLike[str],
        *,
        source: str = "auto",
        prefix: str | None = None,
        key: str | None = None,
        strict: bool = True,
    ) -> LoadReport:
        """Load the parameters from a .safetensors, .pth or .h5 weights file; no code is executed.

        A file that is changed or truncated while it is read is refused; parameters read by then
        stay in the model. Replacing the file by another one is safe.

        Args:
            file: A file of safetensors, of `torch.save` (new or old format), or of Keras; a state
                dict of tensors or NumPy arrays, also under `state_dict` or `model`. Counters beside
                it (`n_averaged`, `total_ops`), weights of a loss and optimiser states are listed in
                the report and not loaded.
            source: Source whose names the file has: `"auto"` to detect it by the names, a source of
                the network, or `"efficientnet-lite-pytorch"`.
            prefix: Prefix of the network's names, such as `"model."`; detected by the names if not
                given. Names with another prefix are not loaded.
            key: Key of the state dict in a .pth file, such as `"state_dict_ema"`; one of the usual
                ones if not given.
            strict: Refuse, and change nothing, unless every name and shape matches. If False, a
                warning says so where nothing matches.

        Warns:
            Notice: The file is a model file of a network with other options, labels or
                preprocessing, which are not loaded.

        Raises:
            WeightsError: The file is missing, damaged, refused, or of another model.
        """
        policy = "strict" if strict else "lenient"
        if not is_keras(file):
            opened = WeightsFile.open(file, key)
            saved = Configuration.of_file(opened)
            if saved is not None:
                with damaged(opened.path):
                    saved.engine()
            report = self._load_opened(opened, source, policy, prefix=prefix)
            if saved is not None and report.loaded:
                from cnnzoo.weights.adopt import notice_differences

                own = self._configuration()
                notice_differences(opened.path, saved, own, self.num_classes)
        elif key is not None:
            raise WeightsError(f"{os.fspath(file)}: expected no `key` for an .h5 file, got {key}")
        else:
            from cnnzoo.weights import keras

            arrays = keras.read(file)
            report = self._load_arrays(arrays, "keras", policy, os.fspath(file), prefix=prefix)
        return _warned(report, self.name, strict=strict)

    def _load_opened(
        self,
        file: WeightsFile,
        source: str,
        policy: str,
        *,
        prefix: str | None = None,
        lazy: bool = False,
    ) -> LoadReport:
        with self._change() as engine:
            stored = file.for_libtorch() if has_libtorch(engine) else file.stored
            fields = engine.load_weights(stored, source, policy, prefix, stay=lazy)
        return self._note(fields)

    def _load_arrays(
        self,
        arrays: dict[str, NDArray[Any]],
        source: str,
        policy: str,
        origin: str,
        *,
        prefix: str | None = None,
        ignored: Mapping[str, str] | None = None,
    ) -> LoadReport:
        beside = dict(ignored or {})
        if source in {"auto", "keras"} and any("/" in name for name in arrays):
            from cnnzoo.weights import keras

            source = "keras"
            others = keras.beside(arrays)
            weights = {path: array for path, array in arrays.items() if path not in others}
            arrays = keras.to_ours(weights, self._keras_variables())
            beside |= others
        with self._change() as engine:
            fields = engine.load_state_dict(arrays, beside, source, policy, origin, prefix)
        return self._note({**fields, "ignored": {**fields["ignored"], **beside}})

    def _note(self, fields: dict[str, Any]) -> LoadReport:
        self._load_report, self._published = _report(fields), None
        return self._load_report

    def _keras_variables(self) -> list[keras.Variable]:
        from cnnzoo.weights import keras

        return [keras.Variable(*fields) for fields in self._engine.keras_variables()]

    def _quantize_as(self, saved: Configuration | None, path: str) -> None:
        """Quantize the model as the model file says whose parameters it has, if they are as there.

        Raises:
            WeightsError: A range is missing, or is none, or is of no node of the network.
        """
        report = self._load_report
        if saved is None or report is None:
            return
        if report.missing or report.mismatched or report.resampled or report.adapted:
            return
        try:
            self.quantization = saved.quantization
        except ArgumentError as error:
            raise WeightsError(f"{path}: its configuration is damaged: {error}") from error

    def save(
        self,
        file: str | os.PathLike[str],
        *,
        precision: Literal["float32", "int8"] = "float32",
    ) -> None:
        """Write a model file: weights and configuration in one .safetensors file, for `load`.

        The file of a quantized model has its `quantization` too.

        Args:
            file: The path of the file.
            precision: Precision of the weights in the file. With `"int8"`, the weights of layers
                that run in int8 are integers of 8 bits, with a step for each output channel: a
                quarter to a third of the space, for a quantized model. Runs in int8 of the loaded
                model have the bits of this one's, runs in float32 those of the rounded weights.

        Raises:
            ArgumentError: The name has the suffix of another format: `.pth`, `.h5`; or the
                precision is another one, or `"int8"` and the model is not quantized.
            WeightsError: The file cannot be written.
        """
        check_ending(file)
        one_of("`precision` of the file", precision, ("float32", "int8"))
        text = _json.exact(self._configuration().plain())
        self._engine.save(os.fspath(file), {MODEL: text}, precision)


def is_keras(file: str | os.PathLike[str]) -> bool:
    return Path(file).suffix.lower() in KERAS


def _warned(report: LoadReport, name: str, *, strict: bool) -> LoadReport:
    """The report, with a warning where a lenient load matched no parameter."""
    if not strict and not report.loaded:
        warnings.warn(
            f"nothing was loaded into {name}: none of {len(report.unexpected)} names matches a "
            "parameter of the same shape",
            stacklevel=3,
        )
    return report


def _array(name: object, value: Any) -> NDArray[Any]:
    """A state dict's value as a contiguous, little-endian array of numbers."""
    array = as_array(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"`{name}`: expected an array of numbers, got {type(value).__name__}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def _report(fields: dict[str, Any]) -> LoadReport:
    shapes = {
        what: tuple(Mismatch(*mismatch) for mismatch in fields[what])
        for what in ("mismatched", "resampled", "adapted")
    }
    return LoadReport(**{**fields, **shapes})
