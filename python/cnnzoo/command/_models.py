"""The models that a command is given: names that `cnnzoo list` prints, and model files."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cnnzoo._configuration import Configuration, WeightsFile
from cnnzoo._neighbours import tagged
from cnnzoo.errors import ArgumentError, WeightsError
from cnnzoo.model import Model, create_model, load
from cnnzoo.registry import accepted_names

# Endings of model files and weights files.
FILE_SUFFIXES = {".safetensors", ".pth", ".pt", ".bin", ".h5"}


def model_of(args: argparse.Namespace) -> Model:
    """The network of a name, or of a model file."""
    path = model_file(args.model)
    if path is None:
        return create_model(args.model, weights=args.weights or "default", device=args.device)
    refuse_weights(path, args.weights)
    return load(path, device=args.device, lazy=True)


def model_file(text: str, *, source: str | None = None) -> Path | None:
    """The path of a model file; None for the name of a model.

    Raises:
        WeightsError: It is a folder.
        ArgumentError: A source of the definition is given, which a file names itself.
    """
    if text in accepted_names() or not is_file_name(text):
        return None
    path = Path(text)
    if path.is_dir():
        best = path / "best.safetensors"
        hint = f"; use {best}" if best.exists() else ""
        raise WeightsError(
            f"{path}: expected a model file, as `Model.save` writes, got a folder{hint}"
        )
    if source is not None:
        raise ArgumentError(
            f"`--source`: expected none with a file, which names its own, got {source}"
        )
    return path


def refuse_weights(path: Path, weights: str | None) -> None:
    """Refuse weights beside a model file.

    Raises:
        ArgumentError: There are some.
    """
    if weights is not None:
        raise ArgumentError(
            f"`--weights`: expected none with a model file, which holds its own, got "
            f"{weights}; for a weights file, give the name of its network: "
            f"--model NAME --weights {path}"
        )


def refuse_file(text: str, hint: str) -> None:
    """Refuse a model file where only the name of a model makes sense.

    Raises:
        ArgumentError: It is one.
    """
    if model_file(text) is not None:
        raise ArgumentError(f"{text}: expected a name that `cnnzoo list` prints, got a file{hint}")


def saved_in(path: Path, hint: str = "") -> Configuration:
    """The configuration in a model file, whose parameters are not loaded.

    Args:
        path: The file.
        hint: An addition to the message where it holds weights alone.

    Raises:
        WeightsError: The file is missing or damaged, or holds weights alone.
    """
    saved = Configuration.of_file(WeightsFile.open(path))
    if saved is None:
        raise WeightsError(
            f"{path}: expected a model file, as `Model.save` writes, got weights alone{hint}"
        )
    return saved


def is_file_name(text: str) -> bool:
    """Whether a text that is no model's name is that of a file."""
    if os.path.exists(text):
        return True
    # A name of timm may have a slash: `timm/resnet50.a1_in1k`.
    return tagged(text) is None and (os.sep in text or Path(text).suffix in FILE_SUFFIXES)
