"""Occlusion: the loss of a class's score where a part of the photograph is hidden."""

from __future__ import annotations

import math

import numpy as np

from cnnzoo._arguments import number, whole
from cnnzoo._photo import Photo
from cnnzoo._progress import Count
from cnnzoo.errors import DivergenceError
from cnnzoo.explain._subject import asked, subject_of
from cnnzoo.explain.heatmap import Heatmap, heatmap_of
from cnnzoo.model import Model

# The usual side of the window, as a share of the photograph's.
WINDOW = 1 / 6
# Its usual stride, as a share of itself.
STRIDE = 1 / 3


def occlusion(
    model: Model,
    image: Photo,
    *,
    target: int | str | None = None,
    window: int | None = None,
    stride: int | None = None,
    fill: float = 0.0,
    batch_size: int = 8,
    progress: bool | None = None,
) -> Heatmap:
    """Occlusion: hide one square of a photograph after the other, and see what that costs a class.

    A pixel's evidence is the mean over the squares that cover it of the logit that hiding them
    costs (Zeiler and Fergus, arXiv:1311.2901). It needs no gradients, and runs on cnnzoo's own
    engine, once for each square.

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        target: The class, by number or label; the predicted one if not given.
        window: Side of the square in pixels of the network's input; a sixth of it if not given.
        stride: Pixels between neighbouring squares; a third of `window` if not given.
        fill: The network's input in the place of what is hidden; 0 is the mean colour.
        batch_size: Number of squares that run through the network together.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        The heatmap, whose `raw` (H, W) holds the evidence with its sign.

    Raises:
        ArgumentError: There is no such class, or an option is invalid.
        DataError: The photograph cannot be read.
        DivergenceError: The logits are not finite.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    fill = number("`fill`", fill)
    batch_size = whole("`batch_size`", batch_size, least=1)
    subject = subject_of(model, image)
    height, width = subject.size
    side = min(height, width)
    usual = max(1, round(WINDOW * side))
    window = whole("`window`", usual if window is None else window, least=1, most=side)
    usual = max(1, round(STRIDE * window))
    stride = whole("`stride`", usual if stride is None else stride, least=1, most=window)
    question = asked(subject, target)
    squares = [
        (slice(top, top + window), slice(left, left + window))
        for top in _starts(height, window, stride)
        for left in _starts(width, window, stride)
    ]
    cost, covered = np.zeros((height, width)), np.zeros((height, width))
    with Count(len(squares), "squares", shown=progress is not False) as count:
        for first in range(0, len(squares), batch_size):
            batch = squares[first : first + batch_size]
            x = np.repeat(subject.x, len(batch), 0)
            for hidden, (rows, columns) in zip(x, batch, strict=True):
                hidden[:, rows, columns] = fill
            scores = model(x)[:, question.target].astype(np.float64)
            for square, score in zip(batch, scores, strict=True):
                cost[square] += question.score - score
                covered[square] += 1
                count.advance()
    if not np.isfinite(cost).all():
        raise DivergenceError(f"expected finite logits of {model.name}, got some infinite or NaN")
    return heatmap_of(subject, cost / covered, method="Occlusion", asked=question)


def _starts(size: int, window: int, stride: int) -> list[int]:
    """The beginnings of windows along one side; the last may reach over its end."""
    return [at * stride for at in range(math.ceil((size - window) / stride) + 1)]
