"""`cnnzoo compare`: models side by side."""

from __future__ import annotations

import argparse
from typing import Any

from cnnzoo import _json
from cnnzoo._text import Out
from cnnzoo.command._commands import check_place
from cnnzoo.command._models import model_file
from cnnzoo.comparison import Comparison, compare
from cnnzoo.model import load


def compare_(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print a table of models; the status is 1 if the limits leave none."""
    if args.save is not None:
        check_place(args.save)
    entries = [_entry(name, args.source) for name in args.models]
    found = compare(entries, weights=args.weights, extra_data=not args.imagenet_only)
    found = found.filter(
        max_params=args.max_params,
        max_macs=args.max_macs,
        min_top1=args.min_top1,
        family=args.family,
        year=args.year,
    )
    if args.measure:
        found = found.measure(batch=args.batch, threads=args.threads)
    if args.sort is not None:
        found = found.sort(args.sort)
    if args.save is not None:
        found.save(args.save, args.plot, x="milliseconds" if args.measure else "macs")
    if args.json:
        out.print(_json.lines(_records(found)), cut=False)
    elif found:
        out.print(repr(found))
    if not found:
        err.print("cnnzoo: no model is within all limits", cut=False)
    return 0 if found else 1


def _entry(name: str, source: str | None) -> Any:
    """A name, with the source beside it, or the network in a model file."""
    path = None if set(name) & set("*?[") else model_file(name, source=source)
    if path is not None:
        return load(path, lazy=True)
    return name if source is None else (name, source)


def _records(found: Comparison) -> list[dict[str, Any]]:
    """An object for each model, with the columns that it has a value for."""
    columns = found.to_dict()
    return [
        {name: values[at] for name, values in columns.items() if values[at] is not None}
        for at in range(len(found))
    ]
