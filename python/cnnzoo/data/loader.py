"""The data loader: batches of a data set, prefetched by threads."""

from __future__ import annotations

import copy
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
from cnnzoo._text import counted
from cnnzoo._tiles import MOST_TILES
from cnnzoo.data._pages import loader_page
from cnnzoo.data.dataset import Dataset, Samples
from cnnzoo.data.photos import Photos
from cnnzoo.data.showing import Mixes, normalization_of, show_batch
from cnnzoo.errors import ArgumentError, CheckpointError, DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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

# The largest epoch, far from where counting on would overflow.
LAST_EPOCH = 2**62


class DataWarning(UserWarning):
    """A sample that could not be read was skipped or replaced."""


@dataclass(frozen=True, kw_only=True)
class BadSample:
    """A sample that could not be read or prepared.

    Attributes:
        index: The sample's index in the data set.
        name: The sample's path, if it has one.
        error: The error of reading or preparing it.
        replacement: The index of the sample that replaced it; none if it was skipped.
    """

    index: int
    name: str
    error: Exception
    replacement: int | None


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """The position of a loader, with the options and the data set that it is valid for.

    Attributes:
        epoch: The current or next epoch.
        batch: The number of its batches that were taken.
        seed: The loader's seed.
        batch_size: The loader's batch size.
        shuffle: Whether the loader shuffles.
        drop_last: Whether the loader drops an incomplete last batch.
        transform: The `repr` of the loader's transform.
        fingerprint: The data set's fingerprint.
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
    """A data loader: iterates over a data set in batches, one pass an epoch.

    Every iteration is an epoch of its own, with another order if `shuffle` is set. A batch depends
    on the data set, the options, the epoch and the batch's number alone, not on the number of
    threads or on earlier reads. So `loader.state()` and `start=` resume in the middle of an epoch
    without reading the batches before.

    Threads decode and transform; they start with an iteration and end with it, also if it is left
    early. At most `prefetch` batches are in preparation, or ready and not taken yet.

    Yields:
        x, float32 of shape (N, C, H, W), and y, int64 of shape (N,); of `Photos` x alone.

    Args:
        dataset: The samples: a `Dataset`, or `Photos`, which have no labels.
        batch_size: N. The last batch may be smaller.
        transform: The transform of each photograph, as `model.preprocess`; if none, bytes are
            scaled to 0 to 1 and all photographs must have one size.
        shuffle: Whether each epoch has a random order, instead of that of the data set.
        seed: The seed of the order and of the transform's random draws.
        drop_last: Whether to drop the last batch if it would be smaller.
        threads: The number of threads; one for each core if not given.
        prefetch: The number of batches prefetched; if not given, two more than the threads work on.
        on_error: The treatment of a sample that cannot be read or prepared. `raise` ends the epoch
            at its batch; `skip` makes its batch smaller; `replace` takes another, random sample
            instead. The latter two warn once an epoch, and `bad_samples` lists all.
        start: A state to resume from, as `state()` gave it.

    Raises:
        ArgumentError: An option is invalid.
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
        # The engine checks the lower bounds.
        batch_size, seed = whole("loader: batch_size", batch_size), seed_of(seed, "loader: seed")
        threads = None if threads is None else whole("loader: threads", threads)
        prefetch = None if prefetch is None else whole("loader: prefetch", prefetch)
        for name, value in (("shuffle", shuffle), ("drop_last", drop_last)):
            instance(f"loader: {name}", value, bool, "True or False")
        text("loader: on_error", on_error, "raise, skip or replace")
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
        # Whether an iteration has begun at this position.
        self._begun = False
        self._latest: _native.Epoch | None = None
        self._bad: list[BadSample] = []
        if start is not None:
            self.load_state(start)

    def __getstate__(self) -> dict[str, Any]:
        """The state that is copied and pickled: everything but an iteration in progress."""
        return {n: v for n, v in vars(self).items() if n not in {"_engine", "_latest"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the loader that was pickled, at its position."""
        vars(self).update(state)
        self._engine = _native.Loader(self.dataset._engine, self.transform, **self._options)
        self._latest = None

    @property
    def batch_size(self) -> int:
        """The number of samples in a batch."""
        size: int = self._identity["batch_size"]
        return size

    @property
    def threads(self) -> int:
        """The number of threads that decode and transform."""
        return self._engine.threads

    @property
    def prefetch(self) -> int:
        """The most batches that are in preparation, or ready and not taken."""
        return self._engine.prefetch

    @property
    def bad_samples(self) -> list[BadSample]:
        """The samples that were skipped or replaced in the current or last epoch."""
        return list(self._bad)

    def _shared(self, place: int, count: int) -> Loader[Batch]:
        """A loader of the rows that one of `count` processes has of each batch.

        Batches are numbered alike for all; of a smaller last one a process may have none.

        Raises:
            ArgumentError: The batch size is no multiple of the number of processes.
        """
        twin: Loader[Batch] = copy.copy(self)
        twin._options = {**self._options, "share": (place, count)}
        twin._engine = _native.Loader(self.dataset._engine, self.transform, **twin._options)
        return twin

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The indices of an epoch's samples, in order."""
        return self._engine.order(whole("`epoch`", epoch, most=LAST_EPOCH))

    def set_epoch(self, epoch: int, *, first_batch: int = 0) -> None:
        """Set the epoch of the next iteration, and the batch that it begins with."""
        integral = isinstance(epoch, Integral) and isinstance(first_batch, Integral)
        if not integral or not 0 <= epoch <= LAST_EPOCH or not 0 <= first_batch <= len(self):
            raise ArgumentError(
                f"{self!r}: expected an epoch from 0 and one of its {len(self)} batches, got batch "
                f"{first_batch} of epoch {epoch}"
            )
        self._move_to(int(epoch), int(first_batch))

    def state(self) -> LoaderState:
        """The position of the latest iteration: batches that were taken count as done."""
        return LoaderState(
            epoch=self._epoch,
            batch=self._batch,
            fingerprint=self.dataset.fingerprint,
            **self._identity,
        )

    def load_state(self, state: LoaderState | Mapping[str, Any]) -> None:
        """Let the next iteration resume at the position of a state.

        Raises:
            CheckpointError: The state is of another data set, or of options that make other
                batches.
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
                    "with which the batches would differ"
                )
        if given.batch > len(self) or given.epoch > LAST_EPOCH:
            raise CheckpointError(
                f"loader state: expected at most {len(self)} batches, got {given.batch} "
                f"of epoch {given.epoch}"
            )
        self._move_to(given.epoch, given.batch)

    def show_batch(
        self, count: int = 16, *, mixing: Mixes | None = None, ax: Axes | None = None
    ) -> Axes:
        """Draw the images that the next iteration begins with, and their classes.

        They are drawn as the network will get them, cropped and augmented, with the normalisation
        undone. The loader stays where it is: the next iteration yields the same batches as without.

        Args:
            count: Number of images.
            mixing: Mixup and CutMix, such as `trainer.mixing`, with which a soft target is drawn by
                its two largest shares. The draws are those of a run with the loader's seed.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            ArgumentError: `count` is no whole number from 1 to 400.
            DataError: A photograph cannot be read, and `on_error` is `raise`; or none can.
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        count = whole("`count`", count, least=1, most=MOST_TILES)
        x, y = self._peek(count, mixing)
        mean, std = normalization_of(self.transform)
        classes = self.dataset.classes if isinstance(self.dataset, Dataset) else None
        return show_batch(x, y, classes=classes, mean=mean, std=std, count=count, ax=ax)

    def _peek(
        self, count: int, mixing: Mixes | None
    ) -> tuple[Photographs, NDArray[np.generic] | None]:
        """At least `count` images of the next iteration, or all that have one shape; and targets.

        Raises:
            DataError: There is none.
        """
        epoch, first = (self._epoch + 1, 0) if self._begun else (self._epoch, self._batch)
        if first >= len(self):
            epoch, first = epoch + 1, 0
        engine = self._engine.epoch(epoch, first)
        found: list[tuple[Photographs, NDArray[Any]]] = []
        try:
            while (batch := engine.next()) is not None:
                number, x, y, flaws = batch
                if flaws:
                    _warn(flaws[0])
                if found and len(x) and x.shape[1:] != found[0][0].shape[1:]:
                    break
                if len(x) and mixing is not None and isinstance(self.dataset, Dataset):
                    key = {"seed": self._identity["seed"], "epoch": epoch, "batch": number}
                    found.append(mixing(x, y, num_classes=self.dataset.num_classes, **key))
                elif len(x):
                    found.append((x, y))
                if sum(len(x) for x, _ in found) >= count:
                    break
        finally:
            engine.stop()
        if not found:
            raise DataError(f"{self.dataset!r}: expected a picture to draw, got none")
        images, targets = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return images, targets if isinstance(self.dataset, Dataset) else None

    def _move_to(self, epoch: int, batch: int) -> None:
        self._epoch, self._batch, self._begun = epoch, batch, False
        # An iteration in progress no longer moves the loader's position.
        self._latest = None

    def __len__(self) -> int:
        return len(self._engine)

    def __iter__(self) -> Iterator[Batch]:
        # An iteration that was left early is not resumed.
        if self._begun:
            self._move_to(self._epoch + 1, 0)
        engine = self._engine.epoch(self._epoch, self._batch)
        self._latest, self._begun, self._bad = engine, True, []
        return Iteration(
            self._take(engine, self._epoch, whole=self._batch == 0),
            "an iteration over a loader: expected a finished one, got one in progress, whose "
            "threads cannot be copied or pickled; copy the loader, which knows its position",
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
                    # No reference to the batch stays here, so that its user can free it.
                    handed: list[Any] = [(x, y) if labelled else x]
                    del batch, x, y
                    yield handed.pop()
        finally:
            engine.stop()
        if self._latest is engine:
            self._move_to(epoch + 1, 0)
        # The share of one of several processes may have no samples, of which none is bad.
        if whole and empty and bad:
            raise DataError(
                f"{self.dataset!r}: expected a sample that can be read, got none; the first: "
                f"{bad[0].error}"
            )

    def __repr__(self) -> str:
        options = ", ".join(
            f"{name}={value}" for name, value in self._identity.items() if name != "transform"
        )
        return f"<Loader of {self.dataset!r}: {counted(len(self), 'batch', 'batches')}, {options}>"

    def _repr_html_(self) -> str:
        facts = {name: value for name, value in self._identity.items() if name != "transform"}
        position = f"epoch {self._epoch}, batch {self._batch}"
        about = {"data set": repr(self.dataset), "batches": f"{len(self):,}", "position": position}
        given = {"on_error": self._options["on_error"]}
        threads = {"threads": self.threads, "prefetch": self.prefetch}
        return loader_page("Loader", {**about, **facts, **given, **threads}, self.transform)


def _warn(flaw: tuple[int, str, Exception, int | None]) -> None:
    index, _, error, replacement = flaw
    what = "skipped" if replacement is None else f"replaced by sample {replacement}"
    warnings.warn(
        f"sample {index} is {what}: {error} (one warning per epoch; `bad_samples` lists all)",
        DataWarning,
        stacklevel=3,
    )
