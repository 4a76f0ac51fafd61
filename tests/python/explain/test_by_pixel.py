"""Saliency and integrated gradients, beside PyTorch's autograd and their axioms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from explain.subjects import (
    CAT,
    COFFEE,
    ESPRESSO,
    TIGER_CAT,
    guide,
    trained,
    trained_twin,
    transformer,
)
from reference import Array, Edition, TorchReference, pair
from tolerance import ROUNDING, difference

RESNET = Edition("resnet18", "torchvision", "resnet18")


def gradient(module: Any, x: Array, target: int) -> Array:
    given = torch.from_numpy(x).requires_grad_()
    module(given)[:, target].sum().backward()
    assert given.grad is not None
    found: Array = given.grad.numpy()
    return found


@pytest.mark.parametrize("target", [None, ESPRESSO])
def test_saliency_is_the_largest_gradient_of_a_pixel(target: int | None) -> None:
    model = trained()
    x = model.preprocess(CAT)
    heatmap = cz.explain.saliency(model, CAT, target=target)
    asked = int(model(x).argmax()) if target is None else target
    expected = np.abs(gradient(trained_twin(), x, asked)[0]).max(0)
    assert heatmap.target == asked and heatmap.method == "Saliency" and heatmap.node is None
    assert difference(heatmap.raw, expected) <= ROUNDING
    hottest = np.quantile(expected, 0.99)
    shown = (expected.clip(max=hottest) - expected.min()) / (hottest - expected.min())
    assert np.abs(heatmap.values - shown).max() <= 10 * ROUNDING
    assert heatmap.values.max() == 1 and heatmap.values.min() == 0


def test_guided_saliency_is_guided() -> None:
    model, reference = pair(RESNET)
    assert isinstance(reference, TorchReference)
    module = reference.module.eval()
    assert guide(module)
    heatmap = cz.explain.saliency(model, CAT, target=7, guided=True)
    expected = np.abs(gradient(module, model.preprocess(CAT), 7)[0]).max(0)
    assert difference(heatmap.raw, expected) <= ROUNDING
    assert heatmap.method == "Guided backpropagation"


def test_integrated_gradients_are_the_mean_on_the_way_times_the_way() -> None:
    model, module = trained(), trained_twin()
    x = model.preprocess(COFFEE)[0].astype(np.float64)
    start = np.random.default_rng(0).standard_normal(x.shape).astype(np.float32)
    for baseline, begin in ((None, 0 * x), (0.5, 0 * x + 0.5), (start, start.astype(np.float64))):
        heatmap = cz.explain.integrated_gradients(
            model, COFFEE, target=ESPRESSO, baseline=baseline, steps=6, batch_size=4
        )
        nodes, weights = np.polynomial.legendre.leggauss(6)
        # At the same numbers to the last bit, since those of ReLU jump.
        way = np.stack([begin + (1 + node) / 2 * (x - begin) for node in nodes])
        found = gradient(module, way.astype(np.float32), ESPRESSO)
        mean = np.tensordot(weights / 2, found, 1)
        assert difference(heatmap.raw, ((x - begin) * mean).sum(0)) <= 5 * ROUNDING


@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_batches_do_not_change_integrated_gradients(batch_size: int) -> None:
    model = trained()
    found, expected = (
        cz.explain.integrated_gradients(model, CAT, steps=9, batch_size=size)
        for size in (batch_size, 9)
    )
    assert difference(found.raw, expected.raw) <= ROUNDING


def test_integrated_gradients_are_complete() -> None:
    """Their sum is the difference of the scores: an axiom, whatever the network.

    The gradients of a transformer are smooth, so that few of them are enough.
    """
    model = transformer()
    heatmap = cz.explain.integrated_gradients(model, CAT, target=2, steps=40)
    x = model.preprocess(CAT)
    gained = float((model(x) - model(0 * x))[0, 2])
    assert abs(gained) > 0.01
    assert heatmap.raw.sum(dtype=np.float64) == pytest.approx(gained, rel=1e-3)
    assert heatmap.error is not None and heatmap.error <= 1e-3


def test_the_error_of_a_mean_over_too_few_gradients_is_told() -> None:
    """Those of ReLU jump on the way."""
    model = trained()
    x = model.preprocess(CAT)
    gained = float((model(x) - model(0 * x))[0, TIGER_CAT])
    errors = []
    for steps in (4, 50):
        found = cz.explain.integrated_gradients(model, CAT, target=TIGER_CAT, steps=steps)
        assert found.error is not None
        missed = abs(found.raw.sum(dtype=np.float64) - gained) / abs(gained)
        assert found.error == pytest.approx(missed, abs=1e-4)
        errors.append(found.error)
    assert errors[1] < 0.2 < errors[0]


def test_they_are_exact_for_a_linear_network() -> None:
    """There the evidence of a pixel is its value times its weight, with a single step."""
    graph = cz.Graph.parse(
        "graph linear\ninput = input() height=8 width=8\nf = flatten(input)\n"
        "fc = linear(f) out=2\noutput fc"
    )
    model = cz.Model.from_graph(graph, seed=1)
    heatmap = cz.explain.integrated_gradients(model, CAT, target=1, steps=1)
    x = model.preprocess(CAT)[0]
    weight = model.state_dict()["fc.weight"][1].reshape(3, 8, 8)
    assert difference(heatmap.raw, (x * weight).sum(0)) <= ROUNDING
    assert heatmap.error is not None and heatmap.error <= 1e-5
    saliency = cz.explain.saliency(model, CAT, target=1)
    np.testing.assert_array_equal(saliency.raw, np.abs(weight).max(0))


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no steps": ({"steps": 0}, cz.ArgumentError, "`steps`"),
    "too many steps": ({"steps": 10**6}, cz.ArgumentError, "`steps`"),
    "half a step": ({"steps": 1.5}, cz.ArgumentError, "`steps`"),
    "no batch": ({"batch_size": 0}, cz.ArgumentError, "`batch_size`"),
    "NaN": ({"baseline": np.nan}, cz.ArgumentError, "`baseline`: expected finite numbers"),
    "a word": ({"baseline": "black"}, cz.ArgumentError, "`baseline`"),
    "another size": ({"baseline": np.zeros((3, 8, 8))}, cz.ShapeError, r"or \(3, 224, 224\), got"),
    "no such class": ({"target": 1000}, cz.ArgumentError, "`target`"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong: str) -> None:
    options, kind, said = WRONG[wrong]
    with pytest.raises(kind, match=said):
        cz.explain.integrated_gradients(trained(), CAT, **options)
