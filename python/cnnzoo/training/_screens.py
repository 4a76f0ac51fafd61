"""The places where live curves are drawn: a notebook's output, and a terminal."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from cnnzoo._plots import GREY, PALE, need_matplotlib
from cnnzoo._progress import in_notebook
from cnnzoo._text import Out
from cnnzoo.training._canvas import Curve, Panel, draw_panels
from cnnzoo.training._progress import Bar
from cnnzoo.training.history import EpochRow, History

# Points of the batches' losses, of which two become one where there are more.
MOST_POINTS = 1000
# Of a picture: inches, pixels to an inch in its file, and in a notebook.
SIZE, DENSITY, SHOWN_DENSITY = (9.0, 3.25), 144, 96
# Of a chart in a terminal: lines, and columns at most; and lines that it leaves to others.
LINES, MOST_COLUMNS, OTHER_LINES = 12, 120, 3


class Trace:
    """The losses of the batches so far, by epochs; means of several where there are many."""

    def __init__(self) -> None:
        self._each = 1
        self._waiting: list[tuple[float, float]] = []
        self._points: list[tuple[float, float]] = []

    def add(self, at: float, loss: float) -> None:
        """Add the loss of a batch, after so many epochs."""
        self._waiting.append((at, loss))
        if len(self._waiting) < self._each:
            return
        self._points.append(_mean(self._waiting))
        self._waiting = []
        if len(self._points) >= MOST_POINTS:
            pairs = [self._points[place : place + 2] for place in range(0, MOST_POINTS, 2)]
            self._points = [_mean(pair) for pair in pairs]
            self._each *= 2

    def arrays(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Epochs and losses."""
        at, losses = np.array(self._points, np.float64).reshape(-1, 2).T
        return at, losses


@dataclass(frozen=True)
class Curves:
    """The curves of a run so far; `last` is the number of epochs at its end."""

    history: History
    trace: Trace
    last: int


class Screen(Protocol):
    """A place for curves."""

    @property
    def shown(self) -> bool:
        """Whether curves are there."""

    def draw(self, curves: Curves) -> None:
        """Draw curves in the place of those before."""

    def make_way(self) -> None:
        """Remove the curves where a line of text will be written over them."""


def new_screen(bar: Bar) -> Screen | None:
    """The screen for curves of a run; none where there is neither a notebook nor a terminal.

    Args:
        bar: The run's progress bar.

    Raises:
        MissingPackageError: matplotlib is not installed, in a notebook.
    """
    if in_notebook():
        return NotebookScreen()
    can_move = os.environ.get("TERM") != "dumb"
    if sys.stderr is not None and sys.stderr.isatty() and can_move:
        return TerminalScreen(bar, sys.stderr)
    return None


class NotebookScreen:
    """A picture in a notebook's output, which the next one replaces."""

    def __init__(self) -> None:
        need_matplotlib("learning curves")
        self._handle: Any = None

    @property
    def shown(self) -> bool:
        return True

    def draw(self, curves: Curves) -> None:
        picture = _Picture(_png(curves))
        if self._handle is None:
            from IPython.display import display

            self._handle = display(picture, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(picture)

    def make_way(self) -> None:
        """Nothing is written over a picture."""


class _Picture:
    """A picture as IPython displays it."""

    def __init__(self, png: bytes) -> None:
        self._png = png

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        width, height = (round(SHOWN_DENSITY * side) for side in SIZE)
        return self._png, {"width": width, "height": height}

    def __repr__(self) -> str:
        return "<learning curves>"


def _png(curves: Curves) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DENSITY, layout="constrained")
    axes = figure.subplots(1, 2)
    curves.history.plot(ax=axes)
    at, losses = curves.trace.arrays()
    if len(at):
        axes[0].plot(at, losses, color=PALE, linewidth=0.8, zorder=1.5, label="a batch")
        low, high = _limits(losses, curves.history)
        axes[0].set_ylim(low, high)
        axes[0].legend(frameon=False, fontsize=8, labelcolor=GREY)
    for ax in axes:
        # The last dot is whole.
        ax.set_xlim(0, 1.01 * curves.last)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _limits(losses: NDArray[np.float64], history: History) -> tuple[float, float]:
    """The range of the losses, without the largest few of batches."""
    known = losses[np.isfinite(losses)]
    ends = np.quantile(known, (0.0, 0.98)).tolist() if len(known) else []
    ends += [v for row in history for v in (row.train_loss, row.val_loss) if v is not None]
    finite = [value for value in ends if np.isfinite(value)] or [0.0, 1.0]
    room = 0.05 * (max(finite) - min(finite)) or 0.1
    return min(finite) - room, max(finite) + room


class TerminalScreen:
    """A chart of text above the progress bar, which the next one replaces."""

    def __init__(self, bar: Bar, stream: TextIO) -> None:
        self._bar = bar
        self._stream = stream
        # Without colours, marks tell curves apart.
        self._plain = Out(stream).plain or bool(os.environ.get("NO_COLOR"))
        # The number of lines that the last chart takes.
        self._lines = 0

    @property
    def shown(self) -> bool:
        return self._lines > 0

    def draw(self, curves: Curves) -> None:
        columns, rows = shutil.get_terminal_size()
        lines = draw_panels(
            _panels(curves),
            width=min(columns - 1, MOST_COLUMNS),
            height=min(LINES, rows - OTHER_LINES),
            last=curves.last,
            plain=self._plain,
        )
        self._write([*lines, ""])

    def make_way(self) -> None:
        self._write([])

    def _write(self, lines: Sequence[str]) -> None:
        with self._bar.aside():
            # Up to the first line of the last chart, and clear all below.
            up = f"\x1b[{self._lines}A" if self._lines else ""
            self._stream.write(f"{up}\r\x1b[J" + "".join(f"{line}\n" for line in lines))
            self._stream.flush()
        self._lines = len(lines)


def _panels(curves: Curves) -> list[Panel]:
    history, (at, losses) = curves.history, curves.trace.arrays()
    labels = any(row.val_map is not None for row in history)
    right = "val_map" if labels else "val_top1"
    shares = tuple(_curve(history, name, ink) for ink, name in enumerate(("train_top1", right)))
    return [
        Panel(
            "loss",
            (
                Curve("a batch", at, losses, None),
                _curve(history, "train_loss", 0),
                _curve(history, "val_loss", 1),
            ),
        ),
        Panel("mAP" if labels else "top1", shares, percent=True),
    ]


def _curve(history: Sequence[EpochRow], column: str, ink: int) -> Curve:
    found = [(row.epoch, value) for row in history if (value := getattr(row, column)) is not None]
    x, y = np.array(found, np.float64).reshape(-1, 2).T
    return Curve("training" if ink == 0 else "validation", x, y, ink)


def _mean(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(at for at, _ in points) / len(points), sum(y for _, y in points) / len(points)
