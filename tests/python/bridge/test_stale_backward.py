"""Updates of ours between the forward and the backward pass of a Module, which PyTorch refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz

X = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
Y = np.array([0, 1])


@pytest.mark.parametrize("rule", [cz.SGD, cz.AdamW, cz.RMSprop, cz.LAMB])
@pytest.mark.parametrize("way", ["step", "apply", "flush"])
def test_a_backward_pass_over_an_update_of_ours_is_refused(
    rule: Callable[..., Any], way: str
) -> None:
    model = cz.create_model("resnet20", num_classes=3, seed=0)
    ours = rule(model, lr=0.1)
    if way == "flush":
        model.train_step(X, Y, ours, accumulate=2)
    module = cz.torch.Module(model).eval()
    loss = module(torch.from_numpy(X)).sum()
    if way == "step":
        model.train_step(X, Y, ours)
    elif way == "apply":
        gradient = np.ones((3, 64), np.float32)
        model.apply_gradients({"fc.weight": gradient}, ours)
    else:
        ours.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    loss = module(torch.from_numpy(X)).sum()
    loss.backward()
    assert np.isfinite(model(X)).all()
