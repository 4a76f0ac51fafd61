"""Evaluation of a run's model: before the first batch, after each epoch, and on request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from cnnzoo.data import Loader
from cnnzoo.errors import ArgumentError
from cnnzoo.training import _batches, classes
from cnnzoo.training._agreement import agree_on_data
from cnnzoo.training._batches import Batches
from cnnzoo.training._checkpoint import BEST, checkpoint_errors
from cnnzoo.training._fit import Fit
from cnnzoo.training._processes import together
from cnnzoo.training._progress import Bar, Interrupted, Interrupts
from cnnzoo.training._run import Run
from cnnzoo.training._shares import share_of
from cnnzoo.training.history import OWN, EpochRow, better, monitored
from cnnzoo.training.losses import Metric
from cnnzoo.training.metrics import Metrics, evaluated
from cnnzoo.training.multilabel import MultiLabelMetrics, share


class Evaluating(Run):
    """A run with evaluation."""

    def evaluate(
        self,
        validation: Batches,
        *,
        metrics: Mapping[str, Metric] | None = None,
        progress: bool = False,
    ) -> Metrics | MultiLabelMetrics:
        """Evaluate the EMA model (`averaged`) if there is one, else the model.

        Args:
            validation: A loader, or a sequence of batches of images and targets, as for `fit`.
            metrics: Functions of logits and targets, as for `cnnzoo.metrics.evaluate`.
            progress: Show a progress bar.
        """
        _batches.check("evaluation", validation)
        bar = Bar(shown=progress)
        with together(self._processes) as stack:
            if self._processes is not None:
                agree_on_data(self._processes, "evaluation", validation)
            stack.callback(bar.end, None)
            if progress:
                bar.begin("evaluation", batches=len(validation), done=0)
            return self._evaluate(validation, metrics, lambda _: bar.advance(""))

    def _evaluate(
        self,
        validation: Batches,
        metrics: Mapping[str, Metric] | None,
        after: Any,
        *,
        most: int | None = None,
        own: bool = False,
    ) -> Metrics | MultiLabelMetrics:
        processes = self._processes
        if processes is not None:
            validation = share_of("validation", validation, processes)
        if isinstance(validation, Loader):
            # Every evaluation sees the loader's first epoch.
            validation.set_epoch(0)
        batches = classes.meet(self.model, validation, "validation")
        return evaluated(
            self.model if own else self.averaged or self.model,
            islice(batches, most),
            loss=self.loss,
            metrics=metrics,
            after=after,
            precision=self._options["precision"],
            gather=None if processes is None else processes.every,
            has_task=most is None,
        )

    def _begin(self, fit: Fit, monitor: str | None) -> str:
        """Evaluate the first validation batch, before training starts.

        Returns:
            The column that decides which epoch is the best.

        Raises:
            ArgumentError: The validation data cannot be evaluated, or give no such column.
        """
        columns: dict[str, Any] = {"train_loss": 0.0, "train_top1": 0.0}
        usual = "train_loss"
        if fit.validation is not None:
            try:
                with Interrupts() as interrupts:
                    first = self._evaluate(
                        fit.validation, None, lambda _: interrupts.check(), most=1
                    )
            except Interrupted:
                raise KeyboardInterrupt("interrupted before the first batch") from None
            columns |= _columns(first)
            labels = isinstance(first, MultiLabelMetrics)
            usual = "val_map" if labels else "val_top1"
            self._set_task(fit, labels=labels)
        monitor = monitor or usual
        better(monitor)
        if fit.validation is None and monitor.startswith("val"):
            raise ArgumentError(f"`monitor`: expected validation data for {monitor}, got none")
        if columns.get(monitor) is None:
            has = ", ".join(name for name in columns if columns[name] is not None)
            raise ArgumentError(
                f"`monitor`: expected a column that this run has, {has}, got {monitor}"
            )
        return monitor

    def _set_task(self, fit: Fit, *, labels: bool) -> None:
        fit.labels = labels
        for model in filter(None, (self.model, self.averaged)):
            model.task = "multi_label" if labels else "multi_class"

    def _row(self, fit: Fit) -> EpochRow:
        state = self._state
        found: dict[str, Any] = {}
        if fit.validation is not None:
            fit.bar.note("evaluating")
            found = _columns(self._evaluate(fit.validation, fit.metrics, lambda _: fit.check()))
            if self.averaged is not None:
                own = self._evaluate(fit.validation, None, lambda _: fit.check(), own=True)
                columns = _columns(own).items()
                found |= {f"own_{name}": value for name, value in columns if name in OWN}
        return EpochRow(
            epoch=state.epoch + 1,
            step=state.step,
            lr=self.optimizer.lr,
            train_loss=share(state.loss, state.weight),
            train_top1=None if fit.labels else state.correct / state.count,
            seconds=state.seconds,
            images_per_second=state.count / max(state.seconds, 1e-9),
            **found,
        )

    def _note_best(self, fit: Fit, row: EpochRow) -> None:
        state = self._state
        value = monitored(row, state.monitor)
        if not math.isfinite(value):
            return
        if state.best is None or value * better(state.monitor) > state.best * better(state.monitor):
            state.best = value
            if fit.folder is not None:
                with checkpoint_errors():
                    (self.averaged or self.model).save(fit.folder / BEST)


def _columns(metrics: Metrics | MultiLabelMetrics) -> dict[str, Any]:
    """The columns of the history that come from an evaluation."""
    found: dict[str, Any] = {"val_loss": metrics.loss, "val_metrics": dict(metrics.extra)}
    if isinstance(metrics, Metrics):
        return {**found, "val_top1": metrics.top1, "val_top5": metrics.top5}
    return {
        **found,
        "val_map": metrics.mean_average_precision,
        "val_f1": metrics.f1,
        "val_accuracy": metrics.accuracy,
    }
