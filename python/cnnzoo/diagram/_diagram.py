"""The public class of diagrams."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast, get_args

from cnnzoo._arguments import image_size, instance, one_of, one_of_names, path_of, shown, text
from cnnzoo._files import write_whole
from cnnzoo._native import Graph
from cnnzoo._text import human
from cnnzoo.diagram._collect import collected
from cnnzoo.diagram._colours import Theme
from cnnzoo.diagram._dot import dot
from cnnzoo.diagram._items import Level, inside
from cnnzoo.diagram._items import whole as whole_network
from cnnzoo.diagram._network import Network, Part, read
from cnnzoo.diagram._page import page
from cnnzoo.diagram._svg import svg
from cnnzoo.diagram._words import shape_words
from cnnzoo.errors import ArgumentError

ENDINGS = (".svg", ".dot", ".gv")


@dataclass(frozen=True, kw_only=True, repr=False)
class Diagram:
    """A picture of a network, or of a part of it; in Jupyter it shows itself.

    Attributes:
        name: The network.
        level: `"block"`: a box for each block or layer; `"node"`: a box for each node.
        part: The part whose inside it is; none if it is the whole network.
        x_shape: (C, H, W) of the images.
        svg: The picture, as SVG.
        graph: The graph that was drawn.
    """

    name: str
    level: Level
    part: str | None
    x_shape: tuple[int, int, int]
    svg: str
    # Graphs have no hash.
    graph: Graph = field(hash=False)

    def to_dot(self) -> str:
        """The graph in the language of Graphviz, with each node, and parts as clusters.

        `dot -Tsvg` of Graphviz, which cnnzoo does not need, draws it.
        """
        _, height, width = self.x_shape
        network = read(self.graph, height, width)
        return dot(network, None if self.part is None else _part(network, self.part))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture (`.svg`), or the graph in the language of Graphviz (`.dot`, `.gv`).

        Raises:
            ArgumentError: The name has another ending.
        """
        file = path_of("`path`", path)
        ending = file.suffix.lower()
        if ending not in ENDINGS:
            raise ArgumentError(f"{file}: expected a name that ends in {', '.join(ENDINGS)}")
        written = self.svg if ending == ".svg" else self.to_dot()
        write_whole(file, f"{written}\n".encode())

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        of = self.name if self.part is None else f"{self.part} of {self.name}"
        size = shape_words(self.x_shape)
        return f"<Diagram of {of} on {size}, {self.level} level; .save('{self.name}.svg')>"


def draw(
    graph: Graph,
    *,
    level: Level = "block",
    x_shape: Sequence[int] | None = None,
    part: str | None = None,
    theme: Theme = "auto",
) -> Diagram:
    """Draw a graph, which is not run.

    At block level equal blocks in a row are one box, and each sort of block is drawn once more with
    its inside: layers with their norms and activations.

    Args:
        graph: The graph.
        level: `"block"` for an overview, `"node"` for every node.
        x_shape: (N, C, H, W) or (H, W) of the images; the graph's own size if not given.
        part: The name of a stage, block or other part, of which the inside is drawn.
        theme: The page that the colours are for: `"light"`, `"dark"`, or `"auto"`, by the setting
            of whoever looks at it.

    Raises:
        ArgumentError: An option is invalid, or the graph has no such part.
        ShapeError: The images are too small for the network, or of other channels.
    """
    instance("`graph`", graph, Graph, "a Graph")
    level = cast("Level", one_of("`level`", level, get_args(Level)))
    theme = cast("Theme", one_of("`theme`", theme, get_args(Theme)))
    height, width = image_size(x_shape, graph.input_shape)
    network = read(graph, height, width)
    found = None if part is None else _part(network, part)
    title, about = _heading(network, found, (graph.input_shape[0], height, width))
    network = collected(network)
    group = (
        whole_network(network, level)
        if found is None
        else inside(network, _part(network, found.name), level)
    )
    drawn = page(network, group, level, title, about)
    return Diagram(
        name=graph.name,
        level=level,
        part=None if found is None else found.name,
        x_shape=(graph.input_shape[0], height, width),
        svg=svg(drawn, theme),
        graph=graph,
    )


def _part(network: Network, name: str) -> Part:
    """The part of a name; of several, one that holds the others."""
    name = text("`part`", name, "the name of a part")
    for part in network.parts:
        if part.name == name:
            return part
    names = list(dict.fromkeys(part.name for part in network.parts))
    expected = one_of_names(name, names, "parts") if names else "none, since the graph has no parts"
    raise ArgumentError(f"`part` of {network.name}: expected {expected}; got {shown(name)}")


def _heading(network: Network, part: Part | None, shape: tuple[int, int, int]) -> tuple[str, str]:
    """The title, and a line of facts."""
    nodes = network.nodes if part is None else network.nodes[part.first : part.end]
    needed = [node for node in nodes if node.macs is not None]
    params, macs = sum(node.params for node in needed), sum(node.macs or 0 for node in needed)
    title = network.name if part is None else f"{part.name} of {network.name}"
    facts = [f"on images of {shape_words(shape)}"]
    facts += [f"{human(params)} parameters"] if params else []
    facts += [f"{human(macs)} multiply-adds"] if macs else []
    return title, " · ".join(facts)
