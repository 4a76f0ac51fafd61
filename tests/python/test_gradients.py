"""Gradients of a score by the input and by the values of nodes: `Model.gradients`."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from timm.layers.norm_act import BatchNormAct2d

import cnnzoo as cz
from explain.subjects import guide
from reference import (
    Array,
    Edition,
    TorchReference,
    images,
    pair,
    randomise,
    settle,
    smallest,
)
from small_network import tiny
from test_graph import OPS, graph_of
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

SIDE = 64
# The share of the gradients of bfloat16 that its rounding may change: 8 bits, through some layers.
BFLOAT16 = 0.05
# Nodes of a network whose gradients are compared, beside the first and the last.
NODES = 6

LAYERS = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.BatchNorm2d, torch.nn.LayerNorm)

SE = Edition("mobilenet_v3_small", "torchvision", "mobilenet_v3_small")
HYBRID = Edition("x", "timm", "mobilenetv4_hybrid_medium")
DISTILLED = Edition("x", "timm", "deit_tiny_distilled_patch16_224")
VIT = Edition("vit_b_32", "torchvision", "vit_b_32")
SENET = Edition("x", "timm", "legacy_seresnet18")
EXTRA = [SE, HYBRID, DISTILLED, VIT, SENET]


@contextmanager
def recorded(module: torch.nn.Module, names: set[str]) -> Iterator[dict[str, torch.Tensor]]:
    """The outputs of layers by their names, whose gradients are kept.

    Layers after them read a copy, since they may overwrite it.
    """
    found: dict[str, torch.Tensor] = {}

    def keep(name: str) -> Callable[..., torch.Tensor]:
        def hook(_: torch.nn.Module, __: Any, value: torch.Tensor) -> torch.Tensor:
            value.retain_grad()
            found[name] = value
            return value.clone()

        return hook

    layers = module.named_modules()
    handles = [layer.register_forward_hook(keep(name)) for name, layer in layers if name in names]
    yield found
    for handle in handles:
        handle.remove()


def shared_layers(model: cz.Model, module: torch.nn.Module) -> list[str]:
    """Some layers that are nodes of ours, from the first to the last."""
    # timm's norms may hold the activation after them, which is another node of ours; and PyTorch's
    # attention does not call its layers.
    modules = {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, LAYERS)
        and not isinstance(layer, BatchNormAct2d)
        and ".self_attention." not in name
    }
    both = [row.name for row in model.summary() if row.name in modules]
    places = np.linspace(0, len(both) - 1, NODES + 2).round().astype(int)
    return [both[place] for place in dict.fromkeys(places.tolist())]


def side_of(edition: Edition) -> int:
    return edition.info.input_size if edition.info.fixed_image_size else max(96, SIDE)


def check(model: cz.Model, module: torch.nn.Module, x: Array, **options: Any) -> None:
    """Compare the gradients of a class of each image by the input and by layers."""
    module.eval()
    names = shared_layers(model, module)
    target = np.arange(len(x)) * 3 % model.num_classes
    given = torch.from_numpy(x).requires_grad_()
    with recorded(module, set(names)) as values:
        logits = module(given)
    logits[torch.arange(len(x)), torch.from_numpy(target)].sum().backward()
    found = model.gradients(x, target, at=names, **options)
    assert difference(found.output, logits.detach().numpy()) <= ROUNDING
    assert given.grad is not None
    assert difference(found.input, given.grad.numpy()) <= ROUNDING
    assert list(found.nodes) == names and len(names) >= NODES
    for name, (value, gradient) in found.nodes.items():
        expected = values[name].grad
        assert expected is not None
        assert difference(value, values[name].detach().numpy()) <= ROUNDING, name
        assert difference(gradient, expected.numpy()) <= ROUNDING, name


@pytest.mark.parametrize("edition", [*smallest(), *EXTRA], ids=str)
def test_gradients_of_each_family_are_those_of_autograd(edition: Edition) -> None:
    """With equal weights, by the input and by convolutions, norms and linear layers."""
    side = side_of(edition)
    model, reference = pair(edition, image_size=side if edition.info.fixed_image_size else None)
    assert isinstance(reference, TorchReference)
    check(model, reference.module, images((side, side), 2))


@pytest.mark.parametrize("op", [op for op in OPS if "norm" not in op or op == "layer_norm"])
def test_gradients_of_each_operation_are_those_of_autograd(op: str) -> None:
    lines, reference = OPS[op]
    model = cz.Model.from_graph(graph_of(*lines, size=18), seed=3)
    parameters = {k: torch.from_numpy(v) for k, v in model.state_dict().items()}
    x = 3 * images((17, 18), 2)[:, [0, 1, 2, 0, 1, 2]]
    if op in {"linear", "layer_norm"}:
        x = np.resize(x, (2, 6, 18, 18))
    given = torch.from_numpy(x).requires_grad_()
    expected = reference(given, parameters)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    expected.backward(torch.from_numpy(cotangent))
    found = model.gradients(x, cotangent, at=["input", "y"])
    assert given.grad is not None
    assert difference(found.input, given.grad.numpy()) <= ROUNDING_OF_GRADIENTS
    np.testing.assert_array_equal(found.nodes["input"].gradient, found.input)
    np.testing.assert_array_equal(found.nodes["y"].gradient, cotangent)
    np.testing.assert_array_equal(found.nodes["input"].value, x)


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("googlenet", torchvision.models.googlenet),
        ("inception_v3", torchvision.models.inception_v3),
    ],
)
def test_an_auxiliary_classifier_can_be_scored(name: str, build: Any) -> None:
    """Its logits depend on the trunk before it, and those of the network not on it."""
    module = build(aux_logits=True, init_weights=False)
    randomise(module)
    settle(module)
    model = cz.create_model(name, source="torchvision", aux=True)
    model.load_state_dict(TorchReference(module).state())
    side = 299 if name == "inception_v3" else 224
    x = images((side, side), 1)
    check(model, module, x)
    head, of, at = (
        ("aux1", "inception4a", "inception4a.branch1.conv")
        if name == "googlenet"
        else ("AuxLogits", "Mixed_6e", "Mixed_6e.branch1x1.conv")
    )
    given = torch.from_numpy(x).requires_grad_()
    kept: list[torch.Tensor] = []
    layers = dict(module.named_modules())
    layers[of].register_forward_hook(lambda _, __, value: kept.append(value))
    with recorded(module, {at}) as values:
        module(given)
    logits = layers[head](kept[0])
    logits[0, 7].backward()
    last = [node for node in model.nodes() if node.startswith(f"{head}.")][-1]
    found = model.gradients(x, 7, at=at, output=head)
    expected_at = values[at].grad
    assert given.grad is not None and expected_at is not None
    assert difference(found.output, logits.detach().numpy()) <= ROUNDING
    assert difference(found.input, given.grad.numpy()) <= ROUNDING
    assert difference(found.nodes[at].gradient, expected_at.numpy()) <= ROUNDING
    expected = re.escape(f"expected one that `fc` depends on, got `{last}`")
    with pytest.raises(cz.ArgumentError, match=expected):
        model.gradients(x, 7, at=head)


@pytest.mark.parametrize(
    "edition",
    [
        Edition("resnet18", "torchvision", "resnet18"),
        Edition("mobilenet_v2_035", "timm", "mobilenetv2_035"),
        Edition("squeezenet1_1", "torchvision", "squeezenet1_1"),
        SENET,
    ],
    ids=str,
)
def test_guided_rectifiers_pass_only_positive_gradients(edition: Edition) -> None:
    """As hooks of PyTorch's ReLU do, which cut what it passes back."""
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    assert guide(reference.module)
    x = images((96, 96), 2)
    check(model, reference.module, x, guided=True)
    plain, guided = (model.gradients(x, 0, guided=way).input for way in (False, True))
    assert difference(guided, plain) > 0.1


