"""How often a network is right, overall and class by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._text import table
from cnnzoo.errors import ArgumentError
from cnnzoo.losses import CrossEntropy, Loss

if TYPE_CHECKING:
    from cnnzoo.model import Model


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
    """What an evaluation found.

    Attributes:
        loss: The mean over all images.
        top1: The share of images whose class has the largest logit.
        top5: The share of images whose class is among the five largest logits.
        count: How many images there were.
        confusion: How many images of a class (row) were taken for a class (column), int64 (K, K).
        labels: The names of the classes.
    """

    loss: float
    top1: float
    top5: float
    count: int
    confusion: NDArray[np.int64]
    labels: tuple[str, ...]

    @property
    def per_class(self) -> tuple[ClassFigures, ...]:
        """Precision and recall of every class."""
        hits = np.diagonal(self.confusion)
        shown, taken = self.confusion.sum(1), self.confusion.sum(0)
        return tuple(
            ClassFigures(
                label=label,
                count=int(shown[index]),
                precision=_share(hits[index], taken[index]),
                recall=_share(hits[index], shown[index]),
            )
            for index, label in enumerate(self.labels)
        )

    def table(self) -> str:
        """Every class with its figures, as text."""
        head = ("class", "images", "precision", "recall", "f1")
        rows = [
            (f.label, str(f.count), _percent(f.precision), _percent(f.recall), _percent(f.f1))
            for f in self.per_class
        ]
        return table(head, rows, right=(1, 2, 3, 4))

    def __repr__(self) -> str:
        return (
            f"Metrics(loss={self.loss:.4f}, top1={self.top1:.2%}, top5={self.top5:.2%}, "
            f"{self.count} images)"
        )


def evaluate(
    model: Model,
    batches: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    loss: Loss | None = None,
    precision: str = "float32",
    after: Callable[[int], None] = lambda _: None,
) -> Metrics:
    """Run the network over batches of images whose classes are known.

    Args:
        model: In inference mode.
        batches: Images (N, C, H, W) and their integer classes (N,).
        loss: `CrossEntropy()` if not given; auxiliary classifiers do not run.
        precision: `"float32"` or `"bfloat16"`, as in training.
        after: Called with the number of images after each batch.

    Raises:
        ArgumentError: There is no batch, or its targets are no classes.
    """
    engine = (loss or CrossEntropy())._engine
    classes = model.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    total, top5 = 0.0, 0
    for x, y in batches:
        shown = np.asarray(y)
        if shown.ndim != 1 or shown.dtype.kind not in "iu":
            raise ArgumentError(
                f"evaluation: expected integer classes (N,), got {shown.dtype} {shown.shape}"
            )
        mean, logits = _native.assess(model._engine, x, shown, loss=engine, precision=precision)
        np.add.at(confusion, (shown, logits.argmax(1)), 1)
        top5 += int((_rank(logits, shown) < 5).sum())  # noqa: PLR2004
        total += mean * len(shown)
        after(len(shown))
    count = int(confusion.sum())
    if count == 0:
        raise ArgumentError("evaluation: expected at least one batch, got none")
    return Metrics(
        loss=total / count,
        top1=float(np.trace(confusion)) / count,
        top5=top5 / count,
        count=count,
        confusion=confusion,
        labels=model.labels,
    )


def _rank(logits: NDArray[np.float32], shown: NDArray[Any]) -> NDArray[np.int64]:
    """How many logits stand before that of the class; NaN stands before everything."""
    own = np.take_along_axis(logits, shown[:, None].astype(np.int64), 1)
    before: NDArray[np.int64] = (~(logits <= own)).sum(1)
    return before


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{share:.1%}"
