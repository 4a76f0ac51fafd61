"""Multi-label metrics: average precision, F1 and accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cnnzoo._html import Markup, html_bar, html_scroll, html_table, html_title
from cnnzoo._text import percent, table
from cnnzoo.prediction import probabilities

HEAD = ("label", "images", "average precision", "precision", "recall", "f1", "accuracy")


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """The metrics of one label.

    Attributes:
        label: Name of the label.
        count: Number of images that have it.
        average_precision: Average precision as in scikit-learn's `average_precision_score`: the
            mean, over the images that have the label, of the precision with their logit as the
            threshold. NaN where no image has it.
        precision: Share of the images predicted to have it that do; NaN where there are none.
        recall: Share of the images with the label that are predicted to have it; NaN where there
            are none.
        f1: F1: 2 * true positives / (predicted + actual positives); NaN where there are neither.
        accuracy: Share of images for which its presence or absence is predicted correctly.
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
    """Result of a multi-label evaluation, with a 0 or 1 for each label as targets.

    A NaN logit counts as a wrong prediction, whatever the target.

    Attributes:
        loss: Mean loss over all images.
        mean_average_precision: Mean average precision (mAP), over the labels that images have.
        f1: Macro F1: the mean of the labels' F1, without those where it is NaN.
        accuracy: Mean of the labels' accuracy.
        count: Number of images.
        threshold: A label is predicted where its probability, the logit's sigmoid, is at least
            this.
        per_label: The metrics of each label.
        extra: Values of the custom metrics, by name.
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
        """A table of the metrics of every label, as text."""
        return table(HEAD, self._rows(), right=range(1, len(HEAD)))

    def _rows(self) -> list[tuple[str, ...]]:
        return [
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

    def __repr__(self) -> str:
        return (
            f"MultiLabelMetrics(loss={self.loss:.4f}, mAP={self.mean_average_precision:.2%}, "
            f"f1={self.f1:.2%}, accuracy={self.accuracy:.2%}, {self.count} images)"
        )

    def _repr_html_(self) -> str:
        shares = [figures.average_precision for figures in self.per_label]
        return page_of(self, HEAD, self._rows(), bars_of="average precision", shares=shares)


class Shown(Protocol):
    """Metrics, with those of one's own by name."""

    @property
    def extra(self) -> Mapping[str, float]:
        """Values of the custom metrics."""


def page_of(
    metrics: Shown,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    bars_of: str,
    shares: Sequence[float],
) -> Markup:
    """Metrics as HTML: a line, and a table with a bar behind one of its columns."""
    extra = "".join(f", {name}={value:.4g}" for name, value in metrics.extra.items())
    place = head.index(bars_of) + 1
    cells = [
        [*row[:place], Markup() if math.isnan(share) else html_bar(share, width=6.0), *row[place:]]
        for row, share in zip(rows, shares, strict=True)
    ]
    right = {column for column in range(1, len(head) + 1) if column != place}
    table = html_table([*head[:place], "", *head[place:]], cells, right=right)
    return Markup(html_title(f"{metrics!r}{extra}") + html_scroll(table))


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
    # A NaN ranks last where the image has the label, and first where it has not.
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
    # Images of the same score share a threshold.
    last = np.append(scores[1:] != scores[:-1], True)
    hits, taken = hits[last], np.flatnonzero(last) + 1
    return float((np.diff(hits, prepend=0) * hits / taken).sum() / hits[-1])


def share(part: float, whole: float) -> float:
    """The ratio of a part to a whole; NaN where the whole is 0."""
    return float(part / whole) if whole else float("nan")


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return share(sum(known), len(known))
