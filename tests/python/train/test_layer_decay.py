"""Rates that fall from layer to layer are timm's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from timm.optim._param_groups import param_groups_layer_decay

import cnnzoo as cz
from reference import Edition, build_module, cheapest, editions, images
from tolerance import ROUNDING, difference

DECAY = 0.75

# Whose layers timm counts otherwise; what it does is written down below.
OTHERWISE = {"VGG", "VGG-BN", "Inception-v3", "Inception-v4", "Inception-ResNet-v2", "Xception"}


def timms() -> list[Any]:
    """Every network of timm; by default the two cheapest of each family."""
    every = [e for e in editions() if e.source == "timm" and e.info.family not in OTHERWISE]
    quick = {str(edition) for edition in cheapest(every, 2)}
    return [
        pytest.param(e, id=str(e), marks=[] if str(e) in quick else pytest.mark.slow) for e in every
    ]


def scales(model: cz.Model, **options: Any) -> dict[str, float]:
    return cz.SGD(model, lr=0.1, layer_decay=DECAY, **options).lr_scales


def layer(scale: float) -> int:
    """The number of layers after one of this scale."""
    return round(math.log(scale, DECAY))


def drawn(name: str, **options: Any) -> dict[str, int]:
    """The number of layers after that of each parameter of a network."""
    found = scales(cz.create_model(name, meta=True, **options))
    return {parameter: layer(scale) for parameter, scale in found.items()}


@pytest.mark.parametrize("edition", timms())
def test_rates_are_those_of_timm(edition: Edition) -> None:
    module = build_module(edition, meta=True)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    expected = {
        names[id(parameter)]: group["lr_scale"]
        for group in param_groups_layer_decay(module, layer_decay=DECAY)
        for parameter in group["params"]
    }
    found = scales(edition.create(meta=True))
    assert found == pytest.approx(expected, rel=1e-12)
    assert len(set(found.values())) > 5


def test_families_of_timm_are_all_compared() -> None:
    families = {e.info.family for e in editions() if e.source == "timm"}
    assert families - OTHERWISE >= {"ViT", "DeiT", "ResNet", "EfficientNet", "MobileNetV3"}
    assert families >= OTHERWISE


def test_where_layers_are_not_timms() -> None:
    """A norm goes with its convolution; each convolution of a stem of several is a layer."""
    after = drawn("vgg11_bn", source="timm")
    assert after["features.0.weight"] == after["features.1.weight"] == 10
    assert after["features.4.weight"] == after["features.5.bias"] == 9
    assert after["features.25.weight"] == after["features.26.weight"] == 3
    assert [after[f"{name}.weight"] for name in ("pre_logits.fc1", "pre_logits.fc2")] == [2, 1]
    after = drawn("inception_v3", source="timm")
    stem = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
    assert [after[f"{name}.bn.weight"] for name in stem] == [16, 15, 14, 13, 12]
    assert after["Mixed_5b.branch1x1.conv.weight"] == after["Mixed_5b.branch_pool.bn.bias"] == 11
    after = drawn("legacy_xception")
    assert [after[f"conv{n}.pointwise.weight"] for n in (3, 4)] == [2, 1]
    after = drawn("inception_resnet_v2")
    assert [after[f"repeat_1.{n}.conv2d.weight"] for n in (0, 19)] == [32, 13]


@pytest.mark.parametrize(
    ("name", "source", "first", "block", "count"),
    [
        ("resnet18", "torchvision", "conv1.weight", "layer1.0.conv1.weight", 10),
        ("resnet50", "keras", "conv1_conv.weight", "conv2_block1_1_conv.weight", 18),
        ("densenet121", "torchvision", "features.conv0.weight", None, 60),
        ("googlenet", "torchvision", "conv1.conv.weight", "conv2.conv.weight", 13),
        ("mobilenet_v2", "torchvision", "features.0.0.weight", "features.1.conv.0.0.weight", 20),
        (
            "efficientnet_b0",
            "torchvision",
            "features.0.1.bias",
            "features.1.0.block.0.0.weight",
            18,
        ),
        ("efficientnet_b0", "keras", "stem_conv.weight", "block1a_dwconv.weight", 18),
        ("vit_b_16", "torchvision", "class_token", "encoder.layers.encoder_layer_0.ln_1.bias", 14),
        ("alexnet", "torchvision", "features.0.bias", "features.3.weight", 6),
        ("vgg11_bn", "torchvision", "features.1.weight", "features.5.weight", 9),
    ],
)
def test_other_sources_have_stem_blocks_and_classifier(
    name: str, source: str, first: str, block: str | None, count: int
) -> None:
    after = drawn(name, source=source)
    assert set(after.values()) == set(range(count))
    assert after[first] == count - 1
    if block is not None:
        assert after[block] == count - 2
    assert list(after.values())[-1] == 0


def test_auxiliary_classifiers_move_as_the_classifier() -> None:
    after = drawn("googlenet", aux=True)
    assert {after[name] for name in after if name.startswith(("aux", "fc"))} == {0}
    assert after["inception5b.branch1.conv.weight"] == 1


def test_without_a_classifier_the_last_block_moves_by_the_whole_rate() -> None:
    after = drawn("resnet18", num_classes=0)
    assert after["layer4.1.conv1.weight"] == 0
    assert after["conv1.weight"] == 8


def test_a_step_takes_the_rates_times_those_of_groups() -> None:
    model = cz.alexnet(num_classes=4, drop_rate=0.0)
    groups = [cz.ParameterGroup("features.3", lr_scale=3.0)]
    found = scales(model, groups=groups)
    plain, decayed = model.copy(), model.copy()
    x, y = images((64, 64), 2), np.arange(2)
    before = model.state_dict()
    plain.train_step(x, y, cz.SGD(plain, lr=0.1))
    decayed.train_step(x, y, cz.SGD(decayed, lr=0.1, layer_decay=DECAY, groups=groups))
    expected, after = plain.state_dict(), decayed.state_dict()
    ratio = {
        "features.0.weight": DECAY**5,
        "features.3.weight": 3 * DECAY**4,
        "classifier.6.bias": 1,
    }
    for name, scale in ratio.items():
        assert found[name] == pytest.approx(scale)
        step = expected[name] - before[name]
        assert difference(after[name] - before[name], scale * step) <= 100 * ROUNDING, name


def test_a_graph_without_numbers_has_its_layers() -> None:
    text = """graph small
input = input() height=8 width=8
stem = conv(input) out=6 kernel=3
norm = batch_norm(stem)
act = activation(norm)
flat = flatten(act)
fc = linear(flat) out=4
output fc
"""
    found = scales(cz.Model.from_graph(cz.Graph.parse(text)))
    assert {name: layer(scale) for name, scale in found.items()} == {
        "stem.weight": 1,
        "norm.weight": 1,
        "norm.bias": 1,
        "fc.weight": 0,
        "fc.bias": 0,
    }


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_a_decay_that_is_none_is_refused(decay: float) -> None:
    model = cz.alexnet(num_classes=4, meta=True)
    with pytest.raises(cz.ArgumentError, match="`layer_decay`: expected a number of at least 0"):
        cz.AdamW(model, layer_decay=decay)
