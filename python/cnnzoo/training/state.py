"""The state of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from cnnzoo.errors import ArgumentError
from cnnzoo.training.history import better


@dataclass
class State:
    """The state of a run: its progress, and the sums of the current epoch.

    Attributes:
        run: Unique name of the run.
        step: Number of batches trained on, over all epochs.
        updates: Number of updates of the EMA parameters.
        epoch: Number of finished epochs, evaluated too.
        first: Number of finished epochs when the fit began.
        epochs: Number of epochs of the fit.
        batch: Number of batches of the current epoch that were trained on, or skipped by the
            loader.
        taken: Number of these that were trained on.
        lr: The optimiser's learning rate, the base of the schedule.
        monitor: The column that decides which epoch is the best.
        best: The best value of that column.
        stopped: Whether training ends after the current epoch.
        loss: Sum of the losses of the current epoch's images.
        weight: Sum of the weights of these images: their number, or the sum of their class weights.
        correct: Number of these that were classified correctly.
        count: Number of these images.
        seconds: Duration of their batches in seconds.
        training: Identity of the training data.
        validation: Fingerprint of the validation data.
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
            # Older run checkpoints, from before means of losses had class weights.
            self.weight = float(self.count)
        better(self.monitor)
        if self.epoch < self.first:
            raise ArgumentError(
                f"`epoch`: expected one from {self.first}, where the fit began, got {self.epoch}"
            )
        if self.best is not None and not math.isfinite(self.best):
            # Older run checkpoints could have a best value that is not finite.
            self.best = None
        if not 0 <= self.lr < math.inf:
            raise ArgumentError(f"`lr`: expected a number of at least 0, got {self.lr}")
