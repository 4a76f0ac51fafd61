"""Settles the network to build for a model file: as the file's configuration, or an error."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any

from cnnzoo import _native
from cnnzoo._configuration import Configuration, damaged
from cnnzoo.errors import Notice, WeightsError
from cnnzoo.prediction import Task

# Options that may differ from the file's: parameters of another size are initialised anew or
# adapted, and the other options affect training alone.
FREE = {
    "num_classes",
    "in_channels",
    "image_size",
    "checkpointing",
    "drop_rate",
    "drop_path_rate",
    "zero_init_residual",
    "aux",
}


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """The arguments that a network is built with.

    Attributes:
        name: The network's name, as its source calls it.
        source: The source of the definition.
        options: The file's options, overridden by those that were given.
        labels: The file's class labels, if the number of classes is the file's.
        task: The file's task, likewise.
    """

    name: str
    source: str | None
    options: dict[str, Any]
    labels: tuple[str, ...] | None
    task: Task


def adopt(
    path: str, saved: Configuration, name: str, source: str | None, given: dict[str, Any]
) -> Adopted:
    """Settle the arguments that a network is built with, from the file's and the given ones.

    Raises:
        WeightsError: The file's network is another one.
    """
    if saved.graph is not None:
        raise WeightsError(
            f"{path}: expected weights of {name}, got a network of a custom graph, "
            f"{saved.name}; use cnnzoo.load(file)"
        )
    with damaged(path):
        engine = saved.engine()
    wanted = _native.model_info(name, source)
    if engine.name != wanted["name"]:
        raise WeightsError(
            f"{path}: expected weights of {wanted['name']}, got those of {engine.name}"
        )
    if source not in {None, saved.source}:
        raise WeightsError(
            f"{path}: expected weights for the definition of {source}, got a network of "
            f"{saved.source}; leave `source` out, or build the network and use load_weights(file)"
        )
    options = {**saved.options, **{o: value for o, value in given.items() if o in FREE}}
    drawn = saved.draw(options)
    for option, value in given.items():
        if option not in FREE and saved.draw({**options, option: value}) != drawn:
            there = json.dumps(saved.options[option]) if option in saved.options else "none"
            raise WeightsError(
                f"{path}: expected `{option}` as the file's network has it, {there}, got "
                f"{json.dumps(value)}; leave it out, or build the network and use "
                "load_weights(file)"
            )
    same = options.get("num_classes", engine.num_classes) == engine.num_classes
    return Adopted(
        name=saved.name,
        source=saved.source,
        options=options,
        labels=saved.labels if same else None,
        task=saved.task if same else "multi_class",
    )


def notice_differences(path: str, saved: Configuration, own: Configuration, classes: int) -> None:
    """Warn how a file's network differs from the one that loaded its parameters alone.

    Args:
        path: The model file.
        saved: The configuration in the file.
        own: The configuration of the network that loaded the parameters.
        classes: The number of its classes.
    """
    told = []
    if (saved.name, saved.source) == (own.name, own.source) and saved.graph == own.graph is None:
        free = {option: value for option, value in own.options.items() if option in FREE}
        theirs = {option: value for option, value in saved.options.items() if option not in FREE}
        if saved.draw({**theirs, **free}) != own.draw(own.options):
            named = sorted({*theirs, *own.options} - FREE)
            told += [
                f"`{option}` {_shown(saved, option)} (here {_shown(own, option)})"
                for option in named
                if saved.options.get(option) != own.options.get(option)
            ]
    if saved.labels is not None and len(saved.labels) == classes and saved.labels != own.labels:
        told.append("other `labels`")
    if saved.preprocess != own.preprocess:
        told.append("another `preprocess`")
    if told:
        text = f"{path}: the parameters were loaded, but the file's network has {', '.join(told)}"
        warnings.warn(f"{text}; cnnzoo.load(file) rebuilds that network", Notice, stacklevel=3)


def _shown(configuration: Configuration, option: str) -> str:
    return json.dumps(configuration.options[option]) if option in configuration.options else "none"
