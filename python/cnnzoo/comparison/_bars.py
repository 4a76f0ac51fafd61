"""Charts with a bar for each model: measured times, and memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnnzoo._plots import GREY, PAPER, calm, ink
from cnnzoo.comparison._style import Chart, colours, headline, legend, names, nothing
from cnnzoo.comparison._tables import mebibytes, three_digits
from cnnzoo.comparison.row import Rows, measurement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WEIGHTS, VALUES = "#1d4e89", "#e9a03b"


def latency(rows: Rows) -> Chart:
    """Measured times, the shortest first."""
    timed = sorted(
        (row for row in rows if row.milliseconds is not None), key=lambda row: row.milliseconds or 0
    )
    if not timed:
        hint = "; `measure` measures them"
        raise nothing("a plot of latency", "a measured model", rows, hint)
    return Chart(_size(timed), lambda ax: _draw_latency(ax, timed))


def memory(rows: Rows) -> Chart:
    """The memory of weights and values, the least first."""
    if not rows:
        raise nothing("a plot of memory", "a model", rows)
    ordered = sorted(rows, key=lambda row: row.memory)
    return Chart(_size(ordered), lambda ax: _draw_memory(ax, ordered))


def _size(rows: Rows) -> tuple[float, float]:
    return 9.0, 1.5 + 0.22 * max(len(rows), 5)


def _draw_latency(ax: Axes, rows: Rows) -> None:
    shown = colours(rows)
    times = [row.milliseconds or 0.0 for row in rows]
    notes = [
        f"{three_digits(time)} ms · {three_digits(row.images_per_second or 0)} images/s"
        for row, time in zip(rows, times, strict=True)
    ]
    _bars(ax, times, [0.0] * len(rows), [shown[row.family] for row in rows])
    _frame(ax, rows, times, notes, "milliseconds")
    settings = " or ".join(measurement(rows))
    headline(ax, "Time of inference", f"{settings} of this machine, medians")
    if len(shown) > 1:
        _legend(ax, shown)


def _draw_memory(ax: Axes, rows: Rows) -> None:
    weights = [row.weight_bytes / 2**20 for row in rows]
    values = [row.value_bytes / 2**20 for row in rows]
    _bars(ax, weights, [0.0] * len(rows), WEIGHTS)
    _bars(ax, values, weights, VALUES)
    notes = [mebibytes(row.memory) for row in rows]
    _frame(ax, rows, [row.memory / 2**20 for row in rows], notes, "MiB")
    headline(ax, "Memory of inference", "an estimate: float32, one image, operations one by one")
    _legend(ax, {"weights": WEIGHTS, "values": VALUES})


def _bars(
    ax: Axes, lengths: Sequence[float], left: Sequence[float], fill: str | Sequence[str]
) -> None:
    ax.barh(range(len(lengths)), lengths, 0.72, left, color=fill, edgecolor=PAPER, linewidth=0.4)


def _legend(ax: Axes, shown: Mapping[str, str]) -> None:
    from matplotlib.patches import Patch

    legend(ax, [Patch(color=colour, label=name) for name, colour in shown.items()])


def _frame(
    ax: Axes, rows: Rows, lengths: Sequence[float], notes: Sequence[str], label: str
) -> None:
    """Names to the left of the bars, notes behind them."""
    most = max(lengths) or 1.0
    for place, (length, note) in enumerate(zip(lengths, notes, strict=True)):
        ax.text(length + most / 90, place, note, va="center", fontsize=7.5, color=GREY)
    ax.set_xlim(0, 1.22 * most)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(label)
    calm(ax, grid="x")
    ax.set_yticks(range(len(rows)), names(rows), fontsize=8)
    ax.tick_params(axis="y", length=0, labelcolor=ink(ax))
    ax.spines["left"].set_visible(False)
