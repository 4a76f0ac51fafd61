"""Compound scaling against the published numbers, and against what the libraries scale to."""

from __future__ import annotations

import dataclasses
import doctest
import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torchvision.models import efficientnet as torchvisions

import cnnzoo as cz
from cnnzoo import _native, scaling
from reference import Edition, editions

B = [f"efficientnet_b{number}" for number in range(8)]
SCALED = [edition for edition in editions() if edition.name in B]


def body(graph: cz.Graph) -> list[str]:
    """Every node of a graph, without its name."""
    return str(graph).splitlines()[1:]


@pytest.mark.parametrize("edition", SCALED, ids=str)
def test_published_numbers_build_the_published_networks(edition: Edition) -> None:
    """Node by node, from the smallest network of each source."""
    number = B.index(edition.name)
    # torchvision's norms are others from B5 on.
    base = B[5 if edition.source == "torchvision" and number >= 5 else 0]
    smallest = edition.source_name.replace(str(number), base[-1])
    options = cz.published_scaling(edition.name).options
    if edition.info.input_size != options["image_size"]:
        assert edition.source != "keras"
        assert not edition.source_name.startswith("tf_")
        options["image_size"] = edition.info.input_size
    [drop] = [line for line in body(edition.graph()) if " = dropout(" in line] or [""]
    if drop:
        options["drop_rate"] = float(drop.partition("rate=")[2])
    drawn = _native.draw(smallest, edition.source, json.dumps(options))
    assert body(drawn) == body(edition.graph())


def test_the_equation_of_the_paper() -> None:
    for phi in (-1, 0, 0.5, 1, 7):
        found = cz.compound_scaling(phi)
        assert found.depth == pytest.approx(1.2**phi)
        assert found.width == pytest.approx(1.1**phi)
        assert found.resolution == pytest.approx(1.15**phi)
        assert found.image_size == round(224 * 1.15**phi)
        # The paper holds α·β²·γ² near 2.
        assert found.cost == pytest.approx(1.92**phi, rel=1e-3 * max(1, abs(phi)))
    other = cz.compound_scaling(2, alpha=1.1, beta=1, gamma=1.5, base_size=100)
    assert other.depth == pytest.approx(1.21)
    assert (other.width, other.image_size) == (1, 225)


def worst(phi: float, published: cz.Scaling) -> float:
    """The largest relative difference between depth, width and resolution and the published."""
    found = cz.compound_scaling(phi)
    return max(
        abs(found.depth / published.depth - 1),
        abs(found.width / published.width - 1),
        abs(found.resolution / published.resolution - 1),
    )


def test_how_near_the_equation_comes_to_the_published_numbers() -> None:
    base, second = cz.published_scaling(B[0]), cz.published_scaling(B[2])
    assert cz.compound_scaling(0) == base
    near = cz.compound_scaling(1)
    assert (near.depth, near.width) == (second.depth, second.width)
    assert (near.image_size, second.image_size) == (258, 260)
    rows = [line.split() for line in (cz.compound_scaling.__doc__ or "").splitlines()]
    table = {row[0]: (float(row[1]), float(row[2])) for row in rows if row and row[-1] == "%"}
    assert list(table) == [f"B{number}" for number in range(1, 8)]
    for number in range(1, 8):
        published = cz.published_scaling(B[number])
        difference, phi = min((worst(step / 1e3, published), step / 1e3) for step in range(8000))
        stated_phi, stated = table[f"B{number}"]
        assert phi == pytest.approx(stated_phi, abs=0.011)
        assert 100 * difference == pytest.approx(stated, abs=0.051)


def test_cost_is_about_that_of_the_networks() -> None:
    base = cz.model_info("tf_efficientnet_b0").macs
    for number in range(1, 8):
        macs = cz.model_info(f"tf_efficientnet_b{number}").macs
        # Blocks and channels are rounded up: mostly more than the equation says.
        ratio = macs / base / cz.published_scaling(B[number]).cost
        assert 0.95 < ratio < 1.45, number


@pytest.mark.parametrize("name", [f"efficientnet_v2_b{number}" for number in range(4)])
def test_v2_has_the_multipliers_of_the_first(name: str) -> None:
    options = cz.published_scaling(name.replace("v2_", "")).options
    for source in ("timm", "keras"):
        options["image_size"] = cz.model_info(name, source=source).input_size
        drawn = _native.draw("efficientnet_v2_b0", source, json.dumps(options))
        assert body(drawn) == body(_native.draw(name, source))


def shapes(graph: cz.Graph) -> list[tuple[str, list[int]]]:
    return [(key, shape) for key, shape, _ in graph.parameters()]


def of_torchvision(width: float, depth: float) -> torch.nn.Module:
    settings, last = torchvisions._efficientnet_conf(
        "efficientnet_b0", width_mult=width, depth_mult=depth
    )
    module: torch.nn.Module = torchvisions.EfficientNet(settings, 0.2, last_channel=last)
    return module


def of_timm(width: float, depth: float, *, generator: str) -> torch.nn.Module:
    from timm.models import efficientnet

    build: Callable[..., torch.nn.Module] = getattr(efficientnet, generator)
    return build("efficientnet_b0", channel_multiplier=width, depth_multiplier=depth)


