"""PyTorch's inference mode around models: what it must not leave in parameters, and what runs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import torch
from torch import nn

import cnnzoo as cz
from tolerance import FUSED, difference

X = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
Y = np.array([0, 2])


def small() -> cz.Model:
    return cz.create_model("resnet20", num_classes=3, seed=0)


def train(model: cz.Model) -> dict[str, Any]:
    """Each way of training and differentiating, and what it changes."""
    ours = cz.SGD(model, lr=0.05, momentum=0.9)
    model.train_step(X, Y, ours)
    model.gradients(X, 1)
    _, gradients = model.vjp(X, np.full((2, 3), 0.1, np.float32), training=True)
    model.apply_gradients(gradients, ours)
    twin = copy.deepcopy(ours)
    twin.model.train_step(X, Y, twin)
    return dict(twin.model.state_dict())


def test_changes_of_a_model_that_was_made_in_inference_mode_are_seen() -> None:
    x = torch.from_numpy(X)
    with torch.inference_mode():
        model = small()
        module: Any = cz.torch.Module(model).eval()
        before = model(X)
        module.fc.weight.add_(1)
        assert not np.array_equal(model(X), before)
        assert difference(model(X), module(x).numpy()) < FUSED
        module.to(memory_format=torch.channels_last)
        twin: Any = copy.deepcopy(module)
        for one in (module, twin):
            one.load_state_dict({name: value / 2 for name, value in one.state_dict().items()})
            assert difference(one.model(X), one(x).numpy()) < FUSED
    for one in (module, twin, cz.torch.Module(pickle.loads(pickle.dumps(model)))):
        assert not any(tensor.is_inference() for tensor in one.state_dict().values())
        nn.functional.cross_entropy(one.train()(x), torch.from_numpy(Y)).backward()
        torch.optim.SGD(one.parameters(), lr=0.1).step()


def test_training_and_gradients_are_the_same_in_inference_mode() -> None:
    expected = train(small())
    with torch.inference_mode():
        found = train(small())
        inside = small()
        inside.freeze("layer1").reset_classifier(num_classes=3)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    train(inside.unfreeze())
