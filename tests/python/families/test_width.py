"""The MobileNets at widths that nobody published: what the libraries themselves make of them."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from timm.models import efficientnet, mobilenetv3
from torchvision.models import MobileNetV2, MobileNetV3
from torchvision.models.mobilenetv3 import _mobilenet_v3_conf

import cnnzoo as cz
from cnnzoo import _native
from reference import Edition, KerasReference, images
from tolerance import ROUNDING, difference

# 24 · 1.117 is 26.8, of which Keras drops the fraction before it rounds; at 0.08 some blocks of
# torchvision no longer widen.
WIDTHS = [0.08, 0.4, 0.6, 0.72, 0.9, 1.117, 1.3, 2.7]

DEPTHS = [0.3, 0.6, 1.3, 2.1]

Shapes = list[tuple[str, tuple[int, ...]]]


def ours(name: str, source: str, **options: float) -> Shapes:
    graph = _native.draw(name, source, json.dumps(options))
    return [(key, tuple(shape)) for key, shape, _ in graph.parameters()]


def of_torch(build: Any, **options: Any) -> Shapes:
    with torch.device("meta"):
        module = build(**options)
    return [(key, tuple(value.shape)) for key, value in module.state_dict().items()]


@pytest.mark.parametrize("width", WIDTHS)
def test_torchvision(width: float) -> None:
    assert ours("mobilenet_v2", "torchvision", width=width) == of_torch(
        MobileNetV2, width_mult=width
    )
    for name in ("mobilenet_v3_small", "mobilenet_v3_large"):
        blocks, last = _mobilenet_v3_conf(name, width_mult=width)
        assert ours(name, "torchvision", width=width) == of_torch(
            MobileNetV3, inverted_residual_setting=blocks, last_channel=last
        )


V1, V2 = efficientnet._gen_mobilenet_v1, efficientnet._gen_mobilenet_v2
V3, V4 = mobilenetv3._gen_mobilenet_v3, mobilenetv3._gen_mobilenet_v4


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("mobilenetv1_125", V1),
        ("mobilenetv1_100h", partial(V1, head_conv=True)),
        ("mobilenetv2_050", V2),
        ("mobilenetv2_110d", partial(V2, depth_multiplier=1.2, fix_stem_head=True)),
        ("mobilenetv3_small_075", V3),
        ("mobilenetv3_large_100", V3),
        ("tf_mobilenetv3_large_minimal_100", V3),
        ("mobilenetv4_conv_small_035", V4),
        ("mobilenetv4_conv_large", V4),
        ("mobilenetv4_hybrid_medium", V4),
    ],
)
def test_timm(name: str, build: Any, width: float) -> None:
    expected = of_torch(build, variant=name, channel_multiplier=width)
    assert ours(name, "timm", width=width) == expected


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("mobilenet_v1", "MobileNet(alpha={})"),
        ("mobilenet_v2_035", "MobileNetV2(alpha={})"),
        ("mobilenet_v3_small_075", "MobileNetV3Small(alpha={})"),
        ("mobilenet_v3_large_minimal", "MobileNetV3Large(alpha={},minimalistic)"),
    ],
)
def test_keras(name: str, theirs: str, width: float) -> None:
    reference = KerasReference(Edition(name, "keras", theirs.format(width)), image_size=32)
    expected = [(key, array.shape) for key, array in reference.state().items()]
    # Keras counts no batches.
    found = ours(name, "keras", width=width)
    assert [(key, shape) for key, shape in found if "num_batches" not in key] == expected


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("width", [0.6, 1.3])
def test_depth_of_the_second(width: float, depth: float) -> None:
    """torchvision's network by the table that it takes; Keras has none, and gets as many blocks."""
    options = {"width": width, "depth": depth}
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    deep = [[t, c, math.ceil(n * depth), s] for t, c, n, s in table]
    expected = of_torch(MobileNetV2, width_mult=width, inverted_residual_setting=deep)
    assert ours("mobilenet_v2", "torchvision", **options) == expected
    multipliers = {"channel_multiplier": width, "depth_multiplier": depth}
    assert ours("mobilenetv2_100", "timm", **options) == of_torch(V2, variant="", **multipliers)
    expected = of_torch(V2, variant="", fix_stem_head=True, **multipliers)
    assert ours("mobilenetv2_120d", "timm", **options) == expected
    shapes = [shape for _, shape in ours("mobilenet_v2", "keras", **options)]
    assert shapes == [shape for _, shape in ours("mobilenet_v2", "torchvision", **options)]


def test_a_narrow_network_is_saved_and_loads_from_other_sources(tmp_path: Any) -> None:
    options: dict[str, Any] = {"num_classes": 3, "width": 0.6, "depth": 1.3}
    model = cz.create_model("mobilenet_v2", **options)
    model.save(tmp_path / "model.safetensors")
    again = cz.load(tmp_path / "model.safetensors")
    assert (again.options, again.graph) == (model.options, model.graph)
    for source in ("timm", "keras"):
        other = cz.create_model("mobilenet_v2", source=source, seed=1, **options)
        other.load_state_dict(model.state_dict(source=source), source=source)
        x = images((64, 64), 2)
        if source == "timm":
            assert difference(other(x), model(x)) <= ROUNDING


def test_sources_that_scale_otherwise_have_other_layers() -> None:
    model = cz.create_model("mobilenet_v3_small", num_classes=3, width=0.6)
    with pytest.raises(cz.ArgumentError, match='got "keras", whose layers differ'):
        model.state_dict(source="keras")


@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3_large"])
@pytest.mark.parametrize("width", [0, -1.0, 17, math.nan, math.inf, np.float32("inf")])
def test_widths_that_are_none_are_refused(name: str, width: float) -> None:
    expected = "a number above 0, at most 16" if math.isfinite(width) else "a finite number"
    message = f"`width` of {name}: expected {expected}, got {width:g}"
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model(name, meta=True, width=width)


def test_a_network_without_channels_is_refused() -> None:
    """The widths of Keras, which alone rounds to nothing."""
    with pytest.raises(cz.CnnzooError, match="conv1"):
        cz.create_model("mobilenet_v1", source="keras", meta=True, width=0.01)
