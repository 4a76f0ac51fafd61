"""Training steps: learning rate, mixing, update, and the EMA after it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from cnnzoo.errors import ProcessError
from cnnzoo.model import StepResult
from cnnzoo.training._agreement import agree
from cnnzoo.training._fit import Fit
from cnnzoo.training._processes import Processes
from cnnzoo.training._run import Run
from cnnzoo.training._shares import Rows

# The power in the warm-up of the EMA decay, as in timm.
WARMUP_POWER = -2 / 3


class Stepping(Run):
    """A run with training steps."""

    def _step(
        self, fit: Fit, x: NDArray[Any], y: NDArray[Any], batch: int, *, counts: bool = True
    ) -> StepResult:
        """Take a step; `counts` says whether this process has images of the batch at all."""
        state, options, batches = self._state, self._options, len(fit.train)
        at = state.epoch - state.first + state.batch / batches
        self.optimizer.lr = self.schedule.lr(state.lr, at, state.epochs, steps=batches)
        x, y = self._mixed(x, y, epoch=state.epoch, batch=state.batch)
        # The number of remaining batches, with this one; a sequence may have more than its length.
        left = max(batches - batch, 0) + 1
        fit.seen = x
        processes = self._processes
        with _failing(processes):
            result = self.optimizer._train_step(
                self.model,
                x,
                y,
                loss=self.loss,
                accumulate=min(options["accumulate"], self.optimizer._waiting + left),
                clip_norm=options["clip_norm"],
                clip_value=options["clip_value"],
                precision=options["precision"],
                seed=self._seed(state.step),
                among=None if processes is None else (processes.sum, processes.norms, counts),
            )
        if processes is not None:
            result = self._together(processes, fit, result, counts=counts)
        if not math.isfinite(result.loss):
            raise self._diverged(f"batch {state.step + 1}", "a finite loss", result.loss)
        self._follow(result.grad_norm, state.step + 1)
        return result

    def _together(
        self, processes: Processes, fit: Fit, own: StepResult, *, counts: bool
    ) -> StepResult:
        """The result of all processes, which also agree on whether Ctrl-C was pressed."""
        weight = own.weight if counts else 0.0
        numbers = (own.loss * weight, weight, own.correct, own.count) if counts else (0.0,) * 4
        pressed = float(fit.interrupts is not None and fit.interrupts.pressed)
        size = fit.own_train.size if isinstance(fit.own_train, Rows) else 0
        loss, weight, correct, count, stop, sizes, squares = processes.numbers(
            [*numbers, pressed, size, size**2]
        )
        # By Cauchy and Schwarz, the sizes are equal where this is zero, and nowhere else.
        if processes.count * squares != sizes**2:
            agree(processes, {f"images in batch {self._state.batch + 1}": size})
        if stop and fit.interrupts is not None:
            fit.interrupts.pressed = True
        mean = loss / weight if weight > 0 else 0.0
        return replace(own, loss=mean, weight=weight, correct=int(correct), count=int(count))

    def _follow(self, grad_norm: float | None, batch: int) -> None:
        """Check the gradient norm of an update, and update the EMA; no norm means no update."""
        if grad_norm is None:
            return
        # Infinite gradients can be clipped by value, but not by norm.
        cut = self._options["clip_value"] is not None and not math.isnan(grad_norm)
        if not (math.isfinite(grad_norm) or cut):
            raise self._diverged(f"batch {batch}", "gradients of a finite norm", grad_norm)
        if self.averaged is not None:
            average = self.averaged._for_training()
            average.average_from(self.model._for_training(), self._decay(), True)
            self._state.updates += 1

    def _decay(self) -> float:
        """The decay of the EMA at the next update."""
        decay: float = self._options["ema"]
        if self._options["ema_warmup"]:
            decay = min(decay, 1 - (1 + self._state.updates) ** WARMUP_POWER)
        return decay


@contextmanager
def _failing(processes: Processes | None) -> Iterator[None]:
    """Let a failed exchange be a `ProcessError` also where autograd, in C++, made another of it."""
    try:
        yield
    except ProcessError:
        raise
    except Exception as error:
        if processes is None or processes.failure is None:
            raise
        raise ProcessError(processes.failure) from error
