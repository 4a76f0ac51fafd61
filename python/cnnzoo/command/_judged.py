"""Figures of an evaluation as plain values, and the pictures of its worst errors."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cnnzoo._plots import ink
from cnnzoo.analysis import Calibration, Examples
from cnnzoo.training import Metrics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def metrics_values(metrics: Metrics) -> dict[str, Any]:
    """Accuracies, figures of each class that occurs, and the confusions between classes."""
    return {
        "images": metrics.count,
        "top1": metrics.top1,
        "top5": metrics.top5,
        "loss": metrics.loss,
        "per_class": [
            {**asdict(one), "f1": one.f1}
            for one in metrics.per_class
            if one.count or one.precision == 0
        ],
        "confusion": [
            {"true": one.true, "predicted": one.predicted, "images": one.images}
            for one in metrics.most_confused(metrics.count)
        ],
        "undecided": int(metrics.undecided.sum()),
    }


def calibration_values(calibration: Calibration) -> dict[str, Any]:
    """The errors of a calibration and its bins that have images."""
    return {
        "error": calibration.error,
        "most_error": calibration.most_error,
        "bins": [asdict(one) for one in calibration.bins if one.images],
    }


def draw_worst(found: Examples, ax: Axes, count: int) -> None:
    """Draw the most confident errors; if there are none, the images of the highest loss."""
    wrong = found.most_confident_errors(count)
    shown = wrong or found.top_losses(count)
    shown.gallery(count, ax=ax)
    title = "the most confident errors" if wrong else "no errors; the images of the highest loss"
    ax.set_title(title, fontsize=9, color=ink(ax))
