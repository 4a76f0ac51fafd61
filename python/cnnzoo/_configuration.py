"""What `Model.save` writes beside the weights: a description of the network, which is data."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from cnnzoo import _native, _record
from cnnzoo._arguments import path_of
from cnnzoo._record import Misfit
from cnnzoo.errors import ArgumentError, GraphError, UnknownModelError, WeightsError
from cnnzoo.prediction import Task
from cnnzoo.preprocess import Preprocess

# The layout of the description.
FORMAT = 1

# The pairs of a file's metadata that hold one of a model, and one of a run.
MODEL, RUN = "cnnzoo", "cnnzoo-run"


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A network without its parameters.

    Attributes:
        format: The layout of the description.
        name: Of the network, as its source calls it.
        source: Whose definition it is; none if it was built from a graph.
        options: Of the network alone, which Rust checks.
        graph: Its text, if it was built from one.
        preprocess: How photographs are prepared.
        labels: The names of its classes, if they were given.
        task: What an image shows, which older files do not say.
    """

    format: int = FORMAT
    name: str
    source: str | None
    options: dict[str, bool | int | float | str]
    graph: str | None
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    task: Task = "multi_class"

    @classmethod
    def read(cls, given: Any, at: str) -> Configuration:
        """One of decoded JSON.

        Raises:
            Misfit: It is none, or not of this format.
        """
        if isinstance(given, dict):
            check_format(given.get("format"), FORMAT, f"{at}.format")
        return _record.record(cls, given, at)

    @classmethod
    def of_file(cls, file: WeightsFile) -> Configuration | None:
        """What `save` wrote into a .safetensors file; none if it is weights alone.

        Raises:
            WeightsError: It is damaged.
        """
        text = file.stored.metadata.get(MODEL)
        if text is None:
            return None
        with damaged(file.path):
            return cls.read(_record.decoded(text, "configuration"), "configuration")

    def plain(self) -> dict[str, Any]:
        """What JSON has."""
        return asdict(self)

    def draw(self, options: dict[str, Any]) -> _native.Graph:
        """The network with other options.

        Raises:
            ArgumentError: It has none such.
        """
        return _native.draw(self.name, self.source, json.dumps(options))

    def engine(self) -> _native.Model:
        """The network without memory for its parameters.

        Raises:
            Misfit: There is no such network, or what is said beside it does not fit it.
        """
        if self.graph is not None and (self.source is not None or self.options):
            raise Misfit("graph", "neither a source nor options beside it", self.options)
        try:
            if self.graph is not None:
                engine = _native.Model.from_graph(_native.Graph.parse(self.graph), "meta", 0)
            else:
                options = json.dumps(self.options)
                engine = _native.Model(self.name, self.source, options, "meta", 0)
        except (UnknownModelError, ArgumentError, GraphError) as error:
            raise Misfit("network", "one that cnnzoo can build", error) from error
        channels = engine.graph().input_shape[0]
        if len(self.preprocess.mean) != channels:
            raise Misfit(
                "preprocess.mean", f"{channels} numbers, as the network takes", self.preprocess.mean
            )
        if self.labels is not None and len(self.labels) != engine.num_classes:
            got = f"{len(self.labels)} names"
            raise Misfit("labels", f"{engine.num_classes}, as the network has logits", got)
        return engine


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that is no checkpoint of a run, opened."""

    path: str
    stored: _native.Checkpoint

    @classmethod
    def open(cls, file: str | os.PathLike[str], key: str | None = None) -> WeightsFile:
        """Open it, for the state dict under a key.

        Raises:
            WeightsError: It is missing, damaged, refused, or a checkpoint of a run.
        """
        path = str(path_of("`file`", file))
        stored = _native.read_checkpoint(path, key)
        if RUN in stored.metadata:
            raise WeightsError(
                f"{path}: expected weights of a model, got a checkpoint of a run; go on with it by "
                f"Trainer.resume({path!r}, ...), or load the best.safetensors beside it"
            )
        return cls(path, stored)


# Endings of what other libraries write.
FOREIGN = {
    ".pth", ".pt", ".bin", ".ckpt", ".pkl", ".pickle", ".h5", ".hdf5", ".keras", ".npz", ".npy",
    ".onnx", ".pb", ".tflite", ".zip", ".tar",
}  # fmt: skip


def check_ending(file: str | os.PathLike[str]) -> None:
    """Refuse a name that says another format than is written.

    Raises:
        ArgumentError: It does.
    """
    ending = path_of("`file`", file).suffix
    if ending.lower() in FOREIGN:
        raise ArgumentError(
            f"`file`: expected a name that ends in .safetensors, which is what is written, got "
            f"{os.fspath(file)!r}; torch reads that file by safetensors.torch.load_file"
        )


def check_format(got: Any, latest: int, at: str) -> None:
    """Refuse what a newer version wrote.

    Raises:
        Misfit: It did, or the number is none.
    """
    if type(got) is not int or not 1 <= got <= latest:
        newer = "; a newer cnnzoo wrote it" if type(got) is int and got > latest else ""
        raise Misfit(at, f"format {latest} or older", f"{got}{newer}")


@contextmanager
def damaged(path: str) -> Iterator[None]:
    """Misfits as errors of the file."""
    try:
        yield
    except Misfit as error:
        raise WeightsError(f"{path}: its configuration is damaged: {error}") from error
