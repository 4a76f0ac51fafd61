"""Pictures of the insides of blocks, each in a frame with the letter that its blocks have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from cnnzoo.diagram._blocks import Block
from cnnzoo.diagram._boxes import BADGE
from cnnzoo.diagram._items import Group, Leaf, inside, is_auxiliary
from cnnzoo.diagram._layout import Layout
from cnnzoo.diagram._letters import fitted, text_width
from cnnzoo.diagram._lines import SMALL, TITLE
from cnnzoo.diagram._network import Network
from cnnzoo.diagram._repeats import structure
from cnnzoo.diagram._sketch import Sketch, Text, badge, opened
from cnnzoo.diagram._steps import Repeat, Series, StepItem, Tangle

TOP, SIDE, BOTTOM = 40.0, 16.0, 12.0
# The most that a line of the title takes.
MOST = 300.0
# Between pictures.
BETWEEN = 24.0
# Of how many pictures each run is tried as a column.
MOST_TRIED = 12


def letter_of(rank: int) -> str:
    """The letter of the picture with this number: A to Z, then AA."""
    above, last = divmod(rank, 26)
    return (letter_of(above - 1) if above else "") + chr(ord("A") + last)


def examples_of(network: Network, found: Series | Tangle) -> dict[object, Leaf]:
    """For each structure of blocks, the first block that has it."""
    examples: dict[object, Leaf] = {}
    for leaf in _blocks(found.items() if isinstance(found, Series) else found.items):
        if not is_auxiliary(network, leaf.parts[0]):
            examples.setdefault(structure(network, leaf, sizes=False), leaf)
    return examples


def _blocks(items: Iterable[StepItem]) -> Iterator[Leaf]:
    for item in items:
        if isinstance(item, Group):
            yield from _blocks(item.items)
        elif isinstance(item, Repeat):
            yield from _blocks(item.series.items())
        elif item.look == "block":
            yield item


def inset(network: Network, layout: Layout, leaf: Leaf, letter: str) -> Sketch:
    """The inside of a block, in a frame with its letter."""
    name = leaf.parts[0].name
    inner = opened(layout.group(inside(network, leaf.parts[0], "block")))
    texts = _texts(Block(network, leaf).sort(), name, letter)
    least = SIDE + max(text.x + text_width(text.text, text.size, bold=text.bold) for text in texts)
    spare = max(0.0, least - inner.width - 2 * SIDE) / 2
    left, right = inner.left + SIDE + spare, inner.right + SIDE + spare
    outer = Sketch(left=left, right=right, height=TOP + inner.height + BOTTOM)
    extent = left, right, 0.0, outer.height
    outer.surround("inset", extent, texts, title=name, letter=letter)
    outer.put(inner, 0.0, TOP)
    return outer


def _texts(sort: str, name: str, letter: str) -> tuple[Text, ...]:
    """The letter, the sort of block, and the one that is drawn."""
    x = SIDE + BADGE + 8.0
    title = fitted(sort, MOST, TITLE, bold=True)
    below = fitted(f"the inside of {name}", MOST, SMALL)
    return (
        badge(letter, SIDE + BADGE / 2, 25.0),
        Text(x=x, y=20.0, text=title, size=TITLE, bold=True),
        Text(x=x, y=34.0, text=below, size=SMALL, tone="muted"),
    )


def heights(insets: Sequence[Sketch], least: float) -> Iterator[float]:
    """Heights that columns of pictures may have, beside a network of the height `least`."""
    tallest = max([least, *(sketch.height for sketch in insets)])
    yield tallest
    few = insets[:MOST_TRIED]
    for first in range(len(few)):
        height = -BETWEEN
        for sketch in few[first:]:
            height += sketch.height + BETWEEN
            if height > tallest:
                yield height


def packed(insets: Sequence[Sketch], height: float) -> list[list[Sketch]]:
    """Pictures in columns of at most this height."""
    columns: list[list[Sketch]] = []
    used = 0.0
    for sketch in insets:
        if not columns or used + sketch.height > height:
            columns.append([])
            used = 0.0
        columns[-1].append(sketch)
        used += sketch.height + BETWEEN
    return columns
