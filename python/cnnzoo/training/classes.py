"""Matching the class labels of data to a model's: by name, wherever the data have names."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo.data.dataset import Dataset, Samples
from cnnzoo.errors import ArgumentError, Notice
from cnnzoo.model import Model
from cnnzoo.prediction import imagenet_labels
from cnnzoo.training._batches import pairs

# The number of names that a message lists.
MOST_NAMES = 5

TWICE = "it has two classes of the same name: give them different names in `model.labels`"

SYNSET = re.compile(r"n\d{8}")

# The number of dimensions of targets that are classes, and of soft targets.
CLASSES, SHARES = 1, 2


class Targets:
    """Maps targets from the data's class indices to the model's.

    Args:
        what: Description of the data, for messages.
        names: The data's class names.
        index: The model's class index of each, -1 where it has none; None if the indices agree.
        classes: The model's number of classes.
    """

    def __init__(
        self, what: str, names: Sequence[str], index: NDArray[np.int64] | None, classes: int
    ) -> None:
        self.what = what
        self.names = names
        self.index = index
        self.classes = classes

    def __call__(self, y: Any) -> Any:
        """Map targets: classes (N,), or soft targets, a share for each class (N, K).

        Raises:
            ArgumentError: The shape is another, or a class is one that the model does not have.
        """
        if self.index is None:
            return y
        given = np.asarray(y)
        if given.ndim == CLASSES and given.dtype.kind in "iu":
            if len(given) and not 0 <= int(given.min()) <= int(given.max()) < len(self.index):
                raise ArgumentError(
                    f"{self.what}: expected classes of 0 to {len(self.index) - 1}, got "
                    f"{given.min()} to {given.max()}"
                )
            self._refuse(np.unique(given[self.index[given] < 0]))
            return self.index[given]
        if given.ndim != SHARES or given.shape[1] != len(self.index):
            raise ArgumentError(
                f"{self.what}: expected integer classes (N,) or probabilities of the data's "
                f"{len(self.index)} classes (N, {len(self.index)}), got {given.dtype} {given.shape}"
            )
        has = self.index >= 0
        self._refuse(np.flatnonzero(given.any(0) & ~has))
        shares = np.zeros((len(given), self.classes), given.dtype)
        shares[:, self.index[has]] = given[:, has]
        return shares

    def _refuse(self, missing: NDArray[Any]) -> None:
        if len(missing):
            names = _listed([self.names[index] for index in missing])
            raise ArgumentError(
                f"{self.what}: expected classes of the model, got some that it does not have: "
                f"{names}"
            )


@dataclass(frozen=True)
class _Data:
    """The classes of data.

    Attributes:
        names: Their names; None where the data only number them.
        count: Number of classes.
        shown: Indices of the classes that occur among the samples; all where that is unknown.
    """

    names: tuple[str, ...] | None
    count: int
    shown: NDArray[np.int64]


def meet(model: Model, batches: Any, what: str = "evaluation") -> Any:
    """The batches, with targets mapped to the model's class indices.

    Raises:
        ArgumentError: The data have samples of classes that the model lacks, or have no labels.
    """
    targets = targets_of(model, batches, what)
    found = pairs(what, batches)
    return found if targets.index is None else _turned(found, targets)


def targets_of(model: Model, batches: Any, what: str) -> Targets:
    """The mapping from the batches' targets to the model's, which keeps its labels.

    Raises:
        ArgumentError: As for `meet`.
    """
    what = f"{what} of {model.name}"
    data = _classes_of(batches, what)
    if data is None:
        return Targets(what, (), None, model.num_classes)
    return _found(what, model.labels, data, named=_has_names(model))


def settle(
    model: Model, averaged: Model | None, train: Any, validation: Any | None = None
) -> Targets:
    """The mapping from the training data's targets to the model's.

    A model that has all their classes keeps its labels. Else the data's names become the labels of
    the model and of its average, with a `Notice` where it had other names.

    Raises:
        ArgumentError: The data have more classes than the model, or fewer and others; or the
            validation data have samples of classes that the model lacks then.
    """
    what = f"training of {model.name}"
    labels, targets = _settled(what, model, _classes_of(train, what))
    if validation is not None:
        beside = f"validation of {model.name}"
        if (shown := _classes_of(validation, beside)) is not None:
            named = labels is not None or _has_names(model)
            _found(beside, labels or model.labels, shown, named=named)
    if labels is not None:
        if _has_names(model):
            warnings.warn(
                f"{model.name} is trained on other classes than its own and takes their names: "
                f"{_listed(labels)}; before: {_listed(model.labels)}",
                Notice,
                stacklevel=3,
            )
        for one in filter(None, (model, averaged)):
            one.labels = labels
    return targets


def _settled(what: str, model: Model, data: _Data | None) -> tuple[tuple[str, ...] | None, Targets]:
    """The model's new labels, None if they stay, and the mapping of targets."""
    classes = model.num_classes
    same = Targets(what, (), None, classes)
    if data is None:
        return None, same
    if data.names is None:
        if _has_names(model):
            _refuse_numbers(what, "the model's classes", model.labels)
        _expect_count(what, data.count, classes)
        return None, same
    if _is_same(data.names, model.labels):
        return None, same
    named = _has_names(model)
    if named:
        index, missing = _index(model.labels, data)
        if not missing:
            return None, Targets(what, data.names, index, classes)
    _expect_count(what, data.count, classes)
    twice = sorted({name for name in data.names if data.names.count(name) > 1})
    if twice:
        raise ArgumentError(f"{what}: expected each class once, got {_listed(twice)} twice")
    if named and data.count < classes:
        raise ArgumentError(
            f"{what}: expected classes of the model, or names for all its {classes}, got "
            f"{data.count} of which it does not have {_listed(missing)}; "
            + (
                TWICE
                if any(model.labels.count(name) > 1 for name in missing)
                else f"use reset_classifier(num_classes={data.count})"
            )
        )
    return (*data.names, *model.labels[data.count :]), same


