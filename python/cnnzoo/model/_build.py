"""Building models by name, and loading them from files."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnzoo import _native
from cnnzoo._arguments import SEEDS, instance, seed_of, shown
from cnnzoo._arrays import Device, device_name
from cnnzoo._configuration import Configuration, WeightsFile, damaged
from cnnzoo._neighbours import check_options, with_tag
from cnnzoo.errors import ArgumentError, WeightsError
from cnnzoo.model._files import is_keras
from cnnzoo.model.model import Model
from cnnzoo.preprocess import COLOURS, Preprocess

if TYPE_CHECKING:
    from cnnzoo.weights import Published


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
        name: A name of `list_models()`, or a source's own name: timm's `resnet18.a1_in1k` is its
            network with those weights, Keras' `MobileNet` the one that its function builds.
        num_classes: Number of logits; 0 leaves the classifier off. If not given, that of published
            weights, else of the data set that the network was designed for (1000 for ImageNet).
        in_channels: Channels of the images; 3, or those of a model file, if not given. With 1,
            `preprocess` and `predict` convert photographs to grey; with other numbers than 1 and 3
            they take no photographs.
        image_size: Height and width that the network is built for, and to which `preprocess` crops
            photographs; those of published weights if not given. Other sizes can be run, except
            by networks with learned position embeddings (ViT).
        checkpointing: Activation checkpointing: train in less memory by keeping few activations and
            recomputing the others for the gradients, in about the time of one more forward pass.
        source: Source of the network's definition, such as `"timm"`; its default if not given.
        weights: `"default"`, a tag of `model_info(name).weights` in upper or lower case, or a file.
            Weights that are neither installed nor cached are downloaded. A tag of another source
            selects that source unless one is given. With another number of classes than the
            file's, the classifier is initialised afresh; position embeddings of another image size
            are interpolated; the first convolution is adapted to other channels than three
            (`LoadReport.adapted`). A model file (`save`) gives the defaults of options, source and
            its name, preprocessing, labels and accuracy; an option that changes the network's
            function is refused.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
        seed: Seed of the initial parameters.
        meta: Build it without allocating parameters, for `graph` and `summary()`.
        **options: Options of `model_info(name).options`. `drop_rate` (dropout) and `drop_path_rate`
            (stochastic depth); `stem="small"` for images of 32×32 or 28×28 (the first convolution
            is 3×3 and keeps the size, and no pooling follows it); `activation`, in place of all but
            the gates: `"relu"`, `"relu6"`, `"silu"`, `"gelu"`, `"sigmoid"`, `"tanh"`,
            `"hard_sigmoid"`, `"hard_swish"`; `norm`, in place of batch norms: `"group"` (of 32
            groups, or as many as divide the channels) or `"none"` (convolutions get biases);
            `zero_init_residual`, to initialise the scale of each residual block's last norm to
            zero; `aux`, whether there are auxiliary classifiers, which run in training only;
            `transform_input`, whether images normalised with ImageNet's mean and standard deviation
            are rescaled to -1 to 1 for a network trained on these values, which torchvision's
            published weights of GoogLeNet and Inception v3 set; in EfficientNet and the MobileNets
            also `width`, the width multiplier: channels relative to the smallest EfficientNet or
            the MobileNet of width 1, rounded as the source rounds; in EfficientNet and MobileNetV2
            `depth`, the depth multiplier, on the number of blocks. Both replace the model's own.

    Raises:
        UnknownModelError: There is no such model; it names the closest.
        ArgumentError: An option that the model does not have, or an invalid value.
        WeightsError: The weights are missing, damaged, or of another model.
        DeviceError: There is no such device.
    """
    seed = seed_of(seed)
    instance("`meta`", meta, bool, "True or False")
    instance("`checkpointing`", checkpointing, bool, "True or False")
    name, source, weights = with_tag(name, source, weights)
    device = device_name(device)
    sizes = {"num_classes": num_classes, "in_channels": in_channels, "image_size": image_size}
    num_classes, in_channels, image_size = (
        _option(name, option, value) for option, value in sizes.items()
    )
    published = _chosen(name, source, weights)
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
    # Before their values, since those of an option that is none may be anything.
    check_options(name, options, _native.model_info(name, source)["options"])
    options = {option: _option(name, option, value) for option, value in options.items()}
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
    text, labels, task = _json(name, given), None, None
    if file is not None and saved is not None:
        from cnnzoo.weights.adopt import adopt

        adopted = adopt(file.path, saved, name, source, json.loads(text))
        name, source, text = adopted.name, adopted.source, json.dumps(adopted.options)
        labels, task = adopted.labels, adopted.task
    # On "meta", without memory, until the shapes of a file's arrays are checked.
    engine = _native.Model(name, source, text, "meta", seed)
    own = saved or published
    usual_way = Preprocess(**_native.preprocess(name, source))
    model = Model(engine, (own.preprocess if own else None) or usual_way)
    model._labels, model._task = labels, task or model.task
    model.accuracy = saved.accuracy if saved else model.accuracy
    fitting = model.preprocess if image_size is None else model.preprocess.resized(image_size)
    model._preprocess = fitting.with_channels(engine.graph().input_shape[0])
    if not meta:
        model._allocate(device, seed, file)
    if file is not None:
        model._load_opened(file, "auto", "pretrained")
        model._quantize_as(saved, file.path)
    elif weights is not None:
        _load_pretrained(model, weights, published)
    return model


