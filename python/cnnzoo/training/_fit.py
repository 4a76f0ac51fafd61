"""The arguments of one call of `fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from cnnzoo._arguments import path_of, whole
from cnnzoo.errors import ArgumentError
from cnnzoo.training import _batches
from cnnzoo.training._batches import Batches
from cnnzoo.training._processes import Processes
from cnnzoo.training._progress import Bar, Interrupts
from cnnzoo.training._shares import share_of
from cnnzoo.training.callbacks import Callback, Callbacks
from cnnzoo.training.losses import Metric


class Fit:
    """The arguments and transient state of a fit, which run checkpoints do not include."""

    def __init__(
        self,
        train: Batches,
        validation: Batches | None,
        bar: Bar,
        callbacks: Sequence[Callback],
        metrics: Mapping[str, Metric] | None,
    ) -> None:
        _batches.check("training", train)
        if validation is not None:
            _batches.check("validation", validation)
        self.train = train
        self.validation = validation
        # What this process trains on: all, or its rows of each batch.
        self.own_train: Batches = train
        self.bar = bar
        self.callbacks = Callbacks(callbacks)
        self.metrics = metrics
        self.folder: Path | None = None
        # Whether a step is under way, of which a run checkpoint would have a part.
        self.stepping = False
        # The images of the last batch, until their outputs are checked to be finite.
        self.seen: NDArray[Any] | None = None
        # Whether the task is multi-label; None until that is known.
        self.labels: bool | None = None
        self.targets: Callable[[Any], Any] = lambda y: y
        self.every: int | None = None
        self.interrupts: Interrupts | None = None

    def join(self, processes: Processes | None) -> None:
        """Make it the fit of several processes, of which only the first one writes and tells."""
        if processes is None:
            return
        self.own_train = share_of("training", self.train, processes)
        several = self.callbacks.several
        if processes.place > 0:
            self.bar, self.folder, self.every = Bar(shown=False), None, None
            several = tuple(one for one in several if not one.first_only)
        self.callbacks = Callbacks(several, processes=processes)

    def check(self) -> None:
        if self.interrupts is not None:
            self.interrupts.check()

    def write_to(self, checkpoint: Any, every: Any) -> None:
        """Check and set the options of run checkpoints."""
        self.folder = None if checkpoint is None else path_of("`checkpoint`", checkpoint)
        self.every = None if every is None else whole("`checkpoint_every`", every, least=1)
        if self.folder is None and every is not None:
            raise ArgumentError(
                "`checkpoint_every`: expected a folder, `checkpoint`, to write to as well, got none"
            )
