"""A training run from a folder of photographs: its data, model, phases, and resuming."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cnnzoo._package import need_libtorch
from cnnzoo._plots import need_matplotlib
from cnnzoo._text import counted
from cnnzoo.command._among import ALONE, Among
from cnnzoo.command._folders import Data, data_of, refuse_old
from cnnzoo.command._settings import NONE, Settings, read_settings
from cnnzoo.data import Loader
from cnnzoo.data.loader import OnError
from cnnzoo.errors import CheckpointFileError
from cnnzoo.model import Model, create_model
from cnnzoo.preprocess import Preprocess, train_transform
from cnnzoo.training import AdamW, Cosine, CrossEntropy, History, JsonLines, Trainer
from cnnzoo.transforms import Transform, TrivialAugmentWide

# The files of a run beside its settings.
BEST, HEAD_BEST, LAST, LOG = "best.safetensors", "head.safetensors", "last.safetensors", "log.jsonl"

# The share of epochs over which the rate of a random network rises.
WARMUP_SHARE = 0.1


@dataclass(frozen=True)
class Finished:
    """A finished run: its settings, its trainer, and what it was validated on."""

    settings: Settings
    trainer: Trainer
    data: Data


def train_folder(
    settings: Settings,
    output: str | os.PathLike[str],
    *,
    device: str = "cpu",
    threads: int | None = None,
    on_error: OnError = "raise",
    progress: bool = True,
    tell: Callable[[str], None] = lambda _: None,
    among: Among = ALONE,
) -> Finished:
    """Train a model on a folder of photographs, in a new folder for the run's files.

    Args:
        settings: Everything that determines the run.
        output: The folder for its files.
        device: `cpu`, `cuda` or `cuda:N`.
        threads: Number of threads that prepare photographs; one for each core if not given.
        on_error: Handling of photographs that cannot be read, as for `Loader`.
        progress: Show a progress bar for each epoch, or a line where there is no terminal.
        tell: Called with lines about what begins.
        among: The processes that train together, each of which calls this; the first one writes
            all files.

    Raises:
        ArgumentError: The folder has one class, or the output folder has files.
        DataError: A folder or a photograph cannot be read, or a class has none.
        CheckpointError: The output folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the run can be resumed.
    """
    folder = Path(output)
    need_libtorch("training")
    need_matplotlib("the summary of a run")
    if among.is_first:
        refuse_old(folder)
    settings = settings.settled()
    data = data_of(settings)
    # Both before the folder is made, so that a mistake leaves none.
    model = _model(settings, data, among.device(device))
    # Several processes wait for each other here.
    trainer = _trainer(settings, model, among)
    settings = replace(settings, preprocess=model.preprocess)
    if among.is_first:
        _begin(folder, settings)
        tell(_about(settings, data, folder))
    run = _Run(
        settings=settings,
        data=data,
        folder=folder,
        threads=threads,
        on_error=on_error,
        progress=progress and among.is_first,
        among=among,
    )
    return run.finish(trainer)


def resume_folder(
    output: str | os.PathLike[str],
    *,
    photographs: str | None = None,
    validation: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    on_error: OnError = "raise",
    progress: bool = True,
    tell: Callable[[str], None] = lambda _: None,
    among: Among = ALONE,
) -> Finished:
    """Continue the run in a folder, from its last run checkpoint or its beginning.

    Args:
        output: The folder of the run.
        photographs: The new place of the photographs, if they were moved.
        validation: The new place of the folder that the run validates on, if it was moved.
        device: As for `train_folder`.
        threads: As for `train_folder`.
        on_error: As for `train_folder`.
        progress: As for `train_folder`.
        tell: As for `train_folder`.
        among: As for `train_folder`; any number of processes continues a run.

    Raises:
        ArgumentError: There is a folder to validate on, and the run has none.
        CheckpointError: There is no run, or it is damaged, or of other photographs.
    """
    folder = Path(output)
    need_libtorch("training")
    need_matplotlib("the summary of a run")
    settings = read_settings(folder)
    data = data_of(settings, photographs, validation)
    run = _Run(
        settings=settings,
        data=data,
        folder=folder,
        threads=threads,
        on_error=on_error,
        progress=progress and among.is_first,
        among=among,
    )
    device = among.device(device)
    is_new = not (folder / LAST).exists()
    if among.is_first:
        anew = "the run begins anew, since it was ended before its first run checkpoint"
        tell(f"{folder}: {anew}" if is_new else _about(settings, data, folder))
    if is_new:
        return run.finish(_trainer(settings, _model(settings, data, device), among))
    return run.finish(run.resumed(device))


def _begin(folder: Path, settings: Settings) -> None:
    """Make the folder of a run, and write the settings into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointFileError(f"{folder}: {error.strerror or error}") from error
    settings.write(folder)


