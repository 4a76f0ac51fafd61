"""Updates of ours between the forward and the backward pass of a Module, which PyTorch refuses."""

from __future__ import annotations

import contextlib
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


# What changes running statistics, and no parameter.
LEARNING: dict[str, Callable[[cz.Model], object]] = {
    "accumulating": lambda model: model.train_step(X, Y, cz.SGD(model, lr=0.1), accumulate=2),
    "vjp": lambda model: model.vjp(X, np.ones((2, 3), np.float32), training=True),
    "failing": lambda model: model.train_step(X, Y, cz.SGD(model, lr=0.1), loss=failing),
}


def failing(logits: Any, y: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize("way", LEARNING)
def test_a_backward_pass_over_statistics_that_we_updated_is_refused(way: str) -> None:
    model = cz.create_model("resnet20", num_classes=3, seed=0)
    loss = cz.torch.Module(model).eval()(torch.from_numpy(X)).sum()
    with contextlib.suppress(ZeroDivisionError):
        LEARNING[way](model)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


# What changes nothing that a backward pass needs.
HARMLESS: dict[str, Callable[[cz.Model], object]] = {
    "vjp": lambda model: model.vjp(X, np.ones((2, 3), np.float32)),
    "gradients": lambda model: model.gradients(X, 1),
    "exact": lambda model: model(X, exact=True),
    "refused": lambda model: model.train_step(X, np.array([0, 5]), cz.SGD(model, lr=0.1)),
    "flush of nothing": lambda model: cz.SGD(model, lr=0.1).step(),
    "frozen": lambda model: model.freeze().unfreeze(),
}


@pytest.mark.parametrize("way", HARMLESS)
def test_a_backward_pass_over_what_changes_nothing_has_its_gradients(way: str) -> None:
    model = cz.create_model("resnet20", num_classes=3, seed=0)
    module: Any = cz.torch.Module(model).eval()
    expected = torch.autograd.grad(module(torch.from_numpy(X)).sum(), list(module.parameters()))
    output = module(torch.from_numpy(X)).sum()
    with contextlib.suppress(cz.ArgumentError):
        HARMLESS[way](model)
    found = torch.autograd.grad(output, list(module.parameters()))
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(one, other)


def test_a_training_mode_forward_pass_does_not_spoil_the_one_before() -> None:
    """As in PyTorch, whose batch norms do not count what they track."""
    module: Any = cz.torch.Module(cz.create_model("resnet20", num_classes=3, seed=0))
    first, _ = module(torch.from_numpy(X)).sum(), module(torch.from_numpy(X)).sum()
    first.backward()
    assert torch.isfinite(module.conv1.weight.grad).all()


def test_the_average_of_a_model_counts_as_a_change() -> None:
    model = cz.create_model("resnet20", num_classes=3, seed=0)
    other = cz.create_model("resnet20", num_classes=3, seed=1)
    loss = cz.torch.Module(model).eval()(torch.from_numpy(X)).sum()
    model._for_training().average_from(other._for_training(), 0.5, True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
