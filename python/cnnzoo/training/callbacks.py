"""Callbacks of training: at its start and end, after each batch and each epoch."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from cnnzoo import _json
from cnnzoo._arguments import instance, kind_of, number, path_of, whole
from cnnzoo._files import open_regular, write_whole
from cnnzoo._package import NAME
from cnnzoo._text import one_line
from cnnzoo.errors import ArgumentError, CopyError, LogError, MissingPackageError
from cnnzoo.model import StepResult
from cnnzoo.training import _figures
from cnnzoo.training._processes import Processes, alone, called
from cnnzoo.training.history import EpochRow, better, monitored

if TYPE_CHECKING:
    from cnnzoo.training.trainer import Trainer


class Callback:
    """Base class of callbacks: override the methods that you need; they do nothing here.

    `trainer.history` has the rows so far, `trainer.step` the number of batches trained on, and
    `trainer.stop()` ends training after the current epoch.

    Run checkpoints do not include callbacks: give a resumed run the same ones, and derive their
    state from the history instead of storing it. A fit refuses a callback with other methods whose
    names begin with `on_`, since nothing would call them.

    Attributes:
        first_only: Whether only the first process of a distributed run calls it, as one that
            writes to a file. What all processes do together, such as `trainer.evaluate`, is an
            error in it, since the others would not take part; and in other callbacks, where some
            processes do it and others do not.
    """

    first_only: bool = False

    def on_start(self, trainer: Trainer) -> None:
        """Called when training begins, or continues after `Trainer.resume`."""

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Called after each batch."""

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Called after each epoch and its evaluation, before its run checkpoint is written."""

    def on_end(self, trainer: Trainer) -> None:
        """Called when training ends, also by an error or Ctrl-C."""

    # The attribute with the file that is open while training runs, which cannot be pickled.
    _open_while_training: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The state for copying and pickling.

        Raises:
            CopyError: Training is running, and the callback has a file open.
        """
        name = self._open_while_training
        if name is not None and vars(self).get(name) is not None:
            raise CopyError(
                f"{type(self).__name__}: expected training to be over, got a file that is open for "
                "it, which cannot be copied or pickled"
            )
        return dict(vars(self))


# The methods that are called. Others named `on_...` are slips, or of another library.
HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


class Callbacks(Callback):
    """Several callbacks as one.

    Args:
        several: The callbacks, called in this order.
        processes: The processes of a distributed run, which all call those that are not
            `first_only`.

    Raises:
        ArgumentError: One is not a callback, or has a method `on_...` that nothing would call.
    """

    def __init__(self, several: Sequence[Callback], *, processes: Processes | None = None) -> None:
        self._processes = processes
        # The hooks after which the processes meet, as a callback of one of them has them.
        self._meeting: frozenset[str] = frozenset()
        self._failed = ""
        expected = "`callbacks`: expected a list of cnnzoo.callbacks.Callback"
        if not isinstance(several, list | tuple):
            raise ArgumentError(f"{expected}, got {kind_of(several)}")
        self.several = tuple(
            instance(f"`callbacks[{index}]`", one, Callback, "a cnnzoo.callbacks.Callback")
            for index, one in enumerate(several)
        )
        for index, one in enumerate(self.several):
            for name in dir(one):
                if name.startswith("on_") and name not in HOOKS:
                    raise ArgumentError(
                        f"`callbacks[{index}]`: expected one of the hooks "
                        f"{', '.join(HOOKS)}, got {name} of {type(one).__name__}"
                    )

    def agree(self) -> None:
        """Agree with the other processes on the hooks after which they meet.

        There they find out that one of them evaluates and others do not, who would wait for ever.
        """
        if self._processes is not None and self._processes.count > 1:
            own = [name for one in self.several if not one.first_only for name in _hooks(one)]
            self._meeting = frozenset().union(*self._processes.every(own))

    def end_early(self, error: BaseException | None) -> None:
        """Meet no more, after an error or Ctrl-C (None), which the others may not know of yet."""
        self._meeting = frozenset()
        if error is not None:
            self._failed = f"{type(error).__name__}: {one_line(str(error))}"

    def on_start(self, trainer: Trainer) -> None:
        """Call each callback's `on_start`."""
        self._each("on_start", trainer)

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Call each callback's `on_step`."""
        self._each("on_step", trainer, result)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Call each callback's `on_epoch`."""
        self._each("on_epoch", trainer, row)

    def on_end(self, trainer: Trainer) -> None:
        """Call each callback's `on_end`, even if an earlier one raises; its error is raised."""
        with ExitStack() as stack:
            for one in reversed(self.several):
                stack.callback(self._call, one, "on_end", trainer)
        self._meet("on_end")

    def _each(self, hook: str, *given: Any) -> None:
        for one in self.several:
            self._call(one, hook, *given)
        self._meet(hook)

    def _meet(self, hook: str) -> None:
        if self._processes is not None and hook in self._meeting:
            self._processes.meet()

    def _call(self, one: Callback, hook: str, *given: Any) -> None:
        with self._rules(one, hook):
            getattr(one, hook)(*given)

    def _rules(self, one: Callback, hook: str) -> AbstractContextManager[None]:
        """The rules for exchanges with the other processes while a callback runs."""
        name = type(one).__name__
        if self._processes is None or self._processes.count == 1:
            return nullcontext()
        if one.first_only:
            return alone(name, "the first one calls it alone (`first_only`)")
        if self._failed:
            return alone(name, f"this one has failed with {self._failed}")
        if hook in self._meeting:
            return called(f"{name}.{hook}", self._processes)
        return nullcontext()


