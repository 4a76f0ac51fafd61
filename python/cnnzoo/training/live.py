"""Learning curves that are drawn while training runs, in a notebook or a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from cnnzoo._arguments import number
from cnnzoo.model import StepResult
from cnnzoo.training._screens import Curves, Screen, Trace, new_screen
from cnnzoo.training.callbacks import Callback
from cnnzoo.training.history import EpochRow

if TYPE_CHECKING:
    from cnnzoo.training.trainer import Trainer

# Drawing takes at most this share of the time.
SHARE = 0.05


class LiveCurves(Callback):
    """Draws the learning curves while training runs.

    Losses and accuracies of each epoch, and the loss of each batch so far, as `History.plot` draws
    them: in a notebook a picture that is replaced by the next one, in a terminal a chart of text
    above the progress bar. Elsewhere, as in a log file, nothing is drawn. A resumed run begins with
    the curves of its history.

        trainer.fit(train, validation, epochs=20, callbacks=[cz.callbacks.LiveCurves()])

    Args:
        every: Seconds between two drawings, at least; where drawing is slow, more, so that it takes
            no more than a twentieth of the time. The end is always drawn.

    Raises:
        ArgumentError: `every` is no number of at least 0.
        MissingPackageError: At the beginning of training: it runs in a notebook, and matplotlib is
            not installed.
    """

    first_only = True
    _open_while_training = "_screen"

    def __init__(self, *, every: float = 1.0) -> None:
        self.every = number("`every` of LiveCurves", every, least=0)
        self._screen: Screen | None = None
        self._trace = Trace()
        self._due = 0.0
        # The number of epochs in the last drawing.
        self._drawn = 0

    def on_start(self, trainer: Trainer) -> None:
        """Find out where to draw, and draw what the history has."""
        self._trace, self._due, self._drawn = Trace(), 0.0, 0
        fit = trainer._fit
        self._screen = None if fit is None else new_screen(fit.bar)
        if self._screen is not None:
            self._draw(trainer, self._screen)

    def on_step(self, trainer: Trainer, result: StepResult) -> None:
        """Draw the loss of a batch, if it is time to."""
        state, fit = trainer._state, trainer._fit
        if self._screen is None or fit is None:
            return
        self._trace.add(state.epoch + state.batch / max(len(fit.train), state.batch), result.loss)
        if time.monotonic() >= self._due or not self._screen.shown:
            self._draw(trainer, self._screen)

    def on_epoch(self, trainer: Trainer, row: EpochRow) -> None:
        """Draw the epoch."""
        if self._screen is None:
            return
        # Its line of the progress bar stays, and the chart comes below it.
        self._screen.make_way()
        if self._screen.shown and time.monotonic() >= self._due:
            self._draw(trainer, self._screen)

    def on_end(self, trainer: Trainer) -> None:
        """Draw the last curves."""
        screen, self._screen = self._screen, None
        if screen is not None and (not screen.shown or self._drawn != len(trainer.history)):
            self._draw(trainer, screen)

    def _draw(self, trainer: Trainer, screen: Screen) -> None:
        began, state = time.monotonic(), trainer._state
        last = max(state.first + state.epochs, 1)
        screen.draw(Curves(trainer.history, self._trace, last=last))
        now = time.monotonic()
        self._due, self._drawn = now + max(self.every, (now - began) / SHARE), len(trainer.history)
