"""A run as a file: its models and what its optimiser remembers, and a text that says the rest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnzoo import _native, losses, optimizers, schedules
from cnnzoo.errors import (
    CheckpointError,
    CheckpointFileError,
    CnnzooError,
    WeightsError,
    WeightsFileError,
)
from cnnzoo.model import Model, from_configuration

if TYPE_CHECKING:
    from cnnzoo.trainer import Trainer

# The layout of the text.
FORMAT = 1

# What a folder of a run holds.
LAST = "last.safetensors"
BEST = "best.safetensors"

# The classes that a run is described with. No other name from a file is ever looked up.
KNOWN: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        losses.CrossEntropy,
        losses.BinaryCrossEntropy,
        schedules.Constant,
        schedules.Step,
        schedules.MultiStep,
        schedules.Exponential,
        schedules.Polynomial,
        schedules.Cosine,
        schedules.OneCycle,
    )
}


def save(trainer: Trainer, path: Path) -> None:
    """Write everything that the trainer goes on from, whole or not at all."""
    optimizer = trainer.optimizer
    text = {
        "format": FORMAT,
        "model": trainer.model._configuration(),
        "trained": trainer.model.trained,
        "optimizer": {
            "class": type(optimizer).__name__,
            "arguments": optimizer._configuration(),
            "batches": optimizer._batches,
            "waiting": optimizer._waiting,
        },
        "trainer": {name: _described(value) for name, value in trainer._options.items()},
        "state": dataclasses.asdict(trainer._state),
        "history": [dataclasses.asdict(row) for row in trainer.history],
    }
    average = None if trainer.averaged is None else trainer.averaged._engine
    _native.save_run(
        os.fspath(path),
        trainer.model._engine,
        average,
        optimizer._engine,
        json.dumps(text, default=_plain),
    )


class Saved:
    """A checkpoint that was opened and found whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run = _native.Run.open(os.fspath(path))
        with self._damaged():
            self.text: dict[str, Any] = json.loads(self._run.text)
            version = self.text["format"]
        if version > FORMAT:
            raise CheckpointError(
                f"{path}: expected format {FORMAT} or older, got {version}; a newer cnnzoo wrote it"
            )

    def model(self, device: str) -> Model:
        """The model, with fresh parameters, and what was frozen."""
        with self._damaged():
            model = from_configuration(self.text["model"], str(self.path), device)
            trained = set(self.text["trained"])
            frozen = [name for name in model.trained if name not in trained]
        if frozen:
            model.freeze(*frozen)
        return model

    def optimizer(self, model: Model) -> optimizers.Optimizer:
        """The optimiser, which remembers nothing yet."""
        with self._damaged():
            fields = self.text["optimizer"]
            optimizer = optimizers.from_configuration(fields["class"], model, fields["arguments"])
            optimizer._batches, optimizer._waiting = fields["batches"], fields["waiting"]
        return optimizer

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """The trainer's options, of which some are given instead."""
        with self._damaged():
            return {
                name: self._rebuilt(name, value) if given.get(name) is None else given[name]
                for name, value in self.text["trainer"].items()
            }

    def fill(self, trainer: Trainer) -> None:
        """Fill the models, and make the optimiser remember what it did."""
        average = None if trainer.averaged is None else trainer.averaged._engine
        self._run.restore(trainer.model._engine, average, trainer.optimizer._engine)

    def _rebuilt(self, name: str, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if value["class"] not in KNOWN:
            raise CheckpointError(
                f"{self.path}: expected `{name}=`, since the run had one of your own, "
                f"{value['class']}; got none"
            )
        return KNOWN[value["class"]](**value["fields"])

    @contextmanager
    def _damaged(self) -> Iterator[None]:
        try:
            yield
        except CheckpointError:
            raise
        except (CnnzooError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise CheckpointError(
                f"{self.path}: expected the description of a run, got one that is damaged or of "
                f"another version of cnnzoo: {error!r}"
            ) from error


@contextmanager
def checkpoint_errors() -> Iterator[None]:
    """What a weights file of a run may fail with, as a failure of its checkpoint."""
    try:
        yield
    except WeightsFileError as error:
        raise CheckpointFileError(str(error)) from error
    except WeightsError as error:
        raise CheckpointError(str(error)) from error


def prepare(folder: Path) -> None:
    """Make a folder for checkpoints, and remove what a killed run did not finish writing there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in (LAST, BEST):
            for unfinished in folder.glob(f".{name}.*.tmp"):
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointFileError(f"{folder}: {error.strerror or error}") from error


def _described(value: Any) -> Any:
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    kind = type(value)
    known = KNOWN.get(kind.__name__) is kind
    name = kind.__name__ if known else f"{kind.__module__}.{kind.__qualname__}"
    return {"class": name, "fields": dataclasses.asdict(value) if known else {}}


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"expected plain values, got {type(value).__name__}")