MULTIPLIERS = [(0.35, 0.5), (0.9, 2.05), (1.33, 1.7), (2.2, 3.6)]


@pytest.mark.parametrize(("width", "depth"), MULTIPLIERS)
@pytest.mark.parametrize(
    ("name", "source", "original"),
    [
        ("efficientnet_b0", "torchvision", of_torchvision),
        ("efficientnet_b3", "timm", partial(of_timm, generator="_gen_efficientnet")),
        ("efficientnet_lite0", "timm", partial(of_timm, generator="_gen_efficientnet_lite")),
        ("efficientnet_v2_b0", "timm", partial(of_timm, generator="_gen_efficientnetv2_base")),
        ("efficientnet_v2_s", "timm", partial(of_timm, generator="_gen_efficientnetv2_s")),
        ("efficientnet_v2_m", "timm", partial(of_timm, generator="_gen_efficientnetv2_m")),
    ],
)
def test_any_multipliers_give_what_the_library_gives(
    name: str, source: str, original: Any, width: float, depth: float
) -> None:
    with torch.device("meta"):
        module = original(width, depth)
    options = {"width": width, "depth": depth}
    ours = shapes(_native.draw(name, source, json.dumps(options)))
    assert ours == [(key, list(value.shape)) for key, value in module.state_dict().items()]


@pytest.mark.parametrize(("width", "depth"), [(0.35, 0.5), (1.33, 1.7)])
@pytest.mark.parametrize("version", ["efficientnet", "efficientnet_v2"])
def test_any_multipliers_give_what_keras_gives(version: str, width: float, depth: float) -> None:
    import keras
    from keras.src.applications import efficientnet, efficientnet_v2

    build, name, options = efficientnet.EfficientNet, "efficientnet_b0", {}
    if version == "efficientnet_v2":
        build, name = efficientnet_v2.EfficientNetV2, "efficientnet_v2_b0"
        options = {"name": "efficientnetv2-b0"}
    keras.backend.clear_session()
    model = build(width, depth, 64, weights=None, input_shape=(64, 64, 3), **options)
    drawn = _native.draw(name, "keras", json.dumps({"width": width, "depth": depth}))
    ours = {key: math.prod(shape) for key, shape in shapes(drawn) if "num_batches" not in key}
    # Of preprocessing, and of random draws.
    others = {"Normalization", "Dropout"}
    theirs = {
        layer.name: sum(math.prod(v.shape) for v in layer.variables)
        for layer in model.layers
        if layer.variables and type(layer).__name__ not in others
    }
    by_layer: dict[str, int] = {}
    for key, size in ours.items():
        layer = key.rpartition(".")[0]
        by_layer[layer] = by_layer.get(layer, 0) + size
    assert by_layer == theirs


def test_a_scaled_network_runs_and_is_saved(tmp_path: Any) -> None:
    options = dataclasses.replace(cz.compound_scaling(-2), image_size=64).options
    model = cz.create_model("efficientnet_b0", num_classes=3, **options)
    assert model.preprocess.crop == 64
    model.save(tmp_path / "model.safetensors")
    again = cz.load(tmp_path / "model.safetensors")
    assert again.options == model.options
    assert again.graph == model.graph
    theirs = model.state_dict(source="timm")
    other = cz.create_model("efficientnet_b0", source="timm", num_classes=3, **options)
    assert other.load_state_dict(theirs).naming == "own"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "`width` of efficientnet_b0: .*above 0, at most 16"),
        ({"depth": -1.0}, "`depth` of efficientnet_b0: .*got -1"),
        ({"depth": 16.5}, "at most 16, got 16.5"),
        ({"width": float("nan")}, "width"),
    ],
)
def test_multipliers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model("efficientnet_b0", meta=True, **options)


def test_other_families_have_no_multipliers() -> None:
    with pytest.raises(cz.ArgumentError, match=r"options of resnet18: .*`width`"):
        cz.create_model("resnet18", meta=True, width=2.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"phi": math.inf}, "`phi`: .*got inf"),
        ({"phi": math.nan}, "`phi`: .*got nan"),
        ({"phi": -1e4}, "`phi`"),
        ({"phi": 1e5}, "`phi`"),
        ({"phi": 1, "alpha": 0.9}, "`alpha`: expected a number of at least 1, got 0.9"),
        ({"phi": 1, "gamma": math.nan}, "`gamma`"),
        ({"phi": 1, "base_size": 0}, "`base_size`: expected a whole number of 1 to .*, got 0"),
    ],
)
def test_scalings_that_are_none_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.compound_scaling(**arguments)


def test_only_the_published_have_published_numbers() -> None:
    with pytest.raises(
        cz.ArgumentError, match=r"expected one of efficientnet_b0, .*got 'resnet50'"
    ):
        cz.published_scaling("resnet50")


def test_docstrings_are_true() -> None:
    found = doctest.testmod(scaling, extraglobs={"cz": cz})
    assert found.attempted >= 4
    assert not found.failed
