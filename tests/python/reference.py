"""The libraries that cnnzoo's networks are compared with, on random weights."""

from __future__ import annotations

import copy
import inspect
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from unittest import mock

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode

import cnnzoo as cz
from cnnzoo import _native

os.environ.setdefault("KERAS_BACKEND", "torch")

Array = NDArray[np.float32]
AnyArray = NDArray[Any]

# Networks of timm that register a layer before one that it reads: a graph names the latter first.
OUT_OF_ORDER = {"xception41p", "xception65p"}
FAMILIES_OUT_OF_ORDER = {"ResNet-v2"}

# Arguments of torchvision's constructors: no dropout, no stochastic depth, and no initialisation,
# which takes minutes in some.
ARGUMENTS: dict[str, Any] = {
    "dropout": 0.0,
    "dropout_aux": 0.0,
    "stochastic_depth_prob": 0.0,
    "init_weights": False,
}

# Networks of Keras of which one model takes images of every size, so that it is built once: how
# their names begin. Others pad by whether a side is even, or flatten.
OF_ANY_SIZE = ("DenseNet", "Inception", "MobileNet(", "ResNet", "Xception")

# Families of Keras whose activations read what norms put out only after it was added.
SUMMED = {"ResNet", "ResNet-v2"}

# (Images, pixels of their side) that norms learn their statistics from: 128 values of each channel
# in the last stage of most networks. After 16 images of 96 pixels, logits of larger images were up
# to ten times as large as those of others.
SETTLING = (8, 128)

# Sources that can be run here; a paper cannot.
LIBRARIES = ("torchvision", "timm", "keras")


@dataclass(frozen=True)
class Edition:
    """One source's definition of one network."""

    name: str
    source: str
    source_name: str

    def __str__(self) -> str:
        return f"{self.source}-{self.source_name}"

    @property
    def info(self) -> cz.ModelInfo:
        return cz.model_info(self.source_name, source=self.source)

    def graph(self) -> cz.Graph:
        return _native.draw(self.source_name, self.source)

    def create(self, **options: Any) -> cz.Model:
        return cz.create_model(self.source_name, source=self.source, **options)


def editions() -> list[Edition]:
    """Every edition of every network that a library defines."""
    every = (Edition(*fields) for fields in _native.editions())
    return [edition for edition in every if edition.source in LIBRARIES]


class Reference(Protocol):
    """The original of a network, with the same parameters under our names."""

    def state(self) -> dict[str, AnyArray]:
        """Every parameter and buffer by our name, in the order of the original."""

    def run(self, x: Array, *, training: bool) -> torch.Tensor:
        """The logits of images (N, C, H, W), with gradients recorded in training."""

    def gradients(self) -> dict[str, AnyArray]:
        """The gradient of every trained parameter by our name, after a backward pass."""

    def biased_variance(self) -> bool:
        """Whether running variances average the batch's variance over n instead of n - 1."""


