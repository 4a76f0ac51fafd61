"""Training over epochs, with evaluation, checkpoints, and going on where a run stopped."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _batches, _checkpoint, _classes, _native, _preparation
from cnnzoo._arguments import instance, number, path_of, seed_of, shown, whole
from cnnzoo._arrays import Device, device_name
from cnnzoo._batches import Batches
from cnnzoo._checkpoint import BEST, LAST, Saved, checkpoint_errors
from cnnzoo._claim import claimed
from cnnzoo._configuration import check_ending
from cnnzoo._progress import Bar, Interrupted, Interrupts
from cnnzoo.callbacks import Callback, Callbacks, better, monitored
from cnnzoo.data import Loader
from cnnzoo.errors import ArgumentError, CheckpointError, CopyError, DivergenceError, Notice
from cnnzoo.history import OWN, EpochRow, History
from cnnzoo.losses import BinaryCrossEntropy, LossLike, Metric, as_loss, fits
from cnnzoo.metrics import Metrics, evaluate
from cnnzoo.mixing import Mixing
from cnnzoo.model import Model, Precision, StepResult
from cnnzoo.multilabel import MultiLabelMetrics, share
from cnnzoo.optimizers import Optimizer
from cnnzoo.schedules import Constant, Schedule

# Of the warm-up of running averages, as timm has it.
WARMUP_POWER = -2 / 3

PRECISIONS = get_args(Precision)

# Steps draw from seeds this far apart, so that no two runs of neighbouring seeds share one.
STRIDE = 0x9E3779B97F4A7C15


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


class Trainer:
    """Trains a model, epoch by epoch.

    What a run computes follows from its arguments, seeds and data alone, and not from whether it
    was interrupted: `Trainer.resume` goes on from a checkpoint with the same bits, on the same
    machine with the same number of threads.

    Args:
        model: What to train. What is frozen stays as it is.
        optimizer: Of this model.
        schedule: How the rate changes from the optimiser's; `Constant()` if not given.
        loss: What to make small, as for `Model.train_step`; `CrossEntropy()` if not given. The mean
            of an epoch weighs a function's batches by their images, unless it says otherwise.
        mixup: The alpha of mixup (Zhang et al., arXiv:1710.09412); 0 is none.
        cutmix: The alpha of CutMix (Yun et al., arXiv:1905.04899); 0 is none. With both, one of the
            two for each batch.
        ema: How much of a running average of the parameters stays with each update, such as 0.999;
            none if not given. The average is `averaged`, which evaluation and the best checkpoint
            take; the history has the model's own figures beside.
        ema_warmup: Whether the average begins with less, so that a short run is not mostly its
            initial parameters: of the n-th update, 1 - n^(-2/3) stays, `ema` at most, as
            `timm.utils.ModelEmaV3` has it with `use_warmup`.
        clip_norm: What the Euclidean norm of all gradients is cut to.
        clip_value: What each number of the gradients is cut to, up and down.
        accumulate: How many batches make an update, of their mean gradient. What is left at an
            epoch's end makes one of the mean of what is there.
        precision: `"float32"`, or `"bfloat16"` for convolutions and matrix products in bfloat16, as
            PyTorch's autocast has them.
        seed: From which dropout and mixing draw. Order and augmentation draw from the loader's.

    Attributes:
        model: What is trained.
        averaged: The running average of its parameters, as a model; none without `ema`.
        history: What happened so far.
    """

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
    ) -> None:
        instance("`model`", model, Model, "a model, such as cnnzoo.create_model makes")
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
        self._fit: _Fit | None = None

    @property
    def config(self) -> dict[str, Any]:
        """All settings as plain values, for logs: JSON and YAML take them.

        A schedule or loss is a dict of its `class` and its `fields`.
        """
        return _checkpoint.config(self)

    @property
    def step(self) -> int:
        """How many batches were taken, over all epochs."""
        return self._state.step

    @property
    def first_epoch(self) -> int:
        """How many epochs were over when the fit began that is running or ran last."""
        return self._state.first

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: all of it, between two fits.

        Raises:
            CopyError: A fit is running.
        """
        if self._fit is not None:
            raise CopyError(
                f"{self!r}: expected no fit, got one that is running, which cannot be copied or "
                "pickled; `save` writes what `Trainer.resume` goes on from"
            )
        return dict(vars(self))

    def __repr__(self) -> str:
        state = self._state
        return f"<Trainer of {self.model.name}: {state.epoch} epochs, {state.step} batches>"

    def fit(
        self,
        train: Batches,
        validation: Batches | None = None,
        *,
        epochs: int,
        monitor: str | None = None,
        metrics: Mapping[str, Metric] | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
    ) -> History:
        """Train for some epochs, after those of earlier calls.

        Targets meet the model by name wherever the data have names of classes: a model whose
        `labels` have all that the training data show keeps them; else the data's names become its
        labels, and a `Notice` says so where it had others. Weights of classes in a loss are in the
        order of the labels.

        The model prepares photographs as the validation's loader does, or as the training's if that
        is the only one: `model.preprocess` becomes that, which a `Notice` says of a model that had
        one for its weights. What it cannot say is a `Notice` too, and so is a model of which
        everything is frozen, or a schedule that would rise to its `min_lr`.

        Args:
            train: A loader, or a sequence of batches: images (N, C, H, W) and what they show,
                classes (N,) or shares (N, K).
            validation: What to evaluate on after each epoch; its targets are classes, or, with
                another loss than `CrossEntropy`, a 0 or 1 for each label (N, K). Its first batch is
                evaluated before training begins.
            epochs: How many more. The schedule is spread over these.
            monitor: The column of the history that decides which epoch is the best: `val_top1`,
                `val_map` where targets are labels, or `train_loss` without validation, if not
                given.
            metrics: Functions of logits and targets of the validation, for the history's
                `val_metrics`, as for `cnnzoo.metrics.evaluate`.
            progress: Show a bar for each epoch, or a line where there is no terminal.
            callbacks: What else happens.
            checkpoint: A folder for `last.safetensors`, which `resume` goes on from, and
                `best.safetensors`, which `cnnzoo.load` reads: the model of the best epoch.
            checkpoint_every: Write the former after so many batches too, not only after epochs.

        Returns:
            The history, with the epochs of earlier calls.

        Raises:
            ArgumentError: The data have classes that the model does not have; before the first
                batch.
            DivergenceError: The loss, the gradients, or something of the model is infinite or no
                number. The checkpoints from before are kept, and `resume` goes on from them.
            CheckpointError: The folder holds the checkpoint of another run, or cannot be written,
                as where the disk is full. The checkpoint from before is kept.
            KeyboardInterrupt: Ctrl-C, after the batch that was at work, and with a checkpoint.
        """
        epochs = whole("`epochs`", epochs, least=1)
        fit = _Fit(train, validation, Bar(shown=progress), callbacks, metrics)
        fit.write_to(checkpoint, checkpoint_every)
        with self._running(fit), ExitStack() as stack:
            # What cannot be trained makes no folder.
            fit.targets = _classes.settle(self.model, self.averaged, train, validation)
            monitor = self._begin(fit, monitor)
            stack.enter_context(claimed(fit.folder))
            if fit.folder is not None:
                self._claim(fit.folder)
            state = self._state
            # What a fit that was left early had begun of an epoch does not count.
            self._state = State(
                run=state.run,
                step=state.step,
                updates=state.updates,
                epoch=state.epoch,
                first=state.epoch,
                epochs=epochs,
                lr=self.optimizer.lr,
                monitor=monitor,
            )
            self._notice_settings()
            self.optimizer._engine.drop_waiting()
            _preparation.adopt(self.model, self.averaged, train, validation, fit.bar.say)
            return self._run(fit)

    def evaluate(
        self,
        validation: Batches,
        *,
        metrics: Mapping[str, Metric] | None = None,
        progress: bool = False,
    ) -> Metrics | MultiLabelMetrics:
        """How often the model is right, or its running average if there is one.

        Args:
            validation: A loader, or a sequence of batches of images and what they show, as for
                `fit`.
            metrics: Functions of logits and targets, as for `cnnzoo.metrics.evaluate`.
            progress: Show a bar.
        """
        _batches.check("evaluation", validation)
        bar = Bar(shown=progress)
        if progress:
            bar.begin("evaluation", batches=len(validation), done=0)
        try:
            return self._evaluate(validation, metrics, lambda _: bar.advance(""))
        finally:
            bar.end(None)

    def stop(self) -> None:
        """End training after the epoch that is running."""
        self._state.stopped = True

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `resume` goes on from into a .safetensors file.

        Raises:
            ArgumentError: The name ends as those of another format do.
            CheckpointError: The file cannot be written; what was there before is kept.
        """
        check_ending(path)
        _checkpoint.save(self, Path(path))

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        train: Batches,
        validation: Batches | None = None,
        *,
        schedule: Schedule | None = None,
        loss: LossLike | None = None,
        metrics: Mapping[str, Metric] | None = None,
        progress: bool = True,
        callbacks: Sequence[Callback] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        device: Device = "cpu",
    ) -> Trainer:
        """Rebuild a trainer, and train on to the end of the fit that its checkpoint was written in.

        Args:
            path: The folder of the fit's checkpoints, or a file that `save` wrote.
            train: The data from before. A loader goes on in the middle of an epoch.
            validation: The data from before.
            schedule: That of the run, if it was of a class of your own.
            loss: That of the run, if it was a function, or of a class of your own.
            metrics: As for `fit`, the same ones.
            progress: As for `fit`.
            callbacks: As for `fit`, the same ones.
            checkpoint: As for `fit`; the folder of the checkpoint if not given.
            checkpoint_every: As for `fit`.
            device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.

        Returns:
            The trainer; its history has all epochs, those from before too.

        Raises:
            CheckpointError: The checkpoint is missing, damaged, of something else, or of other
                data.
        """
        file = path_of("`path`", path)
        source = file if file.is_dir() else None
        fit = _Fit(train, validation, Bar(shown=progress), callbacks, metrics)
        fit.write_to(source if checkpoint is None else checkpoint, checkpoint_every)
        with claimed(fit.folder):
            saved = Saved(file / LAST if source else file)
            state, history = saved.state(State), History(saved.history(EpochRow))
            trainer = saved.trainer(cls, device_name(device), {"schedule": schedule, "loss": loss})
            trainer._state, trainer.history = state, history
            trainer._expect(file, "training", state.training, _batches.identity(train))
            trainer._expect(file, "validation", state.validation, _batches.fingerprint(validation))
            if state.batch > len(train):
                raise CheckpointError(
                    f"{file}: expected at most {len(train)} batches that were taken, got "
                    f"{state.batch}"
                )
            if checkpoint is not None and fit.folder is not None:
                trainer._claim(fit.folder)
            fit.targets = _classes.targets_of(trainer.model, train, "training")
            if validation is not None:
                _classes.targets_of(trainer.model, validation, "validation")
            with trainer._running(fit):
                trainer._begin(fit, state.monitor)
                trainer._run(fit)
        return trainer

    def _notice_settings(self) -> None:
        """Say what nobody would mean of a fit that begins."""
        odd = []
        if not self.model.trained:
            odd.append("everything is frozen, so the fit moves no parameter; see `unfreeze`")
        least, rate = getattr(self.schedule, "min_lr", 0.0), self.optimizer.lr
        if rate < least:
            odd.append(f"the rate rises from {rate:g} to the schedule's `min_lr`, {least:g}")
        for text in odd:
            # Over this method and `fit` to whoever called that.
            warnings.warn(f"{self.model.name}: {text}", Notice, stacklevel=3)

    # The loop

    def _begin(self, fit: _Fit, monitor: str | None) -> str:
        """Evaluate the first batch of the validation, before anything is trained.

        Returns:
            The column that decides which epoch is the best.

        Raises:
            ArgumentError: The validation cannot be evaluated, or has no such column.
        """
        columns: dict[str, Any] = {"train_loss": 0.0, "train_top1": 0.0}
        usual = "train_loss"
        if fit.validation is not None:
            try:
                with Interrupts() as interrupts:
                    first = self._evaluate(
                        fit.validation, None, lambda _: interrupts.check(), most=1
                    )
            except Interrupted:
                raise KeyboardInterrupt("interrupted before the first batch") from None
            columns |= _columns(first)
            labels = isinstance(first, MultiLabelMetrics)
            usual = "val_map" if labels else "val_top1"
            self._set_task(fit, labels=labels)
        monitor = monitor or usual
        better(monitor)
        if fit.validation is None and monitor.startswith("val"):
            raise ArgumentError(f"`monitor`: expected validation data for {monitor}, got none")
        if columns.get(monitor) is None:
            has = ", ".join(name for name in columns if columns[name] is not None)
            raise ArgumentError(
                f"`monitor`: expected a column that this run has, {has}, got {monitor}"
            )
        return monitor

    def _set_task(self, fit: _Fit, *, labels: bool) -> None:
        fit.labels = labels
        for model in filter(None, (self.model, self.averaged)):
            model.task = "multi_label" if labels else "multi_class"

    def _run(self, fit: _Fit) -> History:
        state = self._state
        state.training = _batches.identity(fit.train)
        state.validation = _batches.fingerprint(fit.validation)
        if fit.folder is not None:
            _checkpoint.prepare(fit.folder)
            self._write(fit)
        try:
            with Interrupts() as interrupts:
                fit.interrupts = interrupts
                fit.callbacks.on_start(self)
                while state.epoch < state.first + state.epochs and not state.stopped:
                    self._epoch(fit)
        except Interrupted:
            raise KeyboardInterrupt(self._interrupted(fit)) from None
        finally:
            fit.bar.end(None)
            self.optimizer.lr = state.lr
            fit.callbacks.on_end(self)
        return self.history

    @contextmanager
    def _running(self, fit: _Fit) -> Iterator[None]:
        """Keep a fit from being begun while another one runs."""
        if self._fit is not None:
            raise ArgumentError(
                f"{self!r}: expected no fit that runs, got one; a callback ends it by `stop()`, "
                "and the next `fit` follows it"
            )
        self._fit = fit
        try:
            yield
        finally:
            self._fit = None

    def _epoch(self, fit: _Fit) -> None:
        state = self._state
        last = state.first + state.epochs
        fit.bar.begin(f"epoch {state.epoch + 1}/{last}", batches=len(fit.train), done=state.batch)
        self._train(fit)
        if state.count == 0:
            raise ArgumentError("training: expected at least one batch, got none")
        row = self._row(fit)
        self.history = History([*self.history, row])
        self._note_best(fit, row)
        state.epoch += 1
        state.batch, state.taken = 0, 0
        state.loss, state.weight, state.correct, state.count = 0.0, 0.0, 0, 0
        state.seconds = 0.0
        fit.callbacks.on_epoch(self, row)
        self._write(fit)
        fit.bar.end(_told(row))

    def _train(self, fit: _Fit) -> None:
        state = self._state
        began = time.perf_counter()
        for batch, (x, y) in _batches.of_epoch(fit.train, state.epoch, state.batch):
            if fit.labels is None:
                binary = isinstance(self.loss, BinaryCrossEntropy)
                self._set_task(fit, labels=binary and np.ndim(y) > 1)
            result = self._step(fit, x, fit.targets(y), batch)
            state.batch, state.step, state.taken = batch, state.step + 1, state.taken + 1
            state.loss += result.loss * result.weight
            state.weight += result.weight
            state.correct += result.correct
            state.count += result.count
            now = time.perf_counter()
            state.seconds, began = state.seconds + now - began, now
            fit.callbacks.on_step(self, result)
            fit.bar.advance(f"loss {share(state.loss, state.weight):.4f}")
            if fit.every is not None and state.step % fit.every == 0:
                self._write(fit)
            fit.check()
        # A loader may have left out batches that were to come.
        clips = {name: self._options[name] for name in ("clip_norm", "clip_value")}
        self._follow(self.optimizer.step(**clips), state.step)
        self._check_finite(fit)

    def _step(self, fit: _Fit, x: NDArray[Any], y: NDArray[Any], batch: int) -> StepResult:
        state, options, batches = self._state, self._options, len(fit.train)
        at = state.epoch - state.first + state.batch / batches
        self.optimizer.lr = self.schedule.lr(state.lr, at, state.epochs, steps=batches)
        if self.mixing != Mixing():
            x, y = self.mixing(
                x,
                y,
                num_classes=self.model.num_classes,
                seed=options["seed"],
                epoch=state.epoch,
                batch=state.batch,
            )
        # With this one; a sequence may hold more than it says.
        left = max(batches - batch, 0) + 1
        fit.seen = x
        result = self.model.train_step(
            x,
            y,
            self.optimizer,
            loss=self.loss,
            accumulate=min(options["accumulate"], self.optimizer._waiting + left),
            clip_norm=options["clip_norm"],
            clip_value=options["clip_value"],
            precision=options["precision"],
            seed=self._seed(),
        )
        if not math.isfinite(result.loss):
            raise self._diverged("a finite loss", result.loss, state.step + 1)
        self._follow(result.grad_norm, state.step + 1)
        return result

    def _follow(self, grad_norm: float | None, batch: int) -> None:
        """Follow an update, which there was if there is a norm, by the average."""
        if grad_norm is None:
            return
        # Infinite numbers can be cut to a value, but not by a norm.
        cut = self._options["clip_value"] is not None and not math.isnan(grad_norm)
        if not (math.isfinite(grad_norm) or cut):
            raise self._diverged("gradients of a finite norm", grad_norm, batch)
        if self.averaged is not None:
            self.averaged._engine.average_from(self.model._engine, self._decay(), True)
            self._state.updates += 1

    def _seed(self) -> int:
        seed: int = self._options["seed"] * STRIDE + self._state.step
        return seed % 2**64

    def _diverged(self, expected: str, got: object, batch: int) -> DivergenceError:
        return DivergenceError(
            f"batch {batch} of {self.model.name}: expected {expected}, got {got}; a "
            f"smaller rate than {self.optimizer.lr:g}, a warm-up or `clip_norm` helps"
        )

    def _check_finite(self, fit: _Fit) -> None:
        """Refuse to go on with a model that is not finite, or puts out what is not.

        Raises:
            DivergenceError: An array of the model or of its average is not finite, or the outputs
                of the batch that it saw last are not.
        """
        for model, seen in ((self.model, fit.seen), (self.averaged, None)):
            if model is None:
                continue
            precision = self._options["precision"]
            wrong = _native.not_finite(model._engine, seen, precision, self._seed())
            if wrong is not None:
                what = f"in `{wrong}`" if wrong else "in the outputs of the last batch"
                raise DivergenceError(
                    f"after batch {self._state.step} of {model.name}: expected finite numbers "
                    f"{what}, got others; a smaller rate than {self.optimizer.lr:g}, a warm-up or "
                    "`clip_norm` helps"
                )
        fit.seen = None

    def _decay(self) -> float:
        """How much of the running average stays with the coming update."""
        decay: float = self._options["ema"]
        if self._options["ema_warmup"]:
            decay = min(decay, 1 - (1 + self._state.updates) ** WARMUP_POWER)
        return decay

    def _row(self, fit: _Fit) -> EpochRow:
        state = self._state
        found: dict[str, Any] = {}
        if fit.validation is not None:
            fit.bar.note("evaluating")
            found = _columns(self._evaluate(fit.validation, fit.metrics, lambda _: fit.check()))
            if self.averaged is not None:
                own = self._evaluate(fit.validation, None, lambda _: fit.check(), own=True)
                columns = _columns(own).items()
                found |= {f"own_{name}": value for name, value in columns if name in OWN}
        return EpochRow(
            epoch=state.epoch + 1,
            step=state.step,
            lr=self.optimizer.lr,
            train_loss=share(state.loss, state.weight),
            train_top1=None if fit.labels else state.correct / state.count,
            seconds=state.seconds,
            images_per_second=state.count / max(state.seconds, 1e-9),
            **found,
        )

    def _evaluate(
        self,
        validation: Batches,
        metrics: Mapping[str, Metric] | None,
        after: Any,
        *,
        most: int | None = None,
        own: bool = False,
    ) -> Metrics | MultiLabelMetrics:
        if isinstance(validation, Loader):
            # Always the same pass.
            validation.set_epoch(0)
        batches = _classes.meet(self.model, validation, "validation")
        return evaluate(
            self.model if own else self.averaged or self.model,
            islice(batches, most),
            loss=self.loss,
            metrics=metrics,
            after=after,
            precision=self._options["precision"],
        )

    def _note_best(self, fit: _Fit, row: EpochRow) -> None:
        state = self._state
        value = monitored(row, state.monitor)
        if not math.isfinite(value):
            return
        if state.best is None or value * better(state.monitor) > state.best * better(state.monitor):
            state.best = value
            if fit.folder is not None:
                with checkpoint_errors():
                    (self.averaged or self.model).save(fit.folder / BEST)

    def _write(self, fit: _Fit) -> None:
        if fit.folder is not None:
            self._check_finite(fit)
            _checkpoint.save(self, fit.folder / LAST)

    def _interrupted(self, fit: _Fit) -> str:
        state = self._state
        where = f"after batch {state.batch} of epoch {state.epoch + 1}"
        if fit.folder is None:
            return f"interrupted {where}; without `checkpoint=`, nothing was written"
        try:
            self._write(fit)
        except DivergenceError as error:
            return f"interrupted {where}; the checkpoint from before is kept: {error}"
        return f"interrupted {where}; Trainer.resume({str(fit.folder)!r}, ...) goes on from there"

    def _claim(self, folder: Path) -> None:
        """Refuse a folder that holds something else."""
        last = folder / LAST
        if not last.exists():
            return
        run = Saved(last).state(State).run
        if run != self._state.run:
            raise CheckpointError(
                f"{last}: expected no checkpoint, or one of this run, got that of another; go on "
                f"with it by Trainer.resume({str(folder)!r}, ...), remove it, or name another "
                "folder"
            )

    def _expect(self, file: Path, what: str, before: Any, now: Any) -> None:
        if before == now:
            return
        if isinstance(before, dict) and isinstance(now, dict) and before.keys() == now.keys():
            before = {name: value for name, value in before.items() if value != now[name]}
            now = {name: now[name] for name in before}
        raise CheckpointError(f"{file}: expected the {what} data of the run, {before}, got {now}")


class _Fit:
    """What a fit is given, and does not end up in a checkpoint."""

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
        self.bar = bar
        self.callbacks = Callbacks(callbacks)
        self.metrics = metrics
        self.folder: Path | None = None
        # The images of the last batch, until it is known that what comes of them is finite.
        self.seen: NDArray[Any] | None = None
        # Whether an image may have any number of labels, once that is known.
        self.labels: bool | None = None
        self.targets: Callable[[Any], Any] = lambda y: y
        self.every: int | None = None
        self.interrupts: Interrupts | None = None

    def check(self) -> None:
        if self.interrupts is not None:
            self.interrupts.check()

    def write_to(self, checkpoint: Any, every: Any) -> None:
        """Take the options of checkpoints."""
        self.folder = None if checkpoint is None else path_of("`checkpoint`", checkpoint)
        self.every = None if every is None else whole("`checkpoint_every`", every, least=1)
        if self.folder is None and every is not None:
            raise ArgumentError(
                "`checkpoint_every`: expected a folder to write to, `checkpoint`, with it, got none"
            )


def _columns(metrics: Metrics | MultiLabelMetrics) -> dict[str, Any]:
    """The columns of the history that an evaluation fills."""
    found: dict[str, Any] = {"val_loss": metrics.loss, "val_metrics": dict(metrics.extra)}
    if isinstance(metrics, Metrics):
        return {**found, "val_top1": metrics.top1, "val_top5": metrics.top5}
    return {
        **found,
        "val_map": metrics.mean_average_precision,
        "val_f1": metrics.f1,
        "val_accuracy": metrics.accuracy,
    }


def _told(row: EpochRow) -> str:
    parts = [f"loss {row.train_loss:.4f}"]
    if row.train_top1 is not None:
        parts.append(f"top1 {row.train_top1:.2%}")
    if row.val_loss is not None:
        parts.append(f"val loss {row.val_loss:.4f}")
    for name, value in (
        ("val top1", row.val_top1),
        ("val mAP", row.val_map),
        ("val f1", row.val_f1),
        ("val accuracy", row.val_accuracy),
    ):
        if value is not None:
            parts.append(f"{name} {value:.2%}")
    own = row.own_val_top1 if row.own_val_map is None else row.own_val_map
    if own is not None:
        parts.append(f"without averaging {own:.2%}")
    return ", ".join(parts + [f"val {name} {value:.4g}" for name, value in row.val_metrics.items()])
