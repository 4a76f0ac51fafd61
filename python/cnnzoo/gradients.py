"""Gradients of a score by the input and by the values of nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import kind_of, whole
from cnnzoo._arrays import as_array
from cnnzoo.errors import ArgumentError


class NodeGradient(NamedTuple):
    """A node's value, and the gradient of the score by it, of the same shape.

    NumPy arrays, or torch tensors where the images were one.

    Attributes:
        value: float32 (N, C, H, W) of an image, (N, T, C) of tokens, (N, C) of a vector.
        gradient: float32, the derivative of the score by each number of the value.
    """

    value: Any
    gradient: Any

    def __repr__(self) -> str:
        return f"<NodeGradient {tuple(self.value.shape)}>"


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Gradients:
    """The gradients of a score, which `Model.gradients` computed.

    NumPy arrays, or torch tensors on the device of the images where these were one.

    Attributes:
        output: The value that is scored, by default the logits, float32 (N, num_classes).
        input: The gradient by the images, float32 (N, C, H, W).
        nodes: Value and gradient of each node that was asked for, by the name that was given.
    """

    output: Any
    input: Any
    nodes: Mapping[str, NodeGradient]

    def __repr__(self) -> str:
        shapes = {name: tuple(found.value.shape) for name, found in self.nodes.items()}
        names = "".join(f", `{name}` {shape}" for name, shape in shapes.items())
        return f"<Gradients by input {tuple(self.input.shape)}{names}>"


def score_of(target: Any) -> tuple[list[int], NDArray[Any] | None]:
    """The classes that a target names, or its cotangent.

    Raises:
        ArgumentError: It is neither a class, nor classes, nor floating-point numbers.
    """
    expected = "`target`: expected a class, one for each image, or a cotangent of the logits"
    if target is None or isinstance(target, str | bytes | bool | np.bool_):
        raise ArgumentError(f"{expected}, got {kind_of(target)}")
    array = _array(target, expected)
    if not array.size:
        raise ArgumentError(f"{expected}, got none: an empty array with the shape {array.shape}")
    if array.dtype.kind == "f":
        return [], array
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise ArgumentError(
            f"{expected}, got an array of {array.dtype} with the shape {array.shape}"
        )
    return [whole("`target`", int(label)) for label in np.atleast_1d(array)], None


def _array(target: ArrayLike, expected: str) -> NDArray[Any]:
    try:
        return as_array(target)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{expected}, got {kind_of(target)}: {error}") from None
