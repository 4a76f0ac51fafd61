"""Every network against its source, on random weights: forward, training mode, gradients, cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import cnnzoo as cz
from cnnzoo import _native
from reference import build_reference, images, pair
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

NAMES = cz.list_models()

# Above this the default size of the image is left to the slow profile.
QUICK_MACS = 5e9


def default_size_params() -> list[object]:
    """Names, where the costly ones are marked slow."""
    slow = [pytest.mark.slow]
    return [
        pytest.param(name, marks=slow if cz.model_info(name).macs > QUICK_MACS else [])
        for name in NAMES
    ]


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_and_training_equal_the_source(name: str) -> None:
    model, reference = pair(name)

    # Evaluation, at odd sizes that no stage divides evenly.
    reference.eval()
    for size, batch in (((65, 97), 1), ((96, 71), 3)):
        x = images(size, batch)
        with torch.no_grad():
            expected = reference(torch.from_numpy(x)).numpy()
        assert difference(model(x), expected) <= ROUNDING, f"evaluation at {size}"

    # Training: batch statistics, gradients of every parameter, running statistics.
    reference.train()
    x = images((65, 78), 4, seed=1)
    cotangent = np.random.default_rng(2).standard_normal((4, 1000)).astype(np.float32)
    expected = reference(torch.from_numpy(x))
    expected.backward(torch.from_numpy(cotangent))
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, expected.detach().numpy()) <= ROUNDING, "training"
    originals = {
        key: parameter.grad.numpy()
        for key, parameter in reference.named_parameters()
        if parameter.grad is not None
    }
    assert gradients.keys() == originals.keys()
    worst = max((difference(gradients[key], gradient), key) for key, gradient in originals.items())
    assert worst[0] <= ROUNDING_OF_GRADIENTS, f"gradient of {worst[1]}"
    ours = model.state_dict()
    for key, value in reference.state_dict().items():
        assert difference(ours[key], value.numpy()) <= ROUNDING, f"after the step: {key}"


@pytest.mark.parametrize("name", default_size_params())
def test_the_default_size_equals_the_source(name: str) -> None:
    model, reference = pair(name)
    size = cz.model_info(name).input_size
    x = images((size, size), 1)
    with torch.no_grad():
        expected = reference.eval()(torch.from_numpy(x)).numpy()
    assert difference(model(x), expected) <= ROUNDING


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_order_and_cost_equal_the_source(name: str) -> None:
    reference = build_reference(name, meta=True).eval()
    info = cz.model_info(name)
    theirs = [(key, list(value.shape)) for key, value in reference.state_dict().items()]
    ours = [(key, shape) for key, shape, _ in _native.draw(name).parameters()]
    assert ours == theirs
    assert info.params == sum(p.numel() for p in reference.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        reference(torch.empty(1, 3, info.input_size, info.input_size, device="meta"))
    assert info.macs == counter.get_total_flops() // 2
