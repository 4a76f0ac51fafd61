"""The command `cnnzoo train`."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from cnnzoo import _json
from cnnzoo._text import Out, one_line, percent, quoted
from cnnzoo._threads import set_num_threads
from cnnzoo.analysis import evaluate_examples
from cnnzoo.command._among import among
from cnnzoo.command._settings import SETTINGS, Settings, write_text
from cnnzoo.command._summary import SUMMARY, draw_run, summary_values
from cnnzoo.command._transfer import BEST, Finished, best_epoch, resume_folder, train_folder
from cnnzoo.data import DataWarning, Loader
from cnnzoo.errors import DataError, Notice
from cnnzoo.model import load
from cnnzoo_command.status import INTERRUPTED


def train(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Train a model on a folder of photographs, or continue such a run."""
    folder = Path(args.output if args.resume is None else args.resume)
    if args.threads is not None:
        set_num_threads(args.threads)
    place = among(sync_batch_norm=args.sync_batch_norm)
    process: dict[str, Any] = {
        "among": place,
        "device": args.device,
        "threads": args.threads,
        "on_error": args.on_error,
        "tell": lambda text: err.print(text, cut=False),
    }
    try:
        with _told(err, shown=place.is_first):
            if args.resume is None:
                finished = train_folder(_settings(args), folder, **process)
            else:
                finished = resume_folder(
                    folder, photographs=args.folder, validation=args.validation, **process
                )
            if not place.is_first:
                return 0
            values = _summarised(folder, finished, on_error=args.on_error, threads=args.threads)
    except KeyboardInterrupt as error:
        if place.is_first:
            err.print(f"cnnzoo: {_interrupted(folder, str(error))}", cut=False)
        return INTERRUPTED
    except DataError as error:
        is_photograph = os.path.isfile(getattr(error, "path", ""))
        if not is_photograph or args.on_error == "skip" or not (folder / SETTINGS).exists():
            raise
        err.print(
            f"cnnzoo: {one_line(str(error))}; `cnnzoo train --resume {quoted(folder)} --on-error "
            "skip` goes on without it",
            cut=False,
        )
        return 1
    if args.json:
        out.print(_json.lines(values), cut=False)
    else:
        _print(out, folder, finished)
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    given = vars(args)
    return Settings(**{of.name: given[of.name] for of in fields(Settings) if of.name in given})


def _summarised(
    folder: Path, finished: Finished, *, on_error: Any, threads: int | None
) -> dict[str, Any]:
    """Evaluate the best model, and write the summary and its picture."""
    settings, history = finished.settings, finished.trainer.history
    model = load(folder / BEST, device=finished.trainer.model.device)
    checks = Loader(
        finished.data.validation,
        batch_size=settings.batch_size,
        transform=model.preprocess,
        shuffle=False,
        threads=threads,
        on_error=on_error,
    )
    found = evaluate_examples(model, checks)
    draw_run(folder, settings, history, found)
    values = summary_values(folder, settings, history, found)
    write_text(folder / SUMMARY, _json.lines(values))
    return values


def _print(out: Out, folder: Path, finished: Finished) -> None:
    history = finished.trainer.history
    best = best_epoch(history, finished.settings)
    out.print(f"\n{history!r}\n")
    top1 = history[best - 1].val_top1
    of = "" if top1 is None else f": {percent(top1)} of validation right"
    out.print(f"the model of epoch {best}{of}", cut=False)
    out.print(f"cnnzoo predict --model {quoted(folder / BEST)} PHOTO", cut=False)


def _interrupted(folder: Path, said: str) -> str:
    """The message after Ctrl-C: what is there, and how to go on."""
    where = said.partition(";")[0] or "interrupted"
    if not (folder / SETTINGS).exists():
        return f"{where}; nothing was written"
    return f"{where}; `cnnzoo train --resume {quoted(folder)}` continues from there"


@contextmanager
def _told(err: Out, *, shown: bool) -> Iterator[None]:
    """Write warnings of data and of what may surprise as lines, each of them once, or nothing."""
    said: set[str] = set()
    usual: Callable[..., None] = warnings.showwarning

    def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if not issubclass(category, Notice | DataWarning):
            usual(message, category, *where, **more)
        elif shown and str(message) not in said:
            said.add(str(message))
            err.print(f"cnnzoo: {message}", cut=False)

    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        warnings.simplefilter("always", DataWarning)
        warnings.showwarning = show
        yield
