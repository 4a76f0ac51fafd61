"""Evidence of single pixels: saliency, and integrated gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import whole
from cnnzoo._arrays import as_array
from cnnzoo._photo import Photo
from cnnzoo._progress import Count
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.explain._subject import Subject, asked, subject_of
from cnnzoo.explain.heatmap import Heatmap, heatmap_of
from cnnzoo.model import Model

MOST_STEPS = 10_000


def saliency(
    model: Model, image: Photo, *, target: int | str | None = None, guided: bool = False
) -> Heatmap:
    """Saliency: the pixels whose change would change a class's logit most.

    The largest magnitude of the gradient of the logit over the channels of each pixel (Simonyan et
    al., arXiv:1312.6034). The hottest percent of the pixels are drawn alike.

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        target: The class, by number or label; the predicted one if not given.
        guided: Guided backpropagation, as for `Model.gradients`.

    Returns:
        The heatmap, whose `raw` (H, W) holds the magnitudes.

    Raises:
        ArgumentError: There is no such class, or `guided` and there is neither ReLU nor ReLU6.
        DataError: The photograph cannot be read.
        DivergenceError: The logits are not finite.
        MissingPackageError: There is no libtorch.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    subject = subject_of(model, image)
    question = asked(subject, target)
    found = model.gradients(subject.x, question.target, guided=guided)
    raw = np.abs(found.input[0]).max(0)
    method = "Guided backpropagation" if guided else "Saliency"
    return heatmap_of(subject, raw, method=method, asked=question, fine=True)


def integrated_gradients(
    model: Model,
    image: Photo,
    *,
    target: int | str | None = None,
    baseline: ArrayLike | None = None,
    steps: int = 50,
    batch_size: int = 4,
    progress: bool | None = None,
) -> Heatmap:
    """Integrated gradients: the difference of two scores, divided among the pixels.

    Each pixel gets its difference from the baseline times the mean gradient of the class's logit on
    the straight way from there to the photograph (Sundararajan et al., arXiv:1703.01365). The sum
    over all pixels is the difference of the logits, up to the error of the mean over `steps`, which
    `error` of the result states. The hottest percent of the pixels are drawn alike.

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        target: The class, by number or label; the predicted one if not given.
        baseline: The network's input that stands for no evidence: a number, or an array (C, H, W);
            0, the mean colour, if not given.
        steps: Number of gradients, at the places of the Gauss-Legendre quadrature.
        batch_size: Number of gradients that are computed together.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        The heatmap, whose `raw` (H, W) holds the sum over the channels of each pixel, with its
        sign; `values` are of its magnitude.

    Raises:
        ArgumentError: There is no such class, an option is invalid, or the baseline is not finite.
        DataError: The photograph cannot be read.
        DivergenceError: The logits are not finite.
        MissingPackageError: There is no libtorch.
        ShapeError: An array is no photograph, the network takes no photographs, or the baseline is
            of another shape.
        TypeError: An object is no photograph.
    """
    steps = whole("`steps`", steps, least=1, most=MOST_STEPS)
    batch_size = whole("`batch_size`", batch_size, least=1)
    subject = subject_of(model, image)
    start = _baseline(subject, baseline)
    question = asked(subject, target)
    difference = subject.x[0].astype(np.float64) - start
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    mean = np.zeros_like(difference)
    with Count(steps, "gradients", shown=progress is not False) as count:
        for first in range(0, steps, batch_size):
            part = slice(first, first + batch_size)
            way = ((nodes[part] + 1) / 2)[:, np.newaxis, np.newaxis, np.newaxis]
            x = (start + way * difference).astype(np.float32)
            found = model.gradients(x, question.target)
            mean += np.tensordot(weights[part] / 2, found.input.astype(np.float64), 1)
            for _ in x:
                count.advance()
    raw = (difference * mean).sum(0)
    ends = np.stack([subject.x[0], start.astype(np.float32)])
    before, after = model(ends)[::-1, question.target].astype(np.float64)
    gained = after - before
    return heatmap_of(
        subject,
        raw,
        method="Integrated gradients",
        asked=question,
        error=float(abs(raw.sum() - gained) / max(abs(gained), np.finfo(np.float32).tiny)),
        fine=True,
    )


def _baseline(subject: Subject, baseline: ArrayLike | None) -> NDArray[np.float64]:
    shape = subject.x.shape[1:]
    if baseline is None:
        return np.zeros(shape)
    given = as_array(baseline)
    if given.dtype.kind not in "iuf" or not np.isfinite(given).all():
        raise ArgumentError("`baseline`: expected finite numbers, got others")
    if given.shape not in {(), shape}:
        raise ShapeError(f"`baseline`: expected a number or {shape}, got {given.shape}")
    return np.broadcast_to(given.astype(np.float64), shape)