def test_a_network_without_rectifiers_cannot_be_guided() -> None:
    model = cz.create_model("vit_ti_16", image_size=32, num_classes=3)
    with pytest.raises(cz.ArgumentError, match="`guided`: expected a network with ReLU or ReLU6"):
        model.gradients(images((32, 32), 1), 0, guided=True)


# Values that share memory with others, or would be overwritten: the trap of gradients by nodes.
SHARING = """
graph sharing
input = input() channels=3 height=8 width=8
conv = conv(input) out=4 kernel=3 padding=1 bias=true
drop = dropout(conv) rate=0.5
relu = activation(drop)
again = add(conv, relu)
twice = add(again, again)
last = activation(twice)
flat = flatten(last)
fc = linear(flat) out=3
output fc
"""


def test_values_that_share_memory_have_gradients_of_their_own() -> None:
    """Dropout passes its input on, which is read elsewhere; sums and ReLU work in place."""
    model = cz.Model.from_graph(cz.Graph.parse(SHARING), seed=2)
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    x = images((8, 8), 2)
    given = torch.from_numpy(x).requires_grad_()
    conv = F.conv2d(given, state["conv.weight"], state["conv.bias"], padding=1)
    drop = conv.clone()
    relu = drop.relu()
    again = conv + relu
    twice = again + again
    last = twice.relu()
    flat = last.flatten(1)
    values = {"conv": conv, "drop": drop, "relu": relu, "again": again, "twice": twice}
    values |= {"last": last, "flat": flat}
    for value in values.values():
        value.retain_grad()
    F.linear(flat, state["fc.weight"], state["fc.bias"])[:, 1].sum().backward()
    found = model.gradients(x, 1, at=list(values))
    assert given.grad is not None
    assert difference(found.input, given.grad.numpy()) <= ROUNDING
    for name, value in values.items():
        assert value.grad is not None
        assert difference(found.nodes[name].value, value.detach().numpy()) <= ROUNDING, name
        assert difference(found.nodes[name].gradient, value.grad.numpy()) <= ROUNDING, name
    assert (found.nodes["conv"].value < 0).any() and (found.nodes["twice"].value < 0).any()
    assert difference(found.nodes["conv"].gradient, found.nodes["drop"].gradient) > 0.1


