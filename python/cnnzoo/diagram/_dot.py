"""Writes a network in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Iterator

from cnnzoo.diagram._colours import KINDS
from cnnzoo.diagram._network import Network, Part
from cnnzoo.diagram._operations import words
from cnnzoo.diagram._words import kind_of, shape_words


def dot(network: Network, within: Part | None) -> str:
    """A digraph of each node, with a cluster for each part; of a part, its nodes alone."""
    lines = [
        f"digraph {_quoted(network.name)} {{",
        '  graph [rankdir=TB fontname="Helvetica" color="#9aa7b4" fontcolor="#4b5967"];',
        '  node [shape=box style="rounded,filled" fontname="Helvetica" fontsize=10];',
        '  edge [color="#6b7a8a" arrowsize=0.6];',
        *_nodes(network, within),
        *_edges(network, within),
        "}",
    ]
    return "\n".join(lines)


def _nodes(network: Network, within: Part | None) -> Iterator[str]:
    """The nodes, in clusters."""
    places = range(len(network.nodes)) if within is None else range(within.first, within.end)
    parts = [part for part in network.parts if within is None or _is_inside(part, within)]
    parts.reverse()
    open_parts: list[Part] = []
    for place in places:
        while open_parts and open_parts[-1].end <= place:
            open_parts.pop()
            yield "  " * (len(open_parts) + 1) + "}"
        while parts and parts[-1].first == place:
            part = parts.pop()
            indent = "  " * (len(open_parts) + 1)
            number = f"cluster_{part.kind}_{part.first}_{part.end}"
            yield f"{indent}subgraph {number} {{ label={_quoted(part.name)};"
            open_parts.append(part)
        yield "  " * (len(open_parts) + 1) + _node(network, place)
    while open_parts:
        open_parts.pop()
        yield "  " * (len(open_parts) + 1) + "}"


def _is_inside(part: Part, within: Part) -> bool:
    return within.first <= part.first and part.end <= within.end


def _node(network: Network, place: int) -> str:
    node = network.nodes[place]
    fill, line, _, _ = KINDS[kind_of(network, node)]
    label = "\n".join(
        text for text in (words(network, node), node.name, shape_words(node.shape)) if text
    )
    return f'{_quoted(node.name)} [label={_quoted(label)} fillcolor="{fill}" color="{line}"];'


def _edges(network: Network, within: Part | None) -> Iterator[str]:
    for place, node in enumerate(network.nodes):
        if within is not None and not within.holds(place):
            continue
        for read in dict.fromkeys(node.inputs):
            if within is None or within.holds(read):
                yield f"  {_quoted(network.nodes[read].name)} -> {_quoted(node.name)};"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
