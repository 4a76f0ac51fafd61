"""How often a network is right, overall and class by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arrays import as_array
from cnnzoo._text import percent, table
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model
from cnnzoo.prediction import THRESHOLD, checked_threshold
from cnnzoo.training import _classes
from cnnzoo.training.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    FunctionLoss,
    LossLike,
    Metric,
    TorchLoss,
    as_loss,
    fits,
    measured,
)
from cnnzoo.training.multilabel import LabelFigures, MultiLabelMetrics, label_metrics, share

__all__ = ["ClassFigures", "LabelFigures", "Metrics", "MultiLabelMetrics", "evaluate"]

# Of this many classes or fewer, everything is among the five likeliest.
FIVE = 5


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """What became of the images of one class.

    Attributes:
        label: Its name.
        count: How many images show it.
        precision: The share of it among the images that were taken for it; NaN where none were.
        recall: The share of its images that were recognised; NaN where there are none.
    """

    label: str
    count: int
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall."""
        both = self.precision + self.recall
        return 2 * self.precision * self.recall / both if both > 0 else both


@dataclass(frozen=True, kw_only=True, eq=False)
class Metrics:
    """What an evaluation found whose targets are one class for each image.

    An image of whose logits one is NaN is recognised nowhere: it counts as wrong in `top1` and
    `top5`, and as missed in its class's recall. It was taken for no class, so it stands in
    `undecided` and not in `confusion`.

    Attributes:
        loss: The mean over all images, weighted where the loss has weights of classes; NaN where
            all of them weigh nothing.
        top1: The share of images whose class has the largest logit.
        top5: The share of images whose class is among the five largest logits, of equal ones the
            first, as in `top1`; none where there are fewer than six classes.
        count: How many images there were.
        confusion: How many images of a class (row) were taken for a class (column), int64 (K, K).
        undecided: How many images of a class were taken for none, int64 (K,).
        labels: The names of the classes.
        extra: The values of the metrics that were given as functions, by name.
    """

    loss: float
    top1: float
    top5: float | None
    count: int
    confusion: NDArray[np.int64]
    undecided: NDArray[np.int64]
    labels: tuple[str, ...]
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def per_class(self) -> tuple[ClassFigures, ...]:
        """Precision and recall of every class."""
        hits = np.diagonal(self.confusion)
        shown, taken = self.confusion.sum(1) + self.undecided, self.confusion.sum(0)
        return tuple(
            ClassFigures(
                label=label,
                count=int(shown[index]),
                precision=share(hits[index], taken[index]),
                recall=share(hits[index], shown[index]),
            )
            for index, label in enumerate(self.labels)
        )

    def table(self) -> str:
        """Every class with its figures, as text."""
        head = ("class", "images", "precision", "recall", "f1")
        rows = [
            (f.label, str(f.count), percent(f.precision), percent(f.recall), percent(f.f1))
            for f in self.per_class
        ]
        return table(head, rows, right=(1, 2, 3, 4))

    def __repr__(self) -> str:
        top5 = "" if self.top5 is None else f"top5={self.top5:.2%}, "
        return f"Metrics(loss={self.loss:.4f}, top1={self.top1:.2%}, {top5}{self.count} images)"


