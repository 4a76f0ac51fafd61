"""PyTorch's modes around models: what they must not leave in parameters, and what runs in them."""

from __future__ import annotations

import copy
import pickle
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnnzoo as cz
from tolerance import FUSED, difference

X = np.random.default_rng(0).random((2, 3, 16, 16), np.float32)
Y = np.array([0, 2])
ONES = np.full((2, 3), 0.1, np.float32)

TORCHS = nn.CrossEntropyLoss(label_smoothing=0.1)
PHOTO = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)

MODES: dict[str, Callable[[], Any]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    # Which would keep the casts of weights from the first step on.
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def small(**options: Any) -> cz.Model:
    return cz.create_model("resnet20", num_classes=3, seed=0, **options)


def stepped(rule: Callable[..., Any], **options: Any) -> Callable[[cz.Model], object]:
    def steps(model: cz.Model) -> object:
        ours = rule(model, lr=0.05)
        return [model.train_step(X, Y, ours, **options) for _ in range(2)]

    return steps


def of_my_own(logits: Any, y: Any) -> tuple[float, Any]:
    x = torch.tensor(logits, requires_grad=True)
    loss = nn.functional.cross_entropy(x, torch.as_tensor(y))
    loss.backward()
    assert x.grad is not None
    return loss.item(), x.grad.numpy()


def applied(model: cz.Model) -> object:
    _, gradients = model.vjp(X, ONES, training=True)
    return model.apply_gradients(gradients, cz.AdamW(model, lr=0.05))


def flushed(model: cz.Model) -> object:
    ours = cz.SGD(model, lr=0.05, momentum=0.9)
    model.train_step(X, Y, ours, accumulate=2)
    return ours.step()


def copied(model: cz.Model) -> object:
    ours = cz.AdamW(model, lr=0.05)
    model.train_step(X, Y, ours)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        twin.model.train_step(X, Y, twin)
        model.load_state_dict(twin.model.state_dict())
    own = model.copy()
    return own.train_step(X, Y, cz.SGD(own, lr=0.1))


def fitted(model: cz.Model) -> object:
    with tempfile.TemporaryDirectory() as folder:
        rule = cz.SGD(model, lr=0.05, momentum=0.9)
        trainer = cz.Trainer(model, optimizer=rule, ema=0.5)
        trainer.fit([(X, Y)], validation=[(X, Y)], epochs=1, progress=False, checkpoint=folder)
        again = cz.Trainer.resume(folder, [(X, Y)], [(X, Y)], progress=False)
        again.fit([(X, Y)], epochs=1, progress=False)
        model.load_state_dict(again.model.state_dict())
        assert again.averaged is not None
        return dict(again.averaged.state_dict())


def saved(model: cz.Model) -> object:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.safetensors")
        again = cz.load(Path(folder) / "model.safetensors")
        again.train_step(X, Y, cz.SGD(again, lr=0.05))
        model.load_state_dict(again.state_dict())
    return None


# Every way of training, differentiating and changing a model; what it returns is compared.
ENTRIES: dict[str, Callable[[cz.Model], object]] = {
    "run": lambda model: model(X),
    "exact run": lambda model: model(X, exact=True),
    "gradients": lambda model: model.gradients(X, 1, at="layer1").input,
    "guided gradients": lambda model: model.gradients(X, ONES, guided=True).input,
    "vjp": lambda model: model.vjp(X, ONES)[1],
    "vjp of tensors": lambda model: model.vjp(torch.from_numpy(X), ONES)[1],
    "vjp in training": lambda model: model.vjp(X, ONES, training=True)[1],
    "SGD": stepped(cz.SGD),
    "AdamW": stepped(cz.AdamW),
    "RMSprop": stepped(cz.RMSprop),
    "LAMB": stepped(cz.LAMB),
    "bfloat16": stepped(cz.SGD, precision="bfloat16"),
    "accumulating": stepped(cz.SGD, accumulate=2),
    "a loss of torch": stepped(cz.SGD, loss=TORCHS),
    "a loss of one's own": stepped(cz.SGD, loss=of_my_own),
    "evaluation": lambda model: cz.training.evaluate(model, [(X, Y)], loss=cz.CrossEntropy()).loss,
    "evaluation by torch": lambda model: cz.training.evaluate(model, [(X, Y)], loss=TORCHS).loss,
    "explanation": lambda model: cz.explain.grad_cam(model, PHOTO).values,
    "apply_gradients": applied,
    "Optimizer.step": flushed,
    "copies": copied,
    "Trainer": fitted,
    "files": saved,
    "freezing": lambda model: model.freeze("layer1").vjp(X, ONES)[1],
    "another classifier": lambda model: model.freeze().reset_classifier(num_classes=3).unfreeze(),
}


def arrays(of: Any) -> list[Any]:
    """The numbers in a result."""
    if isinstance(of, dict):
        return [each for value in of.values() for each in arrays(value)]
    if isinstance(of, list):
        return [each for value in of for each in arrays(value)]
    if isinstance(of, cz.StepResult):
        return [of.loss, of.grad_norm or 0.0]
    return [] if of is None or isinstance(of, cz.Model) else [np.asarray(of)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ENTRIES)
def test_the_mode_of_the_caller_changes_no_bit(way: str, mode: str) -> None:
    expected, found = small(), small()
    results = [ENTRIES[way](expected)]
    with MODES[mode]():
        results.append(ENTRIES[way](found))
        assert torch.is_grad_enabled() == (mode == "autocast")
        assert torch.is_autocast_enabled("cpu") == (mode == "autocast")
        assert torch.is_inference_mode_enabled() == (mode == "inference_mode")
    for one, other in zip(*map(arrays, results), strict=True):
        np.testing.assert_array_equal(one, other)
    for name, value in expected.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], value, err_msg=name)
    module = cz.torch.Module(found)
    assert not any(tensor.is_inference() for tensor in module.state_dict().values())
    module(torch.from_numpy(X)).sum().backward()


@pytest.mark.parametrize("mode", MODES)
def test_a_model_with_checkpointing_is_the_same_too(mode: str) -> None:
    expected, found = small(checkpointing=True), small(checkpointing=True)
    stepped(cz.SGD)(expected)
    with MODES[mode]():
        stepped(cz.SGD)(found)
    # Autocast is for modules, whose statistics then are those of half precision.
    with nullcontext() if mode == "autocast" else MODES[mode]():
        cz.torch.Module(found)(torch.from_numpy(X))
    cz.torch.Module(expected)(torch.from_numpy(X))
    for name, value in expected.state_dict().items():
        np.testing.assert_array_equal(found.state_dict()[name], value, err_msg=name)


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


def test_a_parameter_that_was_given_values_of_inference_mode_is_refused() -> None:
    model = small()
    module: Any = cz.torch.Module(model)
    with torch.inference_mode():
        values = torch.ones_like(module.fc.weight)
    module.fc.weight.data = values
    calls: list[Callable[[], object]] = [
        lambda: model(X),
        lambda: model.vjp(X, ONES),
        lambda: stepped(cz.SGD)(model),
        lambda: module(torch.from_numpy(X)),
    ]
    for call in calls:
        with pytest.raises(
            cz.ArgumentError,
            match=r"`fc.weight`, which PyTorch changed: expected one that was made outside of "
            r"torch.inference_mode, got one made in it",
        ):
            call()
    module.fc.weight.data = torch.ones(3, 64)
    stepped(cz.SGD)(model)
