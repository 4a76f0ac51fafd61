"""The config.json of a repository, as timm reads and writes it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from cnnzoo import _json, _native
from cnnzoo._arguments import alike, shown
from cnnzoo._configuration import Configuration
from cnnzoo._files import open_regular
from cnnzoo._record import Misfit, decoded
from cnnzoo.errors import ArgumentError, UnknownModelError, WeightsFileError
from cnnzoo.preprocess import Preprocess

# The ways in which timm makes a photograph square: by its centre, distorted, or in a border.
CropMode: TypeAlias = Literal["center", "squash", "border"]

# Arguments of timm's networks, and the options of ours.
ARGUMENTS = {
    "in_chans": "in_channels",
    "img_size": "image_size",
    "drop_rate": "drop_rate",
    "drop_path_rate": "drop_path_rate",
}
# The options of ours that timm has no need of.
UNNEEDED = {"num_classes", "checkpointing", "zero_init_residual"}
# The shape of images where none is stated, and the part of them that is not cropped away.
USUAL_SIZE, USUAL_SHARE = (3, 224, 224), 0.875
USUAL_MEAN, USUAL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The most channels of images, so that a damaged file does not fill the memory.
MOST_CHANNELS = 2**16
# The key under which our own configuration is.
OWN = "cnnzoo"


@dataclass(frozen=True, kw_only=True)
class TimmConfig:
    """The network and the preprocessing that a config.json of timm describes.

    Attributes:
        name: timm's name of the network.
        options: Options of `create_model`.
        preprocess: The preprocessing of photographs.
        labels: The class labels, if they are stated.
        crop_mode: The way in which timm makes a photograph square; `Preprocess` crops the centre.
    """

    name: str
    options: dict[str, Any]
    preprocess: Preprocess
    labels: tuple[str, ...] | None
    crop_mode: CropMode


def _text(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read().decode()
    except OSError as error:
        raise WeightsFileError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Misfit(
            "config.json", "text in UTF-8", f"byte {error.start}, which is none"
        ) from error


def read(path: Path) -> TimmConfig:
    """Read a config.json.

    Raises:
        Misfit: It is none of timm's, or is damaged.
        UnknownModelError: There is no such network here; it names the closest.
        WeightsFileError: It cannot be read.
    """
    config = decoded(_text(path), "config.json")
    if not isinstance(config, dict):
        raise Misfit("config.json", "an object", config)
    name = config.get("architecture")
    if not isinstance(name, str):
        raise Misfit("config.json: `architecture`", "timm's name of a network", name)
    _check_known(name, path)
    weights = config.get("pretrained_cfg", config)
    arguments = config.get("model_args", {})
    if not isinstance(weights, dict) or not isinstance(arguments, dict):
        raise Misfit("config.json: `pretrained_cfg` and `model_args`", "objects", weights)
    options = _options(arguments)
    classes = config.get("num_classes", weights.get("num_classes", 1000))
    if type(classes) is not int or classes < 0:
        raise Misfit("config.json: `num_classes`", "a whole number", classes)
    channels, height, width = _size(weights)
    channels = options.get("in_channels", channels)
    if channels > MOST_CHANNELS:
        raise Misfit("config.json: the channels", f"at most {MOST_CHANNELS}", channels)
    fixed = _native.image_sizes(name, "timm")["fixed_image_size"]
    if height != width:
        raise Misfit("config.json: `input_size`", "square images", [height, width])
    options |= {"num_classes": classes, "in_channels": channels}
    if fixed:
        options.setdefault("image_size", height)
    return TimmConfig(
        name=name,
        options=options,
        preprocess=_preprocess(weights, options.get("image_size", height)).with_channels(channels),
        labels=_labels(config, classes),
        crop_mode=_crop_mode(weights),
    )


def _check_known(name: str, path: Path) -> None:
    theirs = sorted({theirs for _, source, theirs in _native.editions() if source == "timm"})
    if name in theirs:
        return
    closest = alike(name, theirs)
    near = f"; the closest are {', '.join(closest)}" if closest else ""
    error = UnknownModelError(f"{path}: there is no network {name!r} of timm here{near}")
    error.name, error.closest = name, closest  # type: ignore[attr-defined]
    raise error


def _options(arguments: dict[str, Any]) -> dict[str, Any]:
    options = {}
    for name, value in arguments.items():
        if name in {"num_classes", "global_pool"}:
            continue
        if name not in ARGUMENTS:
            expected = f"one of {', '.join(ARGUMENTS)}"
            raise Misfit("config.json: an argument of the network", expected, name)
        square = name == "img_size" and isinstance(value, list) and len(set(value)) == 1
        option = value[0] if square else value
        if name in {"in_chans", "img_size"} and (type(option) is not int or option < 1):
            raise Misfit(f"config.json: `{name}`", "a whole number from 1 up", value)
        options[ARGUMENTS[name]] = option
    return options


def _size(weights: dict[str, Any]) -> tuple[int, int, int]:
    size = weights.get("input_size", USUAL_SIZE)
    whole = isinstance(size, list | tuple) and all(type(side) is int and side > 0 for side in size)
    if not whole or len(size) != len(USUAL_SIZE):
        raise Misfit("config.json: `input_size`", "channels, height and width", size)
    channels, height, width = size
    return channels, height, width


def _crop_mode(weights: dict[str, Any]) -> CropMode:
    mode = weights.get("crop_mode")
    if mode is not None and mode not in get_args(CropMode):
        raise Misfit("config.json: `crop_mode`", " or ".join(get_args(CropMode)), mode)
    return mode or "center"


def _preprocess(weights: dict[str, Any], crop: int) -> Preprocess:
    """The preprocessing, which timm resizes by the share that is not cropped, rounding down."""
    share = weights.get("crop_pct")
    share = USUAL_SHARE if share is None else share
    if not isinstance(share, int | float) or not math.isfinite(share) or share <= 0:
        raise Misfit("config.json: `crop_pct`", "a share above 0", share)
    interpolation = weights.get("interpolation") or "bilinear"
    try:
        return Preprocess(
            resize=math.floor(crop / share),
            crop=crop,
            # timm's own for training; its evaluation takes bilinear.
            interpolation="bilinear" if interpolation == "random" else interpolation,
            mean=weights.get("mean") or USUAL_MEAN,
            std=weights.get("std") or USUAL_STD,
        )
    except ArgumentError as error:
        raise Misfit("config.json: the preprocessing", "one of photographs", error) from error


def _labels(config: dict[str, Any], classes: int) -> tuple[str, ...] | None:
    names = config.get("label_names", config.get("labels"))
    if names is None:
        return None
    if isinstance(names, dict) and len(names) == classes:
        names = [names.get(str(index)) for index in range(classes)]
    if (
        not isinstance(names, list)
        or len(names) != classes
        or not all(isinstance(name, str) for name in names)
    ):
        raise Misfit("config.json: `label_names`", f"{classes} names", shown(names))
    return tuple(names)


def fits_timm(configuration: Configuration) -> bool:
    """Whether timm can build the network: it is timm's, without options that timm lacks."""
    known = UNNEEDED | set(ARGUMENTS.values())
    return configuration.source == "timm" and set(configuration.options) <= known


