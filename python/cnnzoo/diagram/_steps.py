"""Series of steps, between which branches run side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from cnnzoo.diagram._items import Item


@dataclass(frozen=True, kw_only=True, eq=False)
class Tangle:
    """Items one below the other.

    Attributes:
        items: The items, in the order in which they run.
        reads: For each item, the places of the items that it reads.
        first: The places of those that read the value which comes in.
        last: The places of those whose value comes out.
    """

    items: tuple[Item, ...]
    reads: tuple[tuple[int, ...], ...]
    first: frozenset[int]
    last: frozenset[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """Branches, and the item that joins them.

    Attributes:
        lanes: The branches; None is a wire without items.
        item: The item; none where the branches are the end.
        hangs: Items that read this one and lead nowhere, such as an auxiliary classifier.
    """

    lanes: tuple[Lane, ...]
    item: StepItem | None
    hangs: tuple[Series | Tangle, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """Steps, one after the other."""

    steps: tuple[Step, ...]

    def items(self) -> Iterator[StepItem]:
        """Every item, those in branches too."""
        for step in self.steps:
            for lane in (*step.lanes, *step.hangs):
                if isinstance(lane, Series):
                    yield from lane.items()
                elif lane is not None:
                    yield from lane.items
            if step.item is not None:
                yield step.item


@dataclass(frozen=True, kw_only=True, eq=False)
class Repeat:
    """Equal steps, which are drawn once.

    Attributes:
        series: The first ones, whose boxes stand for those of the others too.
        count: The number of times.
        first: The node whose value the first ones put out.
        last: The node whose value the last ones put out.
    """

    series: Series
    count: int
    first: int
    last: int

    def nodes(self) -> Iterator[int]:
        """The positions of the nodes that its boxes stand for."""
        for item in self.series.items():
            yield from item.nodes()


StepItem: TypeAlias = "Item | Repeat"
Lane: TypeAlias = "Series | Tangle | None"


def step_items(found: Series | Tangle | None) -> Iterator[StepItem]:
    """The items that join branches, and no item of a tangle."""
    if isinstance(found, Series):
        for step in found.steps:
            for lane in step.lanes:
                yield from step_items(lane)
            if step.item is not None:
                yield step.item


def mapped(found: Series | Tangle, change: Callable[[Step], Step]) -> Series | Tangle:
    """The same series with each step changed, those of branches too."""
    if isinstance(found, Tangle):
        return found
    return Series(steps=tuple(mapped_step(step, change) for step in found.steps))


def mapped_step(step: Step, change: Callable[[Step], Step]) -> Step:
    """The same step changed, with its branches."""
    lanes = tuple(None if lane is None else mapped(lane, change) for lane in step.lanes)
    return change(replace(step, lanes=lanes))
