"""A model as a table: the operation, output and cost of each node, and of each part."""

from __future__ import annotations

from collections.abc import Collection

from cnnzoo._arguments import whole
from cnnzoo._html import Branch, html_tree
from cnnzoo._native import Graph
from cnnzoo._rows import Rows
from cnnzoo._summary_rows import (
    Place,
    SummaryPart,
    SummaryRow,
    frozen_of,
    nested,
    places_of,
    row_of,
)
from cnnzoo._text import human, table

__all__ = ["Summary", "SummaryPart", "SummaryRow"]

HEAD = ("op", "shape", "params", "macs", "activations", "receptive field", "")
# The columns of numbers, where names are before these.
RIGHT = (3, 4, 5, 6)


class Summary(Rows[SummaryRow]):
    """The rows of a model for one image size, the tree of its parts, and totals.

    In a notebook it is a tree whose parts unfold; `print` writes a table of all nodes, and `tree` a
    table of parts.
    """

    # In a summary that an older version pickled there are none.
    _parts: tuple[Place, ...] = ()
    _found_by = "name"

    def __init__(
        self, graph: Graph, height: int, width: int, *, trained: Collection[str] | None = None
    ) -> None:
        """Tabulate a graph.

        Args:
            graph: The graph.
            height: The images' height in pixels.
            width: Their width in pixels.
            trained: The names of the parameters that are not frozen; all if not given.

        Raises:
            ShapeError: The images are too small for the network.
        """
        height, width = whole("`x_shape`: height", height), whole("`x_shape`: width", width)
        self.name = graph.name
        self.x_shape = (1, graph.input_shape[0], height, width)
        frozen = {} if trained is None else frozen_of(graph, set(trained))
        self.rows = tuple(row_of(*row, frozen.get(row[0], 0)) for row in graph.rows(height, width))
        self._parts = places_of(graph, [row.name for row in self.rows])

    @property
    def root(self) -> SummaryPart:
        """The whole network as a part, which holds the others."""
        [root] = nested([("network", self.name, 0, len(self.rows)), *self._parts], self.rows)
        return root

    @property
    def parts(self) -> tuple[SummaryPart, ...]:
        """The parts that are in no other."""
        return self.root.parts

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
        """Bytes of all activations for one image in float32, if no memory is reused."""
        return sum(row.activation_bytes for row in self.rows)

    def tree(self, *, depth: int | None = None) -> str:
        """A table with a line for each part, and its parts and nodes below it.

        Args:
            depth: The number of levels that are shown, all if not given: 1 for the parts that are
                in no other.
        """
        most = None if depth is None else whole("`depth`", depth, least=1)
        lines: list[tuple[str, ...]] = []
        ahead = [(child, 1, self.root) for child in reversed(self.root.children)]
        while ahead:
            child, level, holder = ahead.pop()
            lines.append(("  " * (level - 1) + _title(child, holder), *_cells(child)))
            if isinstance(child, SummaryPart) and (most is None or level < most):
                ahead += [(one, level + 1, child) for one in reversed(child.children)]
        return f"{table(('name', *HEAD), lines, right=RIGHT)}\n\n{self._total()}"

    def __repr__(self) -> str:
        rows = table(("name", *HEAD), [(row.name, *_cells(row)) for row in self.rows], right=RIGHT)
        return f"{rows}\n\n{self._total()}"

    def _repr_html_(self) -> str:
        return html_tree(
            ("", *HEAD),
            self._branch(self.root, None),
            right=RIGHT,
            caption=self._total(),
        )

    def _branch(self, part: SummaryPart | SummaryRow, holder: SummaryPart | None) -> Branch:
        cells = (_title(part, holder), *_cells(part))
        if isinstance(part, SummaryRow):
            return cells, []
        return cells, [self._branch(child, part) for child in part.children]

    def _total(self) -> str:
        shape = "×".join(map(str, self.x_shape[1:]))
        frozen = f" ({self.frozen_params:,} frozen)" if self.frozen_params else ""
        return (
            f"{self.name} on {shape}: {self.params:,} parameters{frozen}, {self.macs:,} "
            f"multiply-adds, {human(self.activation_bytes)}B of activations"
        )


def _title(part: SummaryPart | SummaryRow, holder: SummaryPart | None) -> str:
    """A name without the path of what holds it; a part's kind, where its name does not say it."""
    within = "" if holder is None else f"{holder.name}."
    name = part.name.removeprefix(within) or part.name
    if isinstance(part, SummaryRow) or part.kind in {part.name, "network"}:
        return name
    return f"{part.kind} {name}"


def _cells(row: SummaryRow | SummaryPart) -> tuple[str, ...]:
    return (
        row.op if isinstance(row, SummaryRow) else "",
        "×".join(map(str, row.shape)),
        f"{row.params:,}" if row.params else "",
        f"{row.macs:,}" if row.macs else "",
        f"{human(row.activation_bytes)}B",
        "image" if row.receptive_field is None else "×".join(map(str, row.receptive_field)),
        row.state,
    )
