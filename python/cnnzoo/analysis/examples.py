"""The prediction of a network for each image of an evaluation, beside the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import whole
from cnnzoo._html import html_table
from cnnzoo._plots import INK
from cnnzoo._rows import Columns
from cnnzoo._text import counted, percent
from cnnzoo._tiles import MOST_TILES, Line, Tile, draw_tiles
from cnnzoo.analysis.calibration import WRONG, Calibration, calibration_of
from cnnzoo.analysis.pictures import Pictures
from cnnzoo.data import BadSample
from cnnzoo.errors import ArgumentError
from cnnzoo.training.confusion import MOST_CLASSES, Confusion, confusions, draw_confusion
from cnnzoo.training.metrics import FIVE, Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The columns of `Examples`.
COLUMNS = (
    "indices",
    "true_classes",
    "predicted_classes",
    "probabilities",
    "true_probabilities",
    "losses",
    "true_ranks",
)
# The class of an image whose logits are not all numbers.
UNDECIDED = -1
# Rows of a table in a notebook.
MOST_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Example:
    """The prediction for one image.

    Attributes:
        index: Its number in the data set, or in the order of the batches.
        name: Its path, if it has one; else a description.
        true: The label of its class.
        true_class: Its class, the index of the label.
        predicted: The label of the class with the largest logit; None where a logit is NaN.
        predicted_class: That class; None likewise.
        probability: The probability of the predicted class (softmax); NaN without one.
        true_probability: The probability of its class.
        loss: The cross-entropy, -ln(true_probability).
    """

    index: int
    name: str
    true: str
    true_class: int
    predicted: str | None
    predicted_class: int | None
    probability: float
    true_probability: float
    loss: float

    @property
    def correct(self) -> bool:
        """Whether the predicted class is the true one."""
        return self.predicted_class == self.true_class


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Examples(Columns, Sequence[Example]):
    """The predictions for the images of an evaluation; a slice of them is `Examples` again.

    Attributes:
        labels: The class labels of the model.
        indices: The images' numbers in the data set, or in the order of the batches, int64 (N,).
        true_classes: The class of each image, int64 (N,).
        predicted_classes: The class with the largest logit, int64 (N,); -1 where a logit is NaN.
        probabilities: The probability of the predicted class (softmax), float64 (N,).
        true_probabilities: The probability of the true class, float64 (N,).
        losses: The cross-entropy, float64 (N,).
        true_ranks: Number of classes before the true one by their logits, int64 (N,): 0 where the
            prediction is right; of equal logits the first class is before. The number of classes
            where a logit is NaN.
        bad_samples: The samples that the loader skipped or replaced.
        pictures: The images' names and pictures.
    """

    labels: tuple[str, ...]
    indices: NDArray[np.int64]
    true_classes: NDArray[np.int64]
    predicted_classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    true_probabilities: NDArray[np.float64]
    losses: NDArray[np.float64]
    true_ranks: NDArray[np.int64]
    bad_samples: tuple[BadSample, ...]
    pictures: Pictures

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> Examples: ...
    def __getitem__(self, index: int | slice) -> Example | Examples:
        """One of them, or a part."""
        if isinstance(index, slice):
            return self._chosen(np.arange(len(self))[index])
        true, said = int(self.true_classes[index]), int(self.predicted_classes[index])
        predicted = None if said == UNDECIDED else said
        return Example(
            index=int(self.indices[index]),
            name=self.pictures.name(int(self.indices[index])),
            true=self.labels[true],
            true_class=true,
            predicted=None if predicted is None else self.labels[predicted],
            predicted_class=predicted,
            probability=float(self.probabilities[index]),
            true_probability=float(self.true_probabilities[index]),
            loss=float(self.losses[index]),
        )

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each prediction is right (N,)."""
        return np.asarray(self.predicted_classes == self.true_classes)

    @property
    def accuracy(self) -> float:
        """The share of right predictions; NaN without images."""
        return float(self.correct.mean()) if len(self) else float("nan")

    def top(self, count: int) -> float:
        """Top-k accuracy: the share of images whose class is among the `count` largest logits.

        Raises:
            ArgumentError: `count` is no whole number of at least 1.
        """
        found = self.true_ranks < whole("`count`", count, least=1)
        return float(found.mean()) if len(self) else float("nan")

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns by their names, as `pandas.DataFrame` takes them; a value for each image.

        `predicted_class` is -1 and `predicted` None where a logit is NaN.
        """
        predicted = [None if at == UNDECIDED else self.labels[at] for at in self.predicted_classes]
        return {
            "index": self.indices.tolist(),
            "name": [self.pictures.name(index) for index in self.indices.tolist()],
            "true": [self.labels[at] for at in self.true_classes],
            "true_class": self.true_classes.tolist(),
            "predicted": predicted,
            "predicted_class": self.predicted_classes.tolist(),
            "correct": self.correct.tolist(),
            "probability": self.probabilities.tolist(),
            "true_probability": self.true_probabilities.tolist(),
            "true_rank": self.true_ranks.tolist(),
            "loss": self.losses.tolist(),
        }

    @property
    def metrics(self) -> Metrics:
        """The metrics that `cnnzoo.metrics.evaluate` returns: of each class too."""
        return Metrics(
            loss=float(self.losses.mean()) if len(self) else float("nan"),
            top1=self.accuracy,
            top5=self.top(FIVE) if len(self.labels) > FIVE else None,
            count=len(self),
            confusion=self.confusion,
            undecided=self._undecided(),
            labels=self.labels,
        )

    @property
    def errors(self) -> Examples:
        """The images with a wrong prediction or none, in the order in which they are here."""
        return self._chosen(np.flatnonzero(~self.correct))

    def most_confident_errors(self, count: int = 16) -> Examples:
        """The wrong predictions of the highest probability, at most `count`, the highest first.

        Images without a prediction come last.
        """
        errors = self.errors
        return errors._chosen(errors._order(-errors.probabilities)[: whole("`count`", count)])

    def top_losses(self, count: int = 16) -> Examples:
        """The images with the highest loss, at most `count`, the highest first.

        An image whose loss is NaN comes last.
        """
        return self._chosen(self._order(-self.losses)[: whole("`count`", count)])

    def calibration(self, bins: int = 15) -> Calibration:
        """Compare probabilities with accuracies, in bins of equal width.

        Args:
            bins: Number of bins.

        Raises:
            ArgumentError: `bins` is no whole number from 1 to 1000.
        """
        decided = self.predicted_classes != UNDECIDED
        return calibration_of(
            # The softmax of many classes may be above 1 by a rounding.
            self.probabilities[decided].clip(0, 1),
            self.correct[decided],
            bins=bins,
            undecided=int((~decided).sum()),
        )

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Number of images by true class (row) and predicted class (column), int64 (K, K).

        Images without a prediction are not in it.
        """
        matrix = np.zeros((len(self.labels),) * 2, np.int64)
        decided = self.predicted_classes != UNDECIDED
        np.add.at(matrix, (self.true_classes[decided], self.predicted_classes[decided]), 1)
        return matrix

    def most_confused(self, count: int = 10) -> list[Confusion]:
        """The most frequent confusions of a class with another, at most `count`."""
        return confusions(self.confusion, self._undecided(), self.labels, count=count)

    def plot_confusion(self, *, most_classes: int = MOST_CLASSES, ax: Axes | None = None) -> Axes:
        """Draw the confusion matrix, as `Metrics.plot_confusion` does."""
        return draw_confusion(
            self.confusion, self._undecided(), self.labels, most_classes=most_classes, ax=ax
        )

    def gallery(self, count: int = 16, *, ax: Axes | None = None) -> Axes:
        """Draw the first images with their predictions, and the truth where that is another.

        A wrong prediction is red, and the true class is below it; each has its probability.

            examples.most_confident_errors().gallery()

        Args:
            count: Number of images.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: `count` is no whole number from 1 to 400, there are no images here, or
                they were batches of an iterator, which are gone.
            DataError: A photograph can no longer be read.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        count = whole("`count`", count, least=1, most=MOST_TILES)
        if not len(self):
            raise ArgumentError("a gallery: expected at least one image, got none")
        tiles = [Tile(self.pictures.picture(one.index), _caption(one)) for one in self[:count]]
        return draw_tiles(tiles, what="a gallery", ax=ax)

    def _undecided(self) -> NDArray[np.int64]:
        return np.bincount(
            self.true_classes[self.predicted_classes == UNDECIDED], minlength=len(self.labels)
        ).astype(np.int64)

    def _chosen(self, places: NDArray[np.intp]) -> Examples:
        return replace(self, **{name: getattr(self, name)[places] for name in COLUMNS})

    @staticmethod
    def _order(keys: NDArray[np.float64]) -> NDArray[np.intp]:
        return np.argsort(keys, kind="stable")

    def __repr__(self) -> str:
        wrong = counted(int((~self.correct).sum()), "error")
        shown = f"{percent(self.accuracy)} right, {wrong}" if len(self) else "none"
        return f"<Examples: {counted(len(self), 'image')}, {shown}>"

    def _repr_html_(self) -> str:
        rows = [
            (
                one.name,
                one.true,
                one.predicted or "none",
                percent(one.probability),
                percent(one.true_probability),
                f"{one.loss:.3f}",
            )
            for one in self[:MOST_ROWS]
        ]
        head = ("image", "true", "predicted", "probability", "of the true class", "loss")
        of = f"; the first {MOST_ROWS}" if len(self) > MOST_ROWS else ""
        return html_table(head, rows, right=(3, 4, 5), caption=repr(self)[1:-1] + of)


def _caption(one: Example) -> tuple[Line, ...]:
    said = "no class" if one.predicted is None else f"{one.probability:.0%} {one.predicted}"
    if one.correct:
        return (Line(said, INK),)
    own = "" if math.isnan(one.true_probability) else f"{one.true_probability:.0%} "
    return Line(said, WRONG), Line(f"{own}{one.true}", INK)
