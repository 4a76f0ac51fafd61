"""Where a run stands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cnnzoo.errors import ArgumentError
from cnnzoo.training.history import better


@dataclass
class State:
    """Where a run stands.

    Attributes:
        run: A name that no other run has.
        step: Batches that were taken, over all epochs.
        updates: How many of the parameters the running average saw.
        epoch: Epochs that are over, with their evaluation.
        first: How many were over when the fit began.
        epochs: How many the fit takes.
        batch: Batches of the running epoch that were taken, or left out by the loader.
        taken: Of these the ones that were taken.
        lr: The optimiser's rate, from which the schedule's follow.
        monitor: The column that decides which epoch is the best.
        best: Its value there.
        stopped: Whether training is to end with the running epoch.
        loss: The sum of the losses of the running epoch's images.
        weight: How much these count together: their number, or the sum of their classes' weights.
        correct: How many of these were recognised.
        count: How many there were.
        seconds: How long they took.
        training: What the batches come from.
        validation: What the images of the evaluation come from.
    """

    run: str
    step: int = 0
    updates: int = 0
    epoch: int = 0
    first: int = 0
    epochs: int = 0
    batch: int = 0
    taken: int = 0
    lr: float = 0.0
    monitor: str = "val_top1"
    best: float | None = None
    stopped: bool = False
    loss: float = 0.0
    weight: float = math.nan
    correct: int = 0
    count: int = 0
    seconds: float = 0.0
    training: dict[str, Any] | None = None
    validation: str | None = None

    def __post_init__(self) -> None:
        if math.isnan(self.weight):
            # Checkpoints from before losses had weights of classes in their means.
            self.weight = float(self.count)
        better(self.monitor)
        if self.epoch < self.first:
            raise ArgumentError(
                f"`epoch`: expected one from {self.first}, where the fit began, got {self.epoch}"
            )
        if self.best is not None and not math.isfinite(self.best):
            # Checkpoints from before let what is not finite be the best.
            self.best = None
        if not 0 <= self.lr < math.inf:
            raise ArgumentError(f"`lr`: expected a number of at least 0, got {self.lr}")
