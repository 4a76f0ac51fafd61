"""The images of an analysis, in batches: of loaders, data sets, arrays and photographs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import instance, kind_of, some_classes
from cnnzoo._arrays import as_array, is_tensor
from cnnzoo._photo import is_photo
from cnnzoo.data import BadSample, Dataset, Loader
from cnnzoo.data.dataset import Samples
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.model import Model
from cnnzoo.training import classes

IMAGES_RANK = 4
BATCH = 32


@dataclass(frozen=True)
class Batch:
    """A batch with labels.

    Attributes:
        x: Images (N, C, H, W).
        y: The model's class of each (N,).
        index: Their numbers (N,): in the data set, or in the order in which they came.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    index: NDArray[np.int64]


def check_classifier(model: Any, at: str) -> None:
    """Check that a model predicts one class for each image.

    Args:
        model: The model.
        at: The analysis, for messages.

    Raises:
        ArgumentError: It is no model, has no classifier, or its task is `"multi_label"`.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    some_classes(model.name, model.num_classes, "to predict with")
    if model.task == "multi_label":
        raise ArgumentError(
            f"{at} of {model.name}: expected a model that predicts one class for each image, got "
            "one whose `task` is multi_label; `cnnzoo.metrics.evaluate` with BinaryCrossEntropy "
            "takes labels (N, K)"
        )


class LabelledBatches:
    """Iterates over labelled images; a loader's first epoch, which leaves the loader where it is.

    Args:
        model: The model whose classes the labels become.
        data: A loader, a data set, or batches (x, y).
        at: The analysis, for messages.
        batch_size: The size of a data set's batches.

    Attributes:
        dataset: The data set; None for batches.
        images: The number of images; None where it is not known.
        bad: The samples that a loader skipped or replaced.

    Raises:
        ArgumentError: The data are none of these, or have classes that the model does not have.
    """

    def __init__(self, model: Model, data: Any, *, at: str, batch_size: int) -> None:
        self._model, self._what, self._at = model, at, f"{at} of {model.name}"
        if isinstance(data, Samples) and not isinstance(data, Dataset):
            raise ArgumentError(f"{self._at}: expected data with labels, got {data!r} without")
        if isinstance(data, Dataset):
            data = _loader_of(model, data, batch_size)
        elif isinstance(data, Loader):
            # With its own position.
            data = copy.copy(data)
            data.set_epoch(0)
        elif isinstance(data, str) or not isinstance(data, Iterable) or hasattr(data, "shape"):
            raise ArgumentError(
                f"{self._at}: expected a Loader, a data set or batches [(x, y), ...], got "
                f"{kind_of(data)}"
            )
        self._data = data
        self.dataset: Dataset | None = data.dataset if isinstance(data, Loader) else None
        self.images = None if self.dataset is None else len(self.dataset)
        self.bad: list[BadSample] = []

    def __iter__(self) -> Iterator[Batch]:
        seen = 0
        for x, y in classes.meet(self._model, self._data, self._what):
            images, labels = as_array(x), checked_labels(y, self._model, self._at)
            if len(images) != len(labels):
                raise ShapeError(
                    f"{self._at}: expected a label for each of {len(images)} images, got "
                    f"{len(labels)}"
                )
            numbers = np.arange(seen, seen + len(labels))
            if isinstance(self._data, Loader):
                numbers = self._taken(self._data)
            yield Batch(images, labels, numbers)
            seen += len(labels)
        if isinstance(self._data, Loader):
            self.bad = self._data.bad_samples
        if not seen:
            raise ArgumentError(f"{self._at}: expected at least one image, got none")

    def _taken(self, loader: Loader) -> NDArray[np.int64]:
        """The numbers of the samples in the batch that a loader has just yielded."""
        last, size = loader.state().batch, loader.batch_size
        instead = {bad.index: bad.replacement for bad in loader.bad_samples}
        order = loader.order(0)[(last - 1) * size : last * size].tolist()
        found = [instead.get(index, index) for index in order]
        return np.array([index for index in found if index is not None], np.int64)


def labelled(
    model: Model, images: Any, labels: Any, *, at: str, batch_size: int
) -> tuple[Iterable[tuple[NDArray[Any], NDArray[np.int64]]], int | None]:
    """Batches (x, y) of images with their labels, and the number of images if it is known.

    Args:
        model: The model that they are for.
        images: As for `prepared`; or without `labels`, as for `LabelledBatches`.
        labels: Classes (N,) of images that have none.
        at: The analysis, for messages.
        batch_size: The size of batches that are made here.
    """
    if labels is None:
        batches = LabelledBatches(model, images, at=at, batch_size=batch_size)
        return ((batch.x, batch.y) for batch in batches), batches.images
    at = f"{at} of {model.name}"
    if isinstance(images, Loader | Samples):
        raise ArgumentError(f"{at}: expected no `labels` beside {images!r}, got some")
    y = checked_labels(labels, model, at)
    several = images if isinstance(images, np.ndarray) or is_tensor(images) else list(images)
    if len(several) != len(y) or not len(y):
        raise ShapeError(
            f"{at}: expected images and a label for each, got {len(several)} images and {len(y)} "
            "labels"
        )

    def batches_of() -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        begin = 0
        for x in prepared(model, several, at=at, batch_size=batch_size):
            yield x, y[begin : begin + len(x)]
            begin += len(x)

    return batches_of(), len(y)


def prepared(model: Model, images: Any, *, at: str, batch_size: int) -> Iterator[NDArray[Any]]:
    """Images (N, C, H, W) for a model, in batches.

    Args:
        model: The model that they are for.
        images: An array or tensor (N, C, H, W) of floating-point numbers, ready for the network; or
            photographs as for `Model.predict`; or a loader, whose first epoch is taken, or a data
            set.
        at: The analysis, for messages.
        batch_size: The size of batches that are made here.

    Raises:
        ArgumentError: There are no images.
    """
    if isinstance(images, Samples):
        images = _loader_of(model, images, batch_size)
    if isinstance(images, Loader):
        loader = copy.copy(images)
        loader.set_epoch(0)
        for batch in loader:
            yield batch[0] if isinstance(batch, tuple) else batch
        return
    array = as_array(images) if isinstance(images, np.ndarray) or is_tensor(images) else None
    if array is not None and array.dtype.kind == "f":
        if array.ndim != IMAGES_RANK or not len(array):
            raise ShapeError(f"{at}: expected images (N, C, H, W), at least one, got {array.shape}")
        for begin in range(0, len(array), batch_size):
            yield array[begin : begin + batch_size]
        return
    one = is_photo(images) and (array is None or array.ndim != IMAGES_RANK)
    photos = [images] if one else images
    if not isinstance(photos, Iterable):
        raise ArgumentError(f"{at}: expected images, got {kind_of(images)}")
    found, several = False, iter(photos)
    while some := list(islice(several, batch_size)):
        yield model.preprocess.to_array(some)
        found = True
    if not found:
        raise ArgumentError(f"{at}: expected at least one image, got none")


def checked_labels(labels: Any, model: Model, at: str) -> NDArray[np.int64]:
    """Labels as classes of a model (N,).

    Raises:
        ArgumentError: They are no integers (N,), or not classes of the model.
    """
    y = as_array(labels)
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ArgumentError(f"{at}: expected integer classes (N,), got {y.dtype} {y.shape}")
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) < model.num_classes:
        raise ArgumentError(
            f"{at}: expected classes of 0 to {model.num_classes - 1}, got {y.min()} to {y.max()}"
        )
    return y.astype(np.int64)


def _loader_of(model: Model, dataset: Any, batch_size: int) -> Loader:
    model.preprocess.check_channels()
    return Loader(dataset, batch_size=batch_size, transform=model.preprocess, shuffle=False)
