"""Each rule by its definition, written out in float64, on gradients that PyTorch computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from reference import channels_last, images
from tolerance import ROUNDING, difference

GRAPH = """graph small
input = input() height=8 width=8
conv = conv(input) out=6 kernel=3 bias=true
norm = group_norm(conv) groups=2
act = activation(norm) function=tanh
flat = flatten(act)
fc = linear(flat) out=4
output fc
"""

STEPS = 4
LR = 0.03
DECAY = 0.1

Float = NDArray[np.float64]
# A parameter, its gradient, what is remembered of it, the number of the step: to the new parameter.
Definition = Callable[[Float, Float, dict[str, Float], int], Float]
NOTHING: Float = np.zeros(())


def small(seed: int = 0) -> cz.Model:
    return cz.Model.from_graph(cz.Graph.parse(GRAPH), seed=seed)


def batches() -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    generator = np.random.default_rng(7)
    for seed in range(STEPS):
        yield images((8, 8), 6, seed=seed), generator.integers(0, 4, 6)


def torch_gradients(
    state: dict[str, NDArray[np.float32]], x: NDArray[np.float32], y: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    """Gradients of the mean cross-entropy, by PyTorch's own functions."""
    leaves = {name: torch.from_numpy(v.copy()).requires_grad_() for name, v in state.items()}
    value = functional.conv2d(torch.from_numpy(x), leaves["conv.weight"], leaves["conv.bias"])
    value = functional.group_norm(value, 2, leaves["norm.weight"], leaves["norm.bias"])
    value = functional.linear(torch.tanh(value).flatten(1), leaves["fc.weight"], leaves["fc.bias"])
    functional.cross_entropy(value, torch.from_numpy(y)).backward()
    return {name: leaf.grad.numpy() for name, leaf in leaves.items() if leaf.grad is not None}


def sgd(momentum: float, dampening: float, *, nesterov: bool) -> Definition:
    def step(p: Float, g: Float, memory: dict[str, Float], count: int) -> Float:
        g = g + DECAY * p
        buffer = memory.get("b")
        buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
        memory["b"] = buffer
        return p - LR * (g + momentum * buffer if nesterov else buffer)

    return step


def adam(*, decoupled: bool) -> Definition:
    b1, b2, eps = 0.8, 0.95, 1e-6

    def step(p: Float, g: Float, memory: dict[str, Float], count: int) -> Float:
        if decoupled:
            p = p * (1 - LR * DECAY)
        else:
            g = g + DECAY * p
        m = memory["m"] = b1 * memory.get("m", NOTHING) + (1 - b1) * g
        v = memory["v"] = b2 * memory.get("v", NOTHING) + (1 - b2) * g * g
        root = np.sqrt(v) / np.sqrt(1 - b2**count) + eps
        moved: Float = LR / (1 - b1**count) * m / root
        return p - moved

    return step


def rmsprop(momentum: float, *, centered: bool) -> Definition:
    alpha, eps = 0.9, 0.0316

    def step(p: Float, g: Float, memory: dict[str, Float], count: int) -> Float:
        g = g + DECAY * p
        v = memory["v"] = alpha * memory.get("v", NOTHING) + (1 - alpha) * g * g
        if centered:
            mean = memory["g"] = alpha * memory.get("g", NOTHING) + (1 - alpha) * g
            v = v - mean * mean
        moved = g / (np.sqrt(v) + eps)
        if momentum > 0:
            moved = memory["b"] = momentum * memory.get("b", NOTHING) + moved
        return p - LR * moved

    return step


def lamb(p: Float, g: Float, memory: dict[str, Float], count: int) -> Float:
    b1, b2, eps = 0.8, 0.95, 1e-6
    m = memory["m"] = b1 * memory.get("m", NOTHING) + (1 - b1) * g
    v = memory["v"] = b2 * memory.get("v", NOTHING) + (1 - b2) * g * g
    step = m / (1 - b1**count) / (np.sqrt(v) / np.sqrt(1 - b2**count) + eps) + DECAY * p
    size, length = np.linalg.norm(p), np.linalg.norm(step)
    moved: Float = LR * step * (size / length if size > 0 and length > 0 else 1.0)
    return p - moved