def _found(what: str, labels: tuple[str, ...], data: _Data, *, named: bool) -> Targets:
    """The mapping of targets, if the labels include every class that occurs in the data."""
    same = Targets(what, (), None, len(labels))
    if data.names is None:
        if named:
            _refuse_numbers(what, "the model's classes", labels)
        most = int(data.shown.max(initial=-1))
        if most >= len(labels):
            raise ArgumentError(f"{what}: expected classes below {len(labels)}, got {most}")
        return same
    if _is_same(data.names, labels):
        return same
    index, missing = _index(labels, data)
    if not missing:
        return Targets(what, data.names, index, len(labels))
    if not named:
        if data.count == len(labels):
            _refuse_numbers(what, "its classes", data.names)
            return same
        raise ArgumentError(
            f"{what}: expected data of {len(labels)} classes, since the model has no names for "
            f"them, got {data.count}: {_listed(data.names)}; set `model.labels`"
        )
    hint = "set `model.labels` if it has them by other names"
    if all(SYNSET.fullmatch(name) for name in missing):
        hint = (
            "these are WordNet IDs: name the folders as in `model.labels`, or set "
            "`model.labels` to the IDs"
        )
    elif any(labels.count(name) > 1 for name in missing):
        hint = TWICE
    raise ArgumentError(
        f"{what}: expected classes of the model ({_listed(labels)}), got some that it does not "
        f"have: {_listed(missing)}; {hint}"
    )


def _refuse_numbers(what: str, whose: str, names: tuple[str, ...]) -> None:
    """Refuse names that are numbers other than their indices, as of sorted folders 0, 1, 10, 2.

    Raises:
        ArgumentError: The names are all numbers, and differ from their indices.
    """
    if all(re.fullmatch(r"\d{1,9}", name) for name in names):
        for place, name in enumerate(names):
            if int(name) != place:
                raise ArgumentError(
                    f"{what}: expected names of classes on both sides, since {whose} are named by "
                    f"numbers in another order: {name!r} is class {place}; got numbers, which may "
                    "mean either: give the data's `classes`, or set `model.labels`"
                )


def _index(labels: tuple[str, ...], data: _Data) -> tuple[NDArray[np.int64], list[str]]:
    """The model's index of each class of the data, and the names that occur but it lacks."""
    names = data.names or ()
    known = {name: number for number, name in enumerate(labels) if labels.count(name) == 1}
    index = np.array([known.get(name, -1) for name in names], np.int64)
    return index, [names[number] for number in data.shown if index[number] < 0]


def _is_same(names: tuple[str, ...], labels: tuple[str, ...]) -> bool:
    """Whether the data's class indices are the model's.

    ImageNet's 1000 folders are named by WordNet IDs, whose sorted order is that of its classes.
    """
    return names == labels or (
        labels == imagenet_labels()
        and len(names) == len(labels)
        and all(SYNSET.fullmatch(name) for name in names)
        and all(one < other for one, other in itertools.pairwise(names))
    )


def _has_names(model: Model) -> bool:
    """Whether the model has names for its classes, and not only numbers."""
    return model._labels is not None or model.labels == imagenet_labels()


def _classes_of(batches: Any, what: str) -> _Data | None:
    """The classes of the data set behind the batches; None if unknown."""
    dataset = getattr(batches, "dataset", None)
    if isinstance(dataset, Dataset):
        names = tuple(dataset.classes)
        shown = np.unique(dataset.labels)
        return _Data(names if dataset.named else None, len(names), shown)
    if isinstance(dataset, Samples):
        raise ArgumentError(f"{what}: expected data with labels, got {dataset!r} without")
    # The attributes of PyTorch's data loaders and data sets; a subset refers to its data set.
    while dataset is not None and not hasattr(dataset, "classes"):
        dataset = getattr(dataset, "dataset", None)
    classes = getattr(dataset, "classes", None)
    if not isinstance(classes, list | tuple) or not classes:
        return None
    if not all(isinstance(name, str) for name in classes):
        return None
    return _Data(tuple(classes), len(classes), np.arange(len(classes)))


def _turned(batches: Iterable[tuple[Any, Any]], targets: Targets) -> Iterator[tuple[Any, Any]]:
    for x, y in batches:
        # No reference to a yielded batch is kept, so that the consumer can free it.
        handed = [(x, targets(y))]
        del x, y
        yield handed.pop()


def _expect_count(what: str, count: int, classes: int) -> None:
    if count > classes:
        raise ArgumentError(
            f"{what}: expected data of at most {classes} classes, got {count}; use "
            f"reset_classifier(num_classes={count})"
        )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
