"""Adopting the preprocessing of the training's loaders, so that predictions use the same."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cnnzoo import transforms
from cnnzoo.data import Loader
from cnnzoo.errors import CnnzooError, Notice
from cnnzoo.model import Model
from cnnzoo.preprocess import COLOURS, GREY, Preprocess
from cnnzoo.transforms.transform import Size, Transform

# Transforms that draw at random for each photograph and epoch.
DRAWING = (
    transforms.RandomCrop,
    transforms.RandomShift,
    transforms.RandomResizedCrop,
    transforms.RandomHorizontalFlip,
    transforms.RandomVerticalFlip,
    transforms.ColorJitter,
    transforms.RandAugment,
    transforms.TrivialAugmentWide,
    transforms.AutoAugment,
    transforms.RandomErasing,
)

# The largest difference of two means or standard deviations that only rounding distinguishes.
ROUNDED = 0.005


@dataclass(frozen=True)
class Prepared:
    """The preprocessing of a loader, as closely as a `Preprocess` can express it.

    Attributes:
        preprocess: The closest preprocessing.
        differs: The loader's differences from it, each a sentence without its subject.
    """

    preprocess: Preprocess
    differs: tuple[str, ...]


def adopt(
    model: Model,
    averaged: Model | None,
    train: Any,
    validation: Any,
    tell: Callable[[str], None],
) -> None:
    """Set a model's preprocessing to that of its training's loaders.

    The validation loader decides, or else the training loader. A difference that `preprocess`
    cannot express is a `Notice`; so is a change for a model that had preprocessing for its weights.
    A change for a fresh model goes to `tell`.

    Args:
        model: The model that is trained.
        averaged: Its average (EMA), if there is one.
        train: Loader or batches of the training.
        validation: Loader or batches of the validation, if there are any.
        tell: Called with a line of text.
    """
    _notice_drawn(model, validation)
    usual = model.preprocess
    if len(usual.mean) not in {GREY, COLOURS}:
        return
    found = {
        what: theirs
        for what, batches in (("validation", validation), ("training", train))
        if isinstance(batches, Loader) and (theirs := prepared(batches, usual)) is not None
    }
    if not found:
        return
    if len(found) == len(("validation", "training")):
        _compare(model, found["training"].preprocess, found["validation"].preprocess)
    what, theirs = next(iter(found.items()))
    if theirs.differs:
        _notice(
            f"{model.name}: `model.preprocess` cannot prepare photographs as those of the {what}: "
            f"the loader {' and '.join(theirs.differs)}; predictions will see different images"
        )
    if theirs.preprocess == usual:
        return
    text = (
        f"{model.name}: `preprocess` is now that of the {what}: "
        f"{_changes(usual, theirs.preprocess)}"
    )
    if model._has_own_preprocess:
        _notice(text)
    else:
        tell(text)
    for one in filter(None, (model, averaged)):
        one.preprocess = theirs.preprocess


def prepared(loader: Loader[Any], usual: Preprocess) -> Prepared | None:
    """The preprocessing of a loader; None if unknown.

    Args:
        loader: A loader with any transform.
        usual: Default for values that the transform lacks: the interpolation, and the ratio of
            resize to crop where training takes random crops.
    """
    transform = loader.transform
    if isinstance(transform, Preprocess):
        return Prepared(transform, ()) if len(transform.mean) == len(usual.mean) else None
    if transform is not None and not isinstance(transform, Transform):
        return None
    reading = _Reading(usual, transform)
    for number, step in enumerate(() if transform is None else transform._flat()):
        reading.take(step, first=number == 0)
    try:
        return reading.result(loader)
    except CnnzooError:
        # The loader will report the photograph that cannot be read.
        return None


class _Reading:
    """The preprocessing that the steps of a transform amount to."""

    def __init__(self, usual: Preprocess, transform: Transform | None) -> None:
        self.usual = usual
        self.orientation = usual.orientation if transform is None else transform.orientation
        self.resize: int | None = None
        self.crop: int | None = None
        self.interpolation = usual.interpolation
        self.mean: tuple[float, ...] = (0.0,)
        self.std: tuple[float, ...] = (1.0,)
        # Whether photographs are resized to a square without keeping their aspect ratio.
        self.squeezed = False
        self.differs: list[str] = []

    def take(self, step: Transform, *, first: bool) -> None:
        if isinstance(step, transforms.Resize):
            self.squeezed = not isinstance(step.size, int)
            self.resize, self.crop = self._square(step.size), None
            self.interpolation = step.interpolation
            if step.max_size is not None:
                self.differs.append(f"limits their longest side to {step.max_size} pixels")
        elif isinstance(step, transforms.RandomResizedCrop):
            self.crop = self._square(step.size)
            self.resize = self.usual.resized(self.crop).resize
            self.squeezed = False
        elif isinstance(step, transforms.CenterCrop | transforms.RandomCrop):
            self.crop, self.squeezed = self._square(step.size), False
        elif isinstance(step, transforms.Grayscale):
            if not (first and step.num_output_channels == len(self.usual.mean) == GREY):
                self.differs.append("converts them to greyscale")
        elif isinstance(step, transforms.Normalize):
            self.mean, self.std = _channels(step.mean), _channels(step.std)

    def result(self, loader: Loader[Any]) -> Prepared | None:
        resize, crop = self.resize, self.crop
        if resize is None or crop is None:
            height, width = loader.dataset.photo(0).shape[:2]
            resize = resize or min(height, width)
            crop = crop or resize
            if height != width and self.crop is None:
                how = "squeezes them into a square" if self.squeezed else "keeps their aspect ratio"
                self.differs.append(how)
        channels = len(self.usual.mean)
        if {len(self.mean), len(self.std)} - {1, channels}:
            return None
        mean = self.mean * (channels // len(self.mean))
        std = self.std * (channels // len(self.std))
        nearest = replace(
            self.usual,
            resize=resize,
            crop=crop,
            interpolation=self.interpolation,
            mean=mean,
            std=std,
            orientation=self.orientation,
        )
        return Prepared(nearest, tuple(self.differs))

    def _square(self, size: Size) -> int:
        if isinstance(size, int):
            return size
        height, width = size
        if height != width:
            self.differs.append(f"resizes them to {height}x{width} pixels")
        return min(height, width)


def _notice_drawn(model: Model, validation: Any) -> None:
    """Give a `Notice` where the validation's transform is random."""
    transform = validation.transform if isinstance(validation, Loader) else None
    if isinstance(transform, Transform):
        drawing = [type(step).__name__ for step in transform._flat() if isinstance(step, DRAWING)]
        if drawing:
            _notice(
                f"{model.name}: validation augments its images at random "
                f"({', '.join(drawing)}), so each epoch is evaluated on different images; use "
                "`model.preprocess`"
            )


def _compare(model: Model, training: Preprocess, validation: Preprocess) -> None:
    """Give a `Notice` where training and validation normalise differently; sizes may differ."""
    one, other = (np.array([p.mean, p.std]) for p in (training, validation))
    if np.abs(one - other).max() > ROUNDED:
        _notice(
            f"{model.name}: training subtracts {_rounded(training.mean)} and divides by "
            f"{_rounded(training.std)}, validation {_rounded(validation.mean)} and "
            f"{_rounded(validation.std)}; `model.train_transform()` is the training transform that "
            "belongs to `model.preprocess`"
        )


def _changes(before: Preprocess, now: Preprocess) -> str:
    changed = [
        (name, getattr(before, name), getattr(now, name))
        for name in vars(now)
        if name in before.__dataclass_fields__ and getattr(before, name) != getattr(now, name)
    ]
    return ", ".join(f"{name} {_rounded(new)} (was {_rounded(old)})" for name, old, new in changed)


def _rounded(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(_rounded(item) for item in value)})"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _channels(value: Any) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,)


def _notice(text: str) -> None:
    # The stack level of the caller of `fit`.
    warnings.warn(text, Notice, stacklevel=4)
