"""Parts of a Module: their names, their hooks, and what is refused since the graph runs whole."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import cnnzoo as cz
from reference import Edition, images
from tolerance import ROUNDING, difference
from train.test_steps import twins

SIZE = 64


def nested(*parts: torch.Tensor) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*prototype", category=UserWarning)
        return torch.nested.nested_tensor(list(parts))


@pytest.fixture
def both() -> tuple[Any, Any, torch.Tensor]:
    """Ours and torchvision's, in evaluation mode, and images."""
    model, twin, size = twins(Edition("resnet18", "torchvision", "resnet18"))
    return cz.torch.Module(model).eval(), twin.eval(), torch.from_numpy(images((size, size), 2))


def seen(module: nn.Module, x: torch.Tensor, paths: list[str]) -> dict[str, list[torch.Tensor]]:
    """The inputs and the output of parts, by hooks."""
    found: dict[str, list[torch.Tensor]] = {}
    handles = []
    for path in paths:

        def hook(part: nn.Module, inputs: Any, output: torch.Tensor, path: str = path) -> None:
            found[path] = [*(value.detach().clone() for value in inputs), output.detach().clone()]

        handles.append(module.get_submodule(path).register_forward_hook(hook))
    module(x)
    for handle in handles:
        handle.remove()
    return found


# Of torchvision's one ReLU for both activations of a block there are two parts.
PATHS = ["conv1", "bn1", "maxpool", "layer1", "layer1.0", "layer1.0.conv1", "layer2.0.downsample"]
PATHS += ["layer4", "avgpool", "fc"]


def test_hooks_see_what_the_twins_see(both: tuple[Any, Any, torch.Tensor]) -> None:
    ours, theirs, x = both
    found, expected = seen(ours, x, PATHS), seen(theirs, x, PATHS)
    assert list(found) == list(expected), "the same order"
    for path, values in expected.items():
        assert len(found[path]) == len(values), path
        for value, other in zip(found[path], values, strict=True):
            assert difference(value.numpy(), other.numpy()) < ROUNDING, path
    assert seen(ours, x, []) == {}


def test_a_hook_may_return_another_value(both: tuple[Any, Any, torch.Tensor]) -> None:
    ours, theirs, x = both

    def without_half(_: nn.Module, __: Any, output: torch.Tensor) -> torch.Tensor:
        return output * (torch.arange(output.shape[1]) % 2)[:, None, None]

    def in_place(_: nn.Module, __: Any, output: torch.Tensor) -> None:
        output.mul_(2)

    plain = ours(x)
    for module in (ours, theirs):
        module.layer1[0].conv1.register_forward_hook(without_half)
        module.layer2.register_forward_hook(without_half)
        module.layer3[1].bn2.register_forward_hook(in_place)
    found, expected = ours(x), theirs(x)
    assert difference(found.detach().numpy(), expected.detach().numpy()) < ROUNDING
    assert difference(found.detach().numpy(), plain.detach().numpy()) > 0.01
    seen = []
    for output in (found, expected):
        output.sum().backward()
    for name in ("conv1.weight", "layer1.0.conv1.weight", "fc.bias"):
        seen = [module.get_parameter(name).grad for module in (ours, theirs)]
        assert difference(*(gradient.numpy() for gradient in seen)) < 10 * ROUNDING


def test_gradients_of_values_reach_hooks_on_them(both: tuple[Any, Any, torch.Tensor]) -> None:
    found = []
    *modules, x = both
    for module in modules:
        gradients: list[torch.Tensor] = []

        def hook(_: Any, __: Any, output: torch.Tensor, into: Any = gradients) -> None:
            output.register_hook(into.append)

        module.layer4.register_forward_hook(hook)
        module(x)[:, 3].sum().backward()
        found.append(gradients[0])
    assert difference(found[0].numpy(), found[1].numpy()) < ROUNDING


def test_hooks_take_keywords_and_go(both: tuple[Any, Any, torch.Tensor]) -> None:
    ours, _, x = both
    calls: list[Any] = []
    handle = ours.fc.register_forward_hook(lambda *given: calls.append(given), with_kwargs=True)
    ours(x)
    (call,) = calls
    assert call[0] is ours.fc
    assert call[2] == {}
    handle.remove()
    ours(x)
    assert len(calls) == 1
    # Hooks of the module itself are PyTorch's.
    ours.register_forward_pre_hook(lambda _, given: (given[0] * 0,))
    ours.register_forward_hook(lambda _, __, output: output + 1)
    torch.testing.assert_close(ours(x), ours.forward(torch.zeros_like(x)) + 1)


