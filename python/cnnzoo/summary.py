"""A model as a table: the operation, output and cost of each node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from cnnzoo._arguments import whole
from cnnzoo._native import Graph
from cnnzoo._text import table


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One node of the graph.

    Attributes:
        name: Its path in the state dict.
        op: The operation.
        inputs: The nodes whose outputs it takes.
        shape: The output's shape for one image: (C, H, W) or (C,).
        params: Number of trainable parameters.
        macs: Multiply-adds (MACs) for one image.
        activation_bytes: Bytes of the output for one image in float32.
        receptive_field: (height, width) in pixels of the window of the image that one output value
            depends on; none where it is the whole image.
        stride: (vertical, horizontal) pixels between the windows of neighbouring output values.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    params: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, int] | None
    stride: tuple[int, int] | None


class Summary(Sequence[SummaryRow]):
    """The rows of a model for one image size, and their totals."""

    def __init__(self, graph: Graph, height: int, width: int) -> None:
        height, width = whole("`x_shape`: height", height), whole("`x_shape`: width", width)
        self.name = graph.name
        self.x_shape = (1, graph.input_shape[0], height, width)
        self.rows = tuple(_row(*row) for row in graph.rows(height, width))

    @property
    def params(self) -> int:
        """Number of trainable parameters."""
        return sum(row.params for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds (MACs) for one image."""
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of all activations for one image in float32, if no memory is reused."""
        return sum(row.activation_bytes for row in self.rows)

    @overload
    def __getitem__(self, index: int) -> SummaryRow: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[SummaryRow, ...]: ...
    def __getitem__(self, index: int | slice) -> SummaryRow | tuple[SummaryRow, ...]:
        """A row, or a slice of rows."""
        return self.rows[index]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SummaryRow]:
        return iter(self.rows)

    def __repr__(self) -> str:
        head = ("name", "op", "shape", "params", "macs", "receptive field")
        rows = table(head, [_cells(row) for row in self.rows], right=(3, 4, 5))
        shape = "×".join(map(str, self.x_shape[1:]))
        total = (
            f"{self.name} on {shape}: {self.params:,} parameters, {self.macs:,} multiply-adds, "
            f"{self.activation_bytes / 2**20:.1f} MiB of activations"
        )
        return f"{rows}\n\n{total}"


def _cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        row.name,
        row.op,
        "×".join(map(str, row.shape)),
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        "image" if row.receptive_field is None else "×".join(map(str, row.receptive_field)),
    )


def _row(  # noqa: PLR0917  # a tuple of the extension, spread out
    name: str,
    op: str,
    inputs: list[str],
    shape: list[int],
    params: int,
    macs: int,
    activation_bytes: int,
    receptive_field: tuple[int, int] | None,
    stride: tuple[int, int] | None,
) -> SummaryRow:
    return SummaryRow(
        name=name,
        op=op,
        inputs=tuple(inputs),
        shape=tuple(shape),
        params=params,
        macs=macs,
        activation_bytes=activation_bytes,
        receptive_field=receptive_field,
        stride=stride,
    )
