"""Evaluation of a network: accuracy, loss, confusion matrix, and metrics of each class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import instance
from cnnzoo._arrays import as_array
from cnnzoo._text import percent, table
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.model import InferencePrecision, Model
from cnnzoo.prediction import THRESHOLD, checked_threshold, log_softmax
from cnnzoo.training import classes
from cnnzoo.training.confusion import MOST_CLASSES, Confusion, confusions, draw_confusion
from cnnzoo.training.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    FunctionLoss,
    Loss,
    LossLike,
    Metric,
    TorchLoss,
    as_loss,
    fits,
    measured,
)
from cnnzoo.training.multilabel import (
    LabelFigures,
    MultiLabelMetrics,
    label_metrics,
    page_of,
    share,
)

__all__ = ["ClassFigures", "Confusion", "LabelFigures", "Metrics", "MultiLabelMetrics", "evaluate"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASS_HEAD = ("class", "images", "precision", "recall", "f1")
# The k of top-5 accuracy, which is trivial with this many classes or fewer.
FIVE = 5


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """Precision and recall of one class.

    Attributes:
        label: Name of the class.
        count: Number of images of the class.
        precision: Share of this class among the images predicted as it; NaN where there are none.
        recall: Share of the class's images predicted as it; NaN where there are none.
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
    """Result of an evaluation with one class for each image.

    An image with a NaN logit has no predicted class: it counts as wrong in `top1` and `top5`, and
    as missed in its class's recall, and is counted in `undecided` instead of `confusion`.

    Attributes:
        loss: Mean loss over all images, weighted where the loss has class weights; NaN where every
            image's weight is 0.
        top1: Top-1 accuracy: the share of images whose class has the largest logit.
        top5: Top-5 accuracy: the share of images whose class is among the five largest logits. Ties
            go to the first class, as in `top1`. None with fewer than six classes.
        count: Number of images.
        confusion: Confusion matrix: number of images by true class (row) and predicted class
            (column), int64 (K, K).
        undecided: Number of images without a predicted class, by true class, int64 (K,).
        labels: The class labels.
        extra: Values of the custom metrics, by name.
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
        """A table of precision, recall and F1 of every class, as text."""
        return table(CLASS_HEAD, self._rows(), right=(1, 2, 3, 4))

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (f.label, str(f.count), percent(f.precision), percent(f.recall), percent(f.f1))
            for f in self.per_class
        ]

    def most_confused(self, count: int = 10) -> list[Confusion]:
        """The most frequent confusions of a class with another, at most `count` of them.

        Raises:
            ArgumentError: `count` is no whole number of at least 0.
        """
        return confusions(self.confusion, self.undecided, self.labels, count=count)

    def plot_confusion(self, *, most_classes: int = MOST_CLASSES, ax: Axes | None = None) -> Axes:
        """Draw the confusion matrix, a row for each true class.

        A cell's colour is its share of the row: blue where the prediction is right, and red where
        it is wrong. The numbers in the cells are images. With more than `most_classes` classes,
        those are drawn that are in the most frequent confusions, in the order of the labels; the
        last column has the images that were predicted as another class. Up to 30 classes have
        numbers.

        Args:
            most_classes: The most classes to draw.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: `most_classes` is no whole number from 2 to 200.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        return draw_confusion(
            self.confusion, self.undecided, self.labels, most_classes=most_classes, ax=ax
        )

    def __repr__(self) -> str:
        top5 = "" if self.top5 is None else f"top5={self.top5:.2%}, "
        return f"Metrics(loss={self.loss:.4f}, top1={self.top1:.2%}, {top5}{self.count} images)"

    def _repr_html_(self) -> str:
        shares = [figures.f1 for figures in self.per_class]
        return page_of(self, CLASS_HEAD, self._rows(), bars_of="f1", shares=shares)


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
    """Evaluate a network on labelled batches.

    The result does not depend on how the images are split into batches.

    Args:
        model: The model, which runs in inference mode.
        batches: Images (N, C, H, W) with integer classes (N,); or, with another loss than
            `CrossEntropy`, with a 0 or 1 for each label (N, K). Where the loader's data set names
            its classes, they are matched to the model's `labels` by name.
        loss: Loss function; cross-entropy if not given, which needs no libtorch. Auxiliary
            classifiers do not run. A custom function is called once, with the logits and targets of
            all images.
        precision: Compute precision: `"float32"`, `"bfloat16"`, or `"int8"` for a quantized model,
            as for `Model.__call__`.
        metrics: Functions of logits (N, K) and targets of all images, which return a number; of
            torch tensors where torch defines them, else of NumPy arrays.
        threshold: The probability from which a label is predicted, where targets are (N, K).
        after: Called after each batch with its number of images.

    Returns:
        `Metrics` for classes (N,), `MultiLabelMetrics` for labels (N, K).

    Raises:
        ArgumentError: There is no batch, or its targets are neither, or not those of the loss or
            of the model's `task`: one that is `"multi_label"` needs labels (N, K) and a loss of
            them.
    """
    return evaluated(
        model,
        batches,
        loss=loss,
        precision=precision,
        metrics=metrics,
        threshold=threshold,
        after=after,
    )