def test_errors_of_hooks_are_their_own(both: tuple[Any, Any, torch.Tensor]) -> None:
    ours, _, x = both

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("mine")

    handle = ours.layer1.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError, match="mine"):
        ours(x)
    handle.remove()
    handle = ours.layer1.register_forward_hook(lambda *_: "text")
    with pytest.raises(TypeError, match=r"forward hook returned: expected a torch\.Tensor"):
        ours(x)
    handle.remove()
    handle = ours.layer1.register_forward_hook(lambda *_: ours(x))
    with pytest.raises(cz.ArgumentError, match="a hook that does not run it"):
        ours(x)
    handle.remove()
    assert ours(x).shape == (2, 10)


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda m: m.layer1(torch.zeros(1)), "one of the part"),
    (lambda m: m.layer1.register_forward_pre_hook(print), "forward pre-hook"),
    (lambda m: m.layer1.register_full_backward_hook(print), "backward hook"),
    (lambda m: m.layer1.register_full_backward_pre_hook(print), "backward hook"),
    (lambda m: setattr(m, "fc", nn.Linear(512, 3)), "reset_classifier"),
    (lambda m: setattr(m, "fc", None), "reset_classifier"),
    (lambda m: setattr(m.fc, "weight", nn.Parameter(torch.zeros(10, 512))), "reset_classifier"),
    (lambda m: setattr(m.bn1, "running_mean", torch.zeros(64)), "reset_classifier"),
    (lambda m: delattr(m, "layer4"), "reset_classifier"),
    (lambda m: m.layer1.add_module("0", nn.ReLU()), "reset_classifier"),
    (lambda m: nn.utils.parametrizations.weight_norm(m.fc), "reset_classifier"),
    (lambda m: m.half(), "torch.autocast"),
    (lambda m: m.double(), "torch.autocast"),
    (lambda m: m.to("meta"), "torch.autocast"),
    (lambda m: m.layer1.half(), "the whole module"),
    (lambda m: m.layer1[:1], "the number of a part"),
    (lambda m: m.forward_nodes(torch.zeros(1, 3, 64, 64), "nothing"), "a name of `nodes"),
    (lambda m: m.forward_nodes(torch.zeros(1, 3, 64, 64), [3]), "the name of a node"),
    (lambda m: m(torch.zeros(1, 4, 64, 64)), r"\(N, 3, H, W\)"),
    (lambda m: m(torch.zeros(0, 3, 64, 64)), "N at least 1"),
    (lambda m: m(torch.zeros(1, 3, 64, 64).to_sparse()), "a dense tensor"),
    (lambda m: m(torch.zeros(1, 3, 64, 64, device="meta")), "a dense tensor"),
    (lambda m: m(nested(torch.zeros(3, 64, 64))), "a dense tensor"),
    (lambda m: m(torch.zeros(1, 3, 64, 64).double()), "float32"),
    (lambda m: m(images((64, 64), 1)), r"a torch\.Tensor"),
    (lambda m: m.train()(torch.zeros(1, 3, 32, 32)), "more than one value per channel"),
    (
        lambda m: torch.func.functional_call(
            m, {"fc.bias": torch.zeros(10)}, torch.zeros(1, 3, 64, 64)
        ),
        "the model's own tensor",
    ),
    (lambda m: torch.func.vmap(m)(torch.zeros(1, 1, 3, 64, 64)), "a dense tensor"),
]


@pytest.mark.parametrize(("act", "said"), REFUSED)
def test_what_a_whole_graph_cannot_do_is_refused(act: Callable[[Any], Any], said: str) -> None:
    module = cz.torch.Module(cz.resnet18(num_classes=10, seed=1)).eval()
    before = copy.deepcopy(module)
    with pytest.raises((cz.CnnzooError, TypeError), match=said):
        act(module)
    x = torch.from_numpy(images((SIZE, SIZE), 1))
    torch.testing.assert_close(module.eval()(x), before(x), rtol=0, atol=0)


def test_only_models_are_taken() -> None:
    with pytest.raises(cz.ArgumentError, match="a model"):
        cz.torch.Module(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(cz.DeviceError, match="meta"):
        cz.torch.Module(cz.create_model("resnet18", meta=True))


def test_a_new_classifier_needs_a_new_module() -> None:
    model = cz.resnet18(seed=1)
    module = cz.torch.Module(model).eval()
    x = torch.from_numpy(images((SIZE, SIZE), 1))
    module(x)
    model.reset_classifier(num_classes=7)
    with pytest.raises(cz.ArgumentError, match="make another Module"):
        module(x)
    other = cz.torch.Module(model).eval()
    assert other(x).shape == (1, 7)
    assert other.conv1.weight is module.conv1.weight


def test_parts_are_numbered_and_named() -> None:
    module = cz.torch.Module(cz.resnet18(seed=1))
    assert module.layer1[0].conv1 is module.get_submodule("layer1.0.conv1")
    assert module.layer1[-1] is module.layer1[1]
    assert len(module.layer1) == len(list(module.layer1)) == 2
    assert module.layer1[0].conv1.op == "conv"
    assert "(conv1): conv(out=64, kernel=7, stride=2, padding=3)" in repr(module)
    with pytest.raises(IndexError, match=r"one of \[0, 1\], got 2"):
        module.layer1[2]
    with pytest.raises(AttributeError):
        _ = module.layer9
    module.extra = nn.Linear(2, 2)
    assert "extra.weight" in module.state_dict()
