"""A graph as a diagram reads it: nodes with their shapes and costs, and parts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnnzoo._native import Graph


@dataclass(frozen=True, kw_only=True)
class Node:
    """A node of the graph.

    Attributes:
        name: Its path in the state dict.
        op: The operation.
        fields: The fields of the operation.
        inputs: The positions of the nodes that it reads.
        shape: The output's shape for one image; none where it is not known.
        params: Number of trainable parameters.
        macs: Multiply-adds for one image; none where it runs in training only.
        is_virtual: It stands for wires alone, and is no node of the graph.
    """

    name: str
    op: str
    fields: Mapping[str, Any]
    inputs: tuple[int, ...]
    shape: tuple[int, ...] | None
    params: int = 0
    macs: int | None = None
    is_virtual: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """A run of nodes with a role: from `first` to before `end`."""

    kind: str
    name: str
    first: int
    end: int

    def holds(self, node: int) -> bool:
        """Whether a node is one of its own."""
        return self.first <= node < self.end


@dataclass(frozen=True, kw_only=True)
class Network:
    """Nodes in the order in which they run, and parts, one that holds another before it."""

    name: str
    nodes: tuple[Node, ...]
    parts: tuple[Part, ...]
    output: int
    auxiliary: tuple[int, ...]

    @cached_property
    def users(self) -> list[list[int]]:
        """For each node, those that read it, each of them once."""
        users: list[list[int]] = [[] for _ in self.nodes]
        for position, node in enumerate(self.nodes):
            for read in dict.fromkeys(node.inputs):
                users[read].append(position)
        return users

    def channels_in(self, node: Node) -> int:
        """Channels of the first input; 0 where there is none."""
        if not node.inputs:
            return 0
        return channels(self.nodes[node.inputs[0]].shape)


def channels(shape: tuple[int, ...] | None) -> int:
    """Channels of an image (C, H, W), features of tokens (T, C) or of a vector (C,)."""
    if not shape:
        return 0
    return shape[1] if len(shape) == 2 else shape[0]  # noqa: PLR2004  # tokens


def read(graph: Graph, height: int, width: int) -> Network:
    """The network of a graph for images of this size.

    Raises:
        ShapeError: The images are too small for the network.
    """
    operations = graph.operations()
    shapes = graph.shapes(height, width)
    place = {operation[0]: position for position, operation in enumerate(operations)}
    costs = {row[0]: row for row in graph.rows(height, width)}
    params = _params(graph)
    nodes = [
        Node(
            name=name,
            op=op,
            fields=json.loads(fields),
            inputs=tuple(place[read] for read in inputs),
            shape=None if shape is None else tuple(shape),
            params=params.get(name, 0),
            macs=costs[name][5] if name in costs else None,
        )
        for (name, op, inputs, fields), shape in zip(operations, shapes, strict=True)
    ]
    return Network(
        name=graph.name,
        nodes=tuple(nodes),
        parts=tuple(
            Part(kind=kind, name=name, first=first, end=end)
            for kind, name, first, end in graph.parts()
        ),
        output=place[graph.output],
        auxiliary=tuple(place[name] for name in graph.auxiliary),
    )


def _params(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (_, shape, is_trained), owner in zip(graph.parameters(), graph.owners(), strict=True):
        if is_trained:
            counts[owner] = counts.get(owner, 0) + math.prod(shape)
    return counts
