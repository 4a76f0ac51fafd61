"""What a run went through, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from cnnzoo._text import table
from cnnzoo.errors import MissingPackageError


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch.

    Attributes:
        epoch: Its number, from 1.
        step: How many batches the run had taken at its end.
        lr: The rate of its last update.
        train_loss: The mean over its images, each before the update that it took part in.
        train_top1: The share of these whose largest logit was where their target is largest.
        val_loss: The mean over the validation images; none without these.
        val_top1: The share of these whose class has the largest logit.
        val_top5: The share of these whose class is among the five largest logits.
        seconds: How long its batches took, loading included.
        images_per_second: How many images of these there were in each.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_top1: float
    val_loss: float | None = None
    val_top1: float | None = None
    val_top5: float | None = None
    seconds: float
    images_per_second: float


class History(Sequence[EpochRow]):
    """The rows of a run."""

    def __init__(self, rows: Sequence[EpochRow] = ()) -> None:
        self.rows = tuple(rows)

    @overload
    def __getitem__(self, index: int) -> EpochRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[EpochRow, ...]: ...
    def __getitem__(self, index: int | slice) -> EpochRow | tuple[EpochRow, ...]:
        """A row, or some."""
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[EpochRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        head = ("epoch", "lr", "loss", "top1", "val loss", "val top1", "val top5", "images/s")
        return table(head, [_cells(row) for row in self.rows], right=tuple(range(8)))

    def plot(self, *, axes: Any = None) -> Any:
        """Draw the losses, and beside them the shares of images that were recognised.

        Args:
            axes: Two of matplotlib to draw on; new ones if not given.

        Returns:
            The two axes.

        Raises:
            MissingPackageError: There is no matplotlib.
        """
        try:
            from matplotlib import pyplot
            from matplotlib.ticker import PercentFormatter
        except ImportError as error:
            raise MissingPackageError(
                "drawing a history needs matplotlib: pip install 'cnnzoo[plots]'"
            ) from error
        if axes is None:
            _, axes = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        loss, top1 = axes
        epochs = [row.epoch for row in self.rows]
        for on, train, validation, title in (
            (loss, "train_loss", "val_loss", "loss"),
            (top1, "train_top1", "val_top1", "top-1 accuracy"),
        ):
            on.plot(epochs, [getattr(row, train) for row in self.rows], label="training")
            values = [getattr(row, validation) for row in self.rows]
            if any(value is not None for value in values):
                on.plot(epochs, [_or_nan(value) for value in values], label="validation")
            on.set_title(title)
            on.set_xlabel("epoch")
            on.xaxis.get_major_locator().set_params(integer=True)
            on.spines[["top", "right"]].set_visible(False)
        # As many digits as the ticks need to tell 27.5 % from 28 %.
        top1.yaxis.set_major_formatter(PercentFormatter(1.0))
        loss.legend(frameon=False)
        return axes


def _cells(row: EpochRow) -> tuple[str, ...]:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2%}"

    return (
        str(row.epoch),
        f"{row.lr:.3g}",
        f"{row.train_loss:.4f}",
        share(row.train_top1),
        "" if row.val_loss is None else f"{row.val_loss:.4f}",
        share(row.val_top1),
        share(row.val_top5),
        f"{row.images_per_second:.0f}",
    )


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
