"""What each command does, given its parsed arguments. Returns the exit status."""

from __future__ import annotations

import argparse
import json
import math
import os
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._text import Out, human, one_line, shorten, table
from cnnzoo.errors import CnnzooError, DataError
from cnnzoo.model import Model, create_model
from cnnzoo.prediction import BAR, Prediction, bar, rank
from cnnzoo.registry import ModelInfo, list_models, model_info
from cnnzoo.summary import Summary

# Photographs that run through the network together: few, so that Ctrl-C acts soon.
BATCH = 8
# Running text is not set wider than this, nor narrower than that.
WIDEST = 88
NARROWEST = 20


def complain(err: Out, error: CnnzooError) -> None:
    """Write an error as one line."""
    err.print("cnnzoo: " + one_line(str(error)), cut=False)


# cnnzoo list


def list_models_(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print the models that fit, a line each."""
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
        _print_json(out, [asdict(info) for info in infos])
    elif infos:
        head = ("name", "family", "year", "params", "multiply-adds", "image", "weights")
        out.print(table(head, [_row(info) for info in infos], right=(3, 4, 5)))
    else:
        err.print("cnnzoo: no model is like that; `cnnzoo list` prints them all")
    return 0


def _row(info: ModelInfo) -> tuple[str, ...]:
    return (
        info.name,
        info.family,
        str(info.year),
        human(info.params),
        human(info.macs),
        str(info.input_size),
        _best(info.weights),
    )


def _best(tags: Sequence[str]) -> str:
    return tags[0] + (f" (+{len(tags) - 1})" if len(tags) > 1 else "") if tags else ""


def _print_json(out: Out, value: Any) -> None:
    out.print(json.dumps(value, indent=2, allow_nan=False), cut=False)


# cnnzoo info


def info(args: argparse.Namespace, out: Out, _err: Out) -> int:
    """Print the facts about a model, and its layers if asked."""
    facts = model_info(args.model, source=args.source)
    layers = _layers(facts) if args.layers else None
    if args.json:
        as_json = asdict(facts)
        if layers is not None:
            as_json["layers"] = [asdict(row) for row in layers]
        _print_json(out, as_json)
        return 0
    width = max(NARROWEST, min(WIDEST, out.columns or WIDEST))
    out.print(f"{facts.name} · {facts.family}, {facts.year}\n")
    out.print(textwrap.fill(facts.idea, width) + "\n")
    lines = _lines(facts)
    indent = max(len(title) for title in lines) + 2
    for title, text in lines.items():
        first, *others = textwrap.wrap(text, max(NARROWEST, width - indent))
        out.print(f"{title:<{indent}}{first}")
        for line in others:
            out.print(" " * indent + line)
    if layers is not None:
        out.print(f"\n{layers!r}")
    return 0


def _lines(facts: ModelInfo) -> dict[str, str]:
    others = [source for source in facts.sources if source != facts.source]
    return {
        "paper": facts.paper,
        "strengths": facts.strengths,
        "weaknesses": facts.weaknesses,
        "source": facts.source + (f"; also of {', '.join(others)}" if others else ""),
        "deviations": facts.deviations,
        "parameters": f"{human(facts.params)} ({facts.params:,})",
        "multiply-adds": f"{human(facts.macs)} ({facts.macs:,}) for one image",
        "activations": f"{human(facts.activations)} ({facts.activations:,}) for one image",
        "image": f"{facts.input_size} × {facts.input_size} pixels",
        "weights": ", ".join(facts.weights) or "none are published",
    }


def _layers(facts: ModelInfo) -> Summary:
    graph = _native.draw(facts.source_name, facts.source)
    _, height, width = graph.input_shape
    return Summary(graph, height, width)


# cnnzoo predict


def predict(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print what photographs show. One that cannot be read does not keep the others from it."""
    found = list(_find(args.photos))
    if args.save is not None:
        from cnnzoo.picture import check_save

        check_save(args.save, photos=len(found))
    model = create_model(args.model, weights=args.weights, device=args.device)
    answers: list[tuple[str, Prediction]] = []
    for path, answer in _answers(model, found, args.top, err):
        if isinstance(answer, CnnzooError):
            complain(err, answer)
            continue
        if not args.json:
            out.print("\n" * bool(answers) + one_line(path), cut=False)
            out.print(_bars(answer, out))
            out.flush()
        answers.append((path, answer))
    if args.json:
        _print_json(out, [_plain(path, prediction) for path, prediction in answers])
    if args.save is not None and answers:
        from cnnzoo.picture import draw_predictions, save

        photos = [(Path(path).name, path, prediction) for path, prediction in answers]
        save(draw_predictions(photos), args.save)
    return 0 if len(answers) == len(found) else 1


def _find(photos: Sequence[str]) -> Iterator[str | CnnzooError]:
    """The photographs themselves, and those below folders; an error for a folder without any."""
    for photo in photos:
        if not os.path.isdir(photo):
            yield photo
            continue
        below, unreadable = _native.list_photos(photo)
        yield from below
        yield from unreadable
        if not below and not unreadable:
            endings = ", ".join(_native.PHOTO_SUFFIXES)
            yield DataError(f"{photo}: expected {endings} files in or below, got none")


def _answers(
    model: Model, found: Sequence[str | CnnzooError], top: int, err: Out
) -> Iterator[tuple[str, Prediction | CnnzooError]]:
    """What each photograph shows, or why it cannot be said, as soon as it is known."""
    many = len(found) > BATCH and err.is_terminal
    for start in range(0, len(found), BATCH):
        batch = found[start : start + BATCH]
        try:
            if many:
                err.status(f"{start} of {len(found)} photographs")
            answers = _classify(model, batch, top)
        finally:
            if many:
                err.status("")
        yield from zip(map(str, batch), answers, strict=True)


def _classify(
    model: Model, batch: Sequence[str | CnnzooError], top: int
) -> list[Prediction | CnnzooError]:
    from concurrent.futures import ThreadPoolExecutor

    def prepare(item: str | CnnzooError) -> NDArray[np.float32] | CnnzooError:
        if isinstance(item, CnnzooError):
            return item
        try:
            return model.preprocess(item)
        except CnnzooError as error:
            return error

    # Decoding and resizing run without the GIL.
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        prepared = list(pool.map(prepare, batch))
    images = [image for image in prepared if not isinstance(image, CnnzooError)]
    predictions = iter(
        rank(model(np.concatenate(images)), model.labels, top, model.task) if images else []
    )
    return [image if isinstance(image, CnnzooError) else next(predictions) for image in prepared]


def _bars(prediction: Prediction, out: Out) -> str:
    """Label, percentage and bar; on a narrow terminal the bars give way, then the labels."""
    columns = out.columns or 10**6
    longest = max(len(guess.label) for guess in prediction)
    beside = len("    100.0%  ")
    labels = max(1, min(longest, columns - beside))
    width = max(0, min(BAR, columns - beside - labels))
    return "\n".join(
        f"  {shorten(guess.label, labels, out.plain):<{labels}}  {guess.probability:6.1%}  "
        f"{bar(guess.probability, width=width, plain=out.plain)}".rstrip()
        for guess in prediction
    )


def _plain(path: str, prediction: Prediction) -> dict[str, Any]:
    return {
        "path": path,
        "predictions": [
            # JSON has no NaN.
            {**guess._asdict(), "probability": None if math.isnan(guess.probability) else guess[2]}
            for guess in prediction
        ],
    }