def test_a_learned_token_has_a_gradient_though_it_depends_on_no_image() -> None:
    model, reference = pair(VIT, image_size=96)
    assert isinstance(reference, TorchReference)
    module: Any = reference.module
    module.eval()
    x = images((96, 96), 2)
    module(torch.from_numpy(x))[:, 4].sum().backward()
    for frozen in (False, True):
        if frozen:
            model.freeze()
        found = model.gradients(x, 4, at="encoder.pos_embedding").nodes["encoder.pos_embedding"]
        expected = module.encoder.pos_embedding.grad.numpy()
        assert found.value.shape == found.gradient.shape == (2, 10, 768)
        assert difference(found.gradient.sum(0, keepdims=True), expected) <= ROUNDING


def test_any_cotangent_of_the_logits_is_taken() -> None:
    model = tiny()
    x = images((16, 16), 4)
    classes = np.array([2, 0, 1, 1])
    hot = np.eye(3, dtype=np.float32)[classes]
    by_class, by_cotangent = (model.gradients(x, target) for target in (classes, hot))
    np.testing.assert_array_equal(by_class.input, by_cotangent.input)
    for same in (torch.from_numpy(hot), hot.astype(np.float64), hot.tolist()):
        np.testing.assert_array_equal(model.gradients(x, same).input, by_class.input)
    for same in (torch.from_numpy(classes), classes.tolist(), classes.astype(np.uint8)):
        np.testing.assert_array_equal(model.gradients(x, same).input, by_class.input)
    twice = model.gradients(x, 2 * hot).input
    assert difference(twice, 2 * by_class.input) <= ROUNDING
    # One class for all images, in any form of a whole number.
    for one in (1, np.int64(1), np.array(1), [1]):
        np.testing.assert_array_equal(
            model.gradients(x, one).input, model.gradients(x, [1, 1, 1, 1]).input
        )
    # Each image has the gradient that it has alone.
    alone = [model.gradients(x[at : at + 1], classes[at : at + 1]).input for at in range(4)]
    assert difference(by_class.input, np.concatenate(alone)) <= ROUNDING