BETAS = (0.8, 0.95)
RULES: dict[str, tuple[type[cz.optimizers.Optimizer], dict[str, Any], Definition]] = {
    "SGD": (cz.SGD, {}, sgd(0.0, 0.0, nesterov=False)),
    "SGD-momentum": (
        cz.SGD,
        {"momentum": 0.9, "dampening": 0.2},
        sgd(0.9, 0.2, nesterov=False),
    ),
    "SGD-nesterov": (cz.SGD, {"momentum": 0.9, "nesterov": True}, sgd(0.9, 0.0, nesterov=True)),
    "Adam": (cz.Adam, {"betas": BETAS, "eps": 1e-6}, adam(decoupled=False)),
    "AdamW": (cz.AdamW, {"betas": BETAS, "eps": 1e-6}, adam(decoupled=True)),
    "RMSprop": (cz.RMSprop, {"alpha": 0.9, "eps": 0.0316}, rmsprop(0.0, centered=False)),
    "RMSprop-momentum": (
        cz.RMSprop,
        {"alpha": 0.9, "eps": 0.0316, "momentum": 0.9},
        rmsprop(0.9, centered=False),
    ),
    "RMSprop-centered": (
        cz.RMSprop,
        {"alpha": 0.9, "eps": 0.0316, "momentum": 0.9, "centered": True},
        rmsprop(0.9, centered=True),
    ),
    "LAMB": (cz.LAMB, {"betas": BETAS, "max_grad_norm": None}, lamb),
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_its_definition(name: str) -> None:
    rule, numbers, definition = RULES[name]
    model = small()
    optimizer = rule(model, lr=LR, weight_decay=DECAY, **numbers)
    memories: dict[str, dict[str, Any]] = {}
    for count, (x, y) in enumerate(batches(), start=1):
        before = model.state_dict()
        model.train_step(x, y, optimizer)
        after = model.state_dict()
        for parameter, gradient in torch_gradients(before, x, y).items():
            memory = memories.setdefault(parameter, {})
            p, g = before[parameter].astype(np.float64), gradient.astype(np.float64)
            expected = definition(p, g, memory, count)
            assert difference(after[parameter], expected) <= ROUNDING, f"{parameter}, {count}"


def moves(model: cz.Model, optimizer: cz.optimizers.Optimizer, **options: Any) -> dict[str, Any]:
    """The movement of each parameter in a step, in lr times its gradient, if it is even."""
    x, y = next(batches())
    before = model.state_dict()
    gradients = torch_gradients(before, x, y)
    model.train_step(x, y, optimizer, **options)
    after = model.state_dict()
    return {
        name: (before[name] - after[name]).astype(np.float64) / optimizer.lr - gradients[name]
        for name in gradients
    }


def test_groups_norms_and_biases_have_their_own_pace() -> None:
    model = small()
    before = model.state_dict()
    optimizer = cz.SGD(
        model,
        lr=LR,
        weight_decay=0.5,
        norm_weight_decay=0.25,
        bias_weight_decay=0.0,
        groups=[
            cz.ParameterGroup("fc.weight", weight_decay=0.125),
            cz.ParameterGroup("fc", lr_scale=3.0),
        ],
    )
    x, y = next(batches())
    gradients = torch_gradients(before, x, y)
    model.train_step(x, y, optimizer)
    after = model.state_dict()
    paces = {
        "conv.weight": (1, 0.5),
        "conv.bias": (1, 0.0),
        "norm.weight": (1, 0.25),
        "norm.bias": (1, 0.25),
        "fc.weight": (1, 0.125),
        "fc.bias": (3, 0.0),
    }
    for name, (scale, decay) in paces.items():
        expected = before[name] - scale * LR * (gradients[name] + decay * before[name])
        assert difference(after[name], expected) <= ROUNDING, name
    assert set(paces) == set(gradients)


@pytest.mark.parametrize("norm", ["batch_norm", "group_norm"])
@pytest.mark.parametrize("frozen", [["norm.weight"], ["norm.bias"], ["conv*"], ["conv*", "norm*"]])
def test_whatever_of_a_norm_is_frozen_a_step_follows_its_gradient(
    norm: str, frozen: list[str]
) -> None:
    """Libtorch ends the process where it has no memory for a gradient and writes to it."""
    text = str(small().graph)
    line = next(line for line in text.splitlines() if line.startswith("norm ="))
    other = "norm = batch_norm(conv)" if norm == "batch_norm" else line
    model = cz.Model.from_graph(cz.Graph.parse(text.replace(line, other)))
    model.freeze(*frozen)
    x, y = next(batches())
    before = model.state_dict()
    twin = model.copy()
    # SGD moves by the gradient, which vjp computes in another layout.
    model.train_step(x, y, cz.SGD(model, lr=1.0))
    logits = torch.from_numpy(twin.vjp(x, np.zeros((len(y), model.num_classes)), training=True)[0])
    logits.requires_grad_()
    functional.cross_entropy(logits, torch.from_numpy(y)).backward()
    assert logits.grad is not None
    _, gradients = twin.vjp(x, logits.grad.numpy(), training=True)
    after = model.state_dict()
    assert list(gradients) == model.trained
    for name, gradient in gradients.items():
        assert difference(before[name] - after[name], gradient, floor=1e-3) <= 1e-3, name


def test_frozen_parameters_stay_and_others_follow_their_gradient() -> None:
    model = small()
    optimizer = cz.SGD(model, lr=LR, momentum=0.9)
    model.freeze("conv*", "norm.weight")
    assert model.trained == ["norm.bias", "fc.weight", "fc.bias"]
    found = moves(model, optimizer)
    for name in model.trained:
        assert np.abs(found[name]).max() < 1e-4, name
    before = model.state_dict()
    model.unfreeze("conv.weight")
    x, y = next(batches())
    model.train_step(x, y, optimizer)
    after = model.state_dict()
    same = {name for name, value in before.items() if np.array_equal(value, after[name])}
    assert same == {"conv.bias", "norm.weight"}


def test_batches_make_one_update_of_their_mean_gradient() -> None:
    whole, parts = small(), small()
    optimizer = cz.AdamW(whole, lr=LR)
    x, y = images((8, 8), 12), np.arange(12) % 4
    expected = whole.train_step(x, y, optimizer)
    optimizer = cz.AdamW(parts, lr=LR)
    before = parts.state_dict()
    results = []
    for begin in (0, 4, 8):
        for name, value in parts.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        part = slice(begin, begin + 4)
        results.append(parts.train_step(x[part], y[part], optimizer, accumulate=3))
    assert [result.grad_norm is None for result in results] == [True, True, False]
    assert results[-1].grad_norm == pytest.approx(expected.grad_norm, rel=ROUNDING)
    assert np.mean([result.loss for result in results]) == pytest.approx(expected.loss)
    assert sum(result.correct for result in results) == expected.correct
    after = whole.state_dict()
    for name, value in parts.state_dict().items():
        assert difference(value, after[name]) <= ROUNDING, name


@pytest.mark.parametrize(
    ("option", "cut"),
    [
        ("clip_norm", torch.nn.utils.clip_grad_norm_),
        ("clip_value", torch.nn.utils.clip_grad_value_),
    ],
)
@pytest.mark.parametrize("most", [1e-3, 0.1, 1e3])
def test_gradients_are_cut_as_pytorch_cuts_them(
    option: str, cut: Callable[..., object], most: float
) -> None:
    options: dict[str, Any] = {option: most}
    model = small()
    x, y = next(batches())
    before = model.state_dict()
    leaves = []
    gradients = torch_gradients(before, x, y)
    for gradient in gradients.values():
        leaf = torch.zeros(gradient.shape, requires_grad=True)
        leaf.grad = torch.from_numpy(gradient.copy())
        leaves.append(leaf)
    cut(leaves, most)
    result = model.train_step(x, y, cz.SGD(model, lr=1.0), **options)
    norm = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients.values()))
    assert result.grad_norm == pytest.approx(norm, rel=ROUNDING)
    after = model.state_dict()
    for name, leaf in zip(gradients, leaves, strict=True):
        assert leaf.grad is not None
        assert difference(after[name], before[name] - leaf.grad.numpy()) <= ROUNDING, name