class TorchReference:
    """A module of torchvision or timm."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def state(self) -> dict[str, AnyArray]:
        return {key: value.numpy() for key, value in self.module.state_dict().items()}

    def run(self, x: Array, *, training: bool) -> torch.Tensor:
        self.module.train(training)
        with torch.set_grad_enabled(training):
            output = self.module(torch.from_numpy(x))
        # Networks with auxiliary classifiers put out a tuple in training, the main logits first.
        return output if isinstance(output, torch.Tensor) else output[0]

    def in_float64(self, x: Array) -> AnyArray:
        """The logits of images in double precision, in evaluation."""
        module = copy.deepcopy(self.module).double().eval()
        with torch.no_grad():
            logits: AnyArray = module(torch.from_numpy(x).double()).numpy()
        return logits

    def gradients(self) -> dict[str, AnyArray]:
        return {
            key: parameter.grad.numpy()
            for key, parameter in self.module.named_parameters()
            if parameter.grad is not None
        }

    def biased_variance(self) -> bool:
        return False


# What Keras calls the arrays of a layer, and we.
KERAS_ARRAYS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "depthwise_kernel": "depthwise.weight",
    "pointwise_kernel": "pointwise.weight",
}


# Convolutions of Keras on the pooled image, one pixel large, that are linear layers here.
LINEAR_IN_OURS = {"conv_preds", "logits"}


class KerasReference:
    """A model of Keras on its torch backend.

    Its kernels are zeros, and references of one edition that follow each other share one model of
    Keras, unless it is to be initialised as Keras does.
    """

    def __init__(
        self, edition: Edition, image_size: int | None = None, *, initialised: bool = False
    ) -> None:
        self.edition = edition
        side = image_size or edition.info.input_size
        size = (side, side)
        model = build_keras(edition, size) if initialised else shared_keras(edition, size)
        self._take(model)

    def _take(self, model: Any) -> None:
        self.model = model
        self.variables = {
            f"{layer.name}.{KERAS_ARRAYS[variable.name]}": (layer, variable)
            for layer in model.layers
            for variable in layer.variables
            if variable.name in KERAS_ARRAYS
        }
        # (H, W, C) of the image that a layer sees flattened.
        self.flattened = {
            after.name: layer.input.shape[1:]
            for layer, after in itertools.pairwise(model.layers)
            if type(layer).__name__ == "Flatten"
        }

    def _fit(self, size: tuple[int, int]) -> None:
        if self.model.input_shape[1:3] not in {(None, None), size}:
            before = self.model
            self._take(shared_keras(self.edition, size))
            for old, new in zip(before.weights, self.model.weights, strict=True):
                new.assign(old.value.detach())

    def state(self) -> dict[str, AnyArray]:
        return {
            name: self._to_ours(layer, variable, variable.value.detach().numpy())
            for name, (layer, variable) in self.variables.items()
        }

    def shapes(self) -> dict[str, list[int]]:
        """The entries of `state`, without those that only lay values out."""
        return {
            name: list(self._to_ours(layer, variable, np.broadcast_to(0, variable.shape)).shape)
            for name, (layer, variable) in self.variables.items()
        }

    def run(self, x: Array, *, training: bool) -> torch.Tensor:
        self._fit((x.shape[2], x.shape[3]))
        self.model.trainable = training
        for variable in self.model.variables:
            variable.value.grad = None
        with torch.set_grad_enabled(training):
            images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
            logits: torch.Tensor = self.model(images, training=training)
        return logits

    def gradients(self) -> dict[str, AnyArray]:
        return {
            name: self._to_ours(layer, variable, variable.value.grad.numpy())
            for name, (layer, variable) in self.variables.items()
            if variable.value.grad is not None
        }

    def biased_variance(self) -> bool:
        return True

    def _to_ours(self, layer: Any, variable: Any, values: AnyArray) -> AnyArray:
        """(H, W, I, O) to (O, I, H, W), (H, W, C, M) to (C·M, 1, H, W), (I, O) to (O, I).

        After an image was flattened, (H·W·C, O) to (O, C·H·W).
        """
        if is_depthwise(layer, variable):
            height, width, channels, multiplier = values.shape
            return values.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
        if values.ndim == 4 and layer.name in LINEAR_IN_OURS:
            return values[0, 0].T
        if values.ndim == 4:
            return values.transpose(3, 2, 0, 1)
        if values.ndim == 2 and layer.name in self.flattened:
            out = values.shape[1]
            image = values.reshape(*self.flattened[layer.name], out)
            return image.transpose(3, 2, 0, 1).reshape(out, -1)
        return values.T


def is_depthwise(layer: Any, variable: Any) -> bool:
    """Whether it is a kernel (H, W, C, M) that reads one channel at a time."""
    return variable.name == "depthwise_kernel" or (
        type(layer).__name__ == "DepthwiseConv2D" and variable.name == "kernel"
    )


def originals(reference: Reference) -> dict[str, AnyArray]:
    """As its library has them: Keras by path and in its layout."""
    if isinstance(reference, KerasReference):
        return {v.path: v.value.detach().numpy() for v in reference.model.variables}
    return reference.state()


def torch_options(edition: Edition, image_size: int | None) -> dict[str, Any]:
    """Those of the library's constructor: the size of images, no dropout, no initialisation."""
    info = edition.info
    size = image_size or info.input_size
    if edition.source == "timm":
        # Some come without a classifier, as their weights do.
        options = {"drop_rate": 0.0, "num_classes": info.num_classes}
        return options | ({"img_size": size} if info.fixed_image_size else {})
    # The function passes on what the class that it returns takes.
    network = torchvision.models.get_model_builder(edition.source_name).__annotations__["return"]
    taken = inspect.signature(network).parameters
    return {
        name: value for name, value in (ARGUMENTS | {"image_size": size}).items() if name in taken
    }


