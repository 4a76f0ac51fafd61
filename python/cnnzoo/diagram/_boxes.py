"""A sketch of each item that is a box: its lines of text, and how large these make it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cnnzoo.diagram._blocks import Block, tooltip
from cnnzoo.diagram._collect import COLLECT
from cnnzoo.diagram._items import Leaf, is_auxiliary
from cnnzoo.diagram._layers import Layer
from cnnzoo.diagram._letters import fitted, text_width
from cnnzoo.diagram._lines import MOST_LINE, PAD_X, SMALL, TITLE, Line, wrapped
from cnnzoo.diagram._network import Network, Part
from cnnzoo.diagram._operations import brief, words
from cnnzoo.diagram._repeats import structure
from cnnzoo.diagram._sketch import Box, End, Look, Sketch, Text, badge
from cnnzoo.diagram._words import (
    AUXILIARY,
    SYMBOLS,
    kind_of,
    range_of_names,
    shape_words,
    shared_path,
    short_name,
)

PAD_TOP, PAD_BOTTOM = 6.0, 7.0
RADIUS = 10.0
BAR = 24.0
LEAST = {"layer": 128.0, "node": 168.0, "block": 230.0, "bar": 128.0}
# The most that a name takes.
MOST_NAME = 190.0
BADGE = 16.0
# How much wider than its texts need a box may be, for these to stand at its ends.
WIDE = 1.7


class Boxes:
    """Draws the boxes of one picture.

    Attributes:
        outputs: For each box by its name, the node whose value goes out of it.
    """

    def __init__(self, network: Network, letters: Mapping[object, str]) -> None:
        """Begin a picture; `letters` name the insides of blocks that are drawn, by structure."""
        self._network, self._letters = network, letters
        self._count = 0
        self._blocks = [part for part in network.parts if part.kind == "block"]
        self.outputs: dict[str, int] = {}

    def new_id(self) -> str:
        """A name for a box."""
        self._count += 1
        return f"b{self._count}"

    def fork(self) -> Sketch:
        """A place without a box, at which a wire divides."""
        box = Box(id=self.new_id(), left=0.0, top=0.0, width=0.0, height=0.0, look="none", kind="")
        end = End(box=box.id, points=((0.0, 0.0),), is_fork=True)
        return Sketch(boxes=[box], entries=(end,), exits=(end,))

    def _letter(self, leaf: Leaf) -> str:
        if leaf.look != "block" or not self._letters:
            return ""
        return self._letters.get(structure(self._network, leaf, sizes=False), "")

    def leaf(self, leaf: Leaf, within: str, span: tuple[float, float] | None = None) -> Sketch:
        """A sketch of a box, whose name does not repeat the path `within` of what holds it.

        It reaches as far as `span`, the columns of wires that come in from above.
        """
        if leaf.look == "symbol":
            return self._circle(leaf)
        if leaf.look == "bar":
            return self._bar(leaf, span)
        lines = self._block(leaf) if leaf.look == "block" else self._lines(leaf, within)
        return self._rectangle(leaf, lines, span)

    def width(self, leaf: Leaf, within: str) -> float:
        """The width that a box needs."""
        lines = self._block(leaf) if leaf.look == "block" else self._lines(leaf, within)
        return max(LEAST[leaf.look], *(line.width + 2 * PAD_X for line in lines))

    def _lines(self, leaf: Leaf, within: str) -> list[Line]:
        [layer] = leaf.layers
        nodes = self._network.nodes
        shape = shape_words(nodes[leaf.output].shape)
        title = Line(middle=self._title(layer), bold=True)
        if leaf.look == "node":
            name = fitted(short_name(nodes[layer.main[0]].name, within), MOST_NAME, SMALL)
            return [title, Line(left=name, right=shape)]
        before, after = self._beside(layer.before), self._beside(layer.after)
        if len(layer.main) > 1:
            after = " · ".join(
                f"{word}: {nodes[place].fields['out']}"
                for word, place in zip(("q, k, v", "out"), layer.main[::2], strict=False)
            )
        lines = [Line(middle=before)] if before else []
        footer = Line(left=after, right=shape) if after else Line(middle=shape)
        return [*lines, title, footer]

    def _title(self, layer: Layer) -> str:
        nodes = [self._network.nodes[place] for place in layer.main]
        attention = [node for node in nodes if node.op == "attention"]
        node = attention[0] if attention else nodes[0]
        return fitted(words(self._network, node), MOST_LINE, TITLE, bold=True)

    def _beside(self, places: Sequence[int]) -> str:
        nodes = self._network.nodes
        # Features that are collected are concatenated by the symbol before the box.
        said = [
            brief(self._network, node)
            for node in map(nodes.__getitem__, places)
            if node.op != "concat" or nodes[node.inputs[0]].op != COLLECT
        ]
        return fitted(" · ".join(said), MOST_LINE, SMALL)

    def _block(self, leaf: Leaf) -> list[Line]:
        parts, network = leaf.parts, self._network
        shared = self._shared(parts[0])
        name = range_of_names([short_name(part.name, shared) for part in parts])
        reserved = BADGE + 6.0 if self._letter(leaf) else 0.0
        times = f"×{leaf.times}" if leaf.times > 1 else ""
        name = fitted(name, MOST_NAME, TITLE, bold=True)
        about = Block(network, leaf)
        sort = about.sort()
        if is_auxiliary(network, parts[0]):
            sort = AUXILIARY
        shape = shape_words(network.nodes[leaf.output].shape)
        return [
            Line(left=name, right=times, bold=True, reserved=reserved),
            *(Line(left=text) for text in wrapped(about.line())),
            Line(left=sort, right=shape),
        ]

    def _shared(self, part: Part) -> str:
        """The path that the names of blocks share: of those in a stage, or of all."""
        stages = (other for other in self._network.parts if other.kind == "stage")
        stage = next((other for other in stages if other.holds(part.first)), None)
        held = (block for block in self._blocks if stage is None or stage.holds(block.first))
        return shared_path([block.name for block in held])

    def _rectangle(
        self, leaf: Leaf, lines: Sequence[Line], span: tuple[float, float] | None
    ) -> Sketch:
        width = max(LEAST[leaf.look], *(line.width + 2 * PAD_X for line in lines))
        left, right = _reach(width, span)
        # In a box that is much wider than its texts, these stay together.
        inner = left + right if left + right < WIDE * width else width
        shift = max(0.0, left - inner / 2) if inner == width else 0.0
        width = left + right
        texts, top = [], PAD_TOP
        for line in lines:
            texts += [replace(text, x=text.x + shift) for text in line.texts(inner, top)]
            top += line.height
        box = self._box(leaf, "rect", (-left, width, top + PAD_BOTTOM), texts)
        if letter := self._letter(leaf):
            mark = badge(letter, width - PAD_X - BADGE / 2, 16.5)
            box = replace(box, texts=(*box.texts, mark))
        return self._sketch(box, leaf)

    def _circle(self, leaf: Leaf) -> Sketch:
        symbol = SYMBOLS[self._network.nodes[leaf.layers[0].main[0]].op]
        text = Text(x=RADIUS, y=RADIUS + 4.6, text=symbol, size=13.0, anchor="middle", bold=True)
        size = (-RADIUS, 2 * RADIUS, 2 * RADIUS)
        sketch = self._sketch(self._box(leaf, "circle", size, [text]), leaf)
        if symbol == SYMBOLS[COLLECT]:
            # A sum has the shape of what it adds, but features grow.
            shape = shape_words(self._network.nodes[leaf.output].shape)
            x, y = -RADIUS - 6.0, RADIUS + 3.5
            sketch.texts.append(Text(x=x, y=y, text=shape, size=SMALL, anchor="end", tone="muted"))
            sketch.reach(x - text_width(shape, SMALL))
        return sketch

    def _bar(self, leaf: Leaf, span: tuple[float, float] | None) -> Sketch:
        shape = shape_words(self._network.nodes[leaf.output].shape)
        line = Line(middle=f"concatenate: {shape}" if shape else "concatenate")
        left, right = _reach(max(LEAST["bar"], line.width + 2 * PAD_X), span)
        texts = line.texts(left + right, 6.0)
        return self._sketch(self._box(leaf, "pill", (-left, left + right, BAR), texts), leaf)

    def _box(
        self, leaf: Leaf, look: Look, size: tuple[float, float, float], texts: Sequence[Text]
    ) -> Box:
        network = self._network
        places = [place for place in leaf.nodes() if not network.nodes[place].is_virtual]
        main = network.nodes[leaf.layers[0].main[0]]
        kind = kind_of(network, main)
        if len(leaf.layers[0].main) > 1:
            kind = "attention"
        if leaf.look == "block":
            kind = "auxiliary" if is_auxiliary(network, leaf.parts[0]) else "block"
        left, width, height = size
        return Box(
            id=self.new_id(),
            left=left,
            top=0.0,
            width=width,
            height=height,
            look=look,
            kind=kind,
            texts=tuple(texts),
            nodes=tuple(network.nodes[place].name for place in places),
            title=tooltip(network, leaf),
            letter=self._letter(leaf),
        )

    def _sketch(self, box: Box, leaf: Leaf) -> Sketch:
        inside = set(leaf.nodes())
        reads = any(
            read not in inside for place in inside for read in self._network.nodes[place].inputs
        )
        middle = (0.0, 0.0)
        self.outputs[box.id] = leaf.output
        return Sketch(
            left=-box.left,
            right=box.left + box.width,
            height=box.height,
            entries=(End(box=box.id, points=(middle,)),) if reads else (),
            exits=(End(box=box.id, points=((0.0, box.height),)),),
            boxes=[box],
        )


def _reach(width: float, span: tuple[float, float] | None) -> tuple[float, float]:
    """Extents left and right of the spine, as far as wires come in."""
    left = right = width / 2
    if span is not None:
        left, right = max(left, PAD_X - span[0]), max(right, span[1] + PAD_X)
    return left, right
