"""Parts that PyTorch's own code, and loops of its users, find by their class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import swa_utils

import cnnzoo as cz
from small_network import tiny
from tolerance import FUSED, ROUNDING

X = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def both() -> tuple[Any, Any]:
    """A network with norms and a dropout, and the same one of torchvision."""
    from torchvision.models import mobilenet_v2

    ours: Any = cz.torch.Module(cz.mobilenet_v2(num_classes=5, width=0.25, seed=0))
    theirs: Any = mobilenet_v2(num_classes=5, width_mult=0.25)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("kind", [nn.BatchNorm2d, nn.modules.batchnorm._BatchNorm, nn.Dropout])
def test_norms_and_dropouts_are_found_where_the_twin_has_them(kind: Any) -> None:
    ours, theirs = both()
    expected = {name: one for name, one in theirs.named_modules() if isinstance(one, kind)}
    found = {name: one for name, one in ours.named_modules() if isinstance(one, kind)}
    assert found.keys() == expected.keys()
    for name, one in found.items():
        for attribute in type(expected[name]).__constants__:
            if attribute in vars(expected[name]):
                value = getattr(expected[name], attribute)
                assert getattr(one, attribute) == value, (name, attribute)
        assert repr(one) == f"{one.op}({one.extra_repr()})"


def test_a_loop_over_norms_keeps_their_statistics() -> None:
    ours, theirs = both()
    for network in (ours, theirs):
        network.train()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d | nn.Dropout):
                part.eval()
        network(X)
    state = theirs.state_dict()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, state[name], rtol=0, atol=0)


def test_a_reset_of_the_statistics_reaches_the_model() -> None:
    ours, theirs = both()
    for network in (ours, theirs):
        network.train()(X)
        network.features[0][1].reset_running_stats()
    names = [f"features.0.1.{of}" for of in ("running_mean", "running_var", "num_batches_tracked")]
    state = ours.model.state_dict()
    for name in names:
        torch.testing.assert_close(torch.from_numpy(state[name]), theirs.state_dict()[name])


def test_old_state_dicts_without_counts_are_taken_as_torch_takes_them() -> None:
    ours, theirs = both()
    old = {name: value for name, value in theirs.state_dict().items() if "num_" not in name}
    theirs.load_state_dict(dict(old))
    ours.load_state_dict(dict(old))
    del old["features.0.1.running_mean"]
    with pytest.raises(RuntimeError, match=r"Missing key.*features\.0\.1\.running_mean"):
        ours.load_state_dict(old)


def test_a_norm_that_learns_a_bias_alone_has_no_weight() -> None:
    ours: Any = cz.torch.Module(cz.create_model("InceptionV3", source="keras", image_size=75))
    norms = [one for one in ours.modules() if isinstance(one, nn.BatchNorm2d)]
    assert norms
    assert all(one.weight is None and one.bias is not None for one in norms)
    ours.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("averaged", [False, True])
def test_update_bn_averages_the_statistics_as_it_does_in_the_twin(averaged: bool) -> None:
    batches = [X * scale + scale for scale in (1.0, 3.0, -2.0)]
    ours, theirs = both()
    networks = [swa_utils.AveragedModel(one) if averaged else one for one in (ours, theirs)]
    for network in networks:
        swa_utils.update_bn(batches, network)
    found, expected = (network.state_dict() for network in networks)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=ROUNDING, atol=ROUNDING)
    assert all(one.momentum == 0.1 for one in ours.modules() if isinstance(one, nn.BatchNorm2d))


def test_a_norm_without_momentum_averages_in_training_too() -> None:
    ours, theirs = both()
    for network in (ours, theirs):
        network.train()
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
            elif isinstance(part, nn.Dropout):
                part.eval()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    with pytest.raises(cz.ShapeError):
        ours(X[:0])
    for name, value in ours.state_dict().items():
        assert torch.equal(value, before[name])
    twin = pickle.loads(pickle.dumps(copy.deepcopy(ours)))
    for network in (ours, twin):
        network.model(X.numpy())
    for network in (ours, theirs, twin):
        for batch in (X, 2 * X):
            network(batch).square().mean().backward()
    expected = theirs.state_dict()
    for network in (ours, twin):
        for name, value in network.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=ROUNDING, atol=ROUNDING)
        network.eval()
        np.testing.assert_allclose(
            network.model(X.numpy()), network(X).detach(), rtol=FUSED, atol=FUSED
        )


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda m: setattr(m.bn1, "momentum", 0.2), r"`momentum` of the part.*: expected 0\.1, .*0\.2"),
    (lambda m: setattr(m.bn1, "eps", 1e-3), r"`eps` of the part `bn1`: expected 1e-05, .*0\.001"),
    (nn.SyncBatchNorm.convert_sync_batchnorm, "expected what the graph has there"),
    (torch.func.replace_all_batch_norm_modules_, "expected what the graph has there"),
]


@pytest.mark.parametrize(("act", "said"), REFUSED)
def test_a_change_that_a_run_would_not_see_is_refused(act: Callable[[Any], Any], said: str) -> None:
    module: Any = cz.torch.Module(tiny())
    with pytest.raises(cz.ArgumentError, match=said):
        act(module)
    module.bn1.eps = module.bn1.eps
    twin: Any = copy.deepcopy(module)
    assert isinstance(twin.bn1, nn.BatchNorm2d)


def test_the_rate_of_a_dropout_is_the_graphs() -> None:
    ours, _ = both()
    (dropout,) = (one for one in ours.modules() if isinstance(one, nn.Dropout))
    with pytest.raises(cz.ArgumentError, match=r"`p` of the part `classifier\.0`: expected 0\.2"):
        dropout.p = 0.5