def evaluated(
    model: Model,
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    loss: LossLike | None,
    precision: str,
    metrics: Mapping[str, Metric] | None,
    threshold: float = THRESHOLD,
    after: Callable[[int], None],
    gather: Callable[[_Part], list[_Part]] | None = None,
    has_task: bool = True,
) -> Metrics | MultiLabelMetrics:
    """The result of `evaluate`, also of batches whose rows several processes share.

    Args:
        model: The model.
        batches: Images and targets of this process.
        loss: Loss function.
        precision: Compute precision.
        metrics: Functions of logits and targets.
        threshold: The probability from which a label is predicted.
        after: Called after each batch.
        gather: Gives what each of the processes has found; None where there is one.
        has_task: Whether targets must be those of the model's task, which a fit sets only after it
            has seen them.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    functions, threshold = dict(metrics or {}), checked_threshold(threshold)
    if loss is not None:
        loss = as_loss(loss)
        fits(loss, model.num_classes)
    known = loss is None or isinstance(loss, CrossEntropy | BinaryCrossEntropy)
    of_labels = not (loss is None or isinstance(loss, CrossEntropy))
    if has_task:
        _check_loss(model, loss, of_labels=of_labels)
    total, weight, tally = 0.0, 0.0, _Tally(model.num_classes)
    kept = _Kept()
    for x, y in classes.meet(model, batches):
        targets = _targets(y, labels=of_labels, like=kept.ndim)
        if has_task and targets.ndim == 1:
            _check_classes(model, targets)
        part, counts, logits = _assessed(model, x, targets, loss, precision)
        total, weight = total + part, weight + counts
        kept.ndim = targets.ndim
        if targets.ndim == 1:
            tally.add(logits, targets)
        if targets.ndim > 1 or not known or functions:
            kept.add(logits, targets)
        after(len(targets))
    if gather is not None:
        total, weight, tally, kept = _merged(gather((total, weight, tally, kept)))
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


def _check_loss(model: Model, loss: Loss | None, *, of_labels: bool) -> None:
    if model.task == "multi_label" and not of_labels:
        got = "none, which is CrossEntropy()" if loss is None else f"{loss!r}"
        raise ArgumentError(
            f"evaluation of {model.name}, whose `task` is multi_label: expected a `loss` of "
            f"labels, such as BinaryCrossEntropy(), got {got}"
        )


def _check_classes(model: Model, targets: NDArray[np.int64]) -> None:
    if model.task == "multi_label":
        raise ArgumentError(
            f"evaluation of {model.name}, whose `task` is multi_label: expected a 0 or 1 for each "
            f"label (N, {model.num_classes}), got integer classes {targets.shape}; if it predicts "
            'one class for each image, set `task` to "multi_class"'
        )


def _assessed(
    model: Model, x: ArrayLike, targets: NDArray[Any], loss: Loss | None, precision: str
) -> tuple[float, float, NDArray[np.float32]]:
    """The sum of a batch's losses, the sum of their weights, and the logits."""
    if loss is None:
        return _cross_entropies(model, x, targets, precision)
    from cnnzoo import _training

    known = loss if isinstance(loss, CrossEntropy | BinaryCrossEntropy) else None
    return _training.assess(
        model._for_training(),
        x,
        targets,
        loss=None if known is None else known._engine,
        precision=precision,
    )