def written(configuration: Configuration, engine: _native.Model, license: str | None) -> str:
    """The text of a config.json: timm's, if it can build the network, and our configuration."""
    own = configuration.plain()
    # It is in the weights file, and long.
    own.pop("quantization", None)
    config: dict[str, Any] = {}
    if fits_timm(configuration):
        config = _as_timm(configuration, engine, license)
    return _json.lines({**config, OWN: own}) + "\n"


def _as_timm(
    configuration: Configuration, engine: _native.Model, license: str | None
) -> dict[str, Any]:
    graph, preprocess = engine.graph(), configuration.preprocess
    _, height, _ = graph.input_shape
    fixed = _native.image_sizes(configuration.name, "timm")["fixed_image_size"]
    options = configuration.options
    arguments = {
        theirs: options[ours]
        for theirs, ours in ARGUMENTS.items()
        # Others are for training, and timm takes a size where positions depend on it alone.
        if ours in options and (ours == "in_channels" or (ours == "image_size" and fixed))
    }
    crop = height if fixed else preprocess.crop
    pretrained = {
        "input_size": [graph.input_shape[0], crop, crop],
        "fixed_input_size": fixed,
        "interpolation": preprocess.interpolation,
        "crop_pct": _share(preprocess),
        "crop_mode": "center",
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
        "num_classes": engine.num_classes,
        "first_conv": graph.first_convolutions()[0] if graph.first_convolutions() else None,
        "classifier": graph.output,
        "license": license,
    }
    config: dict[str, Any] = {
        "architecture": configuration.name,
        "num_classes": engine.num_classes,
        "pretrained_cfg": {name: value for name, value in pretrained.items() if value is not None},
    }
    if arguments:
        config["model_args"] = arguments
    if configuration.labels:
        config["label_names"] = list(configuration.labels)
    return config


def _share(preprocess: Preprocess) -> float:
    """The share that is not cropped, from which timm computes `resize` by rounding down."""
    share = preprocess.crop / preprocess.resize
    if math.floor(preprocess.crop / share) == preprocess.resize:
        return share
    return math.nextafter(share, 0)


def resized(preprocess: Preprocess, size: int | None) -> Preprocess:
    """The preprocessing for another image size, if one is given."""
    return preprocess if size is None else preprocess.resized(size)
