"""A run as a file: its models and what its optimiser remembers, and a text that says the rest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cnnzoo import _json, _native, _record
from cnnzoo._configuration import Configuration, check_format
from cnnzoo._record import Misfit
from cnnzoo.errors import (
    CheckpointError,
    CheckpointFileError,
    CnnzooError,
    DeviceError,
    WeightsError,
    WeightsFileError,
)
from cnnzoo.model import Model
from cnnzoo.training import losses, optimizers, schedules
from cnnzoo.training._run import Run

T = TypeVar("T")
R = TypeVar("R", bound=Run)

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


def save(trainer: Run, path: Path) -> None:
    """Write everything that the trainer goes on from, whole or not at all."""
    optimizer = trainer.optimizer
    waiting, accumulate = optimizer._engine.waiting()
    text = {
        "format": FORMAT,
        "model": trainer.model._configuration().plain(),
        "trained": trainer.model.trained,
        "optimizer": {
            "class": type(optimizer).__name__,
            "arguments": optimizer._configuration(),
            "batches": optimizer._batches,
            "waiting": waiting,
            "accumulate": accumulate,
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
        _json.exact(text),
    )


def config(trainer: Run) -> dict[str, Any]:
    """All settings of a trainer as plain values; numbers that are not finite are their names."""
    optimizer = trainer.optimizer
    model = {name: getattr(trainer.model, name) for name in ("name", "source", "num_classes")}
    options: dict[str, Any] = trainer.model.options
    settings: dict[str, Any] = json.loads(
        _json.exact(
            {
                "model": {**model, "options": options},
                "optimizer": {"class": type(optimizer).__name__, **optimizer._configuration()},
                **{name: _described(value) for name, value in trainer._options.items()},
            }
        )
    )
    return settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerText:
    """What a checkpoint says of the optimiser.

    Attributes:
        class_: Its name.
        arguments: How it was built.
        batches: How many it saw.
        waiting: Of these the ones whose gradients wait for an update.
        accumulate: How many make one; as the trainer says, if 0.
    """

    class_: str
    arguments: dict[str, Any]
    batches: int
    waiting: int
    accumulate: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """A value of a class: a schedule, a loss."""

    class_: str
    fields: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """All that a checkpoint says beside its arrays; what is of other modules is read by these."""

    format: int
    model: dict[str, Any]
    trained: tuple[str, ...]
    optimizer: OptimizerText
    trainer: dict[str, Any]
    state: dict[str, Any]
    history: tuple[dict[str, Any], ...]


class Saved:
    """A checkpoint that was opened and found whole. It is data: every value of it is checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._run = _native.Run.open(os.fspath(path))
        with self.damaged():
            given = _record.decoded(self._run.text, "run")
            if isinstance(given, dict):
                check_format(given.get("format"), FORMAT, "run.format")
            self._text = _record.record(Text, given, "run")

    def state(self, kind: type[T]) -> T:
        """Where the run stands."""
        with self.damaged():
            return _record.record(kind, self._text.state, "run.state")

    def history(self, kind: type[T]) -> list[T]:
        """The epochs that are over."""
        with self.damaged():
            return [_record.record(kind, row, "run.history") for row in self._text.history]

    def model(self, device: str) -> Model:
        """The model, with fresh parameters, and what was frozen."""
        with self.damaged():
            model = Model._described(Configuration.read(self._text.model, "run.model"))
            options = self._text.trainer
            self._run.expect(model._engine, options.get("ema") is not None)
        model._engine.allocate(device, 0)
        trained = set(self._text.trained)
        if frozen := [name for name in model.trained if name not in trained]:
            model.freeze(*frozen)
        return model

    def optimizer(self, model: Model) -> optimizers.Optimizer:
        """The optimiser, which remembers nothing yet."""
        text = self._text.optimizer
        with self.damaged():
            optimizer = optimizers.from_configuration(text.class_, model, text.arguments)
            optimizer._batches = text.batches
        return optimizer

    def trainer(self, kind: type[R], device: str, given: dict[str, Any]) -> R:
        """The trainer without its state and history; some options are given instead."""
        model = self.model(device)
        optimizer = self.optimizer(model)
        with self.damaged():
            # Averages from before they had a warm-up go on without one.
            options = {"ema_warmup": False, **self._text.trainer}
            objects: dict[str, Any] = {"model": model, "optimizer": optimizer}
            for name, value in given.items():
                objects[name] = self._chosen(name, options.pop(name, None), value)
            options = _record.arguments(kind, options, "run.trainer", beside=objects)
            trainer = kind(**options)
        average = None if trainer.averaged is None else trainer.averaged._engine
        told = self._text.optimizer
        # Checkpoints from before did not say it.
        waiting = (told.waiting, told.accumulate or trainer._options["accumulate"])
        self._run.restore(trainer.model._engine, average, optimizer._engine, waiting)
        return trainer

    def _chosen(self, name: str, text: Any, given: Any) -> Any:
        """The run's own, or what is given for one of the user's own."""
        if given is None:
            return self._rebuilt(name, text)
        described = _record.record(Described, text, f"run.trainer.{name}")
        if described.class_ in KNOWN and (own := self._rebuilt(name, text)) != given:
            raise CheckpointError(
                f"{self.path}: expected `{name}` as the run had it, {own!r}, got {given!r}; leave "
                "it away, or load the weights and begin another run"
            )
        return given

    def _rebuilt(self, name: str, given: Any) -> Any:
        value = _record.record(Described, given, f"run.trainer.{name}")
        if value.class_ not in KNOWN:
            raise CheckpointError(
                f"{self.path}: expected `{name}=`, since the run had one of your own, "
                f"{value.class_}; got none"
            )
        return _record.record(KNOWN[value.class_], value.fields, f"run.trainer.{name}")

    @contextmanager
    def damaged(self) -> Iterator[None]:
        """What does not fit, as an error of the checkpoint."""
        try:
            yield
        except (CheckpointError, DeviceError):
            raise
        except (Misfit, CnnzooError) as error:
            raise CheckpointError(
                f"{self.path}: expected the description of a run, got one that is damaged or of "
                f"another version of cnnzoo: {error}"
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
    # By the short path, as in checkpoints from before.
    module = kind.__module__.replace("cnnzoo.training.", "cnnzoo.")
    name = kind.__name__ if known else f"{module}.{kind.__qualname__}"
    return {"class": name, "fields": dataclasses.asdict(value) if known else {}}
