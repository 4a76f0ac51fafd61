"""The items of a group as a series of steps, between which branches run side by side.

Networks are, nearly everywhere, series and parallel branches: this finds them. Where a network is
not, the items become a tangle, which is drawn one below the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cnnzoo.diagram._items import Group
from cnnzoo.diagram._network import Network
from cnnzoo.diagram._steps import Lane, Series, Step, StepItem, Tangle, mapped, step_items

# Branches within branches beyond this depth are drawn as a tangle.
DEEPEST = 40


class Wiring:
    """The items of a group, and those that each of them reads."""

    def __init__(self, network: Network, group: Group) -> None:
        self.items = group.items
        place = {node: at for at, item in enumerate(group.items) for node in item.nodes()}
        self.reads: list[list[int]] = [[] for _ in group.items]
        self.readers: list[list[int]] = [[] for _ in group.items]
        # Those that read what is outside of the group, and those that outside reads.
        self.first: set[int] = set()
        self.last: set[int] = set()
        # The nodes whose values go out.
        self.out = {
            node
            for node in place
            if node == network.output or any(reader not in place for reader in network.users[node])
        }
        for node, at in place.items():
            for read in network.nodes[node].inputs:
                if read not in place:
                    self.first.add(at)
                elif (other := place[read]) != at and other not in self.reads[at]:
                    self.reads[at].append(other)
                    self.readers[other].append(at)
            if node in self.out:
                self.last.add(at)
        # Those that read nothing; a wire from the beginning keeps them in the picture, undrawn.
        self.orphans = {at for at, reads in enumerate(self.reads) if not reads} - self.first


def series_of(wiring: Wiring) -> Series | Tangle:
    """The items of a group as a series."""
    return _Decomposition(wiring).whole()


class _Decomposition:
    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    def whole(self) -> Series | Tangle:
        wiring = self._wiring
        everything = range(len(wiring.items))
        ends = wiring.last or {at for at in everything if not wiring.readers[at]}
        # Items in whose place nothing can hang.
        taken: set[int] = set()
        while True:
            last, ahead = set(ends), self._reaching(ends)
            hangs: dict[int, list[list[int]]] = {}
            for group in _connected([at for at in everything if at not in ahead], wiring.reads):
                read = {other for at in group for other in wiring.reads[at]} - set(group)
                if len(read) == 1 and not wiring.first & set(group) and not read & taken:
                    hangs.setdefault(read.pop(), []).append(group)
                else:
                    ahead |= set(group)
                    last |= {at for at in group if not wiring.readers[at]}
            main = [at for at in everything if at in ahead]
            found = self._between(main, wiring.first | wiring.orphans, last, 0)
            steps = {id(item) for item in step_items(found)}
            lost = {read for read in hangs if id(wiring.items[read]) not in steps}
            if not lost:
                return self._with_hangs(found, hangs) if hangs else found
            taken |= lost

    def _reaching(self, last: Iterable[int]) -> set[int]:
        found, ahead = set(last), list(last)
        while ahead:
            for read in self._wiring.reads[ahead.pop()]:
                if read not in found:
                    found.add(read)
                    ahead.append(read)
        return found

    def _with_hangs(
        self, found: Series | Tangle, hangs: dict[int, list[list[int]]]
    ) -> Series | Tangle:
        """The same series, with what leads nowhere beside the items that it reads."""
        wiring = self._wiring
        made: dict[StepItem, tuple[Series | Tangle, ...]] = {
            wiring.items[read]: tuple(
                self._between(
                    group,
                    {at for at in group if read in wiring.reads[at]} | wiring.orphans & set(group),
                    {at for at in group if not wiring.readers[at]},
                    0,
                )
                for group in groups
            )
            for read, groups in hangs.items()
        }

        def hung(step: Step) -> Step:
            return step if step.item is None else replace(step, hangs=made.get(step.item, ()))

        return mapped(found, hung)

    def _between(
        self, members: Sequence[int], first: set[int], last: set[int], depth: int
    ) -> Series | Tangle:
        """Items between a value that `first` read and one that `last` put out, as a series."""
        through = self._through(members, first, last)
        steps = []
        start: int | None = None
        place = {at: index for index, at in enumerate(members)}
        for end in [*through, None]:
            begin = 0 if start is None else place[start] + 1
            inner = members[begin : len(members) if end is None else place[end]]
            lanes = self._lanes(inner, (start, end), (first, last), depth)
            if lanes is None:
                return self._tangle(members, first, last)
            if end is not None or inner:
                item = None if end is None else self._wiring.items[end]
                steps.append(Step(lanes=lanes, item=item))
            start = end
        return Series(steps=tuple(steps))

    def _through(self, members: Sequence[int], first: set[int], last: set[int]) -> list[int]:
        """The items through which every path goes: those that no wire jumps over."""
        place = {at: index for index, at in enumerate(members)}
        count = len(members)
        change = [0] * (count + 2)
        for at, index in place.items():
            reads = [place[read] for read in self._wiring.reads[at] if read in place]
            reads += [-1] if at in first else []
            for read in reads:
                change[read + 1] += 1
                change[index] -= 1
            if at in last:
                change[index + 1] += 1
                change[count] -= 1
        found, over = [], 0
        for index, at in enumerate(members):
            over += change[index]
            if over == 0:
                found.append(at)
        return found

    def _lanes(
        self,
        inner: Sequence[int],
        ends: tuple[int | None, int | None],
        outer: tuple[set[int], set[int]],
        depth: int,
    ) -> tuple[Lane, ...] | None:
        """The branches between two items; none where there is one branch that does not divide."""
        (start, end), (first, last) = ends, outer
        wiring = self._wiring
        readers = first if start is None else set(wiring.readers[start])
        reads = last if end is None else set(wiring.reads[end])
        begins = end in readers if end is not None else False
        is_direct = begins if start is None else (start in reads)
        groups = _connected(inner, wiring.reads)
        if not inner:
            return (None,) if is_direct else ()
        if (len(groups) == 1 and not is_direct) or depth > DEEPEST:
            return None
        ranked: list[tuple[int, Lane]] = [
            (
                self._rank(group, end),
                self._between(
                    group,
                    (readers | wiring.orphans) & set(group),
                    reads & set(group),
                    depth + 1,
                ),
            )
            for group in groups
        ]
        if is_direct:
            rank = 0 if start is None or end is None else wiring.reads[end].index(start)
            ranked.append((rank, None))
        return tuple(lane for _, lane in sorted(ranked, key=lambda pair: pair[0]))

    def _rank(self, group: Sequence[int], end: int | None) -> int:
        """The place of a branch among the inputs of the item that joins them."""
        if end is None:
            return group[0]
        reads = self._wiring.reads[end]
        return min((reads.index(at) for at in group if at in reads), default=len(reads))

    def _tangle(self, members: Sequence[int], first: set[int], last: set[int]) -> Tangle:
        place = {at: index for index, at in enumerate(members)}
        return Tangle(
            items=tuple(self._wiring.items[at] for at in members),
            reads=tuple(
                tuple(place[read] for read in self._wiring.reads[at] if read in place)
                for at in members
            ),
            first=frozenset(place[at] for at in members if at in first),
            last=frozenset(place[at] for at in members if at in last),
        )


def _connected(members: Sequence[int], reads: Sequence[Sequence[int]]) -> list[list[int]]:
    """The members in groups that no wire connects."""
    inside = set(members)
    leader = {at: at for at in members}

    def find(at: int) -> int:
        while leader[at] != at:
            leader[at] = leader[leader[at]]
            at = leader[at]
        return at

    for at in members:
        for read in reads[at]:
            if read in inside:
                leader[find(at)] = find(read)
    groups: dict[int, list[int]] = {}
    for at in members:
        groups.setdefault(find(at), []).append(at)
    return list(groups.values())
