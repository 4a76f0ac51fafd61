"""The model class: run, train, copy and save a network with its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from cnnzoo import _native
from cnnzoo._arguments import seed_of, whole
from cnnzoo._arrays import Device, device_name
from cnnzoo._configuration import Configuration
from cnnzoo.errors import ShapeError
from cnnzoo.model._choosing import OWN
from cnnzoo.model._differentiating import Differentiating
from cnnzoo.model._network import Precision
from cnnzoo.model._packing import pack_model, unpack_model
from cnnzoo.model._planning import Planning
from cnnzoo.model._predicting import Predicting
from cnnzoo.model._quantizing import Quantizing
from cnnzoo.model._sharing import Sharing
from cnnzoo.preprocess import COLOURS, GREY, Preprocess, train_transform

if TYPE_CHECKING:
    from cnnzoo.training.losses import LossLike
    from cnnzoo.training.optimizers import Optimizer
    from cnnzoo.transforms import Compose, Transform
    from cnnzoo.transforms.transform import Range


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of a training step.

    Attributes:
        loss: The batch's mean loss before the update; 0 where no image has weight.
        weight: Weight of the batch in a mean over batches: its number of images, or the sum of
            their class weights where the loss has some.
        correct: Number of images whose largest logit is where their target is largest; an image
            with a NaN logit is never correct.
        count: Number of images.
        lr: The learning rate.
        grad_norm: The Euclidean norm of all gradients before clipping; None where the gradients
            are accumulated for a later update.
    """

    loss: float
    weight: float
    correct: int
    count: int
    lr: float
    grad_norm: float | None


