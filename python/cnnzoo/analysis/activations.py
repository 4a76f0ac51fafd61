"""Activation statistics: the mean, spread and zeros of a network's values, and its dead units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import instance, node_names, whole
from cnnzoo._html import html_table
from cnnzoo._plots import GREY, SERIES, axes_for, calm, ink, literal
from cnnzoo._progress import Count
from cnnzoo._rows import Rows
from cnnzoo._text import counted, percent, table
from cnnzoo.analysis._images import prepared
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model

if TYPE_CHECKING:
    from cnnzoo.summary import SummaryRow

# Fewer than for other analyses, since the values of all nodes are kept for a batch.
BATCH = 8
# Nodes with a name below each bar.
MOST_NAMES = 40
DEAD = "#d1603d"
IMAGE = 3


@dataclass(frozen=True, kw_only=True)
class NodeStatistics:
    """The statistics of a node's values over all images.

    Attributes:
        node: The node.
        op: Its operation.
        shape: The shape of its value for one image.
        mean: Mean of all values; NaN where one is not finite.
        std: Their standard deviation.
        least: The lowest value.
        most: The highest value.
        zeros: Share of values that are exactly 0.
        units: Number of units: channels of an image, numbers of a vector, and numbers of a token.
        dead: The units that are 0 or below at every place of every image.
        not_finite: Number of values that are infinite or NaN.
    """

    node: str
    op: str
    shape: tuple[int, ...]
    mean: float
    std: float
    least: float
    most: float
    zeros: float
    units: int
    dead: tuple[int, ...]
    not_finite: int

    @property
    def dead_share(self) -> float:
        """Share of the units that are dead."""
        return len(self.dead) / self.units


class ActivationStatistics(Rows[NodeStatistics]):
    """The statistics of several nodes, in the order in which they run.

    Attributes:
        name: The name of the network.
        images: Number of images.
        rows: The statistics of each node.
    """

    _found_by = "node"
    _further_columns = ("dead_share",)

    def __init__(self, name: str, images: int, rows: Sequence[NodeStatistics]) -> None:
        self.name = name
        self.images = images
        self.rows = tuple(rows)

    def plot(self, *, ax: Any = None) -> Any:
        """Draw mean and standard deviation of each node, and below them zeros and dead units.

        Args:
            ax: Two matplotlib axes to draw on; new ones if not given.

        Returns:
            The two axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "activations", (7.0, 4.6), rows=2)
        from matplotlib.ticker import PercentFormatter

        values, shares = ax
        x = np.arange(1, len(self) + 1)
        mean, std = (np.array([getattr(row, name) for row in self]) for name in ("mean", "std"))
        values.fill_between(x, mean - std, mean + std, color=SERIES[0], alpha=0.15, linewidth=0)
        values.plot(x, mean, "o-", color=SERIES[0], markersize=3, label="mean ± standard deviation")
        values.set_ylabel("value")
        zeros, dead = [row.zeros for row in self], [row.dead_share for row in self]
        shares.bar(x, zeros, 0.8, color=SERIES[5], alpha=0.6, label="zeros")
        shares.bar(x, dead, 0.4, color=DEAD, label="dead units")
        shares.set_ylim(0, 1)
        shares.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        for on in (values, shares):
            on.set_xlim(0.3, len(self) + 0.7)
            calm(on, grid="y")
            on.legend(frameon=False, fontsize=8, labelcolor=GREY)
        title = f"{literal(self.name)}, {counted(self.images, 'image')}{self._lost()}"
        values.set_title(title, fontsize=9, color=ink(values))
        if len(self) <= MOST_NAMES:
            shares.set_xticks(x, [row.node for row in self], rotation=90, fontsize=7)
            values.set_xticks(x, [])
        else:
            shares.set_xlabel("node")
        return ax

    def table(self) -> str:
        """A table of the nodes, as text."""
        return table(self._head(), self._cells(), right=range(2, len(self._head())))

    def _head(self) -> tuple[str, ...]:
        return HEAD if self._not_finite() == 0 else (*HEAD, "not finite")

    def _not_finite(self) -> int:
        """Number of values that are infinite or NaN, of all nodes."""
        return sum(row.not_finite for row in self)

    def _lost(self) -> str:
        """The end of a line that tells of values that are infinite or NaN; empty without any."""
        lost = self._not_finite()
        return f", {counted(lost, 'value')} infinite or NaN" if lost else ""

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.node,
                "×".join(map(str, row.shape)),
                f"{row.mean:.3g}",
                f"{row.std:.3g}",
                f"{row.least:.3g}",
                f"{row.most:.3g}",
                percent(row.zeros),
                f"{len(row.dead)} of {row.units}" if row.dead else "",
                *([str(row.not_finite or "")] if self._not_finite() else []),
            )
            for row in self
        ]

    def __repr__(self) -> str:
        dead, units = sum(len(row.dead) for row in self), sum(row.units for row in self)
        return (
            f"<ActivationStatistics of {self.name}: {counted(len(self), 'node')} on "
            f"{counted(self.images, 'image')}, {dead} of {units} units dead{self._lost()}>"
        )

    def _repr_html_(self) -> str:
        head, caption = self._head(), repr(self)[1:-1]
        return html_table(head, self._cells(), right=range(2, len(head)), caption=caption)


