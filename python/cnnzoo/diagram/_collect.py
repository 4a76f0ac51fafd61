"""Dense connections as one line of collected features.

In a dense block each layer concatenates the features of all layers before it. As a picture,
features are collected along one line, from which each layer reads and to which it adds its own: the
number of wires grows with the layers, not with their square. Both say the same, since
concat(a, b, c) is concat(concat(a, b), c).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from cnnzoo.diagram._network import Network, Node

# The op of a node that graphs do not have: the features that were put out so far.
COLLECT = "collect"

Inputs = tuple[int, ...]


@dataclass
class _Begin:
    """The beginning of a list of inputs, and how lists go on after it."""

    longer: dict[int, _Begin] = field(default_factory=dict)
    # The list that ends here.
    whole: Inputs | None = None


def collected(network: Network) -> Network:
    """The same network with a node for each list of features that others continue."""
    root = _Begin()
    for node in network.nodes:
        if _is_join(node):
            at = root
            for read in node.inputs:
                at = at.longer.setdefault(read, _Begin())
            at.whole = node.inputs
    places = _places(network, _continued(root))
    return _Insertion(network, places, root).network() if places else network


def _is_join(node: Node) -> bool:
    return node.op == "concat" and len(node.inputs) > 1


def _continued(root: _Begin) -> list[Inputs]:
    """The lists with which longer ones begin."""
    found, ahead = [], [root]
    while ahead:
        at = ahead.pop()
        if at.whole is not None and at.longer:
            found.append(at.whole)
        ahead.extend(at.longer.values())
    return found


def _places(network: Network, lists: list[Inputs]) -> dict[Inputs, int]:
    """For each list, the node before which it is collected, in the order of these nodes.

    It is after the last input, and outside of the parts that hold this one but no reader.
    """
    users = network.users
    places = {}
    for inputs in lists:
        last = max(inputs)
        readers = [
            reader
            for reader in users[last]
            if _is_join(network.nodes[reader])
            and network.nodes[reader].inputs[: len(inputs)] == inputs
        ]
        around = [part for part in network.parts if part.holds(last)]
        held = [sum(map(part.holds, readers)) for part in around]
        # What some readers in a part and some outside of it read would have to leave the part.
        if all(count in {0, len(readers)} for count in held):
            left = (part.end for part, count in zip(around, held, strict=True) if not count)
            places[inputs] = next(left, last + 1)
    return dict(sorted(places.items(), key=lambda item: (item[1], len(item[0]))))


class _Insertion:
    """A network with nodes between its own, which moves the positions of those after them."""

    def __init__(self, network: Network, places: dict[Inputs, int], root: _Begin) -> None:
        self._old, self._root = network, root
        self._new = {inputs: place + rank for rank, (inputs, place) in enumerate(places.items())}
        self._before = [0] * (len(network.nodes) + 1)
        for place in places.values():
            self._before[place] += 1
        self._moved, count = [], 0
        for position, inserted in enumerate(self._before):
            count += inserted
            self._moved.append(position + count)

    def network(self) -> Network:
        old = self._old
        nodes: dict[int, Node] = {}
        for position, node in enumerate(old.nodes):
            inputs = self._reads(node.inputs, len(node.inputs)) if _is_join(node) else None
            nodes[self._moved[position]] = replace(
                node, inputs=inputs or tuple(self._moved[read] for read in node.inputs)
            )
        for reader in old.nodes:
            if _is_join(reader) and reader.inputs in self._new:
                nodes[self._new[reader.inputs]] = Node(
                    name=reader.name,
                    op=COLLECT,
                    fields={},
                    inputs=self._reads(reader.inputs, len(reader.inputs) - 1),
                    shape=reader.shape,
                    is_virtual=True,
                )
        parts = (
            replace(
                part,
                first=self._moved[part.first],
                end=self._moved[part.end] - self._before[part.end],
            )
            for part in old.parts
        )
        return replace(
            old,
            nodes=tuple(nodes[position] for position in range(len(nodes))),
            parts=tuple(parts),
            output=self._moved[old.output],
            auxiliary=tuple(self._moved[head] for head in old.auxiliary),
        )

    def _reads(self, inputs: Inputs, most: int) -> Inputs:
        """The inputs, of which the longest list of at most `most` that is collected is one."""
        at, found = self._root, 0
        for size, read in enumerate(inputs[:most], 1):
            at = at.longer[read]
            if at.whole in self._new:
                found = size
        rest = tuple(self._moved[read] for read in inputs[found:])
        return (self._new[inputs[:found]], *rest) if found else rest
