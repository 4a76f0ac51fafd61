"""The configuration of a network, which `Model.save` writes beside the weights as plain data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal, TypeAlias

from cnnzoo import _native, _record
from cnnzoo._arguments import path_of
from cnnzoo._record import Misfit
from cnnzoo.errors import ArgumentError, GraphError, UnknownModelError, WeightsError
from cnnzoo.prediction import Task
from cnnzoo.preprocess import Preprocess
from cnnzoo.quantization import Quantization

# The accuracy of inference on the CPU.
Accuracy: TypeAlias = Literal["fast", "high"]

# The version of the configuration's format.
FORMAT = 1

# The metadata keys of a model's configuration and of a run checkpoint's.
MODEL, RUN = "cnnzoo", "cnnzoo-run"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The configuration of a network: everything but its parameters.

    Attributes:
        format: The version of the format.
        name: The network's name, as its source calls it.
        source: The source of the definition; none if the network was built from a graph.
        options: Options of the network alone, which Rust validates.
        graph: The graph's text, if the network was built from one.
        preprocess: The preprocessing of photographs.
        labels: The class labels, if they were given.
        task: The classification task, which older files do not state.
        accuracy: The accuracy of inference on the CPU, likewise.
        quantization: The quantization, if the network was quantized with its parameters.
    """

    format: int = FORMAT
    name: str
    source: str | None
    options: dict[str, bool | int | float | str]
    graph: str | None
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    task: Task = "multi_class"
    accuracy: Accuracy = "fast"
    quantization: Quantization | None = None

    @classmethod
    def read(cls, given: Any, at: str) -> Configuration:
        """Read a configuration from decoded JSON.

        Raises:
            Misfit: It is no configuration, or not of this format.
        """
        if isinstance(given, dict):
            check_format(given.get("format"), FORMAT, f"{at}.format")
        return _record.record(cls, given, at)

    @classmethod
    def of_file(cls, file: WeightsFile) -> Configuration | None:
        """The configuration in a model file; none if the file holds weights alone.

        Raises:
            WeightsError: The configuration is damaged.
        """
        text = file.stored.metadata.get(MODEL)
        if text is None:
            return None
        with damaged(file.path):
            return cls.read(_record.decoded(text, "configuration"), "configuration")

    def plain(self) -> dict[str, Any]:
        """The configuration as plain values, for JSON."""
        plain = asdict(self)
        if self.quantization is None:
            # So older versions of cnnzoo read it.
            del plain["quantization"]
        return plain

    def draw(self, options: dict[str, Any]) -> _native.Graph:
        """The graph of the network with other options.

        Raises:
            ArgumentError: The network has no such option.
        """
        return _native.draw(self.name, self.source, json.dumps(options))

    def engine(self, extension: ModuleType = _native) -> _native.Model:
        """The network on the meta device, without memory for its parameters.

        Args:
            extension: Ours, or the one that is linked to libtorch.

        Raises:
            Misfit: There is no such network, or another field does not fit it.
        """
        if self.graph is not None and (self.source is not None or self.options):
            raise Misfit("graph", "neither a source nor options beside it", self.options)
        try:
            if self.graph is not None:
                engine: _native.Model = extension.Model.from_graph(
                    extension.Graph.parse(self.graph), "meta", 0
                )
            else:
                options = json.dumps(self.options)
                engine = extension.Model(self.name, self.source, options, "meta", 0)
        except (UnknownModelError, ArgumentError, GraphError) as error:
            raise Misfit("network", "one that cnnzoo can build", error) from error
        channels = engine.graph().input_shape[0]
        if len(self.preprocess.mean) != channels:
            raise Misfit(
                "preprocess.mean", f"{channels} numbers, one for each channel", self.preprocess.mean
            )
        if self.labels is not None and len(self.labels) != engine.num_classes:
            got = f"{len(self.labels)} names"
            raise Misfit("labels", f"{engine.num_classes}, one for each logit", got)
        engine.set_accuracy(self.accuracy)
        return engine


@dataclass(frozen=True)
class WeightsFile:
    """An open weights file or model file, which is no run checkpoint."""

    path: str
    stored: _native.Checkpoint
    key: str | None = None

    @classmethod
    def open(cls, file: str | os.PathLike[str], key: str | None = None) -> WeightsFile:
        """Open a file; `key` chooses the state dict in it.

        Raises:
            WeightsError: It is missing, damaged, refused, or a run checkpoint.
        """
        path = str(path_of("`file`", file))
        stored = _native.read_checkpoint(path, key)
        if RUN in stored.metadata:
            raise WeightsError(
                f"{path}: expected weights of a model, got a run checkpoint; continue it by "
                f"Trainer.resume({path!r}, ...), or load the best.safetensors beside it"
            )
        return cls(path, stored, key)

    def for_libtorch(self) -> _native.Checkpoint:
        """The file, opened by the extension that is linked to libtorch."""
        from cnnzoo import _torch

        return _torch.read_checkpoint(self.path, self.key)


# File name endings of other libraries' formats.
FOREIGN = {
    ".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".h5", ".hdf5", ".keras", ".npz", ".npy",
    ".onnx", ".pb", ".tflite", ".zip", ".tar",
}  # fmt: skip


def check_ending(file: str | os.PathLike[str]) -> None:
    """Refuse a file name that ends like another format than the .safetensors that is written.

    Raises:
        ArgumentError: It has such an ending.
    """
    ending = path_of("`file`", file).suffix
    if ending.lower() in FOREIGN:
        raise ArgumentError(
            f"`file`: expected a name that ends in .safetensors, the format that is written, got "
            f"{os.fspath(file)!r}; torch loads such a file by safetensors.torch.load_file"
        )


def check_format(got: Any, latest: int, at: str) -> None:
    """Refuse a format that a newer cnnzoo wrote.

    Raises:
        Misfit: The format is newer, or is no format number.
    """
    if type(got) is not int or not 1 <= got <= latest:
        newer = "; a newer cnnzoo wrote it" if type(got) is int and got > latest else ""
        raise Misfit(at, f"format {latest} or older", f"{got}{newer}")


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """Turn a `Misfit` into a `WeightsError` that names the file."""
    try:
        yield
    except Misfit as error:
        raise WeightsError(f"{path}: its configuration is damaged: {error}") from error
