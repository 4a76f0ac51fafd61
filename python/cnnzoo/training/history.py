"""The history of a run: losses and metrics of each epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cnnzoo._arguments import shown
from cnnzoo._html import html_scroll, html_table
from cnnzoo._plots import GREY, SERIES, axes_for, calm, ink
from cnnzoo._rows import Rows
from cnnzoo._text import table
from cnnzoo.errors import ArgumentError

# So many epochs are drawn as dots too.
FEW = 20
# The columns that a row also has for the model itself, where an EMA model is evaluated.
OWN = ("val_loss", "val_top1", "val_map")


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """The losses and metrics of one epoch.

    Attributes:
        epoch: Number of the epoch, from 1.
        step: Number of batches of the run up to the end of the epoch.
        lr: Learning rate of the last update.
        train_loss: Mean training loss, of each image before the update that it took part in;
            weighted where the loss has class weights, and NaN where every image's weight is 0.
        train_top1: Top-1 accuracy in training: the share of images whose largest logit is where
            their target is largest; None in multi-label training.
        val_loss: Mean validation loss; None without validation data.
        val_top1: Top-1 accuracy: the share of validation images whose class has the largest logit.
        val_top5: Top-5 accuracy: the share of these whose class is among the five largest logits;
            None with fewer than six classes.
        val_map: Mean average precision (mAP), in multi-label training.
        val_f1: Mean F1 of the labels, in multi-label training.
        val_accuracy: Mean accuracy of the labels, in multi-label training.
        own_val_loss: `val_loss` of the model itself, where the others are those of its exponential
            moving average (EMA); None without EMA.
        own_val_top1: `val_top1` of the model itself, likewise.
        own_val_map: `val_map` of the model itself, likewise.
        val_metrics: Values of the custom metrics, by name.
        seconds: Duration of the training batches in seconds, with loading.
        images_per_second: Training images per second.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float | None = None
    val_loss: float | None = None
    val_top1: float | None = None
    val_top5: float | None = None
    val_map: float | None = None
    val_f1: float | None = None
    val_accuracy: float | None = None
    own_val_loss: float | None = None
    own_val_top1: float | None = None
    own_val_map: float | None = None
    val_metrics: dict[str, float] = field(default_factory=dict)
    seconds: float
    images_per_second: float


class History(Rows[EpochRow]):
    """The rows of a run."""

    def __init__(self, rows: Sequence[EpochRow] = ()) -> None:
        self.rows = tuple(rows)

    def _values(self, row: EpochRow) -> dict[str, Any]:
        values = super()._values(row)
        return values | {f"val_{name}": value for name, value in values.pop("val_metrics").items()}

    def __repr__(self) -> str:
        head, cells = self._cells()
        return table(head, cells, right=range(len(head)))

    def _repr_html_(self) -> str:
        head, cells = self._cells()
        return html_scroll(html_table(head, cells, right=range(len(head))))

    def _cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """The head of the table and its rows, without columns that are empty."""
        columns = [c for c in _COLUMNS if not self.rows or any(map(c.cell, self.rows))]
        columns += [_extra(name) for name in {n: None for row in self for n in row.val_metrics}]
        columns.append(_Column("images/s", lambda row: f"{row.images_per_second:.0f}"))
        head = tuple(column.title for column in columns)
        return head, [tuple(column.cell(row) for column in columns) for row in self.rows]

    def plot(self, *, ax: Any = None) -> Any:
        """Plot the losses, and beside them the top-1 accuracies.

        In multi-label training, the mean average precision is in place of the accuracy.

        Args:
            ax: Two matplotlib axes to draw on; new ones if not given.

        Returns:
            The two axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "a history", (9, 3.2), columns=2)
        from matplotlib.ticker import PercentFormatter

        loss, top1 = ax
        epochs = [row.epoch for row in self.rows]
        labels = any(row.val_map is not None for row in self.rows)
        right = (
            ("train_top1", "val_map", "mean average precision")
            if labels
            else ("train_top1", "val_top1", "top-1 accuracy")
        )
        for on, train, validation, title in (
            (loss, "train_loss", "val_loss", "loss"),
            (top1, *right),
        ):
            for name, label, colour in (
                (train, "training", SERIES[0]),
                (validation, "validation", SERIES[1]),
            ):
                values = [getattr(row, name) for row in self.rows]
                if any(value is not None for value in values):
                    # A line of few points would hardly be seen.
                    mark = "o" if len(epochs) <= FEW else None
                    values = [_or_nan(value) for value in values]
                    on.plot(epochs, values, color=colour, marker=mark, markersize=4, label=label)
            on.set_title(title, fontsize=9, color=ink(on))
            on.set_xlabel("epoch")
            on.xaxis.get_major_locator().set_params(integer=True)
            calm(on, grid="y")
        # As many digits as the ticks need to tell 27.5 % from 28 %.
        top1.yaxis.set_major_formatter(PercentFormatter(1.0))
        if self.rows:
            loss.legend(frameon=False, fontsize=8, labelcolor=GREY)
        return ax


class _Column(NamedTuple):
    """A column of the table, which is left out where all its cells are empty."""

    title: str
    cell: Callable[[EpochRow], str]


def _of(title: str, name: str, form: str) -> _Column:
    def cell(row: EpochRow) -> str:
        value = getattr(row, name)
        return "" if value is None else format(value, form)

    return _Column(title, cell)


def _extra(name: str) -> _Column:
    def cell(row: EpochRow) -> str:
        return f"{row.val_metrics[name]:.4g}" if name in row.val_metrics else ""

    return _Column(f"val {name}", cell)


_COLUMNS = (
    _of("epoch", "epoch", "d"),
    _of("lr", "lr", ".3g"),
    _of("loss", "train_loss", ".4f"),
    _of("top1", "train_top1", ".2%"),
    _of("val loss", "val_loss", ".4f"),
    _of("val top1", "val_top1", ".2%"),
    _of("val top5", "val_top5", ".2%"),
    _of("val mAP", "val_map", ".2%"),
    _of("own loss", "own_val_loss", ".4f"),
    _of("own top1", "own_val_top1", ".2%"),
    _of("own mAP", "own_val_map", ".2%"),
    _of("val f1", "val_f1", ".2%"),
    _of("val accuracy", "val_accuracy", ".2%"),
)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


MONITORS = {
    "val_top1": 1,
    "val_top5": 1,
    "val_map": 1,
    "val_f1": 1,
    "val_accuracy": 1,
    "train_top1": 1,
    "val_loss": -1,
    "train_loss": -1,
}


def better(monitor: str) -> int:
    """Whether a larger (1) or smaller (-1) value of a column is better."""
    if not isinstance(monitor, str) or monitor not in MONITORS:
        raise ArgumentError(
            f"`monitor`: expected one of {', '.join(MONITORS)}, got {shown(monitor)}"
        )
    return MONITORS[monitor]


def monitored(row: EpochRow, monitor: str) -> float:
    """The value of the monitored column."""
    value: float | None = getattr(row, monitor)
    if value is None:
        raise ArgumentError(
            f"`monitor`: expected a column that the run has, got {monitor}, which has no value here"
        )
    return value
