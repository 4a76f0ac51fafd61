"""The items of a diagram: boxes, and groups of items that a frame surrounds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from cnnzoo.diagram._layers import Layer, layers, only
from cnnzoo.diagram._network import Network, Part
from cnnzoo.diagram._words import SYMBOLS

Level: TypeAlias = Literal["block", "node"]
POOLS = {"pool", "adaptive_pool", "blur"}
# Frames around these would say nothing that the boxes in them do not.
UNFRAMED = {"embedding", "classifier"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Leaf:
    """A box: a node, a layer of several, or blocks that are alike.

    Attributes:
        look: Its form: `node`, `layer`, `symbol` (a circle), `bar` (a concatenation) or
            `block`, which stands for parts.
        layers: Its nodes; of several blocks, those of the first.
        parts: The blocks that it stands for.
        others: The layers of the blocks after the first.
        times: The number of equal blocks that follow each other.
        stage: The stage that holds it.
    """

    look: Literal["node", "layer", "symbol", "bar", "block"]
    layers: tuple[Layer, ...]
    parts: tuple[Part, ...] = ()
    others: tuple[Layer, ...] = ()
    times: int = 1
    stage: Part | None = None

    def nodes(self) -> Iterator[int]:
        """The positions of its nodes."""
        for layer in (*self.layers, *self.others):
            yield from layer.nodes()

    @property
    def output(self) -> int:
        """The last node, whose value it puts out."""
        return max(self.nodes())


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """Items in a frame; the one without a part is the whole network."""

    part: Part | None
    items: tuple[Item, ...]
    stage: Part | None = None

    def nodes(self) -> Iterator[int]:
        """The positions of the nodes that its items hold."""
        for item in self.items:
            yield from item.nodes()


Item: TypeAlias = Leaf | Group


def whole(network: Network, level: Level) -> Group:
    """The whole network."""
    return Group(part=None, items=_Reader(network, level).items(0, len(network.nodes), None))


def inside(network: Network, part: Part, level: Level) -> Group:
    """The inside of a part."""
    return Group(part=part, items=_Reader(network, level).items(part.first, part.end, part))


def is_auxiliary(network: Network, part: Part) -> bool:
    """Whether a part is an auxiliary classifier, which runs in training only."""
    return any(map(part.holds, network.auxiliary)) and not part.holds(network.output)


class _Reader:
    """Reads the items of a run of nodes."""

    def __init__(self, network: Network, level: Level) -> None:
        self._network, self._level = network, level

    def items(self, first: int, end: int, within: Part | None) -> tuple[Item, ...]:
        """The items of the nodes from `first` to before `end`, which the part `within` holds."""
        held = [part for part in self._network.parts if first <= part.first and part.end <= end]
        if within is not None:
            held = held[held.index(within) + 1 :]
        free, found = self._split(range(first, end), held)
        leaves = (self._leaf(layer, stage) for layer, stage in self._layers(free))
        return tuple(sorted([*leaves, *found], key=lambda item: min(item.nodes())))

    def _split(
        self, nodes: Iterable[int], parts: Sequence[Part], stage: Part | None = None
    ) -> tuple[dict[int, Part | None], list[Item]]:
        """The nodes that stand for themselves, with their stages, and the items of parts."""
        free: dict[int, Part | None] = dict.fromkeys(nodes, stage)
        found: list[Item] = []
        for part in _outermost(parts):
            held = [one for one in parts if part.first <= one.first and one.end <= part.end]
            held.remove(part)
            item = self._item(part, stage)
            if item is not None:
                found.append(item)
                inner: dict[int, Part | None] = {}
            else:
                own = part if part.kind == "stage" else stage
                inner, items = self._split(range(part.first, part.end), held, own)
                found += items
            for node in range(part.first, part.end):
                free.pop(node)
            free |= inner
        return free, found

    def _item(self, part: Part, stage: Part | None) -> Item | None:
        """The item that stands for a part; none where its own items do."""
        if part.kind == "stage" or part.kind in UNFRAMED:
            return None
        if self._level == "block" and (part.kind == "block" or is_auxiliary(self._network, part)):
            own = layers(self._network, range(part.first, part.end))
            if part.kind == "block" and self._is_line(own):
                return None
            return Leaf(look="block", layers=own, parts=(part,), stage=stage)
        if not self._is_closed(part):
            return None
        items = self.items(part.first, part.end, part)
        return Group(part=part, items=items, stage=stage) if len(items) > 1 else None

    def _is_line(self, own: Sequence[Layer]) -> bool:
        """Whether a block is one layer, perhaps with a pooling, whose inside says no more."""
        nodes = self._network.nodes
        mains = [nodes[layer.main[0]].op for layer in own]
        is_series = all(len(nodes[layer.main[0]].inputs) < 2 for layer in own)  # noqa: PLR2004
        return is_series and sum(op not in POOLS for op in mains) <= 1

    def _is_closed(self, part: Part) -> bool:
        """Whether one value goes into a part and one comes out at its end, as a frame says."""
        nodes = range(part.first, part.end)
        read = {
            one for node in nodes for one in self._network.nodes[node].inputs if not part.holds(one)
        }
        put_out = {
            node
            for node in nodes
            if node == self._network.output
            or any(not part.holds(reader) for reader in self._network.users[node])
        }
        goes_on = any(
            part.holds(reader) for node in put_out for reader in self._network.users[node]
        )
        return len(read) <= 1 and len(put_out) <= 1 and not goes_on

    def _layers(self, free: dict[int, Part | None]) -> Iterator[tuple[Layer, Part | None]]:
        """The layers of the nodes; at node level each node is one."""
        if self._level == "node":
            for node, stage in free.items():
                yield only(node), stage
            return
        by_stage: dict[Part | None, list[int]] = {}
        for node, stage in free.items():
            by_stage.setdefault(stage, []).append(node)
        for stage, nodes in by_stage.items():
            for layer in layers(self._network, sorted(nodes)):
                yield layer, stage

    def _leaf(self, layer: Layer, stage: Part | None) -> Leaf:
        node = self._network.nodes[layer.main[0]]
        look: Literal["node", "layer", "symbol", "bar"]
        if node.op in SYMBOLS and (self._level == "block" or node.is_virtual):
            look = "symbol"
        elif node.op == "concat" and len(node.inputs) > 1 and self._level == "block":
            look = "bar"
        else:
            look = "layer" if self._level == "block" else "node"
        return Leaf(look=look, layers=(layer,), stage=stage)


def _outermost(parts: Sequence[Part]) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        if not found or part.first >= found[-1].end:
            found.append(part)
    return found
