"""The settings of a training run, as plain values in a JSON file of the run's folder."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cnnzoo import _json, _record
from cnnzoo._configuration import check_format, damaged
from cnnzoo._files import open_regular, write_whole
from cnnzoo._neighbours import with_tag
from cnnzoo._record import Misfit
from cnnzoo.command._models import model_file, refuse_weights, saved_in
from cnnzoo.errors import (
    ArgumentError,
    CheckpointError,
    CheckpointFileError,
    CheckpointNotFoundError,
)
from cnnzoo.preprocess import Preprocess
from cnnzoo.weights import published_weights

FORMAT = 1
SETTINGS = "settings.json"

# Weights of no name, and of whichever is there.
NONE, AUTO, DEFAULT = "none", "auto", "default"

# The share of epochs that train the classifier alone.
HEAD_SHARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The defaults that depend on whether there are trained weights."""

    lr: float
    layer_decay: float
    ema: float


TRANSFER = Recipe(lr=1e-3, layer_decay=0.85, ema=0.0)
FROM_SCRATCH = Recipe(lr=2e-3, layer_decay=1.0, ema=0.999)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that determines a run.

    Attributes:
        folder: A folder of photographs for each class.
        validation: Such a folder to validate on; None: the part of `folder` that `split` leaves.
        split: The share of each class that is trained on, without `validation`.
        model: The name of the network, or a model file, which `settled` takes apart.
        source: The source of its definition; None: its own.
        weights: A tag, a file, `default`, `none`; or `auto`, which `settled` replaces.
        image_size: Pixels of each side; None: the network's.
        epochs: Number of epochs.
        head_epochs: Epochs of these that train the classifier alone; None: by the recipe.
        lr: Learning rate for all parameters; None: by the recipe.
        head_lr: Learning rate for the classifier alone.
        layer_decay: Factor from each layer's rate to that of the one before; None: by the recipe.
        weight_decay: Weight decay, not of biases and norms.
        batch_size: Images for each update.
        ema: Decay of the moving average of parameters, 0 without one; None: by the recipe.
        label_smoothing: Label smoothing.
        mixup: Alpha of mixup.
        cutmix: Alpha of CutMix.
        monitor: The column that decides which epoch is the best.
        seed: Seed of everything random.
        augment: The augmentation.
        no_flip: Whether no photograph is mirrored.
        precision: Compute precision.
        preprocess: Preprocessing of photographs; None until the model is built.
    """

    folder: str
    validation: str | None = None
    split: float = 0.8
    model: str
    source: str | None = None
    weights: str = AUTO
    image_size: int | None = None
    epochs: int = 10
    head_epochs: int | None = None
    lr: float | None = None
    head_lr: float = 5e-3
    layer_decay: float | None = None
    weight_decay: float = 0.01
    batch_size: int = 32
    ema: float | None = None
    label_smoothing: float = 0.1
    mixup: float = 0.0
    cutmix: float = 0.0
    monitor: Literal["val_top1", "val_loss"] = "val_top1"
    seed: int = 0
    augment: Literal["none", "light", "strong"] = "light"
    no_flip: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    preprocess: Preprocess | None = None

    @property
    def is_transfer(self) -> bool:
        """Whether training begins with trained weights."""
        return self.weights != NONE

    def settled(self) -> Settings:
        """The same settings with values in place of `auto` and None.

        Raises:
            UnknownModelError: There is no such model.
            ArgumentError: The name has a tag of weights, or is that of a model file, and others are
                given; or the file's network is of a custom graph.
            WeightsError: The model file is missing, damaged, or holds weights alone.
        """
        given = None if self.weights == AUTO else self.weights
        path = model_file(self.model, source=self.source)
        if path is not None:
            refuse_weights(path, given)
            saved = saved_in(path, f"; use --model NAME --weights {path}")
            if saved.graph is not None:
                raise ArgumentError(
                    f"{path}: expected a model of a name that `cnnzoo list` prints, got a network "
                    f"of a custom graph, {saved.name}; train it with cnnzoo.Trainer"
                )
            with damaged(str(path)):
                model = saved.engine().name
            source, weights = saved.source, str(path)
        else:
            # A name of timm may have the tag of its weights.
            model, source, weights = with_tag(self.model, self.source, given)
        if weights is None:
            known = published_weights(model, source=source)
            weights = next((one.tag for one in known if one.is_here), NONE)
        elif weights not in {NONE, DEFAULT} and Path(weights).exists():
            weights = os.path.abspath(weights)
        chosen = replace(self, model=model, source=source, weights=weights)
        recipe = TRANSFER if chosen.is_transfer else FROM_SCRATCH
        head = max(1, round(HEAD_SHARE * self.epochs)) if chosen.is_transfer else 0
        return replace(
            chosen,
            folder=os.path.abspath(self.folder),
            validation=None if self.validation is None else os.path.abspath(self.validation),
            head_epochs=head if self.head_epochs is None else self.head_epochs,
            lr=recipe.lr if self.lr is None else self.lr,
            layer_decay=recipe.layer_decay if self.layer_decay is None else self.layer_decay,
            ema=recipe.ema if self.ema is None else self.ema,
        )

    def write(self, folder: Path) -> None:
        """Write the settings into a run's folder.

        Raises:
            CheckpointFileError: It cannot be written.
        """
        write_text(folder / SETTINGS, _json.lines({"format": FORMAT, **asdict(self)}))


def read_settings(folder: Path) -> Settings:
    """The settings of the run in a folder.

    Raises:
        CheckpointError: There is no run, or its settings are damaged.
    """
    path = folder / SETTINGS
    try:
        with open_regular(path) as file:
            text = file.read().decode()
    except FileNotFoundError:
        raise CheckpointNotFoundError(
            f"{folder}: expected the folder of a run of `cnnzoo train`, got one without {SETTINGS}"
        ) from None
    except OSError as error:
        raise CheckpointFileError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{path}: expected text, got other bytes") from error
    try:
        given: Any = _record.decoded(text, "settings")
        if isinstance(given, dict):
            check_format(given.pop("format", None), FORMAT, "settings.format")
        return _record.record(Settings, given, "settings")
    except Misfit as error:
        raise CheckpointError(f"{path}: the settings are damaged: {error}") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file at once: a reader sees the old one or the new one.

    Raises:
        CheckpointFileError: It cannot be written, as where the disk is full.
    """
    try:
        write_whole(path, f"{text}\n".encode())
    except OSError as error:
        raise CheckpointFileError(f"{path}: {error.strerror or error}") from error
