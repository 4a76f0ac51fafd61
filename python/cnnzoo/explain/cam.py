"""Grad-CAM and Grad-CAM++: the channels of a node, weighed by the gradients of a class's logit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._photo import Photo
from cnnzoo.explain._subject import Subject, asked, focus_of, places, subject_of
from cnnzoo.explain.heatmap import Heatmap, heatmap_of
from cnnzoo.model import Model

Doubles = NDArray[np.float64]
# From a value (C, h, w) and its gradient to the weight of each channel (C,).
Weigh = Callable[[Doubles, Doubles], Doubles]


def grad_cam(
    model: Model, image: Photo, *, target: int | str | None = None, node: str | None = None
) -> Heatmap:
    """Grad-CAM: the part of a photograph in which a network finds a class.

    Each channel of the node's value is weighed by the mean of the gradient of the class's logit by
    it; the map is the sum of the channels, without what speaks against the class, enlarged to the
    network's input and scaled from 0, its least value, to 1, its largest (Selvaraju et al.,
    arXiv:1610.02391).

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        target: The class, by number or label; the predicted one if not given.
        node: The node that is looked at: an image, or tokens, of which those of patches count. By
            default the last image before pooling, or the tokens that the last attention reads.

    Returns:
        The heatmap; its `raw` is the sum of the channels, with its sign, in the node's size.

    Raises:
        ArgumentError: There is no such class or node, the logits do not depend on the node, or it
            is a vector.
        DataError: The photograph cannot be read.
        DivergenceError: The logits are not finite.
        MissingPackageError: There is no libtorch.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    subject = subject_of(model, image)
    return _cam(subject, target, node, method="Grad-CAM", weigh=_means)


def grad_cam_plus_plus(
    model: Model, image: Photo, *, target: int | str | None = None, node: str | None = None
) -> Heatmap:
    """Grad-CAM++, which finds several objects of a class where Grad-CAM finds the largest.

    As `grad_cam`, but a channel's weight is the sum of its positive gradients, each weighed so that
    every place at which the channel is active counts alike (Chattopadhay et al., arXiv:1710.11063,
    equations 5 and 19, of the exponential of the logit). The package `grad-cam` adds 1e-6 to a
    denominator in which gradients are squared, which changes maps where gradients are below 1e-2.

    Args:
        model: The network.
        image: A photograph, as `Model.predict` takes it.
        target: The class, as for `grad_cam`.
        node: The node that is looked at, as for `grad_cam`.

    Returns:
        The heatmap, as of `grad_cam`.

    Raises:
        ArgumentError: As for `grad_cam`, as are other errors.
    """
    subject = subject_of(model, image)
    return _cam(subject, target, node, method="Grad-CAM++", weigh=_means_of_active)


def _means(_: Doubles, gradient: Doubles) -> Doubles:
    means: Doubles = gradient.mean((1, 2))
    return means


def _means_of_active(value: Doubles, gradient: Doubles) -> Doubles:
    # g² / (2 g² + Σ A · g³), without g², which may be too small a number to divide by.
    divisor = 2 + value.sum((1, 2), keepdims=True) * gradient
    share = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor != 0)
    weights: Doubles = (share * np.maximum(gradient, 0)).sum((1, 2))
    return weights


def _cam(
    subject: Subject,
    target: int | str | None,
    node: str | None,
    *,
    method: str,
    weigh: Weigh,
) -> Heatmap:
    model = subject.model
    question = asked(subject, target)
    name = focus_of(model, node)
    found = model.gradients(subject.x, question.target, at=name).nodes[name]
    value, gradient = (_doubles(places(subject, name, array)) for array in found)
    raw = np.tensordot(weigh(value, gradient), value, 1)
    reason = None
    if not gradient.any():
        reason = (
            f"the logit of class {question.target} does not depend on any place of node `{name}`"
        )
    return heatmap_of(
        subject, raw, method=method, asked=question, node=name, reason=reason, stacklevel=4
    )


def _doubles(array: NDArray[Any]) -> Doubles:
    return array.astype(np.float64)
