"""Gradient flow against PyTorch's autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.figure import Figure

import cnnzoo as cz
from cnnzoo.analysis import GradientFlow, gradient_flow
from reference import images
from small_network import tiny
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS

Y = np.array([0, 3, 1, 3])


def autograd(
    model: cz.Model, x: Any, y: Any, *, training: bool, name: str
) -> tuple[float, dict[str, float]]:
    """The loss, and the norm of each weight's gradient, in torchvision's network."""
    options = {} if name == "resnet18" else {"dropout": 0.0}
    twin = getattr(torchvision.models, name)(num_classes=model.num_classes, **options)
    twin.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in model.state_dict().items()})
    twin.train(training)
    loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    weights = [(n, p) for n, p in twin.named_parameters() if n.endswith("weight") and p.ndim > 1]
    assert all(p.grad is not None for _, p in weights)
    return loss.item(), {n: float(torch.linalg.vector_norm(p.grad.double())) for n, p in weights}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenet_v2"])
def test_norms_are_those_of_autograd(name: str, training: bool) -> None:
    options: dict[str, Any] = {} if name == "resnet18" else {"drop_rate": 0.0}
    model = cz.create_model(name, num_classes=5, source="torchvision", **options)
    x = images((64, 64), 4)
    before = {n: a.tobytes() for n, a in model.state_dict().items()}
    loss, norms = autograd(model, x, Y, training=training, name=name)
    found = gradient_flow(model, x, Y, training=training)
    assert found.loss == pytest.approx(loss, rel=ROUNDING)
    assert [layer.parameter for layer in found.layers] == list(norms)
    largest = max(norms.values())
    for layer in found.layers:
        assert layer.norm == pytest.approx(
            norms[layer.parameter],
            rel=10 * ROUNDING_OF_GRADIENTS,
            abs=ROUNDING_OF_GRADIENTS * largest,
        )
        weight = model.state_dict()[layer.parameter]
        assert layer.shape == weight.shape
        assert layer.weight_norm == pytest.approx(float(np.linalg.norm(weight.astype(float))))
        assert layer.relative == pytest.approx(layer.norm / layer.weight_norm)
    # Nothing of the model changes, batch-norm statistics too.
    assert {n: a.tobytes() for n, a in model.state_dict().items()} == before


def test_soft_targets_are_shares() -> None:
    model, x = cz.create_model("resnet20", num_classes=5), images((32, 32), 4)
    hard, soft = gradient_flow(model, x, Y), gradient_flow(model, x, np.eye(5)[Y])
    assert soft == hard
    shares = np.random.default_rng(0).dirichlet(np.ones(5), 4).astype(np.float32)
    found = gradient_flow(model, x, shares, training=False)
    logits = torch.from_numpy(model(x, exact=True).copy())
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(shares))
    assert found.loss == pytest.approx(loss.item(), rel=ROUNDING)


def test_dropout_follows_its_seed() -> None:
    model, x = cz.create_model("resnet20", num_classes=5, drop_rate=0.5), images((32, 32), 4)
    one = gradient_flow(model, x, Y, seed=1)
    assert gradient_flow(model, x, Y, seed=1) == one
    assert gradient_flow(model, x, Y, seed=2) != one
    assert gradient_flow(model, x, Y, training=False) == gradient_flow(
        model, x, Y, training=False, seed=2
    )


def test_frozen_layers_and_auxiliary_classifiers_are_left_out() -> None:
    model, x = tiny(), np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    y = np.arange(4) % 3
    assert [layer.layer for layer in gradient_flow(model, x, y).layers] == ["conv1", "fc"]
    model.freeze("conv1")
    assert [layer.layer for layer in gradient_flow(model, x, y).layers] == ["fc"]
    model.freeze()
    none = gradient_flow(model, x, y)
    assert none.layers == () and "no trained weights" in repr(none)
    none.plot(ax=Figure().subplots())
    names = [
        layer.layer
        for layer in gradient_flow(
            cz.create_model("googlenet", num_classes=5), images((96, 96), 4), Y
        ).layers
    ]
    assert names[-1] == "fc" and not any(name.startswith("aux") for name in names)
    transformer = cz.create_model("vit_ti_16", num_classes=5, image_size=32)
    layers = gradient_flow(transformer, images((32, 32), 4), Y).layers
    assert len(layers) == 1 + 12 * 4 + 1 and layers[0].layer == "patch_embed.proj"


def test_a_deep_plain_network_and_a_residual_one_in_the_same_axes() -> None:
    """Without shortcuts the first layer's gradient is a hundred times the last one's."""
    from matplotlib import pyplot

    x = images((64, 64), 4)
    plain, residual = (
        gradient_flow(cz.create_model(name, num_classes=5, seed=0), x, Y)
        for name in ("plain34", "resnet34")
    )
    ax = residual.plot(ax=plain.plot())
    first, second = ax.lines
    np.testing.assert_array_equal(first.get_ydata(), [layer.norm for layer in plain.layers])
    np.testing.assert_array_equal(second.get_ydata(), [layer.norm for layer in residual.layers])
    assert ax.get_yscale() == "log" and first.get_color() != second.get_color()
    legend: Any = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["plain34", "resnet34"]
    pyplot.close(ax.figure)  # type: ignore[arg-type]
    spread = [flow.layers[1].norm / flow.layers[-2].norm for flow in (plain, residual)]
    assert spread[0] > 5 * spread[1]
    relative = plain.plot(relative=True, label="x", ax=Figure().subplots()).lines[0]
    np.testing.assert_array_equal(relative.get_ydata(), [layer.relative for layer in plain.layers])


def test_it_prints_and_shows_a_table() -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    found = gradient_flow(tiny(), x, np.arange(4) % 3)
    assert isinstance(found, GradientFlow)
    assert "2 layers" in repr(found) and f"{found.layers[0].norm:.3g}" in repr(found)
    assert len(found.table().splitlines()) == 4
    assert found._repr_html_().count("<tr>") == 3 and "4×3×3×3" in found._repr_html_()
    broken = gradient_flow(tiny(), np.full((4, 3, 16, 16), np.nan, np.float32), np.arange(4) % 3)
    assert np.isnan(broken.loss)
    broken.plot(ax=Figure().subplots())


def test_tensors_are_taken_as_arrays_are() -> None:
    model, x = tiny(), images((16, 16), 4)
    found = gradient_flow(model, torch.from_numpy(x), torch.tensor([0, 1, 2, 0]))
    expected = gradient_flow(model, x, [0, 1, 2, 0])
    assert [layer.norm for layer in found] == [layer.norm for layer in expected]
    assert found.loss == expected.loss


def test_labels_of_a_multi_label_model_have_the_binary_cross_entropy() -> None:
    model, x = tiny(), images((16, 16), 4)
    model.task = "multi_label"
    labels = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0]])
    found = gradient_flow(model, x, labels, training=False)
    module = cz.torch.Module(tiny()).eval()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(
        module(torch.from_numpy(x)), torch.from_numpy(labels).float()
    )
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=ROUNDING)
    gradients = dict(module.named_parameters())
    for layer in found:
        gradient = gradients[layer.parameter].grad
        assert gradient is not None
        assert layer.norm == pytest.approx(
            float(torch.linalg.vector_norm(gradient.double())), rel=ROUNDING_OF_GRADIENTS
        )
    with pytest.raises(cz.ShapeError, match="0 or 1 for each label"):
        gradient_flow(model, x, Y % 3)
    for wrong in (labels + 1, np.where(labels, np.nan, 0.0)):
        with pytest.raises(cz.ArgumentError, match="labels of 0 to 1"):
            gradient_flow(model, x, wrong)


def test_what_is_no_target_is_refused() -> None:
    model, x = tiny(), np.zeros((2, 3, 16, 16), np.float32)
    targets: list[Any] = [[0.5, 0.5], np.eye(2, 4), np.zeros((2, 3, 1)), "ab", [["a"] * 3] * 2]
    for y in targets:
        with pytest.raises(cz.ShapeError, match="expected integer classes"):
            gradient_flow(model, x, y)
    for classes in ([0, 3], [-1, 0]):
        with pytest.raises(cz.ArgumentError, match="classes of 0 to 2"):
            gradient_flow(model, x, classes)
    for y in ([0], [0, 1, 2], []):
        with pytest.raises((cz.ShapeError, cz.ArgumentError)):
            gradient_flow(model, x, y)
    with pytest.raises(cz.ArgumentError, match=r"`model`: expected a cnnzoo\.Model, got None"):
        gradient_flow(None, x, [0, 1])  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`training`"):
        gradient_flow(model, x, [0, 1], training=1)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="no classifier"):
        gradient_flow(cz.create_model("resnet20", num_classes=0), images((32, 32), 2), [0, 1])
