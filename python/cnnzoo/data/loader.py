"""Batches of a data set, made by threads ahead of whoever takes them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native, _record
from cnnzoo._arguments import instance, seed_of, text, whole
from cnnzoo._copying import Iteration
from cnnzoo.data.dataset import Dataset, Samples
from cnnzoo.data.photos import Photos
from cnnzoo.errors import ArgumentError, CheckpointError, DataError

if TYPE_CHECKING:
    from typing_extensions import TypeVar
else:
    from typing import TypeVar

Photographs: TypeAlias = NDArray[np.float32]
Labelled: TypeAlias = tuple[Photographs, NDArray[np.int64]]

if TYPE_CHECKING:
    Batch = TypeVar("Batch", default=Labelled)
else:
    Batch = TypeVar("Batch")

OnError: TypeAlias = Literal["raise", "skip", "replace"]

# Far from where counting on would end.
LAST_EPOCH = 2**62


class DataWarning(UserWarning):
    """A sample that could not be read was skipped or replaced."""


@dataclass(frozen=True, kw_only=True)
class BadSample:
    """A sample that could not be read or prepared.

    Attributes:
        index: Of the sample in the data set.
        name: Its path, where it has one.
        error: What was wrong with it.
        replacement: The sample that took its place; none if it was skipped.
    """

    index: int
    name: str
    error: Exception
    replacement: int | None


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """Where a loader stands, and what that means something for.

    Attributes:
        epoch: The epoch that goes on, or comes next.
        batch: How many batches of it were taken.
        seed: Of the loader.
        batch_size: Of the loader.
        shuffle: Of the loader.
        drop_last: Of the loader.
        transform: What it prints as.
        fingerprint: Of the data set.
    """

    epoch: int
    batch: int
    seed: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    transform: str
    fingerprint: str


class Loader(Generic[Batch]):
    """Iterates over a data set in batches, a pass an epoch.

    Every iteration is an epoch of its own, with another order if `shuffle` is set. What a batch
    holds follows from the data set, the options, the epoch and the number of the batch alone: not
    from the number of threads, nor from what was read before. So `loader.state()` and `start=` go
    on in the middle of an epoch without reading what came before.

    Threads decode and prepare; they start with an iteration and end with it, also where it is left
    early. At most `prefetch` batches are in the making, or ready and not taken yet.

    Yields:
        x, float32 of shape (N, C, H, W), and y, int64 of shape (N,); of `Photos` x alone.

    Args:
        dataset: Where the samples come from: a `Dataset`, or `Photos`, which have no labels.
        batch_size: N. The last batch may be smaller.
        transform: What is done to each photograph, as `model.preprocess`; if none, bytes become
            numbers of 0 to 1 and all photographs have to be of one size.
        shuffle: Draw an order for each epoch, instead of that of the data set.
        seed: What order and transform are drawn from.
        drop_last: Leave out the last batch where it would be smaller.
        threads: How many; one for each core if not given.
        prefetch: How many batches ahead; if not given, two more than the threads are at work on.
        on_error: What becomes of a sample that cannot be read or prepared. `raise` ends the epoch
            at its batch; `skip` makes its batch smaller; `replace` takes another sample, drawn for
            it. The latter two warn once an epoch, and `bad_samples` lists all.
        start: A state to go on from, as `state()` gave it.

    Raises:
        ArgumentError: An option has no meaning.
        CheckpointError: `start` is of another data set or of other options.
    """

    @overload
    def __init__(
        self: Loader[Labelled],
        dataset: Dataset,
        *,
        batch_size: int = 64,
        transform: Any = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: OnError = "raise",
        start: LoaderState | Mapping[str, Any] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Loader[Photographs],
        dataset: Photos,
        *,
        batch_size: int = 64,
        transform: Any = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: OnError = "raise",
        start: LoaderState | Mapping[str, Any] | None = None,
    ) -> None: ...
    def __init__(
        self,
        dataset: Samples,
        *,
        batch_size: int = 64,
        transform: Any = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: OnError = "raise",
        start: LoaderState | Mapping[str, Any] | None = None,
    ) -> None:
        instance("loader: dataset", dataset, Samples, "a data set such as ImageFolder(folder)")
        # The engine says what is too small.
        batch_size, seed = whole("loader: batch_size", batch_size), seed_of(seed, "loader: seed")
        threads = None if threads is None else whole("loader: threads", threads)
        prefetch = None if prefetch is None else whole("loader: prefetch", prefetch)
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            instance(f"loader: {name}", value, bool, "True or False")
        text("loader: on_error", on_error, "raise, skip or replace")
        instance("loader: dataset", dataset, Samples, "a data set, as cnnzoo.data.Arrays(x, y)")
        # A `Dataset` or `Photos`, as it was given.
        self.dataset: Any = dataset
        self.transform = transform
        self._options: dict[str, Any] = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "drop_last": drop_last,
            "threads": threads,
            "prefetch": prefetch,
            "on_error": on_error,
        }
        try:
            self._engine = _native.Loader(dataset._engine, transform, **self._options)
        except TypeError as error:
            raise ArgumentError(f"loader: {error}") from None
        self._identity: dict[str, Any] = {
            "seed": seed,
            "batch_size": batch_size,
            "shuffle": shuffle,
            "drop_last": drop_last,
            "transform": repr(transform),
        }
        self._epoch = 0
        self._batch = 0
        # Whether an iteration has begun there.
        self._begun = False
        self._latest: _native.Epoch | None = None
        self._bad: list[BadSample] = []
        if start is not None:
            self.load_state(start)

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all but an iteration that is in progress."""
        return {n: v for n, v in vars(self).items() if n not in {"_engine", "_latest"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The loader that was pickled, where it stood."""
        vars(self).update(state)
        self._engine = _native.Loader(self.dataset._engine, self.transform, **self._options)
        self._latest = None

    @property
    def batch_size(self) -> int:
        """Samples of a batch."""
        size: int = self._identity["batch_size"]
        return size

    @property
    def threads(self) -> int:
        """How many decode and prepare."""
        return self._engine.threads

    @property
    def prefetch(self) -> int:
        """How many batches are in the making, or ready and not taken, at most."""
        return self._engine.prefetch

    @property
    def bad_samples(self) -> list[BadSample]:
        """What was skipped or replaced in the epoch that is running or ran last."""
        return list(self._bad)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The samples of an epoch in the order in which they come."""
        return self._engine.order(whole("`epoch`", epoch, most=LAST_EPOCH))

    def set_epoch(self, epoch: int, *, first_batch: int = 0) -> None:
        """Make this epoch, from this of its batches, that of the next iteration."""
        integral = isinstance(epoch, Integral) and isinstance(first_batch, Integral)
        if not integral or not 0 <= epoch <= LAST_EPOCH or not 0 <= first_batch <= len(self):
            raise ArgumentError(
                f"{self!r}: expected an epoch from 0 and one of its {len(self)} batches, got batch "
                f"{first_batch} of epoch {epoch}"
            )
        self._move_to(int(epoch), int(first_batch))

    def state(self) -> LoaderState:
        """Where the latest iteration stands: the batches that were taken are done."""
        return LoaderState(
            epoch=self._epoch,
            batch=self._batch,
            fingerprint=self.dataset.fingerprint,
            **self._identity,
        )

    def load_state(self, state: LoaderState | Mapping[str, Any]) -> None:
        """Go on with the next iteration where a loader stood.

        Raises:
            CheckpointError: The state is of another data set, or of options with which the batches
                were others.
        """
        plain = dataclasses.asdict(state) if isinstance(state, LoaderState) else state
        try:
            plain = dict(plain) if isinstance(plain, Mapping) else plain
            given = _record.record(LoaderState, plain, "loader state")
        except _record.Misfit as misfit:
            raise CheckpointError(str(misfit)) from misfit
        for name, value in dataclasses.asdict(self.state()).items():
            got = getattr(given, name)
            if name not in {"epoch", "batch"} and got != value:
                raise CheckpointError(
                    f"loader state: expected {name} {value}, got {got}, "
                    "with which the batches were others"
                )
        if given.batch > len(self) or given.epoch > LAST_EPOCH:
            raise CheckpointError(
                f"loader state: expected at most {len(self)} batches, got {given.batch} "
                f"of epoch {given.epoch}"
            )
        self._move_to(given.epoch, given.batch)

    def _move_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._batch, self._begun = epoch, batch, False
        # An iteration that is under way no longer says where the loader stands.
        self._latest = None

    def __len__(self) -> int:
        return len(self._engine)

    def __iter__(self) -> Iterator[Batch]:
        # What was left early is not gone on with.
        if self._begun:
            self._move_to(self._epoch + 1, 0)
        engine = self._engine.epoch(self._epoch, self._batch)
        self._latest, self._begun, self._bad = engine, True, []
        return Iteration(
            self._take(engine, self._epoch, whole=self._batch == 0),
            "an iteration over a loader: expected it to be over, got one in progress, whose "
            "threads cannot be copied or pickled; take the loader, which knows where it stands",
        )

    def _take(self, engine: _native.Epoch, epoch: int, *, whole: bool) -> Iterator[Any]:
        bad: list[BadSample] = []
        empty, labelled = True, isinstance(self.dataset, Dataset)
        try:
            while (batch := engine.next()) is not None:
                number, x, y, flaws = batch
                if flaws and not bad:
                    _warn(flaws[0])
                bad += [
                    BadSample(index=index, name=name, error=error, replacement=replacement)
                    for index, name, error, replacement in flaws
                ]
                if self._latest is engine:
                    self._batch, self._bad = number + 1, bad
                if len(y):
                    empty = False
                    # What is handed over is not held here, so that whoever takes it can let it go.
                    handed: list[Any] = [(x, y) if labelled else x]
                    del batch, x, y
                    yield handed.pop()
        finally:
            engine.stop()
        if self._latest is engine:
            self._move_to(epoch + 1, 0)
        if whole and empty:
            raise DataError(
                f"{self.dataset!r}: expected a sample that can be read, got none; the first: "
                f"{bad[0].error}"
            )

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self._identity.items())
        return f"Loader({self.dataset!r}, {options}, threads={self.threads})"


def _warn(flaw: tuple[int, str, Exception, int | None]) -> None:
    index, _, error, replacement = flaw
    what = "skipped" if replacement is None else f"replaced by sample {replacement}"
    warnings.warn(
        f"sample {index} is {what}: {error} (told once an epoch; `bad_samples` lists all)",
        DataWarning,
        stacklevel=3,
    )
