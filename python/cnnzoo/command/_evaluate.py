"""The command `cnnzoo evaluate`: a model's accuracy on a folder of photographs."""

from __future__ import annotations

import argparse
import io
import re
import warnings
from pathlib import Path
from typing import Any

from cnnzoo._arguments import alike
from cnnzoo._files import write_whole
from cnnzoo._plots import PAPER, need_matplotlib, on_paper
from cnnzoo._text import Out, counted, one_line, percent, table
from cnnzoo._threads import set_num_threads
from cnnzoo.analysis import Examples, evaluate_examples
from cnnzoo.command._commands import check_place, complain, print_json
from cnnzoo.command._judged import calibration_values, draw_worst, metrics_values
from cnnzoo.command._models import model_of
from cnnzoo.data import DataWarning, ImageFolder, Loader
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model
from cnnzoo.prediction import imagenet_labels

SYNSET = re.compile(r"n\d{8}")
MOST_NAMED, MOST_LISTED = 5, 10
# Rows of the table of classes, and of confusions.
MOST_ROWS, MOST_CONFUSED = 40, 5
# Inches, and the number of pictures.
SIZE, WORST = (12.0, 10.0), 12


def evaluate(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Print the accuracy of a model; the status is 1 if a photograph could not be read."""
    if args.threads is not None:
        set_num_threads(args.threads)
    if args.save is not None:
        need_matplotlib("an evaluation")
        _check_ending(args.save)
        check_place(args.save)
    photographs = ImageFolder(args.folder)
    model = model_of(args)
    check_names(model, photographs)
    loader = Loader(
        photographs,
        batch_size=args.batch_size,
        transform=model.preprocess,
        shuffle=False,
        threads=args.threads,
        on_error=args.on_error,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # each is told below
        found = evaluate_examples(model, loader, precision=args.precision)
    for bad in found.bad_samples:
        complain(err, bad.error)
    if args.json:
        print_json(out, _values(args, model, found))
    else:
        _print(out, found)
    if args.save is not None:
        _draw(found, args.save)
    return 1 if found.bad_samples else 0


def check_names(model: Model, photographs: ImageFolder) -> None:
    """Check that the model has every class of the photographs, by name.

    The 1000 folders of ImageNet, which are named by WordNet IDs, are its 1000 classes.

    Raises:
        ArgumentError: A class is none of the model's labels.
    """
    names, labels = photographs.classes, model.labels
    if labels == imagenet_labels() and len(names) == len(labels) and all(map(_is_synset, names)):
        return
    missing = [name for name in names if name not in labels]
    if not missing:
        return
    more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
    close = alike(missing[0], labels)
    hint = f"; the closest of its labels to {missing[0]!r} are {', '.join(close)}" if close else ""
    all_of_them = (
        f"its labels are {', '.join(map(one_line, labels))}"
        if len(labels) <= MOST_LISTED
        else "`cnnzoo info FILE --json` lists the labels of a model file"
    )
    raise ArgumentError(
        f"{photographs.root}: expected folders that are named as labels of {model.name}, got "
        f"{', '.join(missing[:MOST_NAMED])}{more}{hint}; {all_of_them}"
    )


def _is_synset(name: str) -> bool:
    return SYNSET.fullmatch(name) is not None


def _values(args: argparse.Namespace, model: Model, found: Examples) -> dict[str, Any]:
    return {
        "model": args.model,
        "name": model.name,
        "folder": args.folder,
        "precision": args.precision,
        **metrics_values(found.metrics),
        "calibration": calibration_values(found.calibration()),
        "unreadable": [{"path": bad.name, "error": str(bad.error)} for bad in found.bad_samples],
    }


def _print(out: Out, found: Examples) -> None:
    metrics, calibration = found.metrics, found.calibration()
    shown = [one for one in metrics.per_class if one.count]
    rows = [
        (one.label, str(one.count), percent(one.precision), percent(one.recall), percent(one.f1))
        for one in sorted(shown, key=lambda one: one.recall)[:MOST_ROWS]
    ]
    top5 = "" if metrics.top5 is None else f", top-5 {percent(metrics.top5)}"
    out.print(
        f"{counted(metrics.count, 'photograph')}: top-1 {percent(metrics.top1)}{top5}, loss "
        f"{metrics.loss:.4f}, calibration error (ECE) {percent(calibration.error)}\n"
    )
    head = ("class", "photographs", "precision", "recall", "f1")
    out.print(table(head, rows, right=(1, 2, 3, 4)))
    if len(shown) > MOST_ROWS:
        out.print(f"the {MOST_ROWS} of {len(shown)} classes with the lowest recall; --json: all")
    if confused := metrics.most_confused(MOST_CONFUSED):
        out.print("\nmost confused:")
        for one in confused:
            names = f"{one_line(one.true)} as {one_line(one.predicted)}"
            out.print(f"  {one.images} {names} ({percent(one.share)})")


def _draw(found: Examples, path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained", dpi=110)
    places = figure.subplot_mosaic([["confusion", "calibration"], ["worst", "worst"]])
    on_paper(figure, places.values())
    found.plot_confusion(ax=places["confusion"])
    found.calibration().plot(ax=places["calibration"])
    draw_worst(found, places["worst"], WORST)
    written = io.BytesIO()
    figure.savefig(written, format=Path(path).suffix.lower()[1:], facecolor=PAPER)
    write_whole(path, written.getvalue())


def _check_ending(path: str) -> None:
    from matplotlib.figure import Figure

    known = Figure().canvas.get_supported_filetypes()
    if Path(path).suffix.lower()[1:] not in known:
        raise ArgumentError(f"{path}: expected a name that ends in .{', .'.join(known)}")