HEAD = ("node", "value", "mean", "std", "lowest", "highest", "zeros", "dead units")


def activation_statistics(
    model: Model,
    images: Any,
    nodes: str | Sequence[str] | None = None,
    *,
    batch_size: int = BATCH,
    progress: bool | None = None,
) -> ActivationStatistics:
    """Compute statistics of the values of nodes over images, in inference mode.

    A unit that is never above 0 is dead after a ReLU: it passes on nothing, and gets no gradient.

    Args:
        model: The model.
        images: An array or tensor (N, C, H, W) ready for the network; photographs as for
            `Model.predict`; a data set; or a loader, whose first epoch is taken.
        nodes: Names of `Model.nodes()`, or one of them; if not given, the network's activations,
            or, where it has none, all nodes.
        batch_size: Number of images that run together; memory is needed for all values of a batch.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        The statistics of each node.

    Raises:
        ArgumentError: There is no such node, or no image.
        DataError: A photograph cannot be read.
        ShapeError: The images are not (N, C, H, W), or too small.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    batch_size = whole("`batch_size`", batch_size, least=1)
    rows = {row.name: row for row in model.summary()}
    chosen = _chosen(rows, nodes)
    sums = [_Sums(name, rows.get(name)) for name in chosen]
    seen = 0
    total = len(images) if isinstance(images, np.ndarray) else None
    with Count(total, "images", shown=progress is not False) as count:
        at = f"activations of {model.name}"
        for x in prepared(model, images, at=at, batch_size=batch_size):
            found = model.features(x, chosen)
            for one in sums:
                one.add(found[one.node])
            seen += len(x)
            count.advance(len(x))
    return ActivationStatistics(model.name, seen, [one.result() for one in sums])


def _chosen(rows: dict[str, SummaryRow], nodes: str | Sequence[str] | None) -> list[str]:
    if nodes is not None:
        names = node_names("`nodes`", nodes)
        if not names:
            raise ArgumentError("`nodes`: expected at least one name, got none")
        return list(dict.fromkeys(names))
    return [name for name, row in rows.items() if row.op == "activation"] or list(rows)


class _Sums:
    """The sums of a node's values, over batches."""

    def __init__(self, node: str, row: SummaryRow | None) -> None:
        self.node = node
        self._op = "" if row is None else row.op
        self._shape: tuple[int, ...] = ()
        self._count = self._zeros = self._not_finite = 0
        # Around the first batch's mean, so that the squares of values far from 0 keep their digits.
        self._around: float | None = None
        self._sum = self._squares = 0.0
        self._least, self._most = math.inf, -math.inf
        self._alive: NDArray[np.bool_] | None = None

    def add(self, values: NDArray[np.float32]) -> None:
        finite = np.isfinite(values)
        known = values if finite.all() else values[finite]
        self._shape = values.shape[1:]
        self._not_finite += values.size - known.size
        self._count += values.size
        self._zeros += values.size - int(np.count_nonzero(values))
        if known.size:
            if self._around is None:
                self._around = float(known.mean(dtype=np.float64))
            apart = known.astype(np.float64) - self._around
            self._sum += float(apart.sum())
            self._squares += float(np.square(apart).sum())
            self._least = min(self._least, float(known.min()))
            self._most = max(self._most, float(known.max()))
        # Channels of an image are its first axis, the numbers of a token or vector the last.
        unit = 1 if values.ndim == IMAGE + 1 else values.ndim - 1
        others = tuple(axis for axis in range(values.ndim) if axis != unit)
        # A NaN is neither.
        alive = np.asarray(~(values <= 0).all(others))
        self._alive = alive if self._alive is None else self._alive | alive

    def result(self) -> NodeStatistics:
        assert self._alive is not None
        apart = self._sum / self._count if not self._not_finite else math.nan
        variance = self._squares / self._count - apart**2
        return NodeStatistics(
            node=self.node,
            op=self._op,
            shape=self._shape,
            mean=(self._around or 0.0) + apart,
            std=math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan,
            least=self._least,
            most=self._most,
            zeros=self._zeros / self._count,
            units=len(self._alive),
            dead=tuple(np.flatnonzero(~self._alive).tolist()),
            not_finite=self._not_finite,
        )
