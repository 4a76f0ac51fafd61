"""The folders of a training run: of its photographs, and of its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnzoo._text import quoted
from cnnzoo.command._settings import SETTINGS, Settings
from cnnzoo.data import Dataset, ImageFolder
from cnnzoo.errors import ArgumentError, CheckpointError, CheckpointFileError, DataError

# Folders of the parts of a data set, which are no classes.
PARTS = ({"train", "training"}, {"val", "valid", "validation", "test", "testing"})

LEAST_CLASSES = 2
# Names in a message.
MOST_NAMED = 5


@dataclass(frozen=True)
class Data:
    """The photographs of a run."""

    train: Dataset
    validation: Dataset


def refuse_old(folder: Path) -> None:
    """Refuse a folder that has files, of a run or of something else.

    Raises:
        CheckpointError: It has files, or cannot be read.
    """
    try:
        found = sorted(os.listdir(folder))
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointFileError(f"{folder}: {error.strerror or error}") from error
    if SETTINGS in found:
        raise CheckpointError(
            f"{folder}: expected a new folder, got that of another run; continue it by `cnnzoo "
            f"train --resume {quoted(folder)}`, or name another one: -o"
        )
    if found:
        raise CheckpointError(
            f"{folder}: expected a new or an empty folder for the run, got one with {found[0]}; "
            "name another one: -o"
        )


def data_of(
    settings: Settings, moved: str | None = None, moved_validation: str | None = None
) -> Data:
    """The photographs of a run: to train on, and to validate on.

    Args:
        settings: The settings of the run.
        moved: The new place of its folder, if it was moved.
        moved_validation: The new place of its folder to validate on, if that was moved.

    Raises:
        ArgumentError: There is one class, or the validation has others, or there is a new place for
            a validation that the run does not have.
        DataError: A folder cannot be read, or a class has no photograph to train or validate on.
    """
    root = settings.folder if moved is None else moved
    whole = _photographs(root)
    if whole.num_classes < LEAST_CLASSES:
        raise ArgumentError(
            f"{root}: expected a folder for each of at least {LEAST_CLASSES} classes, got "
            f"{whole.classes[0]} alone"
        )
    if moved_validation is not None and settings.validation is None:
        raise ArgumentError(
            f"--validation: expected none, since the run validates on a part of {settings.folder}, "
            f"got {moved_validation}; another validation is another run"
        )
    if settings.validation is not None:
        place = moved_validation or settings.validation
        other = _photographs(place)
        if extra := sorted(set(other.classes) - set(whole.classes)):
            raise ArgumentError(
                f"{place}: expected classes of {root}, got {_listed(extra)}, which it does not have"
            )
        return Data(whole, other)
    train, validation = whole.split(settings.split, seed=settings.seed)
    for part, name in ((train, "train on"), (validation, "validate on")):
        missing = set(range(whole.num_classes)) - set(part.labels.tolist())
        if missing:
            few = _listed([whole.classes[index] for index in sorted(missing)])
            raise DataError(
                f"{root}: expected a photograph of every class to {name}, got none of {few} with "
                f"--split {settings.split:g}; add photographs, or change --split"
            )
    return Data(train, validation)


def _photographs(root: str) -> Dataset:
    """The photographs of a folder, whose folders are classes."""
    found = ImageFolder(root)
    lower = {name.lower() for name in found.classes}
    if all(lower & part for part in PARTS) and lower <= set().union(*PARTS):
        train, other = (next(n for n in found.classes if n.lower() in part) for part in PARTS)
        raise ArgumentError(
            f"{root}: expected a folder for each class, got those of a split: {_listed(lower)}; "
            f"use `cnnzoo train {quoted(os.path.join(root, train))} --validation "
            f"{quoted(os.path.join(root, other))}`"
        )
    return found


def _listed(names: Sequence[str] | set[str]) -> str:
    several = sorted(names)
    more = f" and {len(several) - MOST_NAMED} more" if len(several) > MOST_NAMED else ""
    return ", ".join(several[:MOST_NAMED]) + more
