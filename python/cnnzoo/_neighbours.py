"""Names and options of timm, torchvision and Keras, and their equivalents here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

from cnnzoo import _native
from cnnzoo._arguments import alike, shown, text
from cnnzoo.errors import ArgumentError

# Arguments of `create_model` for every network, beside the options of its family.
ARGUMENTS = ("source", "weights", "device", "seed", "meta")

# Options accepted for every network; where one does not apply, building the graph says why.
ADAPTATIONS = ("stem", "activation", "norm", "zero_init_residual")

# Options of those libraries, and their equivalents here.
OPTIONS = {
    "act_layer": "activation=...",
    "alpha": "width=..., or the name of a narrower network, from list_models()",
    "aux_logits": "aux=...",
    "channels": "in_channels=...",
    "checkpoint_path": "weights=file",
    "class_names": "num_classes=..., then set `model.labels`",
    "classes": "num_classes=...",
    "depth_multiplier": "depth=...",
    "drop_path": "drop_path_rate=...",
    "dropout": "drop_rate=...",
    "dropout_rate": "drop_rate=...",
    "drop_connect_rate": "drop_path_rate=...",
    "exportable": "nothing: every network can be saved",
    "features_only": "model.pyramid(x), or model.features(x, nodes)",
    "global_pool": "model.features(x, nodes) for the values before the pool",
    "grad_checkpointing": "checkpointing=True",
    "img_size": "image_size=...",
    "in_chans": "in_channels=...",
    "id2label": "num_classes=..., then set `model.labels`",
    "include_top": "num_classes=0",
    "input_shape": "image_size=... and in_channels=...",
    "input_size": "image_size=...",
    "labels": "num_classes=..., then set `model.labels`",
    "model_name": "name=...",
    "n_classes": "num_classes=...",
    "norm_layer": "norm=...",
    "num_channels": "in_channels=...",
    "out_indices": "model.features(x, nodes)",
    "pretrained": 'weights="default"',
    "progress": "nothing: downloads show progress in a terminal",
    "pooling": "model.embed(x)",
    "stochastic_depth_prob": "drop_path_rate=...",
    "width_mult": "width=...",
    "zero_init_last": "zero_init_residual=...",
}


def check_options(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse options that a network does not have.

    Raises:
        ArgumentError: There is one; the message lists the valid ones, and the nearest.
    """
    for option in given:
        if option in known or option in ADAPTATIONS:
            continue
        valid = [*known, *ARGUMENTS]
        instead = OPTIONS.get(option)
        close = alike(option, valid)
        hint = f"; take {instead}" if instead else f"; the nearest is {close[0]}" if close else ""
        raise ArgumentError(
            f"options of {name}: expected one of {', '.join(valid)}, got `{option}`{hint}"
        )


def tagged(name: str) -> tuple[str, str] | None:
    """The network and the weights' tag of a timm name, `resnet18.a1_in1k`; none of other names.

    Raises:
        ArgumentError: The name is no text.
    """
    name = text("`name`", name, "the name of a model")
    for hub in ("hf-hub:", "hf_hub:"):
        name = name.removeprefix(hub)
    network, dot, tag = name.removeprefix("timm/").partition(".")
    if not dot or "(" in network:
        return None
    names = {theirs for _, source, theirs in _native.editions() if source == "timm"}
    return (network, f"timm/{tag}") if network in names else None


def with_tag(name: str, source: str | None, weights: Any) -> tuple[str, str | None, Any]:
    """Name, source and weights, the latter two from the tag in a timm name if it has one.

    Raises:
        ArgumentError: They are given beside a tag, or the weights are neither text nor a path.
    """
    if source is not None:
        source = text("`source`", source, "the name of a source")
    if weights is not None and not isinstance(weights, str | os.PathLike):
        raise ArgumentError(
            f'`weights` of {name}: expected "default", a tag of model_info(name).weights, a file '
            f"or none, got {shown(weights)}"
        )
    if (of_timm := tagged(name)) is None:
        return name, source, weights
    if source not in {None, "timm"} or weights is not None:
        raise ArgumentError(
            f"{name}: expected neither another source nor weights beside the tag in its name, got "
            f"source={source!r}, weights={weights!r}"
        )
    return of_timm[0], "timm", of_timm[1]