def _hooks(one: Callback) -> list[str]:
    """The hooks that a callback has of its own."""
    return [
        name
        for name in HOOKS
        if name in vars(one) or getattr(type(one), name) is not getattr(Callback, name)
    ]


class EarlyStopping(Callback):
    """Ends training when a monitored metric stops improving.

    Args:
        monitor: A column of the history: a `loss`, where smaller is better, or another, where
            larger is better.
        patience: Number of epochs without a new best after which training ends. A value that is not
            finite is never a new best.
        min_delta: The least improvement that counts as a new best.
    """

    def __init__(
        self, *, monitor: str = "val_top1", patience: int = 5, min_delta: float = 0.0
    ) -> None:
        better(monitor)
        self.monitor = monitor
        self.patience = whole("`patience`", patience, least=1)
        self.min_delta = number("`min_delta`", min_delta)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Stop if the best epoch is `patience` epochs ago."""
        sign = better(self.monitor)
        best, since = -float("inf"), 0
        for past in trainer.history[trainer.first_epoch :]:
            value = monitored(past, self.monitor) * sign
            if math.isfinite(value) and value > best + self.min_delta:
                best, since = value, 0
            else:
                since += 1
        if since >= self.patience:
            trainer.stop()


class JsonLines(Callback):
    """Logs to JSON Lines: a line for each epoch, and for some batches; not finite is null.

    Each line has the `step` at which it was written. A resumed run continues the same file, without
    the lines after its run checkpoint; a new run replaces the file.

    Args:
        file: Path of the log.
        every: Write a line every so many batches too. None: only for epochs.
    """

    first_only = True
    _open_while_training = "_out"

    def __init__(self, file: str | os.PathLike[str], *, every: int | None = None) -> None:
        self.path = path_of("`file`", file)
        self.every = None if every is None else whole("`every` of JsonLines", every, least=1)
        self._out: IO[str] | None = None

    def on_start(self, trainer: Trainer) -> None:
        """Open the file, keeping the lines of a resumed run."""
        with _of_log(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            kept = _kept(self.path, trainer) if trainer.step and self.path.exists() else ""
            # A run that is killed here loses nothing.
            write_whole(self.path, kept.encode())
            self._out = self.path.open("a", encoding="utf-8")

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Write a line every `every` batches."""
        if self.every is not None and trainer.step % self.every == 0:
            self._write({"step": trainer.step, **dataclasses.asdict(result)})

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Write the line of an epoch."""
        self._write(dataclasses.asdict(row))

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        out, self._out = self._out, None
        if out is not None:
            with _of_log(self.path):
                out.close()

    def _write(self, values: dict[str, Any]) -> None:
        if self._out is not None:
            with _of_log(self.path):
                self._out.write(_json.line(values) + "\n")
                self._out.flush()


class TensorBoard(Callback):
    """Logs scalars for TensorBoard: losses, accuracies and learning rates.

    Args:
        folder: Log directory.
        every: Write loss, learning rate and gradient norm every so many batches.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """

    first_only = True
    _open_while_training = "_writer"

    def __init__(self, folder: str | os.PathLike[str], *, every: int = 50) -> None:
        self.folder = path_of("`folder`", folder)
        self.every = whole("`every` of TensorBoard", every, least=1)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingPackageError(
                f"logging for TensorBoard needs it: pip install '{NAME}[tensorboard]'"
            ) from error
        self._open = SummaryWriter
        self._writer: Any = None

    def on_start(self, trainer: Trainer) -> None:
        """Open a file; scalars after the run checkpoint of a resumed run are purged."""
        with _of_log(self.folder):
            self._writer = self._open(str(self.folder), purge_step=trainer.step + 1)

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Write loss, learning rate and gradient norm every `every` batches."""
        if trainer.step % self.every == 0:
            self._add(_figures.of_step(result), trainer.step)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Write the values of the epoch's row."""
        self._add(_figures.of_epoch(row), row.step)
        with _of_log(self.folder):
            self._writer.flush()

    def on_end(self, trainer: Trainer) -> None:
        """Close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with _of_log(self.folder):
                writer.close()

    def _add(self, values: dict[str, float], step: int) -> None:
        with _of_log(self.folder):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)


@contextmanager
def _of_log(path: Path) -> Iterator[None]:
    """Turn errors of files into `LogError` with the log's path, which a full disk does not name."""
    try:
        yield
    except OSError as error:
        raise LogError(f"{path}: {error.strerror or error}") from error


def _kept(path: Path, trainer: Trainer) -> str:
    """The lines of a log up to the run's present step; incomplete or other lines are left out."""
    step, epochs = trainer.step, len(trainer.history)
    with open_regular(path) as file:
        lines = file.read().split(b"\n")
    return "".join(f"{line.decode()}\n" for line in lines if _is_before(line, step, epochs))


def _is_before(line: bytes, step: int, epochs: int) -> bool:
    try:
        values = json.loads(line.decode())
    except (ValueError, RecursionError):  # not UTF-8, not JSON, or nested too deep for Python
        return False
    if not isinstance(values, dict):
        return False
    # An epoch's row is written before the epoch's run checkpoint, but after that of its last batch.
    at, epoch = values.get("step"), values.get("epoch", 0)
    return type(at) is int and type(epoch) is int and at <= step and epoch <= epochs
