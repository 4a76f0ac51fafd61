"""A Module does what the module of torchvision or timm with the same parameters does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnnzoo as cz
from families.test_options import Change, changed, for_each_change
from reference import Edition, images, smallest
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference
from train.test_steps import AUXILIARY, CLASSES, is_quick, torch_loss, twins

BATCH = 4
STEPS = 3

# Parameters move by about a thousandth of their values in three such steps.
LR, MOMENTUM = 1e-3, 0.9


def cases() -> list[Any]:
    return [
        pytest.param(
            edition, id=str(edition), marks=[] if is_quick(edition.info) else pytest.mark.slow
        )
        for edition in smallest()
    ]


def both(edition: Edition) -> tuple[nn.Module, nn.Module, int]:
    """Ours and theirs, in training mode, and the size of their images."""
    model, twin, size = twins(edition)
    return cz.torch.Module(model), twin, size


def largest(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference, by the scale of each array or that which is usual in the network."""
    assert found.keys() == expected.keys()
    usual = float(np.median([float(value.abs().max()) for value in expected.values()]))
    return max(
        difference(found[name].numpy(), value.numpy(), floor=usual)
        for name, value in expected.items()
    )


def gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.double() for name, value in module.state_dict().items()}


def three_steps(ours: nn.Module, theirs: nn.Module, size: int, weight: float = 0.3) -> None:
    """Assert that values, gradients and the states after three updates are equal."""
    x = torch.from_numpy(images((size, size), BATCH))
    with torch.no_grad():
        found, expected = ours.eval()(x), theirs.eval()(x)
    assert difference(found.numpy(), expected.numpy()) < ROUNDING

    y = torch.arange(BATCH) % CLASSES
    x = x.requires_grad_()
    optimizers = [
        torch.optim.SGD(module.train().parameters(), lr=LR, momentum=MOMENTUM)
        for module in (ours, theirs)
    ]
    for step in range(STEPS):
        seen: list[dict[str, torch.Tensor]] = []
        for module, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            x.grad = None
            torch_loss(module, x, y, weight).backward()
            assert x.grad is not None
            seen.append({**gradients(module), "input": x.grad})
        if step == 0:
            assert largest(*seen) < ROUNDING_OF_GRADIENTS
        for optimizer in optimizers:
            optimizer.step()
    assert largest(state(ours), state(theirs)) < ROUNDING_OF_GRADIENTS


@pytest.mark.parametrize("edition", cases())
def test_values_gradients_and_three_steps_are_the_twins(edition: Edition) -> None:
    ours, theirs, size = both(edition)
    names = [name for name, _ in theirs.named_parameters()]
    assert sorted(name for name, _ in ours.named_parameters()) == sorted(names)
    assert sorted(dict(ours.named_buffers())) == sorted(dict(theirs.named_buffers()))
    assert set(ours.state_dict()) == set(theirs.state_dict())
    three_steps(ours, theirs, size, AUXILIARY.get(edition.info.family, 0.3))


@pytest.mark.parametrize(
    ("name", "source"), [("resnet18", "torchvision"), ("vit_tiny_patch16_224", "timm")]
)
def test_keys_stand_in_the_twins_order(name: str, source: str) -> None:
    (edition,) = [e for e in [Edition(name, source, name)] if e.info.source == source]
    _, twin, _ = twins(edition)
    module = cz.torch.Module(cz.create_model(name, source=source, num_classes=CLASSES))
    assert list(module.state_dict()) == list(twin.state_dict())


def test_state_goes_both_ways() -> None:
    ours, theirs, size = both(Edition("resnet18", "torchvision", "resnet18"))
    assert isinstance(ours, cz.torch.Module)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.mul_(0.5)
    assert ours.load_state_dict(theirs.state_dict()) == theirs.load_state_dict(ours.state_dict())
    x = images((size, size), BATCH)
    expected = theirs.eval()(torch.from_numpy(x)).detach().numpy()
    assert difference(ours.model(x, exact=True), expected) < ROUNDING
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({})


def test_running_statistics_stay_in_the_same_memory() -> None:
    ours, theirs, size = both(Edition("resnet18", "torchvision", "resnet18"))
    before = {name: value.data_ptr() for name, value in ours.named_buffers()}
    x = torch.from_numpy(images((size, size), BATCH))
    ours(x)
    theirs(x)
    assert {name: value.data_ptr() for name, value in ours.named_buffers()} == before
    assert largest(state(ours), state(theirs)) < ROUNDING
    assert int(ours.state_dict()["bn1.num_batches_tracked"]) == 1


def test_parts_have_modes_of_their_own() -> None:
    ours, theirs, size = both(Edition("resnet18", "torchvision", "resnet18"))
    x = torch.from_numpy(images((size, size), BATCH))
    for module in (ours, theirs):
        module.get_submodule("layer2").eval()
        # As in PyTorch, a frozen norm learns its statistics unless it is in evaluation mode.
        module.get_submodule("layer1").requires_grad_(False)
    found, expected = ours(x), theirs(x)
    assert difference(found.detach().numpy(), expected.detach().numpy()) < ROUNDING
    assert largest(state(ours), state(theirs)) < ROUNDING
    assert int(ours.state_dict()["layer2.0.bn1.num_batches_tracked"]) == 0
    assert int(ours.state_dict()["layer1.0.bn1.num_batches_tracked"]) == 1


def test_autocast_reaches_the_operators() -> None:
    ours, theirs, size = both(Edition("resnet18", "torchvision", "resnet18"))
    x = torch.from_numpy(images((size, size), BATCH))
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = ours(x), theirs(x)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_second_derivatives_are_the_twins() -> None:
    ours, theirs, size = both(Edition("resnet18", "torchvision", "resnet18"))
    seen = []
    for module in (ours, theirs):
        x = torch.from_numpy(images((size, size), BATCH)).requires_grad_()
        (slope,) = torch.autograd.grad(module(x).square().sum(), x, create_graph=True)
        slope.square().sum().backward()
        seen.append(gradients(module))
    assert largest(*seen) < ROUNDING_OF_GRADIENTS


@for_each_change
def test_networks_with_options_are_the_twins_with_the_same_change(
    name: str, options: dict[str, Any], change: Change
) -> None:
    model, reference = changed(name, options, change)
    model.load_state_dict(reference.state())
    three_steps(cz.torch.Module(model), reference.module, 65 if name == "alexnet" else 64)


def test_without_norms_it_trains_as_the_model_does() -> None:
    model = cz.create_model("resnet18", num_classes=CLASSES, seed=1, norm="none")
    module = cz.torch.Module(model)
    x = torch.from_numpy(images((64, 64), BATCH))
    expected = {
        name: torch.from_numpy(value)
        for name, value in model.vjp(x.numpy(), np.ones((BATCH, CLASSES), np.float32))[1].items()
    }
    module.eval()(x).sum().backward()
    assert largest(gradients(module), expected) < ROUNDING


def test_a_graph_of_your_own_trains() -> None:
    from small_network import tiny

    model = tiny()
    module, twin = cz.torch.Module(model), copy.deepcopy(cz.torch.Module(model))
    x = torch.from_numpy(images((16, 16), BATCH))
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
    before = model(x.numpy())
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), torch.arange(BATCH) % 3).backward()
        optimizer.step()
    assert difference(model(x.numpy()), before) > 0.01
    assert difference(module.eval()(x).detach().numpy(), model(x.numpy())) < ROUNDING
    np.testing.assert_array_equal(twin.model(x.numpy()), before)
