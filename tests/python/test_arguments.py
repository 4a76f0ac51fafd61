"""Whole numbers that users give: what makes no sense is refused by name, before anything runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo import _training

X = np.zeros((2, 3, 32, 32), np.float32)
Y = np.array([0, 1])
MODEL = cz.create_model("resnet18", num_classes=3, stem="small")
DATA = cz.data.Arrays(np.zeros((4, 32, 32, 3), np.uint8), [0, 1, 2, 0])
OPTIMIZER = cz.SGD(MODEL, lr=0.0)
MIX = {"num_classes": 3, "seed": 0, "epoch": 0, "batch": 0}

# What is called with a number, by what the message has to name.
TAKERS: dict[str, Callable[[Any], Any]] = {
    "create_model: seed": lambda n: cz.create_model("mobilenet_v1_025", num_classes=2, seed=n),
    "create_model: num_classes": lambda n: cz.create_model("resnet18", num_classes=n, meta=True),
    "create_model: in_channels": lambda n: cz.create_model("resnet18", in_channels=n, meta=True),
    "create_model: image_size": lambda n: cz.create_model("resnet18", image_size=n, meta=True),
    "from_graph: seed": lambda n: cz.Model.from_graph(MODEL.graph, seed=n),
    "reset_classifier: num_classes": lambda n: MODEL.copy().reset_classifier(num_classes=n),
    "reset_classifier: seed": lambda n: MODEL.copy().reset_classifier(num_classes=2, seed=n),
    "vjp: seed": lambda n: MODEL.vjp(X, np.zeros((2, 3), np.float32), seed=n),
    "train_step: seed": lambda n: MODEL.train_step(X, Y, OPTIMIZER, seed=n),
    "train_step: accumulate": lambda n: MODEL.train_step(X, Y, OPTIMIZER, accumulate=n),
    "summary: height": lambda n: MODEL.summary((n, 32)),
    "Loader: seed": lambda n: cz.data.Loader(DATA, seed=n),
    "Loader: batch_size": lambda n: cz.data.Loader(DATA, batch_size=n),
    "Loader: threads": lambda n: cz.data.Loader(DATA, threads=n),
    "Loader: prefetch": lambda n: cz.data.Loader(DATA, prefetch=n),
    "order: epoch": lambda n: cz.data.Loader(DATA).order(n),
    "set_epoch: epoch": lambda n: cz.data.Loader(DATA).set_epoch(n),
    "split: seed": lambda n: DATA.split(0.5, seed=n),
    "Mixing: num_classes": lambda n: cz.Mixing(mixup=0.5)(X, Y, **{**MIX, "num_classes": n}),
    "Mixing: seed": lambda n: cz.Mixing(mixup=0.5)(X, Y, **{**MIX, "seed": n}),
    "Mixing: epoch": lambda n: cz.Mixing(mixup=0.5)(X, Y, **{**MIX, "epoch": n}),
    "Mixing: batch": lambda n: cz.Mixing(mixup=0.5)(X, Y, **{**MIX, "batch": n}),
}


@pytest.mark.parametrize("number", [-1, 2**64, 2**70, 1.5, "a", float("nan")], ids=repr)
@pytest.mark.parametrize("taker", TAKERS)
def test_a_number_that_makes_no_sense_is_refused_by_the_name_of_its_argument(
    taker: str, number: Any
) -> None:
    name = taker.partition(": ")[2]

    with pytest.raises(cz.ArgumentError, match=name):
        TAKERS[taker](number)


@pytest.mark.parametrize("taker", [taker for taker in TAKERS if taker.endswith("seed")])
def test_every_seed_of_64_bits_is_taken(taker: str) -> None:
    for seed in (0, np.int64(7), 2**64 - 1):
        TAKERS[taker](seed)


def test_the_engine_knows_no_rule_and_no_policy_that_it_was_not_told() -> None:
    """Not even where Python lets such a word through does it stand for another."""
    paces: dict[str, Any] = {
        "norm_weight_decay": None,
        "bias_weight_decay": None,
        "layer_decay": None,
    }
    with pytest.raises(cz.ArgumentError, match="expected sgd, adam, rmsprop or lamb, got lion"):
        _training.Optimizer("lion", {}, weight_decay=0.0, groups=[], **paces)
    with pytest.raises(cz.ArgumentError, match=r"`policy`: expected strict, .*, got loose"):
        MODEL._engine.load_state_dict({}, {}, "auto", "loose", "an array", None)


@pytest.mark.parametrize(
    "pattern", ["fc", "layer1", "layer1*", "*.bias", "layer?.0.conv1", "l*1.*weight", "*", "bn1.w*"]
)
def test_patterns_mean_the_same_wherever_parameters_are_chosen(pattern: str) -> None:
    optimizer = cz.SGD(MODEL, lr=0.1, groups=[cz.ParameterGroup(pattern, lr_scale=3.0)])
    frozen = MODEL.copy().freeze(pattern)
    grouped = {name for name, scale in optimizer.lr_scales.items() if scale == 3.0}
    assert grouped == set(MODEL.trained) - set(frozen.trained)
    # As in a shell, of the whole name or of what stands before one of its dots.
    beginnings = {name: list(accumulate(name.split("."), "{}.{}".format)) for name in MODEL.trained}
    assert grouped == {
        name for name, paths in beginnings.items() if any(fnmatchcase(p, pattern) for p in paths)
    }


LARGE: dict[str, Callable[[int], Any]] = {
    "num_classes": lambda n: cz.create_model("resnet18", num_classes=n),
    "num_classes of a drawing": lambda n: cz.create_model("resnet18", num_classes=n, meta=True),
    "in_channels": lambda n: cz.create_model("resnet18", in_channels=n),
    "image_size of a ViT": lambda n: cz.create_model("vit_b_16", image_size=n),
    "width": lambda n: cz.create_model("mobilenet_v2", width=float(n)),
    "depth": lambda n: cz.create_model("efficientnet_b0", depth=float(n)),
    "reset_classifier": lambda n: MODEL.copy().reset_classifier(num_classes=n),
    "summary": lambda n: MODEL.summary((n, n)),
}


@pytest.mark.parametrize("number", [10**12, 2**31, 2**40, 2**62], ids=repr)
@pytest.mark.parametrize("taker", LARGE)
def test_a_size_that_no_memory_holds_is_an_error_and_neither_an_abort_nor_a_wrong_number(
    taker: str, number: int
) -> None:
    # What can be drawn without memory may be.
    with contextlib.suppress(cz.CnnzooError):
        made = LARGE[taker](number)
        if taker == "num_classes of a drawing":
            assert made.summary().params > 512 * number
        else:
            assert taker == "summary" and made.macs > number
