"""Batched prediction: shared by `Model.predict`, its stream and the command line."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import shown, whole
from cnnzoo._photo import held, path_of
from cnnzoo.data.dataset import Samples
from cnnzoo.errors import ArgumentError, CnnzooError, DivergenceError
from cnnzoo.model._network import Network
from cnnzoo.prediction import FailedPrediction, Prediction, rank

OnError: TypeAlias = Literal["raise", "skip", "keep"]
ON_ERROR = ("raise", "skip", "keep")

# Batch size of predictions: the fastest that was measured, see benchmarks/predict.py.
BATCH = 4


@dataclass(frozen=True)
class _Item:
    """A photograph, or the error of one that cannot be read."""

    path: str | None
    photo: Any


def predict_many(
    model: Network,
    photos: Iterable[Any],
    *,
    top: int = 5,
    batch_size: int = BATCH,
    on_error: OnError = "raise",
) -> Iterator[Prediction | FailedPrediction]:
    """Classify photographs, yielding each prediction as soon as its batch is done, in order.

    Args:
        model: A network with a classifier.
        photos: Photographs as for `Model.predict`, a `FailedPrediction` for one that was not found;
            or a data set. At most one batch is read ahead.
        top: Number of classes in a prediction.
        batch_size: Number of photographs that run through the network together.
        on_error: Handling of photographs that cannot be read, as for `Model.predict`.

    Raises:
        ArgumentError: An option is invalid, or the model has no classifier.
        ShapeError: The network takes no photographs.
    """
    if model.num_classes == 0:
        raise ArgumentError(f"{model.name} has no classifier (num_classes=0) to predict with")
    top, batch_size = whole("`top`", top, least=1), whole("`batch_size`", batch_size, least=1)
    if on_error not in ON_ERROR:
        known = ", ".join(f'"{choice}"' for choice in ON_ERROR)
        raise ArgumentError(f"`on_error`: expected one of {known}, got {shown(on_error)}")
    model.preprocess.check_channels()
    return _answers(model, _items(photos), top, batch_size, on_error)


def _answers(
    model: Network, items: Iterator[_Item], top: int, batch_size: int, on_error: OnError
) -> Iterator[Prediction | FailedPrediction]:
    while batch := list(islice(items, batch_size)):
        prepared = _prepare(model, batch)
        if on_error == "raise":
            for image in prepared:
                if isinstance(image, Exception):
                    raise image
        images = [image for image in prepared if not isinstance(image, Exception)]
        ranked = iter(
            rank(*model._classify(np.concatenate(images)), top, model.task) if images else ()
        )
        for item, image in zip(batch, prepared, strict=True):
            answer = image if isinstance(image, Exception) else _checked(next(ranked), model, item)
            if not isinstance(answer, Exception):
                yield answer
            elif on_error == "raise":
                raise answer
            elif on_error == "keep":
                yield FailedPrediction(path=item.path, error=answer)


def _checked(guesses: Prediction, model: Network, item: _Item) -> Prediction | DivergenceError:
    """The prediction, or an error where its probabilities are not finite."""
    if all(math.isfinite(guess.probability) for guess in guesses):
        return Prediction(guesses, path=item.path)
    of = "" if item.path is None else f"{item.path}: "
    return DivergenceError(
        f"{of}expected finite logits, got some infinite or NaN: the weights of {model.name} "
        "are infinite or NaN, or so large that its activations overflow"
    )


def _prepare(model: Network, batch: list[_Item]) -> list[NDArray[np.float32] | Exception]:
    prepare = partial(_prepare_one, model)
    if len(batch) == 1:
        return [prepare(batch[0])]
    from concurrent.futures import ThreadPoolExecutor

    # Decoding and resizing run without the GIL.
    with ThreadPoolExecutor(max_workers=min(len(batch), os.cpu_count() or 1)) as pool:
        return list(pool.map(prepare, batch))


def _prepare_one(model: Network, item: _Item) -> NDArray[np.float32] | Exception:
    try:
        photo = item.photo
        if isinstance(photo, _Sample):
            photo = photo.read()
        return photo if isinstance(photo, Exception) else model.preprocess(photo)
    except (CnnzooError, TypeError) as error:
        return error


@dataclass(frozen=True)
class _Sample:
    """A photograph of a data set, read in the thread that decodes it."""

    dataset: Samples
    index: int

    def read(self) -> NDArray[np.uint8]:
        return self.dataset._engine.read(self.index)


def _items(photos: Iterable[Any]) -> Iterator[_Item]:
    if (dataset := _as_dataset(photos)) is not None:
        for index in range(len(dataset)):
            yield _Item(dataset.name(index), _Sample(dataset, index))
        return
    for photo in photos:
        if isinstance(photo, FailedPrediction):
            yield _Item(photo.path, photo.error)
            continue
        try:
            yield _Item(path_of(photo), held(photo))
        except CnnzooError as error:
            yield _Item(path_of(photo), error)


def _as_dataset(photos: Iterable[Any]) -> Samples | None:
    return photos if isinstance(photos, Samples) else None