def _cross_entropies(
    model: Model, x: ArrayLike, targets: NDArray[np.int64], precision: str
) -> tuple[float, float, NDArray[np.float32]]:
    """The same with cross-entropy, in NumPy, which an evaluation without libtorch needs too."""
    at, count = f"the targets of {model.name}", model.num_classes
    if count == 1:
        raise ArgumentError(
            f"{model.name}: expected two classes or more for CrossEntropy, or BinaryCrossEntropy "
            "with a 0 or 1 for each image (N, 1), got one class"
        )
    if count == 0:
        raise ArgumentError(f"{at}: expected a network with a classifier, got one of num_classes=0")
    wrong = targets[(targets < 0) | (targets >= count)]
    if len(wrong):
        raise ArgumentError(f"{at}: expected classes of 0 to {count - 1}, got {wrong[0]}")
    # Of tensors, the logits would be one.
    logits = model(as_array(x), precision=cast("InferencePrecision", precision))
    if len(logits) != len(targets):
        raise ShapeError(f"{at}: expected ({len(logits)},), got {targets.shape}")
    # In float64, so that the division into batches does not matter.
    own = np.take_along_axis(log_softmax(logits), targets[:, None], 1)
    return -float(own.sum()), float(len(targets)), logits


class _Tally:
    """Confusion matrix and top-5 hits, summed over batches."""

    def __init__(self, classes: int) -> None:
        self.confusion = np.zeros((classes, classes), np.int64)
        self.undecided = np.zeros(classes, np.int64)
        self.top5 = 0

    def add(self, logits: NDArray[np.float32], shown: NDArray[np.int64]) -> None:
        decided = ~np.isnan(logits).any(1)
        np.add.at(self.undecided, shown[~decided], 1)
        logits, shown = logits[decided], shown[decided]
        np.add.at(self.confusion, (shown, logits.argmax(1)), 1)
        self.top5 += int((ranks_of(logits, shown) < FIVE).sum())

    def merge(self, other: _Tally) -> None:
        self.confusion += other.confusion
        self.undecided += other.undecided
        self.top5 += other.top5

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


def ranks_of(logits: NDArray[np.float32], shown: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of classes before that of each image (N,), by their logits (N, K).

    The first of equal logits counts as the largest, as in `argmax`.
    """
    own = np.take_along_axis(logits, shown[:, None], 1)
    first = np.arange(logits.shape[1]) < shown[:, None]
    before: NDArray[np.bool_] = (logits > own) | ((logits == own) & first)
    ranks: NDArray[np.int64] = before.sum(1, dtype=np.int64)
    return ranks


class _Kept:
    """The logits and targets of all batches, for metrics that need them at once."""

    def __init__(self) -> None:
        self.ndim: int | None = None
        self._logits: list[NDArray[np.float32]] = []
        self._targets: list[NDArray[Any]] = []

    def add(self, logits: NDArray[np.float32], targets: NDArray[Any]) -> None:
        self._logits.append(logits)
        self._targets.append(targets)

    @classmethod
    def merged(cls, several: list[_Kept]) -> _Kept:
        """The logits and targets of processes that had rows of the same batches, in their order."""
        found = cls()
        found.ndim = next((one.ndim for one in several if one.ndim is not None), None)
        for batch in range(max(len(one._logits) for one in several)):
            for one in several:
                found._logits += one._logits[batch : batch + 1]
                found._targets += one._targets[batch : batch + 1]
        return found

    def all(self) -> tuple[NDArray[np.float32], NDArray[Any]]:
        if not self._logits:
            return np.empty((0, 0), np.float32), np.empty(0, np.int64)
        return np.concatenate(self._logits), np.concatenate(self._targets)


# The sums of losses and weights of a process, and its images.
_Part: TypeAlias = tuple[float, float, _Tally, _Kept]


def _merged(parts: list[_Part]) -> _Part:
    """The sums over all processes."""
    tally = parts[0][2]
    for _, _, other, _ in parts[1:]:
        tally.merge(other)
    total, weight = (sum(numbers) for numbers in zip(*(part[:2] for part in parts), strict=True))
    return total, weight, tally, _Kept.merged([part[3] for part in parts])


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
