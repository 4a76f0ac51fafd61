"""Training over epochs, and going on where a run stopped."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from cnnzoo._arguments import path_of, whole
from cnnzoo._arrays import Device, device_name
from cnnzoo.errors import ArgumentError, CheckpointError, Notice
from cnnzoo.training import _batches, _checkpoint, _classes, _preparation
from cnnzoo.training._batches import Batches
from cnnzoo.training._checkpoint import LAST, Saved
from cnnzoo.training._claim import claimed
from cnnzoo.training._evaluating import Evaluating
from cnnzoo.training._fit import Fit
from cnnzoo.training._keeping import Keeping
from cnnzoo.training._progress import Bar, Interrupted, Interrupts
from cnnzoo.training._stepping import Stepping
from cnnzoo.training.callbacks import Callback
from cnnzoo.training.history import EpochRow, History
from cnnzoo.training.losses import BinaryCrossEntropy, LossLike, Metric
from cnnzoo.training.multilabel import share
from cnnzoo.training.schedules import Schedule
from cnnzoo.training.state import State


class Trainer(Keeping, Evaluating, Stepping):
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
        fit = Fit(train, validation, Bar(shown=progress), callbacks, metrics)
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
        fit = Fit(train, validation, Bar(shown=progress), callbacks, metrics)
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

    # The loop

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

    def _run(self, fit: Fit) -> History:
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
    def _running(self, fit: Fit) -> Iterator[None]:
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

    def _epoch(self, fit: Fit) -> None:
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

    def _train(self, fit: Fit) -> None:
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