@pytest.mark.parametrize(
    ("loss", "theirs"),
    [
        (cz.CrossEntropy(), torch.nn.CrossEntropyLoss()),
        (cz.CrossEntropy(label_smoothing=0.2), torch.nn.CrossEntropyLoss(label_smoothing=0.2)),
        (
            cz.CrossEntropy(class_weights=[1, 2, 0.5, 3], label_smoothing=0.1),
            torch.nn.CrossEntropyLoss(torch.tensor([1, 2, 0.5, 3]), label_smoothing=0.1),
        ),
        (cz.BinaryCrossEntropy(), torch.nn.BCEWithLogitsLoss()),
        (
            cz.BinaryCrossEntropy(positive_weights=[1, 2, 0.5, 3]),
            torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([1, 2, 0.5, 3])),
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("soft", [False, True], ids=["classes", "shares"])
def test_losses_are_those_of_pytorch(loss: Any, theirs: Any, soft: bool) -> None:
    model = small()
    x, classes = next(batches())
    logits = torch.from_numpy(model(x))
    shares = np.random.default_rng(1).dirichlet(np.ones(4), len(x)).astype(np.float32)
    y = shares if soft else classes
    target = torch.from_numpy(y)
    if not soft and isinstance(loss, cz.BinaryCrossEntropy):
        target = functional.one_hot(target, 4).float()
    result = model.train_step(x, y, cz.SGD(model, lr=0.0), loss=loss)
    assert result.loss == pytest.approx(theirs(logits, target).item(), rel=ROUNDING)
    shown = y.argmax(1) if soft else y
    assert result.correct == int((logits.argmax(1).numpy() == shown).sum())
    assert (result.count, result.lr) == (len(x), 0.0)


@pytest.mark.parametrize(
    ("told", "loss", "weight"),
    [
        ("", cz.CrossEntropy(), 0.3),
        (" weight=0.4", cz.CrossEntropy(), 0.4),
        (" weight=0.4", cz.CrossEntropy(auxiliary=0.1), 0.1),
        (" weight=0.4", cz.CrossEntropy(auxiliary=0.0), 0.0),
    ],
)
def test_an_auxiliary_classifier_counts_as_the_graph_or_the_loss_says(
    told: str, loss: cz.CrossEntropy, weight: float
) -> None:
    text = GRAPH.replace("fc =", "aux = linear(flat) out=4\nfc =") + f"auxiliary aux{told}\n"
    model = cz.Model.from_graph(cz.Graph.parse(text))
    x, y = next(batches())
    values = model.features(x, ["fc", "aux"])
    main, other = (
        functional.cross_entropy(torch.from_numpy(values[name]), torch.from_numpy(y)).item()
        for name in ("fc", "aux")
    )
    result = model.train_step(x, y, cz.SGD(model, lr=0.0), loss=loss)
    assert result.loss == pytest.approx(main + weight * other, rel=ROUNDING)


def test_what_an_optimizer_cannot_do_is_refused() -> None:
    model = small()
    x, y = next(batches())
    optimizer = cz.SGD(model, lr=0.1)
    refusals: list[tuple[str, Callable[[], object]]] = [
        ("`lr`: expected a number of at least 0, got -1", lambda: cz.SGD(model, lr=-1)),
        (
            "`momentum`: expected a number .* below 1, got 1.5",
            lambda: cz.SGD(model, lr=1, momentum=1.5),
        ),
        ("`nesterov`: expected a momentum", lambda: cz.SGD(model, lr=1, nesterov=True)),
        ("`betas`: expected", lambda: cz.AdamW(model, betas=(0.9, 1.0))),
        ("`eps`: expected .*got nan", lambda: cz.Adam(model, eps=float("nan"))),
        ("`weight_decay`: expected .*got inf", lambda: cz.RMSprop(model, weight_decay=np.inf)),
        (
            "a pattern of parameters of small: .*such as conv.weight.* got `head`",
            lambda: cz.LAMB(model, groups=[cz.ParameterGroup("head")]),
        ),
        ("a pattern of parameters", lambda: model.freeze("conv1")),
        ("got one of another model", lambda: small().train_step(x, y, optimizer)),
        ("`accumulate`: expected", lambda: model.train_step(x, y, optimizer, accumulate=0)),
        ("`clip_norm`: expected", lambda: model.train_step(x, y, optimizer, clip_norm=0)),
        ("classes of 0 to 3, got 4", lambda: model.train_step(x, y * 0 + 4, optimizer)),
        ("classes of 0 to 3, got -1", lambda: model.train_step(x, y * 0 - 1, optimizer)),
    ]
    before = model.state_dict()
    for message, call in refusals:
        with pytest.raises(cz.ArgumentError, match=message):
            call()
    for targets in (y[:-1], y[None], np.ones((6, 3), np.float32), np.ones(6, np.float32)):
        with pytest.raises(cz.ShapeError, match="the targets of small"):
            model.train_step(x, targets, optimizer)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_step_with_nothing_to_train_changes_nothing() -> None:
    model = small().freeze()
    before = model.state_dict()
    x, y = next(batches())
    result = model.train_step(x, y, cz.AdamW(model))
    assert (model.trained, result.grad_norm) == ([], 0.0)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_frozen_batch_norm_uses_its_running_statistics() -> None:
    """As PyTorch's does in evaluation mode, while the others train."""
    module = torchvision.models.resnet18(num_classes=4).train()
    model = cz.resnet18(num_classes=4, seed=3)
    state = {name: torch.from_numpy(v.copy()) for name, v in model.state_dict().items()}
    module.load_state_dict(state)
    model.freeze("conv1", "bn1", "layer1")
    for part in (module.conv1, module.bn1, module.layer1):
        part.eval().requires_grad_(requires_grad=False)
    ours = cz.SGD(model, lr=0.01, momentum=0.9)
    trained = [p for p in module.parameters() if p.requires_grad]
    theirs = torch.optim.SGD(trained, lr=0.01, momentum=0.9, fused=True)
    for seed in range(3):
        x, y = images((64, 64), 4, seed=seed), np.arange(4)
        result = model.train_step(x, y, ours)
        loss = functional.cross_entropy(module(channels_last(x)), torch.from_numpy(y))
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        assert result.loss == pytest.approx(loss.item(), rel=ROUNDING)
    after = model.state_dict()
    for name, value in module.state_dict().items():
        assert difference(after[name], value.numpy()) <= ROUNDING, name
    np.testing.assert_array_equal(after["bn1.running_mean"], state["bn1.running_mean"])


def test_dropout_follows_its_seed_alone() -> None:
    def losses(*, seed: int | None, noise: bool = False) -> list[float]:
        model = cz.alexnet(num_classes=4, drop_rate=0.5, seed=1)
        optimizer = cz.SGD(model, lr=0.0)
        found = []
        for _ in range(2):
            if noise:
                torch.manual_seed(3)
            x, y = images((80, 80), 4), np.arange(4)
            found.append(model.train_step(x, y, optimizer, seed=seed).loss)
        return found

    first, second = losses(seed=None)
    assert first != second
    assert losses(seed=None, noise=True) == [first, second]
    assert losses(seed=5) == losses(seed=5)
    assert len(set(losses(seed=5))) == 1


def test_predictions_do_not_tell_that_steps_lay_the_weights_out_anew() -> None:
    model = cz.create_model("resnet18", num_classes=4, seed=1)
    average = model.copy()
    optimizer = cz.SGD(model, lr=0.01, momentum=0.9)
    x, y = images((32, 32), 4), np.arange(4)
    for _ in range(2):
        model.train_step(x, y, optimizer)
        average._for_training().average_from(model._for_training(), 0.9, True)
        for network in (model, average):
            fresh = cz.create_model("resnet18", num_classes=4, seed=2)
            fresh.load_state_dict(network.state_dict())
            np.testing.assert_array_equal(network(x), fresh(x))
            cotangent = np.ones((4, 4), np.float32)
            _, gradients = network.vjp(x, cotangent)
            for name, gradient in fresh.vjp(x, cotangent)[1].items():
                np.testing.assert_array_equal(gradients[name], gradient)