def test_a_node_in_the_middle_can_be_scored() -> None:
    """The gradient of a channel's sum by what is before it."""
    model = cz.create_model("resnet18", num_classes=3, seed=5)
    x = images((64, 64), 1)
    value = model.features(x, "layer2")["layer2"]
    cotangent = np.zeros_like(value)
    cotangent[:, 7] = 1
    found = model.gradients(x, cotangent, at=["layer1", "layer2"], output="layer2")
    assert difference(found.output, value) <= 1e-4
    np.testing.assert_array_equal(found.nodes["layer2"].gradient, cotangent)
    # A step of finite differences, in float64 on the source's network.
    module = torchvision.models.resnet18(num_classes=3).double().eval()
    module.load_state_dict({k: torch.from_numpy(v) for k, v in model.state_dict().items()})
    step = np.random.default_rng(0).standard_normal(x.shape)

    def score(at: float) -> float:
        y = torch.from_numpy(x + at * step)
        y = module.maxpool(module.relu(module.bn1(module.conv1(y))))
        return float(module.layer2(module.layer1(y))[:, 7].sum())

    with torch.no_grad():
        slope = (score(1e-7) - score(-1e-7)) / 2e-7
    assert slope == pytest.approx(float((found.input * step).sum()), rel=1e-3)
    with pytest.raises(cz.ArgumentError, match=r"a cotangent \(1, 128, 8, 8\), since `layer2.1"):
        model.gradients(x, 0, output="layer2")
    assert model.gradients(x, x, output="input").input.tobytes() == x.tobytes()


def test_nothing_of_the_model_changes() -> None:
    model = cz.create_model("resnet18", num_classes=3, stem="small", seed=1).freeze("layer1")
    model.quantize(images((32, 32), 16))
    x = images((32, 32), 2, seed=3)
    before = model.state_dict(), model.trained, model(x), model(x, exact=True)
    in_int8, quantization = model(x, precision="int8"), model.quantization
    _, parameters = model.vjp(x, np.ones((2, 3), np.float32))
    found = model.gradients(x, [0, 2], at=["layer1", "layer4"], guided=True)
    state, trained, output, exact = before
    after = model.state_dict()
    assert all(np.array_equal(after[name], value) for name, value in state.items())
    assert model.trained == trained
    np.testing.assert_array_equal(model(x), output)
    np.testing.assert_array_equal(model(x, exact=True), exact)
    np.testing.assert_array_equal(found.output, exact)
    # A model that is quantized stays so, and its gradients are those of float32.
    np.testing.assert_array_equal(model(x, precision="int8"), in_int8)
    assert model.quantization is quantization
    # No gradient was left to be added to the next.
    _, again = model.vjp(x, np.ones((2, 3), np.float32))
    assert parameters.keys() == again.keys()
    assert all(np.array_equal(again[name], value) for name, value in parameters.items())
    # Nor are results the memory of anything that changes.
    kept = copy.deepcopy(found)
    model.train_step(x, [0, 1], cz.SGD(model, lr=0.1))
    for name, (value, gradient) in kept.nodes.items():
        np.testing.assert_array_equal(found.nodes[name].value, value)
        np.testing.assert_array_equal(found.nodes[name].gradient, gradient)


def test_frozen_parameters_make_no_difference() -> None:
    free, frozen = (cz.create_model("mobilenet_v2_035", num_classes=3, seed=4) for _ in range(2))
    frozen.freeze()
    x = images((64, 64), 2)
    nodes = ["blocks.1", "blocks.6"]
    first, second = (model.gradients(x, 1, at=nodes) for model in (free, frozen))
    np.testing.assert_array_equal(first.input, second.input)
    for name in nodes:
        np.testing.assert_array_equal(first.nodes[name].gradient, second.nodes[name].gradient)