@overload
def evaluate(
    model: Model,
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    loss: CrossEntropy | None = None,
    precision: str = "float32",
    metrics: Mapping[str, Metric] | None = None,
    threshold: float = THRESHOLD,
    after: Callable[[int], None] = lambda _: None,
) -> Metrics: ...
@overload
def evaluate(
    model: Model,
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    loss: LossLike,
    precision: str = "float32",
    metrics: Mapping[str, Metric] | None = None,
    threshold: float = THRESHOLD,
    after: Callable[[int], None] = lambda _: None,
) -> Metrics | MultiLabelMetrics: ...
def evaluate(
    model: Model,
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    loss: LossLike | None = None,
    precision: str = "float32",
    metrics: Mapping[str, Metric] | None = None,
    threshold: float = THRESHOLD,
    after: Callable[[int], None] = lambda _: None,
) -> Metrics | MultiLabelMetrics:
    """Run the network over batches of images of which is known what they show.

    Nothing that is found depends on how the images are put into batches.

    Args:
        model: In inference mode.
        batches: Images (N, C, H, W) and their integer classes (N,); or, with another loss than
            `CrossEntropy`, a 0 or 1 for each label (N, K). Those of a loader whose data set has
            names of classes meet the model's `labels` by name.
        loss: `CrossEntropy()` if not given; auxiliary classifiers do not run. A function of one's
            own sees the logits and targets of all images at once.
        precision: `"float32"` or `"bfloat16"`, as in training.
        metrics: Functions of logits (N, K) and targets of all images, which give a number; of
            torch tensors where torch defines them, else of NumPy arrays.
        threshold: The probability from which a label counts as taken, where targets are (N, K).
        after: Called with the number of images after each batch.

    Returns:
        `Metrics` of classes (N,), `MultiLabelMetrics` of labels (N, K).

    Raises:
        ArgumentError: There is no batch, or its targets are neither, or not those of the loss.
    """
    loss, functions = as_loss(loss), dict(metrics or {})
    threshold = checked_threshold(threshold)
    fits(loss, model.num_classes)
    known = loss if isinstance(loss, CrossEntropy | BinaryCrossEntropy) else None
    total, weight, tally = 0.0, 0.0, _Tally(model.num_classes)
    kept = _Kept()
    for x, y in _classes.meet(model, batches):
        targets = _targets(y, labels=not isinstance(loss, CrossEntropy), like=kept.ndim)
        engine = None if known is None else known._engine
        part, counts, logits = _native.assess(
            model._engine, x, targets, loss=engine, precision=precision
        )
        total, weight = total + part, weight + counts
        kept.ndim = targets.ndim
        if targets.ndim == 1:
            tally.add(logits, targets)
        if targets.ndim > 1 or known is None or functions:
            kept.add(logits, targets)
        after(len(targets))
    if kept.ndim is None:
        raise ArgumentError("evaluation: expected at least one batch, got none")
    every, shown = kept.all()
    if isinstance(loss, FunctionLoss | TorchLoss):
        total, weight = loss._objective(shown)(every.copy())[0], 1.0
    mean = share(total, weight)
    extra = {name: measured(name, metric, every, shown) for name, metric in functions.items()}
    if kept.ndim == 1:
        return tally.metrics(loss=mean, labels=model.labels, extra=extra)
    return label_metrics(
        every,
        shown,
        labels=model.labels,
        threshold=threshold,
        loss=mean,
        extra=extra,
    )


class _Tally:
    """What became of the images of each class."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.undecided = np.zeros(classes, np.int64)
        self.top5 = 0

    def add(self, logits: NDArray[np.float32], shown: NDArray[np.int64]) -> None:
        decided = ~np.isnan(logits).any(1)
        np.add.at(self.undecided, shown[~decided], 1)
        logits, shown = logits[decided], shown[decided]
        np.add.at(self.confusion, (shown, logits.argmax(1)), 1)
        own = np.take_along_axis(logits, shown[:, None], 1)
        # Of equal logits the first counts as the largest, as `argmax` has it.
        first = np.arange(logits.shape[1]) < shown[:, None]
        before = (logits > own) | ((logits == own) & first)
        self.top5 += int((before.sum(1) < FIVE).sum())

    def metrics(
        self, *, loss: float, labels: tuple[str, ...], extra: Mapping[str, float]
    ) -> Metrics:
        count = int(self.confusion.sum() + self.undecided.sum())
        return Metrics(
            loss=loss,
            top1=float(np.trace(self.confusion)) / count,
            top5=self.top5 / count if len(self.confusion) > FIVE else None,
            count=count,
            confusion=self.confusion,
            undecided=self.undecided,
            labels=labels,
            extra=extra,
        )


class _Kept:
    """The logits and targets that are needed all at once."""

    def __init__(self) -> None:
        self.ndim: int | None = None
        self._logits: list[NDArray[np.float32]] = []
        self._targets: list[NDArray[Any]] = []

    def add(self, logits: NDArray[np.float32], targets: NDArray[Any]) -> None:
        self._logits.append(logits)
        self._targets.append(targets)

    def all(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        if not self._logits:
            return np.empty((0, 0), np.float32), np.empty(0, np.int64)
        return np.concatenate(self._logits), np.concatenate(self._targets)


def _targets(y: ArrayLike, *, labels: bool, like: int | None) -> NDArray[Any]:
    """Integer classes (N,), or labels (N, K) where they are allowed."""
    array = as_array(y)
    of_labels = labels and array.ndim > 1
    if of_labels and (array.dtype.kind not in "biuf" or not np.isin(array, (0, 1)).all()):
        wrong = array[~np.isin(array, (0, 1))] if array.dtype.kind in "iuf" else array.ravel()
        raise ArgumentError(
            f"evaluation: expected a 0 or 1 for each label (N, K), got {wrong[0]!s} in "
            f"{array.dtype} {array.shape}"
        )
    if not of_labels and (array.ndim != 1 or array.dtype.kind not in "iu"):
        expected = "integer classes (N,)" + (", or a 0 or 1 for each label (N, K)" * labels)
        raise ArgumentError(f"evaluation: expected {expected}, got {array.dtype} {array.shape}")
    if like not in (None, array.ndim):
        kinds = {1: "classes (N,)", 2: "labels (N, K)"}
        raise ArgumentError(
            f"evaluation: expected {kinds.get(like or 1)} as in the batches before, got "
            f"{array.dtype} {array.shape}"
        )
    return array.astype(np.float32 if of_labels else np.int64)
