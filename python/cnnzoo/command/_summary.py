"""The summary of a finished run: a picture, and the same as plain values."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnnzoo._plots import GREY, INK, PAPER, literal, on_paper
from cnnzoo._text import percent
from cnnzoo.analysis import Examples
from cnnzoo.command._judged import calibration_values, draw_worst, metrics_values
from cnnzoo.command._settings import Settings
from cnnzoo.command._transfer import BEST, LAST, LOG, best_epoch
from cnnzoo.errors import CheckpointFileError
from cnnzoo.training import History

PICTURE, SUMMARY = "summary.png", "summary.json"

# Inches.
SIZE = (12.0, 11.0)
WORST = 12


def draw_run(folder: Path, settings: Settings, history: History, found: Examples) -> None:
    """Draw curves, confusion matrix and worst errors into the picture of a run's folder.

    Raises:
        CheckpointFileError: It cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained", dpi=110)
    places = figure.subplot_mosaic(
        [["loss", "confusion"], ["top1", "confusion"], ["worst", "worst"]],
        width_ratios=(1.1, 1),
        height_ratios=(1, 1, 2.6),
    )
    on_paper(figure, places.values())
    curves = [places["loss"], places["top1"]]
    history.plot(ax=curves)
    best = best_epoch(history, settings)
    head = settings.head_epochs or 0
    for ax in curves:
        ax.axvline(best, color=GREY, linewidth=0.8, linestyle=(0, (2, 2)), zorder=0)
        if 0 < head < settings.epochs:
            ax.axvspan(0.5, head + 0.5, color=GREY, alpha=0.08, linewidth=0)
        ax.set_xlim(0.5, len(history) + 0.5)
    found.plot_confusion(ax=places["confusion"])
    draw_worst(found, places["worst"], WORST)
    row = history[best - 1]
    accuracy = "" if row.val_top1 is None else f", {percent(row.val_top1)} of validation right"
    marks = "dotted: the epoch of the model that is kept"
    if 0 < head < settings.epochs:
        marks = f"grey: epochs that train the classifier alone; {marks}"
    name = literal(settings.model)
    figure.suptitle(
        f"{name}: the model of epoch {best} of {len(history)}{accuracy}\n{marks}",
        fontsize=10,
        color=INK,
    )
    try:
        figure.savefig(folder / PICTURE, facecolor=PAPER)
    except OSError as error:
        raise CheckpointFileError(f"{folder / PICTURE}: {error.strerror or error}") from error


def summary_values(
    folder: Path, settings: Settings, history: History, found: Examples
) -> dict[str, Any]:
    """A run as plain values: settings, epochs, the best one, and the figures of its model."""
    best = best_epoch(history, settings)
    return {
        "folder": str(folder),
        "files": {
            "model": str(folder / BEST),
            "picture": str(folder / PICTURE),
            "summary": str(folder / SUMMARY),
            "log": str(folder / LOG),
            "checkpoint": str(folder / LAST),
        },
        "settings": asdict(settings),
        "classes": list(found.labels),
        "epochs": [asdict(row) for row in history],
        "best": asdict(history[best - 1]),
        "validation": {
            **metrics_values(found.metrics),
            "calibration": calibration_values(found.calibration()),
            "errors": [
                {
                    "path": one.name,
                    "true": one.true,
                    "predicted": one.predicted,
                    "probability": one.probability,
                }
                for one in found.most_confident_errors(WORST)
            ],
        },
    }
