"""The batches of `fit`: checks, iteration, and the identity of their source."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, TypeAlias

from numpy.typing import NDArray

from cnnzoo._arguments import kind_of
from cnnzoo.data import Dataset, Loader
from cnnzoo.errors import ArgumentError

Batch: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Batches: TypeAlias = Loader | Sequence[Batch]

PAIR = 2


def check(at: str, data: Any) -> None:
    """Check that `data` is a loader or a sequence of batches.

    Raises:
        ArgumentError: It is neither.
    """
    expected = f"{at}: expected a Loader, or a sequence of batches [(x, y), ...], got "
    if isinstance(data, Dataset):
        raise ArgumentError(f"{expected}a data set; use Loader(dataset, batch_size=...)")
    if not (hasattr(data, "__len__") and hasattr(data, "__iter__")) or isinstance(data, str | dict):
        raise ArgumentError(expected + kind_of(data))
    if hasattr(data, "shape"):
        raise ArgumentError(f"{expected}an array")
    if isinstance(data, list | tuple) and any(hasattr(inner, "shape") for inner in data):
        raise ArgumentError(f"{expected}arrays themselves; one batch is [(x, y)]")


def pairs(at: str, data: Any, first: int = 0) -> Iterator[Batch]:
    """The batches from number `first` on, each checked to be a pair of images and targets.

    Raises:
        ArgumentError: A batch is something else.
    """
    # `map` keeps no reference to a batch that it yields, so that the consumer can free it.
    return map(partial(_pair, at), count(first + 1), islice(data, first, None))


def _pair(at: str, number: int, batch: Any) -> Batch:
    if not isinstance(batch, list | tuple) or len(batch) != PAIR:
        of = f" of {len(batch)}" if isinstance(batch, list | tuple) else ""
        raise ArgumentError(
            f"{at}, batch {number}: expected a pair of images and targets (x, y), got "
            f"{kind_of(batch)}{of}"
        )
    return batch[0], batch[1]


def of_epoch(data: Batches, epoch: int, first: int) -> Iterator[tuple[int, Batch]]:
    """The remaining batches of an epoch, each with the number of batches up to and with it."""
    if isinstance(data, Loader):
        data.set_epoch(epoch, first_batch=first)
        for batch in data:
            yield data.state().batch, batch
    else:
        yield from enumerate(pairs("training", data, first), first + 1)


def identity(data: Batches) -> dict[str, Any]:
    """The settings that determine the content of the batches, without the position in them."""
    if isinstance(data, Loader):
        state = dataclasses.asdict(data.state())
        return {name: value for name, value in state.items() if name not in {"epoch", "batch"}}
    return {"batches": len(data)}


def fingerprint(data: Batches | None) -> str | None:
    """A fingerprint of validation data, to recognise them on resuming."""
    if data is None:
        return None
    return data.dataset.fingerprint if isinstance(data, Loader) else f"{len(data)} batches"
