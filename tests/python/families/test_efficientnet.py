"""Choices of each source of EfficientNet: initial values, and what training drops."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from timm.layers.drop import DropPath
from torch import nn
from torchvision.models.efficientnet import FusedMBConv, MBConv

import cnnzoo as cz
from cnnzoo import _native
from reference import Edition, KerasReference, editions

EFFICIENTNETS = [e for e in editions() if e.info.family.startswith("EfficientNet")]


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize("source_name", ["EfficientNetB0", "EfficientNetV2B0"])
def test_parameters_start_as_keras_starts_them(source_name: str) -> None:
    """Mean, deviation and bounds of every weight that is large enough to have any."""
    import keras

    keras.utils.set_random_seed(0)
    edition = Edition("", "keras", source_name)
    theirs = KerasReference(edition, 64, initialised=True).state()
    ours = cz.create_model(source_name, source="keras").state_dict()
    bells = 0
    for key, values in theirs.items():
        a, b = ours[key].astype(np.float64), values.astype(np.float64)
        if b.std() == 0:
            np.testing.assert_array_equal(a, b, err_msg=key)
        elif b.size >= 256:
            # Both are samples: five standard errors of a deviation, of a mean.
            error = 5 / np.sqrt(b.size)
            assert abs(a.std() / b.std() - 1) < 2 * error, key
            assert abs(a.mean() - b.mean()) < 2 * error * b.std(), key
        if a.ndim == 4:
            # VarianceScaling(2, "fan_out", "truncated_normal"): a depthwise kernel (H, W, C, 1) has
            # one output there. The bell is cut at two deviations, and so loses 12 % of its own.
            depthwise = re.search("dwconv", key) is not None
            fan_out = a.shape[2] * a.shape[3] * (1 if depthwise else a.shape[0])
            bound = 2 * np.sqrt(2 / fan_out) / 0.87962566103423978
            assert np.abs(a).max() <= bound * (1 + 1e-6), key
            # On torch, Keras draws four times and takes the first within the bounds, if there is
            # one: of a million values, four lie beyond.
            assert np.mean(np.abs(b) > bound * (1 + 1e-6)) < 1e-3, key
            for sample in (a, b):
                if sample.size >= 4096:
                    assert np.abs(sample).max() > 0.95 * bound, key
                    assert sample.std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.06), key
                    bells += 1
    assert bells > 40
    # VarianceScaling(1 / 3, "fan_out", "uniform").
    for state in (ours, theirs):
        classifier = np.abs(state["predictions.weight"])
        assert 0.999 / np.sqrt(1000) < classifier.max() <= 1.000001 / np.sqrt(1000)


def rates_of_graph(edition: Edition) -> list[float]:
    """The rates of stochastic depth block by block, then of the dropout."""
    lines = str(edition.graph()).splitlines()
    return [
        float(line.partition("rate=")[2])
        for op in ("drop_path", "dropout")
        for line in lines
        if f" = {op}(" in line
    ]


def rates_of_torch(edition: Edition) -> list[float]:
    import timm
    import torch
    import torchvision

    build: Any = timm.create_model if edition.source == "timm" else torchvision.models.get_model
    with torch.device("meta"):
        module = build(edition.source_name)
    paths: list[float] = []
    drops: list[float] = []
    for layer in module.modules():
        if isinstance(layer, MBConv | FusedMBConv):
            # It has one in blocks that are no residual, too.
            paths.append(layer.stochastic_depth.p if layer.use_res_connect else 0.0)
        elif isinstance(layer, DropPath):
            paths.append(layer.drop_prob)
        elif isinstance(layer, nn.Dropout):
            drops.append(layer.p)
    if edition.source == "timm":
        drops.append(module.drop_rate)
    return [rate for rate in paths if rate] + [rate for rate in drops if rate]


@pytest.mark.parametrize(
    "edition",
    [
        pytest.param(e, id=str(e), marks=() if e.info.macs < 1e9 else pytest.mark.slow)
        for e in EFFICIENTNETS
        if e.source != "keras"
    ],
)
def test_rates_are_those_of_the_library(edition: Edition) -> None:
    theirs = rates_of_torch(edition)
    assert rates_of_graph(edition) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
@pytest.mark.parametrize(
    "edition",
    [
        pytest.param(
            e,
            id=str(e),
            marks=()
            if e.source_name in {"EfficientNetB0", "EfficientNetV2B1"}
            else pytest.mark.slow,
        )
        for e in EFFICIENTNETS
        if e.source == "keras"
    ],
)
def test_rates_are_those_of_keras(edition: Edition) -> None:
    import keras

    keras.backend.clear_session()
    build = getattr(keras.applications, edition.source_name)
    model = build(weights=None, input_shape=(32, 32, 3))
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    theirs = {layer.name: layer.rate for layer in dropouts}
    lines = [line.split() for line in str(edition.graph()).splitlines()]
    ours = {line[0]: float(line[-1].removeprefix("rate=")) for line in lines if "rate=" in line[-1]}
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_options_change_the_rates() -> None:
    for source, name in (("timm", "efficientnet_b0"), ("keras", "EfficientNetV2B3")):
        graph = _native.draw(name, source, '{"drop_rate": 0.4, "drop_path_rate": 0.3}')
        rates = [
            float(line.partition("rate=")[2]) for line in str(graph).splitlines() if "rate=" in line
        ]
        blocks = len({node.rpartition("add")[0] for node in graph.nodes() if node.endswith("add")})
        assert rates[-1] == 0.4
        assert len(rates) == blocks + 1
        # Linear in depth, and less than the rate before the last.
        assert sorted(rates[:-1]) == rates[:-1]
        assert 0.2 < rates[-2] < 0.3
