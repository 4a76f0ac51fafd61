"""The command `cnnzoo embed`: a vector for each photograph."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _json, _native
from cnnzoo._progress import Count
from cnnzoo._text import Out, counted
from cnnzoo._threads import set_num_threads
from cnnzoo.command._commands import complain, print_json
from cnnzoo.command._models import model_of
from cnnzoo.command._vectors import Journal, Row, table_of, writer_of
from cnnzoo.data import BadSample, DataWarning, Loader, Photos
from cnnzoo.errors import ArgumentError, DataError, PhotoNotFoundError
from cnnzoo.model import Model
from cnnzoo_command.status import INTERRUPTED


def embed(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Write the vectors of photographs; the status is 1 if one could not be read."""
    if args.threads is not None:
        set_num_threads(args.threads)
    output = Path(args.output)
    write = writer_of(output)
    _refuse_old(output)
    photographs = Photos(list(_paths(args.photos)))
    model = model_of(args)
    model.preprocess.check_channels()
    width = _width(model)
    journal = Journal(output, _identity(args, model, photographs, width), width)
    if journal.done:
        err.print(
            f"cnnzoo: {output}: {journal.done} of {counted(len(photographs), 'photograph')} are "
            "done; the others follow",
            cut=False,
        )
    try:
        with journal:
            _fill(args, model, photographs, journal, err)
        rows, failures = write(journal, keep=args.on_error == "row")
    except KeyboardInterrupt:
        err.print(
            f"cnnzoo: interrupted after {journal.done} of "
            f"{counted(len(photographs), 'photograph')}; the same command continues from there",
            cut=False,
        )
        return INTERRUPTED
    journal.remove()
    facts = {
        "file": str(output),
        "rows": rows,
        "width": width,
        "unreadable": failures,
        "model": model.name,
    }
    if args.json:
        print_json(out, facts)
    else:
        without = f", {counted(failures, 'photograph')} could not be read" if failures else ""
        out.print(f"{output}: {counted(rows, 'vector')} of {width} numbers{without}", cut=False)
    return 1 if failures else 0


def _refuse_old(output: Path) -> None:
    """Refuse a file that exists, and likewise the table that would be written beside an .npy file.

    Raises:
        ArgumentError: One of them exists.
    """
    if output.exists():
        raise ArgumentError(f"{output}: expected a new file, got one that exists; remove it first")
    table = table_of(output)
    # An interrupted run may have written its own.
    if output.suffix.lower() == ".npy" and table.exists() and not Journal.is_there(output):
        raise ArgumentError(
            f"{table}: expected no such file, since the paths of {output.name} are written there; "
            "remove it, or name another output"
        )


def _paths(photos: list[str]) -> Iterator[str]:
    """The photographs, and those in folders, sorted by path.

    Raises:
        DataError: A folder cannot be read, or has none, or there is nothing of a name.
    """
    for photo in photos:
        if not os.path.lexists(photo):
            raise PhotoNotFoundError(f"{photo}: No such file or directory")
        if not os.path.isdir(photo):
            yield photo
            continue
        below, unreadable = _native.list_photos(photo)
        if unreadable:
            raise unreadable[0]
        if not below:
            raise DataError(f"{photo}: expected a photograph in the folder or below, got none")
        yield from below


def _width(model: Model) -> int:
    """The number of features, of the smallest run that tells."""
    return int(model.embed(np.zeros((1, *model.graph.input_shape), np.float32)).shape[1])


def _identity(args: argparse.Namespace, model: Model, photographs: Photos, width: int) -> str:
    """The things that vectors depend on, as text, by which a continued run is recognised."""
    file = Path(args.model)
    facts: dict[str, Any] = {
        "photographs": photographs.fingerprint,
        "count": len(photographs),
        "model": model.name,
        "weights": args.weights,
        "file": [os.path.abspath(file), file.stat().st_mtime_ns] if file.is_file() else None,
        "preprocess": repr(model.preprocess),
        "precision": args.precision,
        "width": width,
    }
    return _json.line(facts)


def _fill(
    args: argparse.Namespace, model: Model, photographs: Photos, journal: Journal, err: Out
) -> None:
    """Add the rows that are missing, batch by batch."""
    total = len(photographs)
    if journal.done == total:
        return
    left = photographs.subset(range(journal.done, total))
    loader = Loader(
        left,
        batch_size=args.batch_size,
        transform=model.preprocess,
        shuffle=False,
        threads=args.threads,
        on_error="raise" if args.on_error == "raise" else "skip",
    )
    with Count(total, "photographs", leave=False) as bar, warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # each is told here
        bar.advance(journal.done)
        begun = 0
        for end, vectors in _embedded(model, loader, args):
            bad = {one.index: one for one in loader.bad_samples}
            given = iter(vectors)
            rows = [_row(left.name(at), bad.get(at), given) for at in range(begun, end)]
            journal.add(rows)
            for at in range(begun, end):
                if at in bad:
                    bar.hide()
                    complain(err, bad[at].error)
            bar.advance(end - begun)
            begun = end


def _embedded(
    model: Model, loader: Loader[NDArray[np.float32]], args: argparse.Namespace
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """The vectors of a loader's photographs, with the number of those that came up to them."""
    total = len(loader.dataset)
    end = 0
    try:
        for x in loader:
            end = min(loader.state().batch * loader.batch_size, total)
            yield end, model.embed(x, precision=args.precision)
    except DataError:
        # A loader of which no sample can be read says so; each has a row with its own error.
        if len(loader.bad_samples) < total:
            raise
    if end < total:
        yield total, np.empty((0, 0), np.float32)


def _row(path: str, bad: BadSample | None, vectors: Iterator[NDArray[np.float32]]) -> Row:
    return Row(path, next(vectors), None) if bad is None else Row(path, None, str(bad.error))