def build_module(
    edition: Edition, *, image_size: int | None = None, meta: bool = False, **options: Any
) -> torch.nn.Module:
    """The module of torchvision or timm."""
    build = timm.create_model if edition.source == "timm" else torchvision.models.get_model
    with torch.device("meta" if meta else "cpu"):
        module: torch.nn.Module = build(
            edition.source_name, **{**torch_options(edition, image_size), **options}
        )
    return module


# The last edition of Keras, and its models by the size of images.
_shared: dict[Edition, dict[tuple[int, int] | None, Any]] = {}


def shared_keras(edition: Edition, size: tuple[int, int]) -> Any:
    """The model of Keras for images of one size, built once while the edition stays the same.

    One for all sizes, where the size changes no layer.
    """
    if edition not in _shared:
        _shared.clear()
    models = _shared.setdefault(edition, {})
    key = None if edition.source_name.startswith(OF_ANY_SIZE) else size
    if key not in models:
        import keras

        with mock.patch.object(keras.initializers.VarianceScaling, "__call__", zeros):
            models[key] = build_keras(edition, key)
    return models[key]


def build_keras(edition: Edition, size: tuple[int, int] | None) -> Any:
    """The model of Keras for images of one size, or of any.

    `MobileNet(alpha=0.5)` is the function with that. The model takes what preprocessing leaves,
    puts out logits, and drops nothing in training.
    """
    import keras

    function, _, arguments = edition.source_name.rstrip(")").partition("(")
    options: dict[str, Any] = {}
    for argument in filter(None, arguments.split(",")):
        key, given, value = argument.strip().partition("=")
        options[key] = float(value) if given else True
    build = getattr(keras.applications, function)
    if size is None:
        options["input_tensor"] = keras.Input((None, None, 3))
    else:
        options["input_shape"] = (*size, 3)
    keras.utils.clear_session(free_memory=False)
    model = build(weights=None, classifier_activation=None, **options)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
        if isinstance(layer, keras.layers.Rescaling):
            layer.scale, layer.offset = 1.0, 0.0
        if isinstance(layer, keras.layers.Normalization):
            layer.mean, layer.variance = layer.mean * 0, layer.variance * 0 + 1
    return model


def zeros(_: Any, shape: Sequence[int], dtype: str | None = None) -> torch.Tensor:
    """In the place of an initializer of Keras, whose values are overwritten."""
    return torch.zeros(*shape, dtype=getattr(torch, dtype or "float32"))


class Undrawn(TorchFunctionMode):
    """Builds modules whose parameters are not initialised: `randomise` writes them all."""

    DRAWN = frozenset({"normal_", "uniform_", "erfinv_", "mul_", "add_", "clamp_"})

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        first = args[0] if args else given.get("tensor")
        if isinstance(first, torch.nn.Parameter) and getattr(func, "__name__", "") in self.DRAWN:
            return first
        return func(*args, **given)


