"""The training loop over epochs, and resuming an interrupted run."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import path_of, whole
from cnnzoo._arrays import Device, device_name
from cnnzoo.errors import ArgumentError, CheckpointError, Notice, ProcessError
from cnnzoo.training import _batches, _checkpoint, _preparation, _shares, classes
from cnnzoo.training._agreement import agree_on_fit
from cnnzoo.training._batches import Batches
from cnnzoo.training._checkpoint import LAST, Saved
from cnnzoo.training._claim import claimed
from cnnzoo.training._evaluating import Evaluating
from cnnzoo.training._fit import Fit
from cnnzoo.training._keeping import Keeping
from cnnzoo.training._processes import joined, together
from cnnzoo.training._progress import Bar, Interrupted, Interrupts
from cnnzoo.training._searching import Searching
from cnnzoo.training._stepping import Stepping
from cnnzoo.training.callbacks import Callback
from cnnzoo.training.history import EpochRow, History
from cnnzoo.training.losses import BinaryCrossEntropy, LossLike, Metric
from cnnzoo.training.multilabel import share
from cnnzoo.training.schedules import Schedule
from cnnzoo.training.state import State


class Trainer(Keeping, Evaluating, Searching, Stepping):
    """Trains a model, epoch by epoch.

    Training is deterministic: the result depends only on arguments, seeds and data, and not on
    interruptions. `Trainer.resume` continues from a run checkpoint bit for bit, on the same machine
    with the same number of threads.

    Args:
        model: The model to train. Frozen parameters stay as they are.
        optimizer: An optimiser of this model.
        schedule: Learning-rate schedule, from the optimiser's rate; `Constant()` if not given.
        loss: Loss function, as for `Model.train_step`; `CrossEntropy()` if not given. An epoch's
            mean weights the batches of a custom function by their number of images, unless the
            function returns another weight.
        mixup: The alpha of mixup (Zhang et al., arXiv:1710.09412); 0 is off.
        cutmix: The alpha of CutMix (Yun et al., arXiv:1905.04899); 0 is off. With both, each batch
            takes one of the two.
        ema: Decay of the exponential moving average (EMA) of the parameters, such as 0.999. None:
            no average. The averaged model is `averaged`: it is evaluated, and saved as the best
            model; the history also has the metrics of the model itself.
        ema_warmup: Whether the decay warms up, so that the average of a short run is not mostly the
            initial parameters: at the n-th update it is 1 - n^(-2/3), at most `ema`, as in
            `timm.utils.ModelEmaV3` with `use_warmup`.
        clip_norm: Gradient clipping by norm: the largest Euclidean norm of all gradients.
        clip_value: Gradient clipping by value: each component is limited to ± this.
        accumulate: Gradient accumulation: batches per update, which uses their mean gradient.
            Batches left over at the end of an epoch make an update with the mean of theirs.
        precision: `"float32"`, or `"bfloat16"` for convolutions and matrix products in bfloat16, as
            in PyTorch's autocast.
        seed: Seed of dropout and mixing. Order and augmentation follow the loader's seed.
        distributed: Train together with the other processes of `torch.distributed`, as torchrun
            starts them: each runs its rows of every batch, and all make the same updates, with the
            mean gradients over the whole batch. So a loader's `batch_size` is that of all processes
            together, and results depend on their number by rounding alone, but for dropout, mixing
            and batch statistics. Only the first process writes files, shows progress and calls
            callbacks that do (`Callback.first_only`).
        sync_batch_norm: Whether batch norm uses the statistics of the whole batch in a distributed
            run, instead of those of each process's rows. Running statistics are otherwise those of
            the first process.

    Attributes:
        model: The model that is trained.
        averaged: The model with the EMA parameters; None without `ema`.
        history: The history of all epochs so far.
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
        """Train for more epochs, after those of earlier calls.

        Class labels are matched by name wherever the data set names its classes: if the model's
        `labels` include every class that the training data show, they are kept; else the data's
        names become the model's labels, with a `Notice` where it had others. Class weights of a
        loss are in the order of the labels.

        The model adopts the preprocessing of the validation loader, or of the training loader if
        that is the only one: it becomes `model.preprocess`, with a `Notice` if the model had its
        own for its weights. Further `Notice`s: the loader does something that `preprocess` cannot
        express; everything is frozen; the schedule would rise to its `min_lr`.

        Args:
            train: A loader, or a sequence of batches: images (N, C, H, W) and targets, which are
                classes (N,) or soft targets, a share for each class (N, K).
            validation: Data for evaluation after each epoch; the targets are classes, or, with
                another loss than `CrossEntropy`, a 0 or 1 for each label (N, K). The first batch is
                evaluated before training begins.
            epochs: Number of further epochs. The schedule is spread over these.
            monitor: The column of the history that decides which epoch is the best. If not given,
                `val_top1`, `val_map` where targets are labels, or `train_loss` without validation.
            metrics: Functions of logits and targets of the validation, for the history's
                `val_metrics`, as for `cnnzoo.metrics.evaluate`.
            progress: Show a progress bar for each epoch, or a line where there is no terminal.
            callbacks: Callbacks, called in this order.
            checkpoint: A folder for the run checkpoint `last.safetensors`, which `resume` reads,
                and the model file `best.safetensors`, which `cnnzoo.load` reads: the model of the
                best epoch.
            checkpoint_every: Write the run checkpoint every so many batches too, not only after
                epochs.

        Returns:
            The history, with the epochs of earlier calls.

        Raises:
            ArgumentError: The data have classes that the model does not have; before the first
                batch.
            DivergenceError: The loss, the gradients, or a value of the model is infinite or NaN.
                The last run checkpoint is kept, and `resume` continues from it.
            CheckpointError: The folder holds the run checkpoint of another run, or cannot be
                written, as where the disk is full. The last run checkpoint is kept.
            ProcessError: Another process of a distributed run has failed, ended, or not answered in
                time. `ArgumentError`, in every process, if their data or options differ.
            KeyboardInterrupt: Ctrl-C, after the current batch, and with a run checkpoint.
        """
        with together(self._processes) as stack:
            epochs = whole("`epochs`", epochs, least=1)
            fit = Fit(train, validation, Bar(shown=progress), callbacks, metrics)
            fit.write_to(checkpoint, checkpoint_every)
            fit.join(self._processes)
            stack.enter_context(self._running(fit))
            agree_on_fit(self, fit, epochs=epochs, monitor=monitor)
            # First, so that a fit that cannot start makes no folder.
            fit.targets = classes.settle(self.model, self.averaged, train, validation)
            monitor = self._begin(fit, monitor)
            stack.enter_context(claimed(fit.folder))
            if fit.folder is not None:
                self._claim(fit.folder)
            state = self._state
            # The unfinished epoch of an earlier fit that ended early does not count.
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
        distributed: bool = False,
        sync_batch_norm: bool = False,
    ) -> Trainer:
        """Rebuild a trainer from its run checkpoint, and train to the end of the interrupted fit.

        Args:
            path: The folder of the fit's `checkpoint`, or a run checkpoint that `save` wrote.
            train: The same training data. A loader continues in the middle of an epoch.
            validation: The same validation data.
            schedule: The run's schedule, if it was of a class of your own.
            loss: The run's loss, if it was a function, or of a class of your own.
            metrics: As for `fit`, the same ones.
            progress: As for `fit`.
            callbacks: As for `fit`, the same ones.
            checkpoint: As for `fit`; the folder of the run checkpoint if not given.
            checkpoint_every: As for `fit`.
            device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
            distributed: As for `Trainer`. Any number of processes continues a run, of one too.
            sync_batch_norm: As for `Trainer`.

        Returns:
            The trainer; its history has all epochs, with those before the interruption.

        Raises:
            CheckpointError: The run checkpoint is missing, damaged, not a run checkpoint, or of
                other data.
            ProcessError: As for `fit`.
        """
        file = path_of("`path`", path)
        processes = joined(device_name(device), distributed, sync_batch_norm)
        with together(processes) as stack:
            source = file if file.is_dir() else None
            fit = Fit(train, validation, Bar(shown=progress), callbacks, metrics)
            fit.write_to(source if checkpoint is None else checkpoint, checkpoint_every)
            fit.join(processes)
            stack.enter_context(claimed(fit.folder))
            saved = Saved(file / LAST if source else file)
            state, history = saved.state(State), History(saved.history(EpochRow))
            trainer = saved.trainer(cls, device_name(device), {"schedule": schedule, "loss": loss})
            trainer._state, trainer.history, trainer._processes = state, history, processes
            agree_on_fit(trainer, fit, batch=state.batch)
            trainer._expect(file, "training", state.training, _batches.identity(train))
            trainer._expect(file, "validation", state.validation, _batches.fingerprint(validation))
            if state.batch > len(train):
                raise CheckpointError(
                    f"{file}: expected at most {len(train)} batches that were taken, got "
                    f"{state.batch}"
                )
            if checkpoint is not None and fit.folder is not None:
                trainer._claim(fit.folder)
            fit.targets = classes.targets_of(trainer.model, train, "training")
            if validation is not None:
                classes.targets_of(trainer.model, validation, "validation")
            stack.enter_context(trainer._running(fit))
            trainer._begin(fit, state.monitor)
            trainer._run(fit)
        return trainer

    # The loop

    def _notice_settings(self) -> None:
        """Warn of settings that are surely unintended."""
        odd = []
        if not self.model.trained:
            odd.append("all parameters are frozen, so the fit changes none; see `unfreeze`")
        least, rate = getattr(self.schedule, "min_lr", 0.0), self.optimizer.lr
        if rate < least:
            odd.append(
                f"the learning rate rises from {rate:g} to the schedule's `min_lr`, {least:g}"
            )
        for text in odd:
            # The stack level of the caller of `fit`.
            warnings.warn(f"{self.model.name}: {text}", Notice, stacklevel=3)

    def _run(self, fit: Fit) -> History:
        state = self._state
        state.training = _batches.identity(fit.train)
        state.validation = _batches.fingerprint(fit.validation)
        if fit.folder is not None:
            _checkpoint.prepare(fit.folder)
            self._write(fit)
        self._align()
        interrupts = fit.interrupts = Interrupts()
        try:
            with interrupts:
                fit.callbacks.on_start(self)
                while state.epoch < state.first + state.epochs and not state.stopped:
                    self._epoch(fit)
        except (Interrupted, ProcessError) as error:
            # Ctrl-C that ended another process, in the middle of an evaluation, was meant for all.
            failed = isinstance(error, ProcessError)
            fit.callbacks.end_early(error if failed else None)
            if failed and not interrupts.pressed:
                raise
            raise KeyboardInterrupt(self._interrupted(fit)) from None
        except BaseException as error:
            fit.callbacks.end_early(error)
            raise
        finally:
            fit.bar.end(None)
            self.optimizer.lr = state.lr
            fit.callbacks.on_end(self)
        return self.history

    @contextmanager
    def _running(self, fit: Fit) -> Iterator[None]:
        """Refuse a fit while another one runs."""
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
        if self._processes is not None:
            # The callbacks of one process may stop all.
            (stops,) = self._processes.numbers([float(state.stopped)])
            state.stopped = stops > 0
        self._write(fit)
        fit.bar.end(_told(row))

    def _train(self, fit: Fit) -> None:
        state = self._state
        began = time.perf_counter()
        for batch, x, y, counts in self._own_batches(fit):
            if fit.labels is None:
                binary = isinstance(self.loss, BinaryCrossEntropy)
                self._set_task(fit, labels=binary and np.ndim(y) > 1)
            fit.stepping = True
            result = self._step(fit, x, y, batch, counts=counts)
            state.batch, state.step, state.taken = batch, state.step + 1, state.taken + 1
            state.loss += result.loss * result.weight
            state.weight += result.weight
            state.correct += result.correct
            state.count += result.count
            fit.stepping = False
            now = time.perf_counter()
            state.seconds, began = state.seconds + now - began, now
            fit.callbacks.on_step(self, result)
            fit.bar.advance(f"loss {share(state.loss, state.weight):.4f}")
            if fit.every is not None and state.step % fit.every == 0:
                self._write(fit)
            fit.check()
        # Gradients may remain where a loader skipped batches that were still expected.
        clips = {name: self._options[name] for name in ("clip_norm", "clip_value")}
        self._follow(self.optimizer.step(**clips), state.step)
        self._align(statistics=True)
        self._check_finite(fit)

    def _own_batches(self, fit: Fit) -> Iterator[tuple[int, NDArray[Any], NDArray[Any], bool]]:
        """The number, images and targets of each batch, and whether this process has any of it."""
        state = self._state
        if self._processes is None:
            for batch, (x, y) in _batches.of_epoch(fit.train, state.epoch, state.batch):
                yield batch, x, fit.targets(y), True
            return
        for batch, own in _shares.of_epoch(fit.own_train, state.epoch, state.batch):
            if own is not None:
                yield batch, own[0], fit.targets(own[1]), True
                continue
            # Two black images, so that a norm has statistics.
            x = np.zeros((2, *self.model.graph.input_shape), np.float32)
            several = isinstance(self.loss, BinaryCrossEntropy)
            y = (
                np.zeros((2, self.model.num_classes), np.float32)
                if several
                else np.zeros(2, np.int64)
            )
            yield batch, x, y, False

    def _align(self, *, statistics: bool = False) -> None:
        """Give all processes the parameters of the first one, or its running statistics alone."""
        if self._processes is not None:
            for model in filter(None, (self.model, self.averaged)):
                self._processes.align(model, statistics=statistics)


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