class Model(Predicting, Planning, Quantizing, Differentiating, Sharing):
    """An image-classification network with its parameters.

    Built by `create_model`, `load`, or a function named after the model. A model is safe to use
    from several threads at once; the GIL is released while it runs. A child process that was forked
    after a run may run it too, unless another thread was running it at the fork; prefer `spawn`.

    Copies and pickles keep options, labels, settings, parameters, and which of these are frozen.
    """

    # The public path, which pickles use too.
    __module__ = "cnnzoo.model"

    @classmethod
    def from_graph(cls, graph: _native.Graph, *, device: Device = "cpu", seed: int = 0) -> Model:
        """Build a model of any graph, such as another model's graph text, edited and parsed.

        Args:
            graph: The architecture.
            device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
            seed: Seed of the initial parameters, which are drawn as in torchvision's ResNet.
        """
        device, seed = device_name(device), seed_of(seed)
        engine = _native.Model.from_graph(graph, device if device in OWN else "meta", seed)
        # The usual preprocessing for ImageNet, which resizes to an eighth more than the crop.
        usual = Preprocess(**_native.preprocess("resnet18"))
        side = min(graph.input_shape[1:])
        fitting = replace(usual, crop=side, resize=round(side * usual.resize / usual.crop))
        model = cls(engine, fitting.with_channels(graph.input_shape[0]))
        if device not in OWN:
            model._allocate(device, seed)
        return model

    @classmethod
    def _described(cls, configuration: Configuration) -> Model:
        """The model of a model file's configuration, without parameters.

        Raises:
            Misfit: There is no such network.
        """
        model = cls(configuration.engine(), configuration.preprocess)
        model._chose_preprocess = True
        model._labels, model._task = configuration.labels, configuration.task
        return model

    def train_transform(
        self,
        *,
        scale: Range = (0.08, 1.0),
        ratio: Range = (3 / 4, 4 / 3),
        flip: float = 0.5,
        vertical_flip: float = 0.0,
        color_jitter: float | tuple[float, ...] = 0.4,
        augment: Transform | None = None,
        erasing: float = 0.0,
    ) -> Compose:
        """The training transform for `preprocess`, with its size, interpolation, mean and std.

        Random resized crop, flips, augmentation policy or colour jitter, normalisation and random
        erasing, as in timm's `create_transform(is_training=True)`.

        Args:
            scale: See `RandomResizedCrop`. A minimum of 0.08 suits ImageNet; with few photographs,
                larger crops such as (0.35, 1.0) keep the object in the picture.
            ratio: See `RandomResizedCrop`.
            flip: Probability of a horizontal flip.
            vertical_flip: Probability of a vertical flip.
            color_jitter: Strengths for brightness, contrast and saturation, and optionally hue; or
                one number for the first three. As in timm, it is off where `augment` is given.
            augment: A policy: `RandAugment()`, `TrivialAugmentWide()` or `AutoAugment()`.
            erasing: Probability of random erasing.

        Returns:
            A transform whose result is float32 (C, crop, crop).

        Raises:
            ShapeError: The network takes neither 1 nor 3 channels.
        """
        channels = len(self.preprocess.mean)
        if channels not in {GREY, COLOURS}:
            raise ShapeError(
                f"train_transform: expected a network that takes the 1 or 3 channels of "
                f"photographs, got one that takes {channels}"
            )
        return train_transform(
            self.preprocess,
            scale=scale,
            ratio=ratio,
            flip=flip,
            vertical_flip=vertical_flip,
            color_jitter=color_jitter,
            augment=augment,
            erasing=erasing,
        )

    def to(self, device: Device) -> Model:
        """Move the parameters to `cpu`, `cuda:N` or a `torch.device`, in place.

        Raises:
            DeviceError: There is no such device.
        """
        device = device_name(device)
        self._on(device).to(device)
        return self

    def copy(self) -> Model:
        """A deep copy: the same network with its own parameters, of which the same are frozen.

        Training one of the two does not change the other. Optimisers stay with the original.
        """
        twin = Model(self._engine.copy(), self._preprocess)
        twin._load_report, twin._task = self._load_report, self._task
        twin._chose_preprocess, twin._tuning = self._chose_preprocess, self._tuning
        twin._quantization, twin._published = self._quantization, self._published
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        """The state for pickling: options, the parameters' bytes, labels and other attributes."""
        packed = pack_model(self._engine, self._configuration())
        state = {name: value for name, value in vars(self).items() if name != "_changing"}
        return {**state, "_engine": packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the pickled model; on the CPU, with a warning, where its device is missing."""
        engine = unpack_model(state["_engine"])
        vars(self).update({**state, "_engine": engine, "_changing": Lock()})
        # On another processor, other algorithms are the fastest.
        tuning = self._tuning
        self.tuning = tuning if tuning is not None and tuning.fits_here else None

    # Training

    def train_step(
        self,
        x: ArrayLike,
        y: ArrayLike,
        optimizer: Optimizer,
        *,
        loss: LossLike | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        precision: Precision = "float32",
        seed: int | None = None,
    ) -> StepResult:
        """Take a training step on a batch: forward pass, gradients, and optimiser update.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            y: Targets: integer classes (N,), or soft targets, a share for each class (N, K).
            optimizer: An optimiser of this model.
            loss: Loss function: a loss of cnnzoo or of `torch.nn`, a `TorchLoss`, or a function of
                (logits, targets) that returns the batch's mean loss and its gradient with respect
                to the logits, see `FunctionLoss`; `CrossEntropy()` if not given.
            accumulate: Gradient accumulation: batches per update, which uses their mean gradient;
                `Optimizer.step` makes an update with fewer.
            clip_norm: Gradient clipping by norm: the largest Euclidean norm of all gradients.
            clip_value: Gradient clipping by value: each component is limited to ± this.
            precision: Compute precision. With `"bfloat16"`, convolutions, linear layers and
                attention cast their inputs and weights to it, and other operators compute in their
                inputs' type, as under `torch.autocast("cpu", torch.bfloat16)`; parameters, their
                gradients, the loss and the optimiser state stay float32.
            seed: Seed of dropout; the optimiser's number of batches so far if not given.

        Raises:
            ShapeError: The number of targets is not that of the images, or a batch norm sees a
                single value per channel.
            ArgumentError: A class that the network does not have, or the optimiser of another
                model.
        """
        return optimizer._train_step(
            self,
            x,
            y,
            loss=loss,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            precision=precision,
            seed=seed,
        )

    def apply_gradients(
        self,
        gradients: Mapping[str, ArrayLike],
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> float:
        """Update the parameters with gradients that you computed, as those of `vjp`.

        Args:
            gradients: The gradient of a loss by each parameter's name, of its shape, float32,
                float64 or float16; arrays or tensors. Parameters without one stay as they are.
            optimizer: An optimiser of this model, which has accumulated no gradients.
            clip_norm: Gradient clipping by norm: the largest Euclidean norm of all gradients.
            clip_value: Gradient clipping by value: each component is limited to ± this.

        Returns:
            The norm of the gradients before clipping.

        Raises:
            ArgumentError: A name is that of no trained parameter, there are no gradients, or the
                optimiser is another model's or has accumulated some.
            ShapeError: A gradient has not the shape of its parameter.
        """
        return optimizer._apply_gradients(
            self, gradients, clip_norm=clip_norm, clip_value=clip_value
        )

    def freeze(self, *patterns: str) -> Model:
        """Exclude parameters from training, in place; their batch norms use running statistics.

        Args:
            *patterns: Shell patterns of parameter names, where `*` crosses dots, or paths that
                names begin with: `"layer1*"`, `"features"`. All parameters if none are given.

        Raises:
            ArgumentError: A pattern matches no parameter.
        """
        self._with_libtorch("freezing").set_trained(list(patterns) or ["*"], False)
        return self

    def unfreeze(self, *patterns: str) -> Model:
        """Train parameters again, in place; `patterns` as for `freeze`."""
        self._with_libtorch("freezing").set_trained(list(patterns) or ["*"], True)
        return self

    @property
    def trained(self) -> list[str]:
        """The names of the parameters that are trained, not frozen."""
        return self._engine.trained()

    def reset_classifier(self, *, num_classes: int, seed: int = 0) -> Model:
        """Replace the classifier by a fresh one, in place; every other parameter stays.

        It is initialised as `torch.nn.Linear` is, whatever the source's own rule; torchvision's ViT
        keeps its zeros.

        Args:
            num_classes: Number of logits; 0 leaves the classifier off.
            seed: Seed of the classifier's initial parameters.

        Raises:
            ArgumentError: A number that the network cannot take.
        """
        num_classes, seed = whole("`num_classes`", num_classes), seed_of(seed)
        with self._change() as engine:
            engine.reset_classifier(num_classes, seed)
        self._task = "multi_class"
        return self
