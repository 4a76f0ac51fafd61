"""The batches of a process that trains with others: its rows of each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnzoo.data import Loader
from cnnzoo.training import _batches
from cnnzoo.training._batches import Batch, Batches
from cnnzoo.training._processes import Processes


class Rows(Sequence[Batch]):
    """The rows of batches that are one process's, without batches of which it has none."""

    def __init__(self, at: str, batches: Any, processes: Processes) -> None:
        self._at, self._batches, self._processes = at, batches, processes

    def numbered(self, first: int = 0) -> Iterator[tuple[int, Batch]]:
        """The batches from number `first` on, each with its number and one more."""
        for number, (x, y) in enumerate(_batches.pairs(self._at, self._batches, first), first + 1):
            rows = self._processes.part(len(x))
            if rows.start < rows.stop:
                yield number, (x[rows], y[rows])

    def __iter__(self) -> Iterator[Batch]:
        return (batch for _, batch in self.numbered())

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]


def share_of(at: str, data: Batches, processes: Processes) -> Batches:
    """This process's rows of the batches; a loader reads no other samples."""
    if isinstance(data, Loader):
        return data._shared(processes.place, processes.count)
    return Rows(at, data, processes)


def of_epoch(data: Batches, epoch: int, first: int) -> Iterator[tuple[int, Batch | None]]:
    """As `_batches.of_epoch`, of a share: every batch, None where this process has none of it."""
    found = (
        data.numbered(first) if isinstance(data, Rows) else _batches.of_epoch(data, epoch, first)
    )
    due = first + 1
    for number, batch in found:
        for missing in range(due, number):
            yield missing, None
        yield number, batch
        due = number + 1
    for missing in range(due, len(data) + 1):
        yield missing, None
