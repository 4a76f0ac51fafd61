"""Every network against its source, on random weights: forward, training mode, gradients, cost.

By default the cheapest editions of every family, source and deviation run; the rest is slow.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from reference import Edition, KerasReference, build_module, cheapest, editions, images, pair
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

EDITIONS = editions()

# How many editions of each group run by default.
QUICK = 2

# Above this many multiply-adds the default size of the image is left to the slow profile.
QUICK_MACS = 2e9

# Pixels that a network needs so that no window is larger than what it slides over.
SMALLEST: dict[str, int] = {}


def params(quick: list[Edition]) -> list[object]:
    """Every edition, where those that are not quick are marked slow."""
    chosen = set(quick)
    return [
        pytest.param(edition, id=str(edition), marks=[] if edition in chosen else pytest.mark.slow)
        for edition in EDITIONS
    ]


@pytest.mark.parametrize("edition", params(list(cheapest(EDITIONS, QUICK))))
def test_evaluation_and_training_equal_the_source(edition: Edition) -> None:
    model, reference = pair(edition)
    more = max(0, SMALLEST.get(edition.info.family, 0) - 65)

    # Evaluation, at odd sizes that no stage divides evenly.
    for (height, width), batch in (((65, 97), 1), ((96, 71), 3)):
        x = images((height + more, width + more), batch)
        expected = reference.run(x, training=False).numpy()
        assert difference(model(x), expected) <= ROUNDING, f"evaluation at {height}×{width}"

    # Training: batch statistics, gradients of every parameter, running statistics.
    x = images((65 + more, 78 + more), 4, seed=1)
    logits = reference.run(x, training=True)
    cotangent = np.random.default_rng(2).standard_normal(logits.shape).astype(np.float32)
    logits.backward(torch.from_numpy(cotangent))
    ours, gradients = model.vjp(x, cotangent, training=True)
    assert difference(ours, logits.detach().numpy()) <= ROUNDING, "training"
    originals = reference.gradients()
    assert gradients.keys() == originals.keys()
    worst = max((difference(gradients[key], value), key) for key, value in originals.items())
    assert worst[0] <= ROUNDING_OF_GRADIENTS, f"gradient of {worst[1]}"
    state = model.state_dict()
    for key, value in reference.state().items():
        if not (key.endswith("running_var") and reference.biased_variance()):
            assert difference(state[key], value) <= ROUNDING, f"after the step: {key}"


@pytest.mark.parametrize(
    "edition", params([e for e in cheapest(EDITIONS, 1) if e.info.macs <= QUICK_MACS])
)
def test_the_default_size_equals_the_source(edition: Edition) -> None:
    model, reference = pair(edition)
    size = edition.info.input_size
    x = images((size, size), 1)
    assert difference(model(x), reference.run(x, training=False).numpy()) <= ROUNDING


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source != "keras"], ids=str)
def test_names_shapes_order_and_cost_equal_the_source(edition: Edition) -> None:
    module = build_module(edition, meta=True).eval()
    info = edition.info
    theirs = [(key, list(value.shape)) for key, value in module.state_dict().items()]
    ours = [(key, shape) for key, shape, _ in edition.graph().parameters()]
    assert ours == theirs
    assert info.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(1, 3, info.input_size, info.input_size, device="meta"))
    assert info.macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source == "keras"], ids=str)
def test_names_shapes_and_counts_equal_keras(edition: Edition) -> None:
    reference = KerasReference(edition)
    theirs = {key: list(value.shape) for key, value in reference.state().items()}
    ours = {
        key: shape
        for key, shape, _ in edition.graph().parameters()
        if not key.endswith("num_batches_tracked")
    }
    assert ours == theirs
    trained = sum(int(np.prod(v.shape)) for v in reference.model.trainable_variables)
    assert edition.info.params == trained
