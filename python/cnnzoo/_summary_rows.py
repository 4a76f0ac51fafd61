"""The rows of a summary: nodes, and the parts that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from cnnzoo._native import Graph

Pair = tuple[int, int]
# A part: kind, name, first row, row after the last one.
Place = tuple[str, str, int, int]


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
        frozen_params: Number of trainable parameters that are frozen.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    params: int
    macs: int
    activation_bytes: int
    receptive_field: Pair | None
    stride: Pair | None
    frozen_params: int = 0

    @property
    def state(self) -> str:
        """`trained`, `frozen`, `partly frozen`, or empty without parameters."""
        return _state(self.params, self.frozen_params)


@dataclass(frozen=True, kw_only=True)
class SummaryPart:
    """A part of the network: the stem, a stage, a block, the head, or all of it.

    Attributes:
        kind: `stem`, `stage`, `block`, `gate`, `head`, `embedding` or `classifier`; `network` for
            all of it.
        name: Its name.
        children: Its parts, and its nodes that are in none of these, in the order in which they
            run.
    """

    kind: str
    name: str
    children: tuple[SummaryPart | SummaryRow, ...]

    @property
    def parts(self) -> tuple[SummaryPart, ...]:
        """The parts among its children."""
        return tuple(child for child in self.children if isinstance(child, SummaryPart))

    @property
    def rows(self) -> tuple[SummaryRow, ...]:
        """Its nodes, also those of its parts."""
        found: list[SummaryRow] = []
        for child in self.children:
            found += child.rows if isinstance(child, SummaryPart) else [child]
        return tuple(found)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its last output for one image."""
        return self.rows[-1].shape

    @property
    def receptive_field(self) -> Pair | None:
        """That of its last output."""
        return self.rows[-1].receptive_field

    @property
    def stride(self) -> Pair | None:
        """That of its last output."""
        return self.rows[-1].stride

    @property
    def params(self) -> int:
        """Number of trainable parameters."""
        return sum(row.params for row in self.rows)

    @property
    def frozen_params(self) -> int:
        """Number of trainable parameters that are frozen."""
        return sum(row.frozen_params for row in self.rows)

    @property
    def macs(self) -> int:
        """Multiply-adds (MACs) for one image."""
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        """Bytes of the outputs of its nodes for one image in float32."""
        return sum(row.activation_bytes for row in self.rows)

    @property
    def state(self) -> str:
        """`trained`, `frozen`, `partly frozen`, or empty without parameters."""
        return _state(self.params, self.frozen_params)


def _state(params: int, frozen: int) -> str:
    if not params:
        return ""
    return "trained" if not frozen else "frozen" if frozen == params else "partly frozen"


def frozen_of(graph: Graph, trained: set[str]) -> dict[str, int]:
    """The number of frozen parameters of each node that has some."""
    counts: dict[str, int] = {}
    for (name, shape, trains), node in zip(graph.parameters(), graph.owners(), strict=True):
        if trains and name not in trained:
            counts[node] = counts.get(node, 0) + prod(shape)
    return counts


def places_of(graph: Graph, names: Sequence[str]) -> tuple[Place, ...]:
    """(kind, name, first row, row after the last) of the parts that have rows."""
    shown = set(names)
    before = [0]
    for node in graph.nodes():
        before.append(before[-1] + (node in shown))
    places = ((kind, name, before[a], before[b]) for kind, name, a, b in graph.parts())
    return tuple(place for place in places if place[2] < place[3])


def nested(parts: Sequence[Place], rows: Sequence[SummaryRow]) -> list[SummaryPart]:
    """Parts, one that holds another before it, as trees."""
    found = []
    at = 0
    while at < len(parts):
        kind, name, first, end = parts[at]
        after = at + 1
        while after < len(parts) and parts[after][2] < end:
            after += 1
        below = nested(parts[at + 1 : after], rows)
        children: list[SummaryPart | SummaryRow] = []
        row = first
        for part, (_, _, start, stop) in zip(below, _outermost(parts[at + 1 : after]), strict=True):
            children += [*rows[row:start], part]
            row = stop
        children += rows[row:end]
        found.append(SummaryPart(kind=kind, name=name, children=tuple(children)))
        at = after
    return found


def _outermost(parts: Sequence[Place]) -> list[Place]:
    found: list[Place] = []
    for part in parts:
        if not found or part[2] >= found[-1][3]:
            found.append(part)
    return found


def row_of(  # noqa: PLR0917  # a tuple of the extension, spread out
    name: str,
    op: str,
    inputs: list[str],
    shape: list[int],
    params: int,
    macs: int,
    activation_bytes: int,
    receptive_field: Pair | None,
    stride: Pair | None,
    frozen_params: int,
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
        frozen_params=frozen_params,
    )
