"""Activation checkpointing of a torch.Module: the same gradients, in less memory."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from typing import Any

import pytest
import torch
from torch import nn

import cnnzoo as cz
from step_memory import memory_of_step
from tolerance import ROUNDING_OF_GRADIENTS, difference

NETWORKS: dict[str, dict[str, Any]] = {
    "resnet20": {},
    "densenet121": {"stem": "small"},
    "mobilenet_v2": {"drop_rate": 0.3},
    "efficientnet_b0": {"drop_rate": 0.3, "drop_path_rate": 0.3},
    "vit_ti_16": {"image_size": 64, "drop_path_rate": 0.2},
}


def pair(name: str, **options: Any) -> tuple[Any, Any]:
    """A module twice, the second with activation checkpointing."""
    options = {**NETWORKS.get(name, {}), **options}
    plain, frugal = (
        cz.torch.Module(cz.create_model(name, num_classes=5, checkpointing=which, **options))
        for which in (False, True)
    )
    return plain, frugal


def images(count: int = 4, size: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def backward(module: Any, x: torch.Tensor, *, seed: int = 3) -> tuple[Any, list[torch.Tensor]]:
    """The outputs, and the gradients by the images and by all parameters."""
    torch.manual_seed(seed)
    x = x.clone().requires_grad_()
    outputs = module(x)
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(each.square().sum() for each in several).backward()
    assert x.grad is not None
    return several, [x.grad, *(weight.grad for weight in module.parameters())]


def assert_same(plain: Any, frugal: Any, x: torch.Tensor) -> None:
    outputs, expected = backward(plain, x)
    others, found = backward(frugal, x)
    for one, other in zip(outputs, others, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    for one, other in zip(expected, found, strict=True):
        assert difference(other.numpy(), one.numpy(), floor=1e-3) <= ROUNDING_OF_GRADIENTS
    # Norms have learned once.
    for (name, one), other in zip(plain.named_buffers(), frugal.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_outputs_and_statistics_are_the_same(name: str, training: bool) -> None:
    plain, frugal = pair(name)
    assert_same(plain.train(training), frugal.train(training), images())


def test_auxiliary_classifiers_and_channels_last_too() -> None:
    plain, frugal = pair("googlenet", aux=True)
    assert_same(plain, frugal, images(2, 96))
    plain, frugal = (each.to(memory_format=torch.channels_last) for each in pair("resnet20"))
    assert_same(plain, frugal, images().to(memory_format=torch.channels_last))


def test_frozen_layers_and_nodes_in_the_middle() -> None:
    plain, frugal = pair("resnet20")
    x = images(4, 32)
    for module in (plain, frugal):
        module.layer1.requires_grad_(False)
        found = module.forward_nodes(x, ["layer2", "fc", "input"])
        torch.testing.assert_close(found["input"], x)
        (found["layer2"].mean() + found["fc"].square().sum()).backward()
        assert module.layer1[0].conv1.weight.grad is None
    for one, other in zip(plain.parameters(), frugal.parameters(), strict=True):
        if one.grad is not None:
            assert difference(other.grad.numpy(), one.grad.numpy()) <= ROUNDING_OF_GRADIENTS


def test_under_autocast_and_with_autograd_grad_and_twice() -> None:
    plain, frugal = pair("resnet20")
    x = images(4, 32)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = plain(x), frugal(x)
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    expected, found = (
        torch.autograd.grad(output.float().square().sum(), list(module.parameters()))
        for output, module in zip(outputs, (plain, frugal), strict=True)
    )
    for one, other in zip(expected, found, strict=True):
        assert difference(other.numpy(), one.numpy(), floor=1e-3) <= ROUNDING_OF_GRADIENTS
    loss = frugal.eval()(x).sum()
    loss.backward(retain_graph=True)
    once = frugal.fc.weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(frugal.fc.weight.grad, 2 * once)


def test_training_with_pytorch_goes_the_same_way() -> None:
    plain, frugal = pair("resnet20")
    x, y = images(4, 32), torch.tensor([0, 1, 2, 3])
    losses = []
    for module in (plain, frugal):
        rule = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
        for _ in range(3):
            rule.zero_grad()
            loss = nn.functional.cross_entropy(module(x), y)
            loss.backward()
            rule.step()
            losses.append(loss.item())
    assert losses[:3] == pytest.approx(losses[3:], rel=ROUNDING_OF_GRADIENTS)
    assert losses[2] < losses[0]


def test_copies_and_pickles_keep_it() -> None:
    _, module = pair("resnet20")
    x = images(4, 32)
    _, expected = backward(module, x)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        twin.load_state_dict(pair("resnet20")[1].state_dict())
        _, found = backward(twin, x)
        for one, other in zip(expected, found, strict=True):
            torch.testing.assert_close(one, other)
        # Only with checkpointing a hook is refused.
        twin.layer1.register_forward_hook(lambda *_: None)
        with pytest.raises(cz.ArgumentError, match="forward hook"):
            twin(x)


def test_hooks_are_refused_where_parts_run_twice() -> None:
    plain, frugal = pair("resnet20")
    for module in (plain, frugal):
        module.layer1.register_forward_hook(lambda *_: None)
    x = images(4, 32)
    plain(x)
    with pytest.raises(cz.ArgumentError, match="forward hook of the part `layer1`: expected none"):
        frugal(x)
    with torch.no_grad():
        frugal(x)


def test_a_change_of_a_parameter_before_the_backward_pass_is_refused() -> None:
    _, module = pair("resnet20")
    loss = module(images(4, 32)).sum()
    with torch.no_grad():
        module.conv1.weight.add_(1)
    with pytest.raises(cz.ArgumentError, match="expected the parameters of the forward pass"):
        loss.backward()
    module(images(4, 32)).sum().backward()
    loss = module(images(4, 32)).sum()
    module.model.reset_classifier(num_classes=3)
    with pytest.raises(cz.ArgumentError, match="make another Module of the model"):
        loss.backward()


def test_what_does_not_fit_is_refused_as_without() -> None:
    for module in pair("resnet20"):
        with pytest.raises(cz.ShapeError, match="the input of resnet20"):
            module(torch.zeros(2, 4, 32, 32))
        with pytest.raises(cz.ShapeError, match="more than one value per channel"):
            module(torch.zeros(1, 3, 1, 1))
        with pytest.raises(TypeError, match="float32"):
            module(torch.zeros(2, 3, 32, 32, dtype=torch.float64))
        with pytest.raises(TypeError, match=r"expected a torch\.Tensor"):
            module([1])


def test_threads_run_beside_each_other() -> None:
    _, module = pair("resnet20")
    module.eval()
    x, found = images(4, 32), []

    def run() -> None:
        inputs = x.clone().requires_grad_()
        for _ in range(3):
            [gradient] = torch.autograd.grad(module(inputs).square().sum(), [inputs])
            found.append(gradient)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 9
    for gradient in found:
        torch.testing.assert_close(gradient, found[0])


# A forward and backward pass of DenseNet-121.
STEP = """
import sys
import torch
import cnnzoo as cz

module = cz.torch.Module(cz.densenet121(checkpointing=sys.argv[1] == "True"))

def step(batch, size):
    module(torch.rand(batch, 3, size, size)).sum().backward()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_densenet_trains_in_less_than_half_the_memory() -> None:
    def peak(*, checkpointing: bool) -> int:
        return memory_of_step(STEP, str(checkpointing), first=2, batch=4)

    everything, less = peak(checkpointing=False), peak(checkpointing=True)
    # A quarter of a gigabyte at least: else it measures something else than values of the network.
    assert everything > 1 << 28
    assert less <= everything / 2, f"{less >> 20} of {everything >> 20} MiB"
