"""The learning-rate search of a run, on a copy of its model and optimiser."""

from __future__ import annotations

import copy
import math
import warnings
from collections import deque
from collections.abc import Iterator

import numpy as np

from cnnzoo._arguments import instance, number, whole
from cnnzoo.data import Loader
from cnnzoo.errors import ArgumentError, Notice
from cnnzoo.training import _batches, _generators, classes
from cnnzoo.training._batches import Batch, Batches
from cnnzoo.training._progress import Bar
from cnnzoo.training._run import Run
from cnnzoo.training.optimizers import Optimizer
from cnnzoo.training.search import End, LearningRateSearch, search_of

MOST_STEPS = 10_000
# The number of losses whose mean is compared with the lowest such mean.
COMPARED = 5


class Searching(Run):
    """A run with a learning-rate search."""

    @_generators.kept()
    def find_lr(
        self,
        train: Batches,
        *,
        lowest: float = 1e-6,
        highest: float = 10.0,
        steps: int = 100,
        stop_at: float | None = 4.0,
        progress: bool = True,
    ) -> LearningRateSearch:
        """Search for a learning rate: train while it rises from update to update.

        The learning-rate range test of Smith, arXiv:1506.01186, on a logarithmic scale. It trains a
        copy of the model with a copy of the optimiser, on the batches, with the mixing and with the
        random draws with which `fit` would begin. So the model, its batch-norm statistics, the
        optimiser, the EMA, the loader and the counters stay bit for bit as they are, whatever
        happens meanwhile, and so do the generators of Python's `random`, of `numpy.random` and of
        PyTorch, from which a loss of one's own may draw: a later `fit` is the same as without. It
        needs the memory of the second model.

        Args:
            train: A loader, or a sequence of batches, as for `fit`; it is repeated where it has
                fewer batches than the search needs.
            lowest: The first learning rate.
            highest: The last learning rate.
            steps: Number of learning rates, each for one update; with gradient accumulation an
                update takes several batches.
            stop_at: The search ends where the mean of five losses is this many times the lowest
                such mean. None: only where the loss or the gradients are infinite or NaN.
            progress: Show a progress bar.

        Returns:
            The losses by learning rate, and a `suggestion`; `plot` draws them.

        Raises:
            ArgumentError: An option is invalid, a fit is running, or the data have no batch or
                classes that the model does not have.
            KeyboardInterrupt: Ctrl-C; everything is as it was before.
        """
        lowest = number("`lowest`", lowest, above=0)
        highest = number("`highest`", highest, above=lowest)
        steps = whole("`steps`", steps, least=2, most=MOST_STEPS)
        if stop_at is not None:
            stop_at = number("`stop_at`", stop_at, above=1)
        instance("`progress`", progress, bool, "True or False")
        if self._fit is not None:
            raise ArgumentError(f"{self!r}: expected no fit that runs, got one")
        _batches.check("training", train)
        bar = Bar(shown=progress)
        bar.begin("learning rates", batches=steps, done=0)
        rates, losses = np.geomspace(lowest, highest, steps).tolist(), list[float]()
        ended_by: End = "highest"
        recent, least = deque[float](maxlen=COMPARED), math.inf
        try:
            for loss in self._losses(train, rates):
                if not math.isfinite(loss):
                    ended_by = "divergence"
                    break
                losses.append(loss)
                recent.append(loss)
                mean = math.fsum(recent) / len(recent)
                if len(recent) == COMPARED:
                    least = min(least, mean)
                bar.advance(f"lr {rates[len(losses) - 1]:.2g}, loss {loss:.4f}")
                if stop_at is not None and mean > stop_at * least:
                    ended_by = "loss"
                    break
        finally:
            bar.end(None)
        return search_of(rates[: len(losses)], losses, steps=steps, ended_by=ended_by)

    def _losses(self, train: Batches, rates: list[float]) -> Iterator[float]:
        """The mean loss of each update of a copy; NaN where its gradients are not finite."""
        options, step = self._options, self._state.step
        optimizer: Optimizer = copy.deepcopy(self.optimizer)
        optimizer._engine.drop_waiting()
        model = optimizer.model
        with warnings.catch_warnings():
            # They tell of new labels, which only the copy gets.
            warnings.simplefilter("ignore", Notice)
            targets = classes.settle(model, None, train)
        batches = _endless(
            copy.copy(train) if isinstance(train, Loader) else train, self._state.epoch
        )
        for optimizer.lr in rates:
            total, weight, norm = 0.0, 0.0, 0.0
            for _ in range(options["accumulate"]):
                epoch, batch, (x, y) = next(batches)
                x, y = self._mixed(x, targets(y), epoch=epoch, batch=batch)
                result = model.train_step(
                    x,
                    y,
                    optimizer,
                    loss=self.loss,
                    accumulate=options["accumulate"],
                    clip_norm=options["clip_norm"],
                    clip_value=options["clip_value"],
                    precision=options["precision"],
                    seed=self._seed(step),
                )
                step += 1
                total, weight = total + result.loss * result.weight, weight + result.weight
                norm = result.grad_norm or 0.0
            # Infinite gradients can be clipped by value.
            lost = math.isnan(norm) or (math.isinf(norm) and options["clip_value"] is None)
            yield math.nan if lost else total / weight if weight else 0.0


def _endless(train: Batches, epoch: int) -> Iterator[tuple[int, int, Batch]]:
    """Batches of one epoch after the other, with the epoch and the number of batches before."""
    while True:
        before = 0
        for batch, pair in _batches.of_epoch(train, epoch, 0):
            yield epoch, before, pair
            before = batch
        if not before:
            raise ArgumentError("training: expected at least one batch, got none")
        epoch += 1
