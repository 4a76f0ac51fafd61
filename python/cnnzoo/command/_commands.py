"""The commands: functions of the parsed arguments that return the exit status."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnnzoo import _json, _native
from cnnzoo._arguments import alike
from cnnzoo._photo import Contents, Photo, read_bytes
from cnnzoo._progress import Count
from cnnzoo._text import Out, human, one_line, table
from cnnzoo.command._formats import FORMATS
from cnnzoo.command._models import model_of
from cnnzoo.errors import ArgumentError, DataError, PhotoFileError
from cnnzoo.model.predict import predict_many
from cnnzoo.prediction import FailedPrediction, Prediction
from cnnzoo.registry import ModelInfo, list_models, model_info


def complain(err: Out, error: Exception) -> None:
    """Write an error as one line."""
    err.print("cnnzoo: " + one_line(str(error)), cut=False)


def check_place(path: str) -> None:
    """Refuse a file that cannot be written, before the work whose result it gets.

    Raises:
        ArgumentError: It is a folder, or its folder does not exist or cannot be written.
    """
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path):
        raise ArgumentError(f"{path}: expected a file to write, got a folder")
    if not os.path.isdir(folder):
        raise ArgumentError(f"{path}: expected a file in a folder that exists")
    if not os.access(folder, os.W_OK):
        raise ArgumentError(f"{path}: expected a file in a folder that can be written")


# cnnzoo list


def list_models_(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print the matching models, a line each."""
    pattern = (args.pattern or "*").lower()
    if not set(pattern) & set("*?["):
        pattern = f"*{pattern}*"
    names = list_models(
        pattern,
        family=args.family,
        source=args.source,
        weights=True if args.weights else None,
        max_params=args.max_params,
        max_macs=args.max_macs,
    )
    infos = [model_info(name, source=args.source) for name in names]
    if args.json:
        print_json(out, [asdict(info) for info in infos])
    elif infos:
        head = ("name", "family", "year", "params", "multiply-adds", "image", "top-1", "weights")
        out.print(table(head, [_row(info) for info in infos], right=(3, 4, 5, 6)))
    if not infos:
        err.print(f"cnnzoo: no model matches; {_hint(args.pattern)}", cut=False)
    return 0 if infos else 1


def _hint(pattern: str | None) -> str:
    """A suggestion where nothing was found."""
    sources = {source for name in list_models() for source in model_info(name).sources}
    if pattern in sources:
        return f"{pattern} is a source; use --source: `cnnzoo list --source {pattern}`"
    close = alike((pattern or "").lower(), list_models())
    return f"the closest are {', '.join(close)}" if close else "`cnnzoo list` prints them all"


def _row(info: ModelInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.family,
        str(info.year),
        human(info.params),
        human(info.macs),
        str(info.input_size),
        "" if info.top1 is None else f"{info.top1:.2f}%",
        _best(info.weights),
    )


def _best(tags: Sequence[str]) -> str:
    return tags[0] + (f" (+{len(tags) - 1})" if len(tags) > 1 else "") if tags else ""


def print_json(out: Out, value: Any) -> None:
    """Write a value as indented JSON."""
    out.print(_json.lines(value), cut=False)


# cnnzoo predict


def predict(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print the predictions for photographs; one that cannot be read does not stop the others."""
    found = list(find_photos(args.photos))
    if args.save is not None:
        from cnnzoo.picture import check_save

        check_save(args.save, photos=len(found))
    model = model_of(args)
    answers = predict_many(model, found, top=args.top, on_error="keep", precision=args.precision)
    drawn: list[tuple[str, Photo | Contents, Prediction]] = []
    failures = 0
    with FORMATS[args.format](out) as entries, Count(len(found), "photographs", leave=False) as bar:
        for photo, answer in zip(found, answers, strict=True):
            if out.is_terminal or isinstance(answer, FailedPrediction):
                bar.hide()
            path = answer.path or ""
            if isinstance(answer, FailedPrediction):
                failures += 1
                complain(err, answer.error)
            elif args.save is not None and not isinstance(photo, FailedPrediction):
                drawn.append((Path(path).name, photo, answer))
            entries.write(path, answer)
            out.flush()
            bar.advance()
    if drawn:
        from cnnzoo.picture import draw_predictions, save

        save(draw_predictions(drawn, orientation=model.preprocess.orientation), args.save)
    return 0 if failures == 0 else 1


def find_photos(photos: Sequence[str]) -> Iterator[str | Contents | FailedPrediction]:
    """The photographs, and those below folders; a failure for a folder without photographs."""
    for photo in photos:
        if photo == "-":
            yield _standard_input()
            continue
        if not os.path.isdir(photo):
            yield photo
            continue
        below, unreadable = _native.list_photos(photo)
        yield from below
        for error in unreadable:
            path = os.fsdecode(getattr(error, "path", photo))
            yield FailedPrediction(path=path, error=error)
        if not below and not unreadable:
            endings = ", ".join(_native.PHOTO_SUFFIXES)
            expected = f"{photo}: expected {endings} files in or below, got none"
            yield FailedPrediction(path=photo, error=DataError(expected))


def _standard_input() -> Contents | FailedPrediction:
    """The photograph whose bytes come on standard input."""
    if sys.stdin is None:  # as the shell closed it
        closed = PhotoFileError("-: standard input is closed")
        return FailedPrediction(path="-", error=closed)
    try:
        return Contents(read_bytes(sys.stdin.buffer, "-"), "-")
    except DataError as error:
        return FailedPrediction(path="-", error=error)