def build_reference(
    edition: Edition, *, image_size: int | None = None, smooth: bool = False, **options: Any
) -> Reference:
    """The original of an edition, with random parameters; `options` are the library's.

    `smooth` keeps what enters the activations of Keras away from where they bend.
    """
    if edition.source == "keras":
        usual = None if edition.info.fixed_image_size else SETTLING[1]
        reference = KerasReference(edition, image_size or usual)
        randomise_keras(reference.model, smooth=smooth, summed=edition.info.family in SUMMED)
        if not smooth:
            settle_keras(reference.model)
        return reference
    with Undrawn():
        module = build_module(edition, image_size=image_size, **options)
    randomise(module)
    settle(module)
    return TorchReference(module)


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Draw every parameter and statistic, so that each matters: none is 0 or 1.

    Convolutions put out as much as goes in, and norms put out more that is positive than is not:
    with as much of both, the logits of Inception-v3 change by a hundred times what the image does.
    """
    generator = torch.Generator().manual_seed(seed)

    def like_a_linear_layer(weight: torch.Tensor) -> None:
        bound = weight.shape[1] ** -0.5
        weight.uniform_(-bound, bound, generator=generator)

    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0.5, 0.5, generator=generator)
                layer.running_mean.normal_(0, 0.2, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(layer, torch.nn.LayerNorm):
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.2, generator=generator)
            elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                if isinstance(layer, torch.nn.Conv2d):
                    torch.nn.init.kaiming_normal_(layer.weight, generator=generator)
                else:
                    like_a_linear_layer(layer.weight)
                if layer.bias is not None:
                    layer.bias.normal_(0, 0.1, generator=generator)
            else:
                for parameter in layer.parameters(recurse=False):
                    if parameter.ndim == 2:
                        like_a_linear_layer(parameter)
                    else:
                        parameter.normal_(0, 0.1, generator=generator)


def settle(module: torch.nn.Module) -> None:
    """Set the running statistics to those of some random images, as training would.

    With others, values grow or fade from layer to layer until the logits tell rounding errors
    apart, or no images. Only norms train meanwhile: nothing is dropped.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    module.eval()
    for norm in norms:
        norm.train().momentum = 1.0
    batch, side = SETTLING
    with torch.no_grad():
        module(torch.from_numpy(images((side, side), batch, seed=1)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


def norms_of_sums(model: Any) -> set[str]:
    """The norms whose output is added to something that is no norm's: the input of a block."""
    import keras

    norms = {
        id(layer.output): layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    sums = [layer.input for layer in model.layers if isinstance(layer, keras.layers.Add)]
    found = [[norms[id(x)] for x in inputs if id(x) in norms] for inputs in sums]
    return {names[0] for names in found if len(names) == 1}


def randomise_keras(model: Any, *, smooth: bool, summed: bool = False, seed: int = 0) -> None:
    """The same for Keras.

    `smooth` norms put out values of 1 or -1 with a deviation of 0.2, or without scale of 3 or -3
    with a deviation of 1, so hardly any is near zero. Where activations read sums (`summed`), those
    of one width agree in their signs, so that sums are not either, and what a block adds to its
    input is less, so that sums do not grow until their norm cancels most of them.
    """
    generator = np.random.default_rng(seed)
    added = norms_of_sums(model) if summed else set()
    for layer in model.layers:
        mean = 1.0 if any(variable.name == "gamma" for variable in layer.variables) else 3.0
        size = 0.25 if layer.name in added else 1.0
        for variable in layer.variables:
            shape = variable.shape
            if variable.name == "gamma" and smooth:
                variable.assign(size * generator.uniform(0.1, 0.3, shape))
            elif variable.name in {"gamma", "moving_variance"}:
                variable.assign(generator.uniform(0.5, 1.5, shape))
            elif variable.name == "beta" and smooth:
                signs = np.random.default_rng(shape[0]) if summed else generator
                variable.assign(size * mean * signs.choice([1.0, 1.0, 1.0, -1.0], shape))
            elif variable.name == "beta":
                variable.assign(generator.normal(0.5, 0.5, shape))
            elif variable.name in {"moving_mean", "bias"}:
                variable.assign(generator.normal(0, 0.2, shape))
            elif variable.name.endswith("kernel"):
                read = shape[:2] if is_depthwise(layer, variable) else shape[:-1]
                deviation = np.sqrt(2 / np.prod(read))
                variable.assign(deviation * generator.standard_normal(shape, np.float32))


def settle_keras(model: Any) -> None:
    """The same for Keras, whose networks drop nothing here."""
    import keras

    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    batch, side = SETTLING
    size = (model.input_shape[1] or side, model.input_shape[2] or side)
    x = images(size, batch, seed=1).transpose(0, 2, 3, 1)
    with torch.no_grad():
        model(torch.from_numpy(np.ascontiguousarray(x)), training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def pair(
    edition: Edition, *, image_size: int | None = None, smooth: bool = False
) -> tuple[cz.Model, Reference]:
    """A model of ours and its original with the same random weights."""
    reference = build_reference(edition, image_size=image_size, smooth=smooth)
    rates = {"drop_rate", "drop_path_rate"} & set(edition.info.options)
    model = edition.create(image_size=image_size, **dict.fromkeys(rates, 0.0))
    report = model.load_state_dict(reference.state())
    assert not report.missing
    assert not report.unexpected
    return model, reference


def without_kinks(model: cz.Model, reference: KerasReference) -> cz.Model:
    """Put SiLU in the place of ReLU, and averages in that of maxima, in both; ours comes back."""
    import keras

    for layer in reference.model.layers:
        if isinstance(layer, keras.layers.Activation):
            layer.activation = keras.activations.silu
        elif isinstance(layer, keras.layers.MaxPooling2D):
            layer.pool_mode = "average"
    _shared.clear()
    lines = str(model.graph).splitlines()
    for index, line in enumerate(lines):
        if " = activation(" in line:
            lines[index] += " function=silu"
        elif " = pool(" in line and "kind=" not in line:
            lines[index] += " kind=average"
    ours = cz.Model.from_graph(cz.Graph.parse("\n".join(lines)))
    ours.load_state_dict(model.state_dict())
    return ours


def cheapest(of: list[Edition], count: int) -> Iterator[Edition]:
    """The cheapest editions of every family, source and deviation."""
    groups: dict[tuple[str, str, str], list[Edition]] = {}
    for edition in of:
        info = edition.info
        groups.setdefault((info.family, info.source, info.deviations), []).append(edition)
    for group in groups.values():
        yield from sorted(group, key=lambda edition: edition.info.macs)[:count]


def smallest() -> list[Edition]:
    """The edition of each family that costs least among those that PyTorch runs."""
    found: dict[str, Edition] = {}
    for edition in cheapest([e for e in editions() if e.source != "keras"], 1):
        known = found.setdefault(edition.info.family, edition)
        if edition.info.macs < known.info.macs:
            found[edition.info.family] = edition
    return list(found.values())


def without_drops(graph: cz.Graph) -> cz.Graph:
    """The same without dropout, also in auxiliary classifiers, which no option reaches."""
    text = re.sub(r"( = (?:dropout|drop_path)\(.*\) rate=)\S+", r"\g<1>0.0", str(graph))
    return cz.Graph.parse(text)


def channels_last(x: Array) -> torch.Tensor:
    """Images in the layout of our training steps: in another one the same sums round otherwise."""
    return torch.from_numpy(x).contiguous(memory_format=torch.channels_last)


def images(size: tuple[int, int], batch: int, seed: int = 0) -> Array:
    """Random images (batch, 3, height, width)."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((batch, 3, *size)).astype(np.float32)
