"""A model's predictions for photographs."""

from __future__ import annotations

import functools
import numbers
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import shown
from cnnzoo._html import html_bar, html_table
from cnnzoo._plots import GREY, PALE, SERIES, axes_for, ink, lines, literal, save_figure
from cnnzoo._text import one_line
from cnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "a prediction"

# The classification task: an image shows one class, or has any number of labels.
Task: TypeAlias = Literal["multi_class", "multi_label"]

# The default threshold: a label of at least this probability is predicted.
THRESHOLD = 0.5

# The width of a bar of probability 1, in characters.
BAR = 20


class Guess(NamedTuple):
    """One predicted class of a photograph.

    Attributes:
        label: The class label, a name.
        index: Its position in the logits.
        probability: Between 0 and 1.
    """

    label: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs of a guess
    probability: float


class Prediction(tuple[Guess, ...]):
    """The most probable classes of one photograph, the most probable first.

    Attributes:
        path: The photograph's path, or the name of an open file or of a data set's sample; none
            where there is none, as for bytes and arrays.
    """

    path: str | None

    def __new__(cls, guesses: Iterable[Guess] = (), *, path: str | None = None) -> Prediction:
        """Make a prediction of guesses."""
        prediction = super().__new__(cls, guesses)
        prediction.path = path
        return prediction

    def __repr__(self) -> str:
        labels = [one_line(guess.label) for guess in self]
        width = max(map(len, labels), default=0)
        return "\n".join(
            f"{label:<{width}}  {guess.probability:6.1%}  {bar(guess.probability)}".rstrip()
            for label, guess in zip(labels, self, strict=True)
        )

    def taken(self, threshold: float = THRESHOLD) -> tuple[Guess, ...]:
        """The guesses of at least this probability.

        For a model whose `task` is `"multi_label"`, where probabilities are sigmoids of the logits,
        these are the predicted labels of the photograph.

        Raises:
            ArgumentError: The threshold is no number of 0 to 1.
        """
        least = checked_threshold(threshold)
        return tuple(guess for guess in self if guess.probability >= least)

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw a bar for the probability of each class, the most probable at the top.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        drawn: Axes = axes_for(ax, WHAT, self._size())
        drawn.set_axis_off()
        for place, guess in enumerate(self):
            width = _finite(guess.probability)
            drawn.barh(place, 1, 0.36, color=lines(drawn))
            drawn.barh(place, width, 0.36, color=SERIES[0] if place == 0 else PALE)
            label = literal(guess.label)
            drawn.text(0, place - 0.3, label, va="bottom", fontsize=9, color=ink(drawn))
            text = f"{guess.probability:.1%}"
            drawn.text(1, place - 0.3, text, va="bottom", ha="right", fontsize=9, color=GREY)
        drawn.set_xlim(0, 1)
        drawn.set_ylim(max(len(self), 1) - 0.6, -0.9)
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        save_figure(path, WHAT, self._size(), lambda ax: self.plot(ax=ax))

    def _size(self) -> tuple[float, float]:
        """Width and height of a picture, in inches."""
        return 4.2, 0.3 + 0.45 * max(len(self), 1)

    def _repr_html_(self) -> str:
        rows = [
            (guess.label, f"{guess.probability:.1%}", html_bar(_finite(guess.probability)))
            for guess in self
        ]
        return html_table((), rows, right=(1,))


@dataclass(frozen=True, kw_only=True)
class FailedPrediction:
    """A photograph that could not be read, in place of its prediction.

    Attributes:
        path: The photograph's path or name, as of a `Prediction`.
        error: The reason.
    """

    path: str | None
    error: Exception

    def __repr__(self) -> str:
        return f"<FailedPrediction {self.error}>"


def bar(probability: float, *, width: int = BAR, plain: bool = False) -> str:
    """A bar of block characters, exact to an eighth of a character; of `#` if `plain`."""
    if plain:
        return "#" * round(width * _finite(probability))
    eighths = round(8 * width * _finite(probability))
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def _finite(probability: float) -> float:
    return 0.0 if np.isnan(probability) else probability


def checked_threshold(threshold: float) -> float:
    """The threshold, if it is a probability.

    Raises:
        ArgumentError: It is not.
    """
    if not isinstance(threshold, numbers.Real) or not 0 <= threshold <= 1:
        raise ArgumentError(f"`threshold`: expected a number of 0 to 1, got {shown(threshold)}")
    return float(threshold)


def probabilities(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The sigmoid of each logit; NaN for NaN."""
    # NumPy would warn of NaN.
    with np.errstate(invalid="ignore"):
        found: NDArray[np.float64] = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return found


def rank(
    logits: NDArray[np.float32], labels: tuple[str, ...], top: int, task: Task
) -> list[Prediction]:
    """Turn logits (N, K) into the `top` most probable of K classes for each image (softmax).

    For the multi-label task, probabilities are the sigmoids of the logits, and all labels of at
    least `THRESHOLD` are included, even more than `top`.
    """
    several = task == "multi_label"
    likelihoods = probabilities(logits) if several else softmax(logits)
    order = np.argsort(-likelihoods, axis=1, kind="stable")
    counts = np.full(len(logits), top)
    if several:
        counts = np.maximum(counts, (likelihoods >= THRESHOLD).sum(1))
    return [
        Prediction(Guess(labels[i], int(i), float(row[i])) for i in best[:count])
        for row, best, count in zip(likelihoods, order, counts, strict=True)
    ]


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The softmax of logits (N, K); NaN where some are infinite or NaN."""
    likelihoods: NDArray[np.float64] = np.exp(_shifted(logits))
    likelihoods /= likelihoods.sum(axis=1, keepdims=True)
    return likelihoods


def log_softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The logarithm of the softmax of logits (N, K); NaN where some are infinite or NaN."""
    shifted = _shifted(logits)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def _shifted(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Logits less the largest of their image, of which no exponential overflows."""
    shifted = logits.astype(np.float64)
    # Infinite logits give NaN, which `Model.predict` refuses.
    with np.errstate(invalid="ignore"):
        shifted -= shifted.max(axis=1, keepdims=True)
    return shifted


@functools.cache
def imagenet_labels() -> tuple[str, ...]:
    """The class labels of ImageNet-1k, in their usual order."""
    text = Path(__file__).with_name("imagenet_labels.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def usual_labels(classes: int) -> tuple[str, ...]:
    """Default class labels: ImageNet's for 1000 classes, else "class 0", "class 1" and so on."""
    names = imagenet_labels()
    return names if classes == len(names) else tuple(f"class {n}" for n in range(classes))
