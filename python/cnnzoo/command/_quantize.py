"""The command `cnnzoo quantize`: a model in int8."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnzoo._configuration import check_ending
from cnnzoo._progress import Count
from cnnzoo._text import Out, counted, quoted
from cnnzoo._threads import set_num_threads
from cnnzoo.command._commands import check_place, complain, print_json
from cnnzoo.command._models import model_of
from cnnzoo.data import Photos
from cnnzoo.errors import ArgumentError, DataError, Notice
from cnnzoo.model import Model


def quantize(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Write a quantized model file; the status is 1 if a photograph could not be read."""
    if args.threads is not None:
        set_num_threads(args.threads)
    check_ending(args.output)
    check_place(args.output)
    if os.path.exists(args.model) and _is_same(args.model, args.output):
        raise ArgumentError(
            f"{args.output}: expected another file than the model's own, whose weights in float32 "
            "it would replace"
        )
    photographs = Photos(args.folder)
    args.weights, args.device = None, "cpu"
    model = model_of(args)
    x, failures = _prepared(model, photographs, args.images, err)
    with warnings.catch_warnings(record=True) as notices:
        warnings.simplefilter("always", Notice)
        found = model.quantize(x, most_error=args.max_error)
    for notice in notices:
        err.print(f"cnnzoo: {notice.message}", cut=False)
    model.save(args.output, precision=args.weights_as)
    size = os.path.getsize(args.output)
    if args.json:
        print_json(
            out,
            {
                "file": str(args.output),
                "bytes": size,
                "images": found.images,
                "error": found.error,
                "most_error": found.most_error,
                "layers": [
                    {"name": of.name, "error": of.error, "is_int8": of.is_int8}
                    for of in found.layers
                ],
                "notices": [str(notice.message) for notice in notices],
            },
        )
    else:
        out.print(f"{found!r}\n")
        out.print(f"{args.output}: {size / 1e6:.1f} MB{_before(args.model, size)}", cut=False)
        out.print(f"cnnzoo predict --model {quoted(args.output)} --precision int8 PHOTO", cut=False)
    return 1 if failures else 0


def _is_same(file: str, other: str) -> bool:
    """Whether two names are those of one file."""
    return os.path.exists(other) and os.path.samefile(file, other)


def _before(model: str, size: int) -> str:
    """The size of a model's file beside that of the quantized one."""
    path = Path(model)
    return f", {size / path.stat().st_size:.0%} of {path}" if path.is_file() else ""


def _prepared(
    model: Model, photographs: Photos, most: int, err: Out
) -> tuple[NDArray[np.float32], int]:
    """Photographs from all parts of a folder, ready for the network, and how many are unreadable.

    Folders of classes follow each other, so the first ones would be of the first classes alone.
    """
    chosen = np.unique(np.linspace(0, len(photographs) - 1, most).round().astype(int))
    found: list[NDArray[np.float32]] = []
    with Count(len(chosen), "photographs", leave=False) as bar:
        for index in chosen.tolist():
            try:
                found.append(model.preprocess(photographs.name(index)))
            except DataError as error:
                bar.hide()
                complain(err, error)
            bar.advance()
    if not found:
        raise DataError(
            f"{photographs!r}: expected a photograph that can be read, got none among "
            f"{counted(len(chosen), 'file')}"
        )
    return np.concatenate(found), len(chosen) - len(found)
