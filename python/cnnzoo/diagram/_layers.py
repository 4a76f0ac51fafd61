"""Layers: convolutions and linear layers with the norms and activations that belong to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from cnnzoo.diagram._network import Network

# Operations that belong to a layer beside them: norms and activations to the one before or after,
# the others always to one of these.
NORMS = {"batch_norm", "group_norm"}
ACTIVATIONS = {"activation"}
AFTER = {"dropout", "drop_path", "layer_scale", "multiply", "flatten", "tokens", "select_token"}
BEFORE = {"pad", "concat"}
MINOR = NORMS | ACTIVATIONS | AFTER | BEFORE


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Nodes that read each other in a line: those before the main ones, these, and those after."""

    before: tuple[int, ...] = ()
    main: tuple[int, ...]
    after: tuple[int, ...] = ()

    def nodes(self) -> Iterator[int]:
        """The positions of its nodes, in order."""
        yield from self.before
        yield from self.main
        yield from self.after


def only(node: int) -> Layer:
    """A layer of one node."""
    return Layer(main=(node,))


def layers(network: Network, nodes: Iterable[int]) -> tuple[Layer, ...]:
    """The layers of these nodes, whose positions are in order; no layer has others."""
    found = [layer for line in _lines(network, nodes) for layer in _cut(network, line)]
    return tuple(sorted(found, key=lambda layer: next(layer.nodes())))


def _lines(network: Network, nodes: Iterable[int]) -> list[list[int]]:
    """The nodes as lines, in which each is read by the next one alone."""
    lines: dict[int, list[int]] = {}
    for node in nodes:
        inputs = network.nodes[node].inputs
        before = inputs[0] if len(inputs) == 1 else -1
        follows = (
            before in lines
            and network.users[before] == [node]
            and before != network.output
            and len(network.nodes[before].inputs) == 1
        )
        line = lines.pop(before) if follows else []
        line.append(node)
        lines[node] = line
    return list(lines.values())


def _cut(network: Network, line: Sequence[int]) -> Iterator[Layer]:
    """The layers of a line."""
    ops = [network.nodes[node].op for node in line]
    mains = _with_attention(ops, [at for at, op in enumerate(ops) if op not in MINOR])
    if not mains:
        # Activations after a sum: a layer of their own, which the last one names.
        yield Layer(before=tuple(line[:-1]), main=(line[-1],))
        return
    leading = _leading(ops[: mains[0][0]])
    start = 0
    for index, (first, last) in enumerate(mains):
        end = mains[index + 1][0] if index + 1 < len(mains) else len(line)
        stop = last + 1
        while stop < end and (end == len(line) or ops[stop] not in leading):
            stop += 1
        yield Layer(
            before=tuple(line[start:first]),
            main=tuple(line[first : last + 1]),
            after=tuple(line[last + 1 : stop]),
        )
        start = stop


def _leading(ops: Sequence[str]) -> set[str]:
    """The operations that belong to the layer after them, as those do with which a line begins."""
    leading = set(BEFORE)
    if NORMS & set(ops):
        return leading | NORMS | ACTIVATIONS
    return leading | ACTIVATIONS if ACTIVATIONS & set(ops) else leading


def _with_attention(ops: Sequence[str], mains: Sequence[int]) -> list[tuple[int, int]]:
    """First and last place of each main run; attention has the linear layers around it."""
    found: list[tuple[int, int]] = []
    for place in mains:
        ends = {ops[found[-1][1]], ops[place]} if found else set()
        if ends == {"linear", "attention"}:
            found[-1] = (found[-1][0], place)
        else:
            found.append((place, place))
    return found
