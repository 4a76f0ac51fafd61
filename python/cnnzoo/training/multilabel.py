"""How well labels are told of which an image may have any number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cnnzoo._text import percent, table
from cnnzoo.prediction import probabilities


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """How well one label is told.

    Attributes:
        label: Its name.
        count: How many images have it.
        average_precision: The mean, over the images that have it, of the precision where exactly
            the images of at least their logit are taken: scikit-learn's `average_precision_score`.
            NaN where no image has it.
        precision: The share that has it of the images where it was taken; NaN where it never was.
        recall: The share where it was taken of the images that have it; NaN where none has.
        f1: 2 * hits / (taken + shown); NaN where no image has it and it was never taken.
        accuracy: The share of images of which it was rightly taken or left.
    """

    label: str
    count: int
    average_precision: float
    precision: float
    recall: float
    f1: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class MultiLabelMetrics:
    """What an evaluation found whose targets are a 0 or 1 for each label.

    A logit that is NaN counts as the wrong answer, whichever that is.

    Attributes:
        loss: The mean over all images.
        mean_average_precision: The mean of the average precision of the labels that images have.
        f1: The mean of the labels' F1, without those where it is NaN (macro F1).
        accuracy: The mean of the labels' accuracy.
        count: How many images there were.
        threshold: A label was taken where its probability, the logit's sigmoid, was at least this.
        per_label: The figures of each label.
        extra: The values of the metrics that were given as functions, by name.
    """

    loss: float
    mean_average_precision: float
    f1: float
    accuracy: float
    count: int
    threshold: float
    per_label: tuple[LabelFigures, ...]
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the labels."""
        return tuple(figures.label for figures in self.per_label)

    def table(self) -> str:
        """Every label with its figures, as text."""
        head = ("label", "images", "average precision", "precision", "recall", "f1", "accuracy")
        rows = [
            (
                f.label,
                str(f.count),
                percent(f.average_precision),
                percent(f.precision),
                percent(f.recall),
                percent(f.f1),
                percent(f.accuracy),
            )
            for f in self.per_label
        ]
        return table(head, rows, right=tuple(range(1, 7)))

    def __repr__(self) -> str:
        return (
            f"MultiLabelMetrics(loss={self.loss:.4f}, mAP={self.mean_average_precision:.2%}, "
            f"f1={self.f1:.2%}, accuracy={self.accuracy:.2%}, {self.count} images)"
        )


def label_metrics(
    logits: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    labels: Sequence[str],
    threshold: float,
    loss: float,
    extra: Mapping[str, float],
) -> MultiLabelMetrics:
    """Compare logits (N, K) with targets (N, K), which are 0 or 1."""
    truth = targets > 0
    unknown = np.isnan(logits)
    taken = np.where(unknown, ~truth, probabilities(logits) >= threshold)
    # A NaN stands last where the label is there, and first where it is not.
    scores = np.where(unknown, np.where(truth, -np.inf, np.inf), logits)
    figures = tuple(
        _figures(label, scores[:, index], taken[:, index], truth[:, index])
        for index, label in enumerate(labels)
    )
    return MultiLabelMetrics(
        loss=loss,
        mean_average_precision=_mean([f.average_precision for f in figures]),
        f1=_mean([f.f1 for f in figures]),
        accuracy=_mean([f.accuracy for f in figures]),
        count=len(logits),
        threshold=threshold,
        per_label=figures,
        extra=extra,
    )


def _figures(
    label: str, scores: NDArray[np.float64], taken: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> LabelFigures:
    hits, shown, of_taken = int((taken & truth).sum()), int(truth.sum()), int(taken.sum())
    return LabelFigures(
        label=label,
        count=shown,
        average_precision=_average_precision(scores, truth),
        precision=share(hits, of_taken),
        recall=share(hits, shown),
        f1=share(2 * hits, shown + of_taken),
        accuracy=share(int((taken == truth).sum()), len(truth)),
    )


def _average_precision(scores: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(truth[order])
    if not hits[-1]:
        return float("nan")
    # Images of the same score are taken together.
    last = np.append(scores[1:] != scores[:-1], True)
    hits, taken = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(hits, prepend=0) * hits / taken).sum() / hits[-1])


def share(part: float, whole: float) -> float:
    """A part of a whole; NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return share(sum(known), len(known))
