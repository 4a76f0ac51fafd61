"""The words for a block: what sort of block it is, and what it does, on a line."""

from __future__ import annotations

from cnnzoo.diagram._collect import COLLECT
from cnnzoo.diagram._items import Leaf
from cnnzoo.diagram._network import Network, Node, channels
from cnnzoo.diagram._operations import brief, words
from cnnzoo.diagram._words import is_depthwise

# Operations of which the line about a block does not speak.
UNSAID = {"batch_norm", "group_norm", "activation", "dropout", "drop_path", "layer_scale", "pad"}
UNSAID |= {"flatten", "tokens", "select_token", "multiply", "concat", "layer_norm", COLLECT, "add"}


class Block:
    """The inside of a box that stands for a part."""

    def __init__(self, network: Network, leaf: Leaf) -> None:
        self._network = network
        self._places = sorted(node for layer in leaf.layers for node in layer.nodes())
        self._inside = set(self._places)
        self._output = self._places[-1]
        self._depths: dict[int, int] = {}
        for place in self._places:
            below = (self._depths.get(read, 0) for read in network.nodes[place].inputs)
            self._depths[place] = 1 + max(below, default=0)

    def _node(self, place: int) -> Node:
        return self._network.nodes[place]

    def sort(self) -> str:
        """The sort of block that it is, by its nodes: "bottleneck residual block"."""
        ops = {self._node(place).op for place in self._places}
        if "attention" in ops:
            return "transformer encoder block"
        if "multi_query_attention" in ops:
            return "multi-query attention block"
        join = self._join()
        if join is not None and self._node(join).op == "concat":
            count = len(self._node(join).inputs)
            return f"{count} branches, concatenated"
        gated = ", gated" if "gate" in ops else ""
        convs = [self._node(place) for place in self._path() if self._node(place).op == "conv"]
        if join is None:
            return self._plain(convs) + gated
        return self._residual(convs) + gated + self._shortcut(join)

    def _join(self) -> int | None:
        """The last node that joins branches of the block, but for gates."""
        for place in reversed(self._places):
            node = self._node(place)
            if node.op in {"add", "concat"} and len(node.inputs) > 1:
                return place
        return None

    def _residual(self, convs: list[Node]) -> str:
        depthwise = [is_depthwise(self._network, conv) for conv in convs]
        kernels = [conv.fields["kernel"] for conv in convs]
        if inverted := self._inverted(convs):
            return f"{inverted} residual block"
        concats = [self._node(place) for place in self._places if self._node(place).op == "concat"]
        if concats and len(concats[-1].inputs) > 1:
            return f"residual block, {len(concats[-1].inputs)} branches"
        if any(depthwise) and len(convs) > 2:  # noqa: PLR2004  # one pair is a layer
            return "separable residual block"
        if len(kernels) == 3 and kernels[0] == kernels[2] == 1:  # noqa: PLR2004
            return "bottleneck residual block"
        return "residual block"

    def _inverted(self, convs: list[Node]) -> str:
        """Whether the block is wide inside and narrow at its ends; fused without depthwise."""
        widths = [channels(conv.shape) for conv in convs]
        if len(convs) < 2 or max(widths) <= self._network.channels_in(convs[0]):  # noqa: PLR2004
            return ""
        if widths[-1] == max(widths):
            return ""
        has_depthwise = any(is_depthwise(self._network, conv) for conv in convs)
        return "inverted" if has_depthwise else "fused inverted"

    def _shortcut(self, join: int) -> str:
        """The layers of a shortcut, if it has any."""
        shallow = min(self._depths.get(read, 0) for read in self._node(join).inputs)
        return ", projection" if shallow else ""

    def _plain(self, convs: list[Node]) -> str:
        if self._is_collected():
            return "dense layer"
        depthwise = [is_depthwise(self._network, conv) for conv in convs]
        if inverted := self._inverted(convs):
            return f"{inverted} bottleneck"
        if depthwise and depthwise == [True, False] * (len(depthwise) // 2):
            pairs = len(depthwise) // 2
            return (
                "depthwise separable conv" if pairs == 1 else f"{pairs} depthwise separable convs"
            )
        count = len([place for place in self._path() if self._said(place)])
        return "layer" if count == 1 else f"{count} layers"

    def _is_collected(self) -> bool:
        """Whether its features join those of layers before it."""
        nodes = self._network.nodes
        readers = (nodes[reader] for reader in self._network.users[self._output])
        return any(
            COLLECT in {reader.op, *(nodes[read].op for read in reader.inputs)}
            for reader in readers
        )

    def line(self) -> list[str]:
        """The block's steps: "1×1, 64", "3×3, 64", "1×1, 256"."""
        join = self._join()
        if join is not None and self._node(join).op == "concat" and join == self._output:
            shapes = [self._network.nodes[read].shape for read in self._node(join).inputs]
            sizes = [str(shape[0]) for shape in shapes if shape]
            return [" + ".join(sizes) + " channels"]
        path = [self._node(place) for place in self._path() if self._said(place)]
        # The linear layers around attention belong to it.
        ops = ["", *(node.op for node in path), ""]
        path = [
            node
            for node, before, after in zip(path, ops, ops[2:], strict=False)
            if node.op != "linear" or "attention" not in {before, after}
        ]
        return ["gate" if node.op == "gate" else brief(self._network, node) for node in path]

    def _said(self, place: int) -> bool:
        return self._node(place).op not in UNSAID

    def _path(self) -> list[int]:
        """The main path: at a sum the deepest branch, at a gate what it gates."""
        found, at = [], self._output
        while at in self._inside:
            found.append(at)
            node = self._node(at)
            if not node.inputs:
                break
            reads = list(node.inputs)
            # At a gate what it gates, at an attention the queries.
            is_first = node.op in {"gate", "multi_query_attention"}
            at = reads[0] if is_first else max(reads, key=lambda read: self._depths.get(read, 0))
        return found[::-1]


def tooltip(network: Network, leaf: Leaf) -> str:
    """The nodes or parts of a box, with their cost."""
    nodes = [network.nodes[place] for place in leaf.nodes() if not network.nodes[place].is_virtual]
    lines = [f"{node.name}: {words(network, node)}" for node in nodes[:12]]
    if len(nodes) > len(lines):
        lines.append(f"… {len(nodes) - len(lines)} more nodes")
    if leaf.parts:
        lines = [", ".join(part.name for part in leaf.parts)]
    params = sum(node.params for node in nodes)
    macs = sum(node.macs or 0 for node in nodes)
    if params:
        lines.append(f"{params:,} parameters")
    if macs:
        lines.append(f"{macs:,} multiply-adds")
    return "\n".join(lines)