def test_a_model_trains_on_afterwards_as_if_nothing_had_been_asked() -> None:
    x, y = images((32, 32), 4), np.array([0, 1, 2, 1])
    ends = []
    for asks in (False, True):
        model = cz.create_model("resnet18", num_classes=3, stem="small", seed=1)
        optimizer = cz.SGD(model, lr=0.05, momentum=0.9)
        for _ in range(3):
            if asks:
                model.gradients(x, y, at="layer3", guided=True)
            model.train_step(x, y, optimizer)
        ends.append(model.state_dict())
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_gradients_in_bfloat16_are_those_of_autocast() -> None:
    edition = Edition("resnet18", "torchvision", "resnet18")
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    module = reference.module.eval()
    x = images((64, 64), 2)
    given = torch.from_numpy(x).requires_grad_()
    with recorded(module, {"layer3.0.conv1"}) as values, torch.autocast("cpu", torch.bfloat16):
        logits = module(given)
    logits[:, 5].sum().backward()
    found = model.gradients(x, 5, at="layer3.0.conv1", precision="bfloat16")
    assert given.grad is not None and values["layer3.0.conv1"].grad is not None
    expected = values["layer3.0.conv1"].grad.float().numpy()
    assert found.input.dtype == found.nodes["layer3.0.conv1"].gradient.dtype == np.float32
    assert difference(found.input, given.grad.numpy()) <= BFLOAT16
    assert difference(found.nodes["layer3.0.conv1"].gradient, expected) <= BFLOAT16
    assert difference(model.gradients(x, 5).input, found.input) > 0
    with pytest.raises(cz.ArgumentError, match="`precision`: expected one of float32, bfloat16"):
        model.gradients(x, 5, precision="int8")  # type: ignore[arg-type]


def test_many_threads_ask_at_once() -> None:
    model = cz.create_model("resnet18", num_classes=3, stem="small", seed=1)
    batches = [images((32, 32), 1, seed=seed) for seed in range(6)]
    expected = [model.gradients(x, 1, at="layer2") for x in batches]
    found: dict[int, cz.Gradients] = {}

    def ask(index: int) -> None:
        found[index] = model.gradients(batches[index], 1, at="layer2")

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, one in enumerate(expected):
        np.testing.assert_array_equal(found[index].input, one.input)
        ours, theirs = found[index].nodes["layer2"], one.nodes["layer2"]
        np.testing.assert_array_equal(ours.gradient, theirs.gradient)


def test_nan_passes_through_the_image_that_has_it_alone() -> None:
    model = cz.create_model("resnet18", num_classes=3, stem="small", seed=1)
    x = images((32, 32), 2)
    x[1, 0, 4, 5] = np.nan
    found = model.gradients(x, 0, at="layer4")
    alone = model.gradients(x[:1], 0, at="layer4")
    assert np.isfinite(found.input[0]).all() and not np.isfinite(found.output[1]).any()
    assert difference(found.input[:1], alone.input) <= ROUNDING


X = images((16, 16), 2)

WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no such class": ({"target": 3}, cz.ArgumentError, "classes of 0 to 2, got 3"),
    "a negative class": ({"target": -1}, cz.ArgumentError, "`target`: expected a whole number"),
    "a huge class": ({"target": 2**80}, cz.ArgumentError, "`target`"),
    "one wrong class": ({"target": [0, 9]}, cz.ArgumentError, "classes of 0 to 2, got 9"),
    "too many classes": ({"target": [0, 1, 2]}, cz.ShapeError, "one for each of 2 images, got 3"),
    "no classes": (
        {"target": np.array([], np.int64)},
        cz.ArgumentError,
        "`target`: expected a class, one for each image, or a cotangent of the logits, got none",
    ),
    "an empty list": ({"target": []}, cz.ArgumentError, r"got none: .* the shape \(0,\)"),
    "an empty cotangent": ({"target": np.empty((0, 3))}, cz.ArgumentError, r"got none: .*\(0, 3\)"),
    "a float": ({"target": 1.0}, cz.ShapeError, r"expected \(2, 3\), got \(\)"),
    "a matrix of classes": ({"target": np.eye(2, 3, dtype=int)}, cz.ArgumentError, "int64"),
    "a label": ({"target": "cat"}, cz.ArgumentError, "`target`: expected a class"),
    "none": ({"target": None}, cz.ArgumentError, "`target`: expected a class"),
    "a truth": ({"target": True}, cz.ArgumentError, "`target`: expected a class"),
    "truths": ({"target": [True, False]}, cz.ArgumentError, "bool"),
    "complex numbers": ({"target": [1j, 0]}, cz.ArgumentError, "complex"),
    "uneven lists": ({"target": [[1.0], [1.0, 2.0]]}, cz.ArgumentError, "`target`"),
    "a small cotangent": (
        {"target": np.ones((2, 2), np.float32)},
        cz.ShapeError,
        r"the cotangent of tiny: expected \(2, 3\), got \(2, 2\)",
    ),
    "no such node": (
        {"at": ["conv7"]},
        cz.ArgumentError,
        "a name of `nodes.*, got `conv7`; similar are `conv1`",
    ),
    "an empty name": ({"at": ""}, cz.ArgumentError, "got ``"),
    "a number for a node": ({"at": [3]}, cz.ArgumentError, "`at`: expected the name of a node"),
    "no list": ({"at": 3}, cz.ArgumentError, "`at`: expected names of nodes"),
    "a set": ({"at": {"conv1"}}, cz.ArgumentError, "`at`: expected names of nodes"),
    "no such output": ({"output": "logits"}, cz.ArgumentError, "got `logits`"),
    "a number for the output": ({"output": 0}, cz.ArgumentError, "`output`"),
    "a node after the output": (
        {"at": ["fc"], "output": "conv1", "target": np.zeros((2, 4, 7, 7))},
        cz.ArgumentError,
        "expected one that `conv1` depends on, got `fc`",
    ),
    "a word for guided": ({"guided": "yes"}, cz.ArgumentError, "`guided`: expected True or False"),
    "bytes": ({"x": np.zeros((2, 3, 16, 16), np.uint8)}, TypeError, "float32"),
    "two channels": ({"x": X[:, :2]}, cz.ShapeError, r"\(N, 3, H, W\)"),
    "no images": ({"x": X[:0]}, cz.ShapeError, "N at least 1"),
    "an image alone": ({"x": X[0]}, cz.ShapeError, r"\(N, 3, H, W\)"),
    "a pixel": ({"x": X[:, :, :1, :1]}, cz.ShapeError, "conv1"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong: str) -> None:
    options, kind, said = WRONG[wrong]
    given: dict[str, Any] = {"x": X, "target": 0} | options
    with pytest.raises(kind, match=said):
        tiny().gradients(given.pop("x"), given.pop("target"), **given)


def test_a_model_without_parameters_has_no_gradients() -> None:
    with pytest.raises(cz.DeviceError, match="with parameters"):
        cz.create_model("resnet18", meta=True).gradients(images((64, 64), 1), 0)


def test_the_gradients_of_features_need_a_cotangent_or_a_feature() -> None:
    model = cz.create_model("resnet18", num_classes=0, seed=2)
    x = images((64, 64), 1)
    found = model.gradients(x, 511)
    assert found.output.shape == (1, 512)
    with pytest.raises(cz.ArgumentError, match="classes of 0 to 511"):
        model.gradients(x, 512)


@pytest.mark.parametrize("x", [X, torch.from_numpy(X)], ids=["array", "tensor"])
def test_it_prints_as_what_it_holds(x: Any) -> None:
    found = tiny().gradients(x, 0, at=["conv1", "flat"])
    assert repr(found) == (
        "<Gradients by input (2, 3, 16, 16), `conv1` (2, 4, 7, 7), `flat` (2, 4)>"
    )
    assert repr(found.nodes["flat"]) == "<NodeGradient (2, 4)>"
