"""Run checkpoints: parameters, EMA parameters and optimiser state, and a JSON text of the rest."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cnnzoo import _json, _record
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
from cnnzoo.training import losses, schedules
from cnnzoo.training._run import Run
from cnnzoo.training.optimizers import Optimizer
from cnnzoo.training.optimizers.stored import from_configuration

T = TypeVar("T")
R = TypeVar("R", bound=Run)

# Version of the text's format.
FORMAT = 1

# The files in a run's folder: the last run checkpoint, and the model file of the best epoch.
LAST = "last.safetensors"
BEST = "best.safetensors"

# The classes that a run checkpoint may name. No other name from a file is ever looked up.
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
    """Write a run checkpoint atomically."""
    from cnnzoo import _training

    optimizer = trainer.optimizer
    waiting, accumulate = optimizer._engine.waiting()
    text = {
        "format": FORMAT,
        # Training changes the parameters that a quantization belongs to.
        "model": dataclasses.replace(trainer.model._configuration(), quantization=None).plain(),
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
    average = None if trainer.averaged is None else trainer.averaged._for_training()
    _training.save_run(
        os.fspath(path),
        trainer.model._for_training(),
        average,
        optimizer._engine,
        _json.exact(text),
    )


def config(trainer: Run) -> dict[str, Any]:
    """All settings of a trainer as plain values; numbers that are not finite become strings."""
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
    """The optimiser in the text of a run checkpoint.

    Attributes:
        class_: Name of its class.
        arguments: Arguments of its constructor.
        batches: Number of batches so far.
        waiting: Number of batches whose gradients are accumulated for the next update.
        accumulate: Batches per update; as in the trainer's options if 0.
    """

    class_: str
    arguments: dict[str, Any]
    batches: int
    waiting: int
    accumulate: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Described:
    """An object by class name and fields: a schedule or a loss."""

    class_: str
    fields: dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """The text of a run checkpoint, beside its arrays; the dicts are parsed by other modules."""

    format: int
    model: dict[str, Any]
    trained: tuple[str, ...]
    optimizer: OptimizerText
    trainer: dict[str, Any]
    state: dict[str, Any]
    history: tuple[dict[str, Any], ...]


class Saved:
    """An open and undamaged run checkpoint. It is data, not code: every value is checked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        from cnnzoo import _training

        self._run = _training.Run.open(os.fspath(path))
        with self.damaged():
            given = _record.decoded(self._run.text, "run")
            if isinstance(given, dict):
                check_format(given.get("format"), FORMAT, "run.format")
            self._text = _record.record(Text, given, "run")

    def state(self, kind: type[T]) -> T:
        """The state of the run."""
        with self.damaged():
            return _record.record(kind, self._text.state, "run.state")

    def history(self, kind: type[T]) -> list[T]:
        """The rows of the finished epochs."""
        with self.damaged():
            return [_record.record(kind, row, "run.history") for row in self._text.history]

    def model(self, device: str) -> Model:
        """The model, with fresh parameters, frozen as in the run."""
        with self.damaged():
            model = Model._described(Configuration.read(self._text.model, "run.model"))
            options = self._text.trainer
            self._run.expect(model._for_training(), options.get("ema") is not None)
        model._allocate(device, None)
        trained = set(self._text.trained)
        if frozen := [name for name in model.trained if name not in trained]:
            model.freeze(*frozen)
        return model

    def optimizer(self, model: Model) -> Optimizer:
        """The optimiser, with fresh state."""
        text = self._text.optimizer
        with self.damaged():
            optimizer = from_configuration(text.class_, model, text.arguments)
            optimizer._batches = text.batches
        return optimizer

    def trainer(self, kind: type[R], device: str, given: dict[str, Any]) -> R:
        """The trainer without its state and history; `given` options replace the stored ones."""
        model = self.model(device)
        optimizer = self.optimizer(model)
        with self.damaged():
            # Older run checkpoints, from before the EMA had a warm-up, continue without one.
            options = {"ema_warmup": False, **self._text.trainer}
            objects: dict[str, Any] = {"model": model, "optimizer": optimizer}
            for name, value in given.items():
                objects[name] = self._chosen(name, options.pop(name, None), value)
            options = _record.arguments(kind, options, "run.trainer", beside=objects)
            trainer = kind(**options)
        average = None if trainer.averaged is None else trainer.averaged._for_training()
        told = self._text.optimizer
        # Older run checkpoints lack `accumulate` here.
        waiting = (told.waiting, told.accumulate or trainer._options["accumulate"])
        self._run.restore(trainer.model._for_training(), average, optimizer._engine, waiting)
        return trainer

    def _chosen(self, name: str, text: Any, given: Any) -> Any:
        """The run's object of a known class, or the given one in place of a custom class."""
        if given is None:
            return self._rebuilt(name, text)
        described = _record.record(Described, text, f"run.trainer.{name}")
        if described.class_ in KNOWN and (own := self._rebuilt(name, text)) != given:
            raise CheckpointError(
                f"{self.path}: expected `{name}` as the run had it, {own!r}, got {given!r}; leave "
                "it away, or load the weights and start another run"
            )
        return given

    def _rebuilt(self, name: str, given: Any) -> Any:
        value = _record.record(Described, given, f"run.trainer.{name}")
        if value.class_ not in KNOWN:
            raise CheckpointError(
                f"{self.path}: expected `{name}=`, since the run had a custom one, "
                f"{value.class_}; got none"
            )
        return _record.record(KNOWN[value.class_], value.fields, f"run.trainer.{name}")

    @contextmanager
    def damaged(self) -> Iterator[None]:
        """Turn errors of damaged or unknown content into `CheckpointError`."""
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
    """Turn errors of a run's weights file into errors of its run checkpoint."""
    try:
        yield
    except WeightsFileError as error:
        raise CheckpointFileError(str(error)) from error
    except WeightsError as error:
        raise CheckpointError(str(error)) from error


def prepare(folder: Path) -> None:
    """Make the folder of a run, and remove the unfinished files of a killed run there."""
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
    # The short path, as in older run checkpoints.
    module = kind.__module__.replace("cnnzoo.training.", "cnnzoo.")
    name = kind.__name__ if known else f"{module}.{kind.__qualname__}"
    return {"class": name, "fields": dataclasses.asdict(value) if known else {}}
