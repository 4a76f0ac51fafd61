"""Blocks that are alike: equal ones in a row, drawn once, and those with the same inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cnnzoo.diagram._items import Leaf
from cnnzoo.diagram._network import Network
from cnnzoo.diagram._steps import Repeat, Series, Step, StepItem, mapped_step
from cnnzoo.diagram._words import is_depthwise

# The most steps that repeat together.
LONGEST = 2
# The first layer of a dense block has no features to concatenate, and is like the others.
READ_ALONE = {"concat"}
TRAINING = {"dropout", "drop_path"}
# Rates of dropout grow from block to block.
IGNORED = {"rate"}


def structure(network: Network, leaf: Leaf, *, sizes: bool) -> tuple[object, ...]:
    """The inside of a box: equal for boxes that are alike, in kernels and widths too if `sizes`."""
    unseen = READ_ALONE if sizes else READ_ALONE | TRAINING
    everything = sorted(node for layer in leaf.layers for node in layer.nodes())
    nodes = [place for place in everything if not _is_wire(network, place, unseen)]
    place = {node: at for at, node in enumerate(nodes)}
    found: list[object] = []
    for position in nodes:
        node = network.nodes[position]
        reads = tuple(place.get(_through(network, read, unseen), -1) for read in node.inputs)
        if sizes:
            fields = [(name, repr(v)) for name, v in node.fields.items() if name not in IGNORED]
            found.append((node.op, reads, tuple(fields)))
        else:
            found.append((node.op, reads, is_depthwise(network, node)))
    if sizes:
        found.append(network.nodes[leaf.output].shape)
    return tuple(found)


def _is_wire(network: Network, position: int, unseen: set[str]) -> bool:
    """Whether a node of these operations reads one value, and so counts as a wire."""
    node = network.nodes[position]
    return node.op in unseen and len(node.inputs) == 1


def _through(network: Network, position: int, unseen: set[str]) -> int:
    """The node whose value comes through wires."""
    while _is_wire(network, position, unseen):
        position = network.nodes[position].inputs[0]
    return position


def repeated(network: Network, series: Series) -> Series:
    """The same series with equal steps in a row drawn once."""
    keys = [_key(network, step) for step in series.steps]
    found: list[Step] = []
    at = 0
    while at < len(keys):
        period, count = _run(keys, at)
        steps = series.steps[at : at + period * count]
        found.extend(_together(steps, period) if count > 1 else steps)
        at += len(steps)
    return Series(steps=tuple(found))


def _run(keys: Sequence[object], at: int) -> tuple[int, int]:
    """The number of steps from `at` on that repeat, and how often they do."""
    best = (1, 1)
    for period in range(1, LONGEST + 1):
        unit = keys[at : at + period]
        if None in unit:
            break
        count = 1
        while keys[at + period * count : at + period * (count + 1)] == unit:
            count += 1
        if count > 1 and period * count > best[0] * best[1]:
            best = (period, count)
    return best


def _key(network: Network, step: Step) -> object:
    """Equal for equal steps; none for one that is drawn each time."""
    if step.hangs or not isinstance(step.item, Leaf):
        return None
    if step.lanes == (None,):
        return structure(network, step.item, sizes=True) if step.item.look == "block" else None
    # The layer of a dense block: its features join those of all layers before.
    layers = [lane for lane in step.lanes if lane is not None]
    if len(layers) != 1 or len(step.lanes) != 2 or not isinstance(layers[0], Series):  # noqa: PLR2004
        return None
    items = list(layers[0].items())
    blocks = [item for item in items if isinstance(item, Leaf) and item.look == "block"]
    if step.item.look not in {"symbol", "bar"} or not blocks or len(items) != len(blocks):
        return None
    return tuple(structure(network, block, sizes=True) for block in blocks)


def _together(steps: Sequence[Step], period: int) -> Iterator[Step]:
    """Steps of which `period` repeat, as one."""
    every = [
        list(Series(steps=tuple(steps[at : at + period])).items())
        for at in range(0, len(steps), period)
    ]
    is_plain = period == 1 and steps[0].lanes == (None,)
    together: dict[StepItem, Leaf] = {}
    for items in zip(*every, strict=True):
        first, *others = [item for item in items if isinstance(item, Leaf)]
        together[first] = replace(
            first,
            parts=tuple(part for leaf in (first, *others) for part in leaf.parts),
            others=tuple(layer for leaf in others for layer in leaf.layers),
            times=len(every) if is_plain else 1,
        )

    def merged(step: Step) -> Step:
        return step if step.item is None else replace(step, item=together[step.item])

    unit = tuple(mapped_step(step, merged) for step in steps[:period])
    if is_plain:
        yield from unit
        return
    begin, end = (max(items[-1].nodes()) for items in (every[0], every[-1]))
    yield Step(
        lanes=(None,),
        item=Repeat(series=Series(steps=unit), count=len(every), first=begin, last=end),
    )
