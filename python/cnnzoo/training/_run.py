"""A training run: a model, the options of its training, a state and a history."""

from __future__ import annotations

import os
from typing import Any, get_args

from numpy.typing import NDArray

from cnnzoo._arguments import instance, number, seed_of, shown, whole
from cnnzoo.errors import ArgumentError, CopyError, DivergenceError
from cnnzoo.model import Model, Precision
from cnnzoo.training._fit import Fit
from cnnzoo.training._processes import joined
from cnnzoo.training.history import History
from cnnzoo.training.losses import LossLike, as_loss, fits
from cnnzoo.training.mixing import Mixing
from cnnzoo.training.optimizers import Optimizer
from cnnzoo.training.schedules import Constant, Schedule
from cnnzoo.training.state import State

PRECISIONS = get_args(Precision)

# The seeds of a run's steps are `seed * STRIDE + step`, so that runs of neighbouring seeds share
# none.
STRIDE = 0x9E3779B97F4A7C15


class Run:
    """The options and the state of a trainer; `Trainer` documents them."""

    def __init__(
        self,
        model: Model,
        *,
        optimizer: Optimizer,
        schedule: Schedule | None = None,
        loss: LossLike | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        ema: float | None = None,
        ema_warmup: bool = True,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        precision: Precision = "float32",
        seed: int = 0,
        distributed: bool = False,
        sync_batch_norm: bool = False,
    ) -> None:
        instance("`model`", model, Model, "a model, as cnnzoo.create_model returns")
        instance(
            "`optimizer`", optimizer, Optimizer, "one of this model, as cnnzoo.SGD(model, lr=0.1)"
        )
        if optimizer.model is not model:
            raise ArgumentError(
                f"`optimizer`: expected one of this {model.name}, got one of another model, "
                f"{optimizer.model.name}"
            )
        if ema is not None:
            ema = number("`ema`", ema, least=0, below=1)
        clip_norm, clip_value = (
            None if most is None else number(f"`{name}`", most, above=0)
            for name, most in (("clip_norm", clip_norm), ("clip_value", clip_value))
        )
        if clip_norm is not None and clip_value is not None:
            raise ArgumentError("clipping: expected `clip_norm` or `clip_value`, got both")
        accumulate = whole("`accumulate`", accumulate, least=1)
        seed = seed_of(seed)
        if not isinstance(precision, str) or precision not in PRECISIONS:
            raise ArgumentError(
                f"`precision`: expected {' or '.join(PRECISIONS)}, got {shown(precision)}"
            )
        if schedule is not None:
            instance("`schedule`", schedule, Schedule, "a schedule, as cnnzoo.Cosine()")
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule or Constant()
        self.loss = as_loss(loss)
        fits(self.loss, model.num_classes)
        mixup, cutmix = (
            number(f"`{name}`", alpha, least=0)
            for name, alpha in (("mixup", mixup), ("cutmix", cutmix))
        )
        self.mixing = Mixing(mixup=mixup, cutmix=cutmix)
        self.averaged = None if ema is None else model.copy()
        self.history = History()
        self._options: dict[str, Any] = {
            "schedule": self.schedule,
            "loss": self.loss,
            "mixup": mixup,
            "cutmix": cutmix,
            "ema": ema,
            "ema_warmup": instance("`ema_warmup`", ema_warmup, bool, "True or False"),
            "clip_norm": clip_norm,
            "clip_value": clip_value,
            "accumulate": accumulate,
            "precision": precision,
            "seed": seed,
        }
        self._state = State(run=os.urandom(8).hex())
        self._fit: Fit | None = None
        self._processes = joined(model.device, distributed, sync_batch_norm)
        if self._processes is not None:
            self._state.run = self._processes.first(self._state.run)

    @property
    def step(self) -> int:
        """The number of batches trained on, over all epochs."""
        return self._state.step

    @property
    def first_epoch(self) -> int:
        """The number of finished epochs when the current or last fit began."""
        return self._state.first

    def stop(self) -> None:
        """End training after the current epoch."""
        self._state.stopped = True

    def _seed(self, step: int) -> int:
        """The seed of the dropout of a step, another one in each process."""
        place = 0 if self._processes is None else self._processes.place
        seed: int = self._options["seed"] * STRIDE + step + (place << 48)
        return seed % 2**64

    def _mixed(
        self, x: NDArray[Any], y: NDArray[Any], *, epoch: int, batch: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """A batch with mixup or CutMix."""
        if self.mixing == Mixing():
            return x, y
        classes, seed = self.model.num_classes, self._options["seed"]
        return self.mixing(x, y, num_classes=classes, seed=seed, epoch=epoch, batch=batch)

    def _diverged(self, where: str, expected: str, got: object) -> DivergenceError:
        return DivergenceError(
            f"{where} of {self.model.name}: expected {expected}, got {got}; a smaller learning "
            f"rate than {self.optimizer.lr:g}, a warm-up or `clip_norm` helps"
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state for copying and pickling, which is possible between fits only.

        Raises:
            CopyError: A fit is running.
        """
        if self._fit is not None:
            raise CopyError(
                f"{self!r}: expected no fit, got one that is running, which cannot be copied or "
                "pickled; `save` writes a run checkpoint for `Trainer.resume`"
            )
        return dict(vars(self))

    def __repr__(self) -> str:
        state = self._state
        return f"<Trainer of {self.model.name}: {state.epoch} epochs, {state.step} batches>"
