"""The comparison: rows that can be sorted, filtered, measured, drawn and exported."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args, overload

from cnnzoo._arguments import (
    instance,
    is_sequence,
    number,
    one_of,
    one_of_names,
    shown,
    text,
    whole,
)
from cnnzoo._plots import axes_for, save_figure
from cnnzoo._rows import Columns
from cnnzoo._threads import get_num_threads
from cnnzoo.comparison._bars import latency, memory
from cnnzoo.comparison._bubbles import bubbles
from cnnzoo.comparison._style import Chart
from cnnzoo.comparison._tables import as_html, as_markdown, as_text
from cnnzoo.comparison._timeline import timeline
from cnnzoo.comparison.row import ComparedModel
from cnnzoo.errors import ArgumentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Kind: TypeAlias = Literal["bubbles", "timeline", "latency", "memory"]
# The costs that a bubble chart can have on its horizontal axis.
Cost: TypeAlias = Literal["macs", "params", "memory", "milliseconds"]

# The columns of exports, in order.
COLUMNS = (
    *("name", "family", "year", "source", "weights", "top1", "top5", "data", "input_size"),
    *("params", "macs", "activations", "weight_bytes", "value_bytes", "memory"),
    *("milliseconds", "images_per_second", "batch", "threads", "process_bytes"),
)
# Of these, a row may have none.
MISSING = (
    *("year", "top1", "top5"),
    *("milliseconds", "images_per_second", "batch", "threads", "process_bytes"),
)
# Of all, more is better, so that sorting begins with the most.
MORE_IS_BETTER = {"top1", "top5", "images_per_second"}

# The other charts.
CHARTS = {"timeline": timeline, "latency": latency, "memory": memory}
WHAT = "a comparison"
MOST_ROUNDS = 10_000


class Comparison(Columns, Sequence[ComparedModel]):
    """Models side by side, in the order in which they were asked for; printing it shows a table.

    It does not change: `sort`, `filter` and `measure` return other comparisons. Slices are
    comparisons too, and `+` joins two.
    """

    def __init__(self, rows: Iterable[ComparedModel] = ()) -> None:
        self.rows = tuple(
            instance("`rows`", row, ComparedModel, "models of a comparison") for row in rows
        )

    @overload
    def __getitem__(self, index: int | str) -> ComparedModel: ...
    @overload
    def __getitem__(self, index: slice) -> Comparison: ...
    def __getitem__(self, index: int | str | slice) -> ComparedModel | Comparison:
        """A row by its place or by the model's name, or a comparison of some."""
        if isinstance(index, slice):
            return Comparison(self.rows[index])
        if not isinstance(index, str):
            return self.rows[index]
        for row in self.rows:
            if row.name == index:
                return row
        names = list(dict.fromkeys(row.name for row in self.rows))
        raise KeyError(f"expected {one_of_names(index, names, 'models')}, got {index!r}")

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[ComparedModel]:
        return iter(self.rows)

    def __add__(self, other: Comparison) -> Comparison:
        if not isinstance(other, Comparison):
            return NotImplemented
        return Comparison((*self.rows, *(row for row in other.rows if row not in self.rows)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Comparison) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]  # rows hold graphs, which are not hashable

    def __repr__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)

    def sort(self, by: str = "top1", *, reverse: bool = False) -> Comparison:
        """Sort the rows: the most accurate first, of other columns the smallest.

        Args:
            by: A column of `to_dict`. Rows without a value come last.
            reverse: Sort the other way round.

        Raises:
            ArgumentError: There is no such column.
        """
        column = one_of("`by`", by, COLUMNS)
        instance("`reverse`", reverse, bool, "True or False")
        known = [row for row in self.rows if getattr(row, column) is not None]
        known.sort(
            key=lambda row: getattr(row, column), reverse=reverse != (column in MORE_IS_BETTER)
        )
        return Comparison([*known, *(row for row in self.rows if getattr(row, column) is None)])

    def filter(
        self,
        *,
        max_params: float | None = None,
        max_macs: float | None = None,
        max_memory: float | None = None,
        max_milliseconds: float | None = None,
        min_top1: float | None = None,
        family: str | Iterable[str] | None = None,
        year: int | tuple[int, int] | None = None,
        extra_data: bool = True,
    ) -> Comparison:
        """Keep the rows within all limits. A row without a value is not within a limit on it.

        Args:
            max_params: The most trainable parameters.
            max_macs: The most multiply-adds for one image.
            max_memory: The largest `memory` in bytes.
            max_milliseconds: The longest measured time of a batch.
            min_top1: The least top-1 accuracy in percent.
            family: A family, or several, in upper or lower case.
            year: The year of the paper, or the first and the last one.
            extra_data: Whether to keep weights that were trained on more than ImageNet-1k.

        Raises:
            ArgumentError: A limit is no number, or no row is of a family.
        """
        most = {
            "params": max_params,
            "macs": max_macs,
            "memory": max_memory,
            "milliseconds": max_milliseconds,
        }
        kept: Iterable[ComparedModel] = self.rows
        for column, limit in most.items():
            if limit is not None and limit != math.inf:
                kept = _within(kept, column, -math.inf, number(f"`max_{column}`", limit))
        if min_top1 is not None:
            kept = _within(kept, "top1", number("`min_top1`", min_top1), math.inf)
        if family is not None:
            families = self._families(family)
            kept = [row for row in kept if row.family.lower() in families]
        if year is not None:
            kept = _within(kept, "year", *_years(year))
        if not instance("`extra_data`", extra_data, bool, "True or False"):
            kept = [row for row in kept if not row.data]
        return Comparison(kept)

    def _families(self, given: Any) -> set[str]:
        """The names of families in lower case, of which each has a row."""
        names = [given] if isinstance(given, str) else list(given) if is_sequence(given) else given
        if not isinstance(names, list):
            raise ArgumentError(f"`family`: expected a name or several, got {shown(given)}")
        known = list(dict.fromkeys(row.family for row in self.rows if row.family))
        for name in names:
            if text("`family`", name).lower() not in map(str.lower, known):
                expected = ", ".join(known) or "none, since no row has a family"
                raise ArgumentError(f"`family`: expected one of {expected}, got {shown(name)}")
        return {name.lower() for name in names}

    def measure(
        self,
        *,
        batch: int = 1,
        threads: int | None = None,
        rounds: int = 7,
        progress: bool = True,
    ) -> Comparison:
        """Measure the time of inference on this machine, as `cnnzoo bench` does.

        Each network runs with random parameters in a process of its own, on cnnzoo's engine in
        float32: once to warm up, then in turns of 50 milliseconds or at least one call. The time is
        the median over the turns. Measure while nothing else runs.

        Args:
            batch: Number of images at once, of each row's `input_size`.
            threads: Number of threads; those of `get_num_threads()` if not given.
            rounds: Number of turns of each network.
            progress: Whether to show a progress bar on a terminal or in a notebook.

        Returns:
            The same rows with `milliseconds`, `batch`, `threads` and `process_bytes`.

        Raises:
            ArgumentError: A number is none of at least 1.
            OutOfMemoryError: Less than 2 GiB of memory are free.
            DeviceError: The process of a network ended, or took minutes for a run.
        """
        from cnnzoo._progress import Count
        from cnnzoo.comparison._measuring import measured

        batch = whole("`batch`", batch, least=1)
        rounds = whole("`rounds`", rounds, least=1, most=MOST_ROUNDS)
        if threads is None:
            threads = get_num_threads()
        threads = whole("`threads`", threads, least=1)
        instance("`progress`", progress, bool, "True or False")
        rows = []
        with Count(len(self.rows), "networks", shown=progress, leave=False) as count:
            for row in self.rows:
                seconds, size = measured(row, batch=batch, threads=threads, rounds=rounds)
                timed = replace(row, milliseconds=1e3 * seconds, batch=batch, threads=threads)
                rows.append(replace(timed, process_bytes=size))
                count.advance()
        return Comparison(rows)

    def plot(self, kind: Kind = "bubbles", *, x: Cost = "macs", ax: Axes | None = None) -> Axes:
        """Draw the models.

        Args:
            kind: `"bubbles"`: top-1 accuracy over a cost, with an area for the parameters;
                `"timeline"`: top-1 accuracy over the year of the paper; `"latency"`: a bar for each
                measured time; `"memory"`: a bar for weights and values.
            x: The cost of a bubble chart: `"macs"`, `"params"`, `"memory"` or `"milliseconds"`.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: No row has the values that are drawn.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        chart = self._chart(kind, x)
        drawn: Axes = axes_for(ax, WHAT, chart.size)
        chart.draw(drawn)
        return drawn

    def save(
        self, path: str | os.PathLike[str], kind: Kind = "bubbles", *, x: Cost = "macs"
    ) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: No row has the values that are drawn, or matplotlib writes no files of
                this ending.
            MissingPackageError: matplotlib is not installed.
        """
        chart = self._chart(kind, x)
        save_figure(path, WHAT, chart.size, chart.draw)

    def _chart(self, kind: Any, x: Any) -> Chart:
        one_of("`kind`", kind, get_args(Kind))
        one_of("`x`", x, get_args(Cost))
        return bubbles(self.rows, x) if kind == "bubbles" else CHARTS[kind](self.rows)

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns by their names, as `pandas.DataFrame` takes them; None where none is."""
        return {column: [getattr(row, column) for row in self.rows] for column in COLUMNS}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with a row for each model; a missing number is NaN.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        frame = super().to_pandas()
        # A missing number is NaN, where pandas would keep None in a column of objects.
        return frame.astype(dict.fromkeys(MISSING, float))

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the columns of `to_dict` to a CSV file; a cell without a value is empty."""
        import csv

        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(zip(*self.to_dict().values(), strict=True))

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return as_markdown(self.rows)


def _within(
    rows: Iterable[ComparedModel], column: str, least: float, most: float
) -> list[ComparedModel]:
    """The rows that have a value from `least` to `most`."""
    values = ((row, getattr(row, column)) for row in rows)
    return [row for row, value in values if value is not None and least <= value <= most]


def _years(given: Any) -> tuple[int, int]:
    """The first and the last year."""
    at = "`year`"
    if is_sequence(given):
        if len(given) != 2:  # noqa: PLR2004
            raise ArgumentError(f"{at}: expected a year, or the first and last, got {shown(given)}")
        return whole(at, given[0]), whole(at, given[1])
    return whole(at, given), whole(at, given)
