"""The subject of an explanation: a photograph as the network sees it, and the class asked about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._arguments import alike, instance, kind_of, some_classes, text, whole
from cnnzoo._arrays import as_array, is_tensor
from cnnzoo._photo import Photo, decoded, held
from cnnzoo.errors import ArgumentError, DivergenceError
from cnnzoo.explain._pixels import Bytes, Floats
from cnnzoo.model import Model
from cnnzoo.prediction import Prediction, rank
from cnnzoo.preprocess import Preprocess

# The largest side of the photograph that is kept for pictures, unless the network sees more.
MOST_PIXELS = 768
# Classes of a prediction beside a heatmap.
TOP = 5


@dataclass(frozen=True)
class Subject:
    """A photograph as a network sees it.

    Attributes:
        model: The network.
        x: The network's input, (1, C, H, W).
        photo: The same part of the photograph in its own colours and detail, uint8 (S, S, 3).
    """

    model: Model
    x: Floats
    photo: Bytes

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        height, width = self.x.shape[2:]
        return height, width


@dataclass(frozen=True)
class Asked:
    """The class that an explanation is about, and the prediction for the photograph.

    Attributes:
        target: The class.
        label: Its label.
        prediction: The most probable classes, and the one asked about.
        score: The logit of the class.
    """

    target: int
    label: str
    prediction: Prediction
    score: float


def subject_of(model: Model, image: Photo) -> Subject:
    """Prepare a photograph.

    Raises:
        ArgumentError: It is no model.
        DataError: The photograph cannot be read.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: It is no photograph.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    preprocess = model.preprocess
    preprocess.check_channels()
    pixels = decoded(held(image), orientation=preprocess.orientation)
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    return Subject(model, preprocess(pixels), _crop(preprocess, pixels))


def asked(subject: Subject, target: int | str | None) -> Asked:
    """The class that is asked about: the one given, by number or label, or the predicted one.

    Raises:
        ArgumentError: There is no such class, or the network has no classifier.
        DivergenceError: The logits are not finite.
    """
    model = subject.model
    logits, labels = _logits(subject)
    if target is None:
        chosen = int(logits[0].argmax())
    elif isinstance(target, str):
        chosen = _by_label(model, labels, target)
    else:
        chosen = whole("`target`", _number(target), most=len(labels) - 1)
    (prediction,) = rank(logits, labels, TOP, model.task)
    if not any(guess.index == chosen for guess in prediction):
        (every,) = rank(logits, labels, len(labels), model.task)
        prediction = Prediction([*prediction, *(one for one in every if one.index == chosen)])
    return Asked(chosen, labels[chosen], prediction, float(logits[0, chosen]))


def focus_of(model: Model, node: str | None) -> str:
    """The name of the node that is looked at: the one given, or the last before pooling.

    Raises:
        ArgumentError: There is no such node.
    """
    graph = model.graph
    if node is not None:
        return graph.find(text("`node`", node, "the name of a node"))
    found = graph.focus()
    if found is None:
        raise ArgumentError(
            f"`node` of {model.name}: expected the name of a node, since no value of the network "
            "has places in the image"
        )
    return found


def places(subject: Subject, node: str, value: NDArray[Any]) -> NDArray[Any]:
    """A value (1, C, h, w) or (1, T, C) as (C, h, w), without tokens that are no patches.

    Raises:
        ArgumentError: It is a vector, which has no places in the image.
    """
    grid = subject.model.graph.grid(node, *subject.size)
    if grid is None:
        raise ArgumentError(
            f"node `{node}` of {subject.model.name}: expected an image or tokens, which have "
            f"places in the photograph, got a value with the shape {value.shape[1:]}"
        )
    before, height, width = grid
    if value.ndim == 4:  # noqa: PLR2004 (an image)
        found: NDArray[Any] = value[0]
    else:
        found = value[0, before : before + height * width].T.reshape(-1, height, width)
    return found


def _logits(subject: Subject) -> tuple[Floats, tuple[str, ...]]:
    model = subject.model
    some_classes(model.name, model.num_classes, "to explain")
    logits = model(subject.x)
    if not np.isfinite(logits).all():
        raise DivergenceError(
            f"expected finite logits, got some infinite or NaN: the weights of {model.name} are "
            "infinite or NaN, or so large that its activations overflow"
        )
    return logits, model.labels


def _number(target: Any) -> Any:
    """The number in an array or tensor without axes, as `argmax` returns one."""
    return as_array(target)[()] if is_tensor(target) or isinstance(target, np.ndarray) else target


def _by_label(model: Model, labels: tuple[str, ...], label: str) -> int:
    found = [index for index, name in enumerate(labels) if name == label]
    if len(found) == 1:
        return found[0]
    if found:
        several = ", ".join(map(str, found))
        raise ArgumentError(f"`target`: expected a number, since classes {several} are all {label}")
    similar = alike(label, labels)
    hint = f"; similar are {', '.join(similar)}" if similar else ""
    raise ArgumentError(
        f"`target`: expected a class of {model.name} by number or label, got {kind_of(label)}{hint}"
    )


def _crop(preprocess: Preprocess, pixels: NDArray[Any]) -> Bytes:
    """The part of a photograph that the network sees, black where there is none."""
    height, width = pixels.shape[:2]
    size, window, corner = preprocess._engine.placement(height, width)
    # The network's pixel as a number of those of the photograph, and of the picture.
    scale = height / size[0], width / size[1]
    side = max(preprocess.crop, min(MOST_PIXELS, round(preprocess.crop * min(scale))))
    zoom = side / preprocess.crop
    spans = []
    for axis in range(2):
        first = round(window[axis] * scale[axis])
        last = max(first + 1, round((window[axis] + window[axis + 2]) * scale[axis]))
        spans.append(slice(first, last))
    part = np.ascontiguousarray(pixels[spans[0], spans[1]])
    rows, columns = (max(1, round(length * zoom)) for length in window[2:])
    small = _native.resize_photo(part, columns, rows, "lanczos")
    if small.shape[:2] == (side, side):
        return small
    found = np.zeros((side, side, 3), np.uint8)
    top, left = (min(round(at * zoom), side - 1) for at in corner)
    shown = small[: side - top, : side - left]
    found[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    return found
