"""The part of a tracker's callback that all share: what it logs, and when."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnzoo._arguments import instance, whole
from cnnzoo._plots import need_matplotlib
from cnnzoo.errors import LogError
from cnnzoo.model import Model, StepResult, load
from cnnzoo.training import _figures, classes
from cnnzoo.training._checkpoint import BEST
from cnnzoo.training.callbacks import Callback
from cnnzoo.training.history import EpochRow
from cnnzoo.training.metrics import Metrics, evaluate

if TYPE_CHECKING:
    from cnnzoo.training.trainer import Trainer


class Tracker(Callback):
    """A callback that reports a run to a tracker, which a subclass knows.

    Args:
        every: Report loss, learning rate and gradient norm every so many batches.
        pictures: Report the learning curves and, at the end, the confusion matrix of the best
            model on the validation data, which is one more evaluation.
        best_model: Report the model file of the best epoch at the end.
    """

    _open_while_training = "_folder"

    def __init__(self, *, every: int, pictures: bool, best_model: bool) -> None:
        at = type(self).__name__
        self.every = whole(f"`every` of {at}", every, least=1)
        self.pictures = instance(f"`pictures` of {at}", pictures, bool, "True or False")
        self.best_model = instance(f"`best_model` of {at}", best_model, bool, "True or False")
        if pictures:
            need_matplotlib(f"the pictures of {at}")
        self._best: float | None = None
        # Of the model file of the best epoch, while training runs.
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    # For subclasses

    def errors(self) -> tuple[type[Exception], ...]:
        """The classes of the tracker's own errors."""
        raise NotImplementedError

    def begin(self, trainer: Trainer) -> None:
        """Open the tracker's run, and report the settings."""
        raise NotImplementedError

    def log(self, values: dict[str, float], step: int) -> None:
        """Report figures."""
        raise NotImplementedError

    def log_picture(self, figure: Any, name: str, step: int) -> None:
        """Report a figure of matplotlib."""
        raise NotImplementedError

    def log_model(self, file: Path, trainer: Trainer) -> None:
        """Report a model file."""
        raise NotImplementedError

    def finish(self, trainer: Trainer, *, whole_fit: bool) -> None:
        """Close the tracker's run; `whole_fit` unless training ended by an error or Ctrl-C."""
        raise NotImplementedError

    # Hooks

    def on_start(self, trainer: Trainer) -> None:
        """Open the tracker's run, and report the settings of this one."""
        self._best = trainer._state.best
        self._folder = tempfile.TemporaryDirectory(prefix="cnnzoo-")
        with self._explained():
            self.begin(trainer)

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Report loss, learning rate and gradient norm every `every` batches."""
        if trainer.step % self.every == 0:
            with self._explained():
                self.log(_figures.of_step(result), trainer.step)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Report the figures of the epoch, and keep the model if it is the best so far."""
        values = {"epoch": float(row.epoch), "images_per_second": row.images_per_second}
        with self._explained():
            self.log({**_figures.of_epoch(row), **values}, row.step)
        if trainer._state.best != self._best and self._folder is not None:
            self._best = trainer._state.best
            if self.best_model or self.pictures:
                (trainer.averaged or trainer.model).save(Path(self._folder.name, BEST))

    def on_end(self, trainer: Trainer) -> None:
        """Report pictures and the best model, and close the tracker's run."""
        folder, self._folder = self._folder, None
        if folder is None:
            return
        state = trainer._state
        whole_fit = state.stopped or state.epoch >= state.first + state.epochs
        with folder, self._explained():
            try:
                file = Path(folder.name, BEST)
                if self.pictures and trainer.history:
                    self._draw(trainer, file if whole_fit and file.exists() else None)
                if self.best_model and file.exists():
                    self.log_model(file, trainer)
            finally:
                self.finish(trainer, whole_fit=whole_fit)

    def _draw(self, trainer: Trainer, best: Path | None) -> None:
        """Report the curves, and the confusion matrix of the best model."""
        from matplotlib import pyplot

        axes = [trainer.history.plot()[0]]
        names = ["curves"]
        found = None if best is None else _evaluated(trainer, load(best))
        if found is not None:
            axes.append(found.plot_confusion())
            names.append("confusion")
        for name, ax in zip(names, axes, strict=True):
            self.log_picture(ax.figure, name, trainer.step)
            pyplot.close(ax.figure)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of the tracker and of files into `LogError`."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, (OSError, *self.errors())):
                raise
            raise LogError(f"{type(self).__name__}: {error}") from error


def _evaluated(trainer: Trainer, model: Model) -> Metrics | None:
    """The evaluation of a model on the fit's validation data; None where classes are none."""
    fit = trainer._fit
    if fit is None or fit.validation is None or fit.labels:
        return None
    precision = trainer._options["precision"]
    batches = classes.meet(model, fit.validation, "validation")
    found = evaluate(model, batches, loss=trainer.loss, precision=precision)
    return found if isinstance(found, Metrics) else None
