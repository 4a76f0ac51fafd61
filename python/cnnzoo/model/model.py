"""The model: what people build, run, train, copy and save."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from cnnzoo import _native
from cnnzoo._arguments import seed_of, whole
from cnnzoo._arrays import Device, device_name
from cnnzoo._configuration import Configuration
from cnnzoo.errors import ShapeError
from cnnzoo.model._files import Filling
from cnnzoo.model._packing import pack_model, unpack_model
from cnnzoo.model._running import Precision, Running
from cnnzoo.preprocess import COLOURS, GREY, Preprocess, train_transform
from cnnzoo.transforms import Compose, Transform
from cnnzoo.transforms.transform import Range

if TYPE_CHECKING:
    from cnnzoo.training.losses import LossLike
    from cnnzoo.training.optimizers import Optimizer


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What a training step did.

    Attributes:
        loss: The batch's mean, before the update; 0 where no image of it counts.
        weight: How much the batch counts in a mean over batches: its number of images, or the sum
            of their classes' weights where the loss has some.
        correct: How many images had their largest logit where their target is largest; none of
            whose logits one is NaN.
        count: How many images there were.
        lr: The learning rate.
        grad_norm: The Euclidean norm of all gradients before they were clipped; none where they
            wait for those of further batches.
    """

    loss: float
    weight: float
    correct: int
    count: int
    lr: float
    grad_norm: float | None


class Model(Running, Filling):
    """An image-classification network with its parameters.

    Built by `create_model`, `load`, or a function named after the model. A model may be used from
    many threads at once; the GIL is released while it runs. A child that was forked after a run may
    run it too, though not where another thread was running it at the fork; prefer `spawn`.

    It can be copied and pickled, with its options, labels, parameters and what is frozen of them.
    """

    # Where users, and pickles, find it.
    __module__ = "cnnzoo.model"

    @classmethod
    def from_graph(cls, graph: _native.Graph, *, device: Device = "cpu", seed: int = 0) -> Model:
        """Build a model of any graph, such as the text of another one, changed and parsed.

        Args:
            graph: The architecture.
            device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
            seed: Of the initial parameters.
        """
        engine = _native.Model.from_graph(graph, device_name(device), seed_of(seed))
        # ImageNet's usual way to a photograph: an eighth more than the crop.
        usual = Preprocess(**_native.preprocess("resnet18"))
        side = min(graph.input_shape[1:])
        fitting = replace(usual, crop=side, resize=round(side * usual.resize / usual.crop))
        return cls(engine, fitting.with_channels(graph.input_shape[0]))

    @classmethod
    def _described(cls, configuration: Configuration) -> Model:
        """The model that `save` described, without parameters.

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
        """The training transform that belongs to `preprocess`: its size, interpolation and numbers.

        A part of the photograph is cut out and resized, perhaps mirrored, changed in its colours,
        and normalised, as timm's `create_transform(is_training=True)` has it.

        Args:
            scale: See `RandomResizedCrop`. From 0.08 on suits ImageNet; with few photographs, a
                larger part such as (0.35, 1.0) keeps what they show in the picture.
            ratio: See `RandomResizedCrop`.
            flip: How often left and right are swapped.
            vertical_flip: How often above and below are swapped.
            color_jitter: Of brightness, contrast and saturation, and perhaps of hue; or one number
                for the first three. As in timm, none is done beside `augment`.
            augment: A policy: `RandAugment()`, `TrivialAugmentWide()` or `AutoAugment()`.
            erasing: How often a rectangle is erased.

        Returns:
            A transform to float32 (C, crop, crop).

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
        self._engine.to(device_name(device))
        return self

    def copy(self) -> Model:
        """The same network with the same values in memory of their own, frozen alike.

        Training one of the two leaves the other as it is. Optimisers stay with the original.
        """
        twin = Model(self._engine.copy(), self._preprocess)
        twin._load_report, twin._task = self._load_report, self._task
        twin._chose_preprocess = self._chose_preprocess
        return twin

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self.copy()

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: options, bytes of the parameters, and what is known beside."""
        return {**vars(self), "_engine": pack_model(self._engine, self._configuration())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """The model that was pickled; on the CPU where its device is not here, with a warning."""
        vars(self).update({**state, "_engine": unpack_model(state["_engine"])})

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
        """Move the parameters by the gradients of a batch.

        Args:
            x: Images (N, C, H, W), as for a run.
            y: What they show: integer classes (N,), or shares of each class (N, K).
            optimizer: Of this model.
            loss: What to make small: a loss of cnnzoo or of `torch.nn`, a `TorchLoss`, or a
                function of (logits, targets) that gives the batch's mean and its gradient by the
                logits, as `FunctionLoss` says; `CrossEntropy()` if not given.
            accumulate: How many batches make an update, of their mean gradient; `Optimizer.step`
                makes one of fewer.
            clip_norm: What the Euclidean norm of all gradients is cut to.
            clip_value: What each number of the gradients is cut to, up and down.
            precision: What the network computes in. With `"bfloat16"`, convolutions, linear layers
                and attention cast what they read and their weights to it, and the rest computes in
                what it gets, as under `torch.autocast("cpu", torch.bfloat16)`; parameters, their
                gradients, the loss and what the optimiser remembers stay float32.
            seed: From which dropout draws; the number of batches that the optimiser saw, if not
                given.

        Raises:
            ShapeError: The targets are not one for each image, or, in a network of batch norms,
                one sees a single value per channel.
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

    def freeze(self, *patterns: str) -> Model:
        """Leave parameters out of training, in place; their batch norms use running statistics.

        Args:
            *patterns: Of their names, as in a shell, where `*` crosses dots, or paths before some
                of them: `"layer1*"`, `"features"`. All of them if none are given.

        Raises:
            ArgumentError: A pattern fits none.
        """
        self._engine.set_trained(list(patterns) or ["*"], False)
        return self

    def unfreeze(self, *patterns: str) -> Model:
        """Train parameters again, in place; `patterns` as for `freeze`."""
        self._engine.set_trained(list(patterns) or ["*"], True)
        return self

    @property
    def trained(self) -> list[str]:
        """The names of the parameters that training moves."""
        return self._engine.trained()

    def reset_classifier(self, *, num_classes: int, seed: int = 0) -> Model:
        """Replace the classifier by a fresh one, in place; every other parameter stays.

        It starts as `torch.nn.Linear` does, whatever the source's own rule; torchvision's ViT keeps
        its zeros.

        Args:
            num_classes: Logits; 0 leaves the classifier off.
            seed: Of the classifier's initial parameters.

        Raises:
            ArgumentError: A number that the network cannot take.
        """
        self._engine.reset_classifier(whole("`num_classes`", num_classes), seed_of(seed))
        self._task = "multi_class"
        return self
