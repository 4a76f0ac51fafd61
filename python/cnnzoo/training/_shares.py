"""The batches of a process that trains with others: its rows of each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnzoo.data import Loader
from cnnzoo.errors import ArgumentError
from cnnzoo.training import _batches
from cnnzoo.training._batches import Batch, Batches
from cnnzoo.training._processes import Processes


class Rows(Sequence[Batch]):
    """The rows of batches that are one process's, without batches of which it has none.

    Attributes:
        size: The number of images of all processes in the last batch that was read.
    """

    def __init__(self, at: str, batches: Any, processes: Processes) -> None:
        self._at, self._batches, self._processes = at, batches, processes
        self.size = 0

    def numbered(self, first: int = 0) -> Iterator[tuple[int, Batch | None]]:
        """The batches from number `first` on, each with its number and one more.

        A batch is None where this process has none of its rows.

        Raises:
            ArgumentError: There are more or fewer of them than their length says: the other
                processes may have as many as that.
        """
        number, due = first, len(self._batches)
        for x, y in _batches.pairs(self._at, self._batches, first):
            number += 1
            if number > due:
                raise self._miscounted("more")
            self.size = len(x)
            rows = self._processes.part(self.size)
            yield number, (x[rows], y[rows]) if rows.start < rows.stop else None
        if number < due:
            raise self._miscounted(str(number))

    def _miscounted(self, got: str) -> ArgumentError:
        return ArgumentError(
            f"{self._at}: expected as many batches as their length says in a distributed run, "
            f"{len(self._batches)}, got {got}"
        )

    def __iter__(self) -> Iterator[Batch]:
        return (batch for _, batch in self.numbered() if batch is not None)

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
    if isinstance(data, Rows):
        yield from data.numbered(first)
        return
    found = _batches.of_epoch(data, epoch, first)
    due = first + 1
    for number, batch in found:
        for missing in range(due, number):
            yield missing, None
        yield number, batch
        due = number + 1
    for missing in range(due, len(data) + 1):
        yield missing, None