@dataclass(frozen=True, kw_only=True)
class _Run:
    """The phases of a run, each a fit of the same trainer."""

    settings: Settings
    data: Data
    folder: Path
    threads: int | None
    on_error: OnError
    progress: bool
    among: Among

    def resumed(self, device: str) -> Trainer:
        """The trainer at the end of the phase that was interrupted."""
        return Trainer.resume(
            self.folder,
            *self._loaders(),
            progress=self.progress,
            callbacks=[JsonLines(self.folder / LOG)],
            device=device,
            distributed=self.among.is_several,
            sync_batch_norm=self.among.sync_batch_norm,
        )

    def finish(self, trainer: Trainer) -> Finished:
        """Train the phases that are left, and keep the model of the best epoch of all."""
        settings, folder = self.settings, self.folder
        head = settings.head_epochs or 0
        if len(trainer.history) < head:
            trainer.model.freeze().unfreeze(*classifier_of(trainer.model))
            trainer.optimizer.lr = settings.head_lr
            self._fit(trainer, head)
        writes = self.among.is_first
        if writes and head and len(trainer.history) == head < settings.epochs:
            _copy(folder / BEST, folder / HEAD_BEST)
        if len(trainer.history) < settings.epochs:
            trainer.model.unfreeze()
            trainer.optimizer.lr = settings.lr or 0.0
            self._fit(trainer, settings.epochs - len(trainer.history))
        if writes and best_epoch(trainer.history, settings) <= head < settings.epochs:
            _copy(folder / HEAD_BEST, folder / BEST)
        return Finished(settings, trainer, self.data)

    def _fit(self, trainer: Trainer, epochs: int) -> None:
        trainer.fit(
            *self._loaders(),
            epochs=epochs,
            monitor=self.settings.monitor,
            progress=self.progress,
            callbacks=[JsonLines(self.folder / LOG)],
            checkpoint=self.folder,
        )

    def _loaders(self) -> tuple[Loader, Loader]:
        settings, train = self.settings, self.data.train
        left = len(train) % settings.batch_size
        return Loader(
            train,
            batch_size=settings.batch_size,
            transform=_augmentation(settings),
            seed=settings.seed,
            # The statistics of very few images are useless for batch norms.
            drop_last=len(train) > settings.batch_size and left < settings.batch_size // 4,
            threads=self.threads,
            on_error=self.on_error,
        ), Loader(
            self.data.validation,
            batch_size=settings.batch_size,
            transform=settings.preprocess,
            shuffle=False,
            threads=self.threads,
            on_error=self.on_error,
        )


def best_epoch(history: History, settings: Settings) -> int:
    """The number of the epoch, from 1, whose model is kept: the first of equally good ones.

    Fine-tuning counts as better than the classifier alone where both are equally good.
    """
    sign = -1 if settings.monitor == "val_loss" else 1
    values = sign * np.array([getattr(row, settings.monitor) for row in history], np.float64)
    values = np.where(np.isfinite(values), values, -np.inf)
    best = np.flatnonzero(values == values.max()) + 1
    tuned = best[best > (settings.head_epochs or 0)]
    return int(tuned[0] if len(tuned) else best[0])


def classifier_of(model: Model) -> list[str]:
    """The names of the parameters of the classifier, and of auxiliary ones."""
    graph = model.graph
    nodes = graph.nodes()
    inside = {
        node
        for kind, _, first, end in graph.parts()
        if kind == "classifier"
        for node in nodes[first:end]
    }
    arrays = zip(graph.parameters(), graph.owners(), strict=True)
    return [name for (name, _, trained), node in arrays if trained and node in inside]


def _model(settings: Settings, data: Data, device: str) -> Model:
    """The model of a new run, whose classifier is fresh."""
    return create_model(
        settings.model,
        source=settings.source,
        weights=None if settings.weights == NONE else settings.weights,
        image_size=settings.image_size,
        device=device,
        seed=settings.seed,
        num_classes=data.train.num_classes,
    ).reset_classifier(num_classes=data.train.num_classes, seed=settings.seed)


def _trainer(settings: Settings, model: Model, among: Among) -> Trainer:
    decay = settings.layer_decay
    optimizer = AdamW(
        model,
        lr=settings.lr or 0.0,
        weight_decay=settings.weight_decay,
        norm_weight_decay=0.0,
        bias_weight_decay=0.0,
        layer_decay=None if decay == 1 else decay,
    )
    warmup = 0.0 if settings.is_transfer else WARMUP_SHARE * settings.epochs
    return Trainer(
        model,
        optimizer=optimizer,
        schedule=Cosine(warmup=warmup),
        loss=CrossEntropy(label_smoothing=settings.label_smoothing),
        mixup=settings.mixup,
        cutmix=settings.cutmix,
        ema=settings.ema or None,
        precision=settings.precision,
        seed=settings.seed,
        distributed=among.is_several,
        sync_batch_norm=among.sync_batch_norm,
    )


def _augmentation(settings: Settings) -> Transform | Preprocess:
    """The transform of the photographs that are trained on."""
    preprocess = settings.preprocess
    if settings.augment == "none" or preprocess is None:
        return preprocess  # type: ignore[return-value]  # None only before a run begins
    strong = settings.augment == "strong"
    return train_transform(
        preprocess,
        scale=(0.35, 1.0),
        ratio=(3 / 4, 4 / 3),
        flip=0.0 if settings.no_flip else 0.5,
        vertical_flip=0.0,
        color_jitter=0.0 if strong else 0.2,
        augment=TrivialAugmentWide() if strong else None,
        erasing=0.25 if strong else 0.0,
    )


def _about(settings: Settings, data: Data, folder: Path) -> str:
    """The lines before a run: its model, its photographs, and the place of its files."""
    weights = f"trained weights: {settings.weights}"
    if not settings.is_transfer:
        weights = (
            "random parameters: no trained weights of it are installed or cached, or none were "
            f"asked for; `cnnzoo download {settings.model}` fetches some"
        )
    train, validation = len(data.train), len(data.validation)
    classes = data.train.num_classes
    return (
        f"{settings.model} with {weights}\n"
        f"{counted(train, 'photograph')} of {classes} classes to train on, {validation} to "
        f"validate on\nfiles in {folder}"
    )


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.tmp")
    try:
        shutil.copyfile(source, beside)
        beside.replace(target)
    except OSError as error:
        raise CheckpointFileError(f"{target}: {error.strerror or error}") from error