def _chosen(
    name: str, source: str | None, weights: str | os.PathLike[str] | None
) -> Published | None:
    """The published weights that are asked for; none for a file."""
    if not isinstance(weights, str):
        return None
    from cnnzoo.weights.published import choose_weights

    return choose_weights(name, source, weights)


def _load_pretrained(
    model: Model, weights: str | os.PathLike[str], published: Published | None
) -> None:
    """Load published weights, or a file that is no model file."""
    path = published.path() if published else weights
    if is_keras(path):
        from cnnzoo.weights import keras

        arrays = keras.read(path, blue_first=bool(published and published.blue_first))
        model._load_arrays(arrays, "keras", "pretrained", os.fspath(path))
    else:
        model._load_opened(WeightsFile.open(path), "auto", "pretrained")
    model._published = published


def load(file: str | os.PathLike[str], *, device: Device = "cpu", lazy: bool = False) -> Model:
    """Rebuild a model from a model file, which `Model.save` wrote.

    The file is data, not code: each value of its configuration is checked, and its arrays' shapes
    are compared with the network's before parameters are allocated.

    Args:
        file: The path of the file.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
        lazy: On the CPU, leave the parameters in the file until something needs them. A process
            that only predicts starts faster and takes half the memory, since inference prepares its
            weights from the file; runs with images of another size may read it again. Until then
            the file must not be changed in place, after which reads raise `WeightsError`; it may be
            deleted, or replaced by another file, as `save` does. The results are the same.

    Raises:
        WeightsError: The file is missing, damaged, or not written by `save`.
        DeviceError: There is no such device.
    """
    instance("`lazy`", lazy, bool, "True or False")
    opened = WeightsFile.open(file)
    configuration = Configuration.of_file(opened)
    if configuration is None:
        raise WeightsError(
            f"{opened.path}: expected a model file, as `Model.save` writes, got weights alone; "
            "use create_model(name, weights=file)"
        )
    with damaged(opened.path):
        model = Model._described(configuration)
    model._engine.expect(opened.stored, "strict")
    model._allocate(device_name(device), None)
    model._load_opened(opened, "auto", "strict", lazy=lazy)
    model._quantize_as(configuration, opened.path)
    return model


def _opened(
    weights: str | os.PathLike[str] | None,
) -> tuple[WeightsFile | None, Configuration | None]:
    """A weights file, and its configuration if `save` wrote it; None for Keras files."""
    if weights is None or is_keras(weights):
        return None, None
    file = WeightsFile.open(weights)
    return file, Configuration.of_file(file)


def _edition_of(published: Published, name: str, source: str | None) -> tuple[str, str | None]:
    """The name and source of the network, which published weights of another source replace."""
    facts = _native.model_info(name, source)
    theirs = (published.source_name, published.source)
    if source in {None, published.source} and theirs != (facts["source_name"], facts["source"]):
        return theirs
    return name, source


def _json(name: str, options: dict[str, Any]) -> str:
    """The options that are given, as JSON for Rust."""
    return json.dumps({option: value for option, value in options.items() if value is not None})


def _option(name: str, option: str, value: Any) -> Any:
    """An option as a JSON value: no NaN or infinity, and no NumPy scalar."""
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
