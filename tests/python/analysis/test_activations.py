"""Activation statistics against PyTorch's hooks and NumPy on all values at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from matplotlib.figure import Figure

import cnnzoo as cz
import pictures
from cnnzoo.analysis import ActivationStatistics, activation_statistics
from reference import images
from small_network import tiny
from tolerance import FUSED


def test_statistics_are_those_of_pytorchs_values() -> None:
    """Hooks on torchvision's ReLUs, of which a block calls the same twice."""
    model = cz.create_model("resnet18", num_classes=5)
    twin = torchvision.models.resnet18(num_classes=5).eval()
    twin.load_state_dict({n: torch.from_numpy(a.copy()) for n, a in model.state_dict().items()})
    values: list[Any] = []
    for module in twin.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(lambda *call: values.append(call[2].detach().clone()))
    x = images((64, 64), 6)
    twin(torch.from_numpy(x))
    found = activation_statistics(model, x, batch_size=4)
    assert len(found) == len(values) == 17 and found.images == 6
    for row, value in zip(found, values, strict=True):
        array = value.numpy().astype(np.float64)
        scale = float(np.abs(array).max())
        assert row.op == "activation" and row.shape == array.shape[1:]
        assert row.mean == pytest.approx(array.mean(), abs=FUSED * scale)
        assert row.std == pytest.approx(array.std(), abs=FUSED * scale)
        assert row.least == 0.0
        assert row.most == pytest.approx(scale, rel=FUSED)
        assert row.units == array.shape[1]
        # A value that rounding puts at the other side of 0.
        assert row.zeros == pytest.approx((array == 0).mean(), abs=1e-4)
        assert row.not_finite == 0


def test_all_batches_together_are_those_of_all_images() -> None:
    model, x = cz.create_model("resnet20", num_classes=5), images((32, 32), 7)
    nodes = ["conv1", "layer2", "fc", "input"]
    values = model.features(x, nodes)
    for size in (1, 3, 100):
        found = activation_statistics(model, x, nodes, batch_size=size)
        for row in found:
            array = values[row.node].astype(np.float64)
            assert row.mean == pytest.approx(array.mean(), rel=1e-6, abs=1e-9)
            assert row.std == pytest.approx(array.std(), rel=1e-6)
            assert (row.least, row.most) == (array.min(), array.max())
            axes = tuple(a for a in range(array.ndim) if a != 1)
            assert row.dead == tuple(np.flatnonzero(~(array > 0).any(axes)))
            assert row.zeros == (array == 0).mean()
    assert found["fc"].shape == (5,) and found["fc"].units == 5


def test_units_that_are_never_positive_are_dead() -> None:
    model = tiny()
    state = dict(model.state_dict())
    # The norm puts these channels below 0 everywhere.
    state["bn1.weight"], state["bn1.bias"] = np.ones(4, np.float32), np.zeros(4, np.float32)
    state["bn1.bias"][[0, 2]] = -1e3
    model.load_state_dict(state)
    x = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
    found = activation_statistics(model, x)
    assert [row.node for row in found] == ["act1"]
    assert found[0].dead == (0, 2) and found[0].dead_share == 0.5
    assert "2 of 4 units dead" in repr(found)
    assert "2 of 4" in found.table() and "2 of 4" in found._repr_html_()
    # One positive place in one image of the last batch is enough.
    state["bn1.bias"][0] = 0.0
    state["bn1.weight"][0] = 1e-3
    model.load_state_dict(state)
    assert activation_statistics(model, x, batch_size=2)["act1"].dead == (2,)


def test_tokens_have_a_unit_for_each_of_their_numbers() -> None:
    model = cz.create_model("vit_ti_16", num_classes=5, image_size=32)
    found = activation_statistics(model, images((32, 32), 2))
    assert len(found) == 12
    assert found[0].units == found[0].shape[-1] == 768
    value = model.features(images((32, 32), 2), "blocks.0.mlp.act")["blocks.0.mlp.act"]
    assert found[0].dead == tuple(np.flatnonzero(~(value > 0).any((0, 1))))


def test_a_network_without_activations_has_all_its_nodes() -> None:
    linear = """graph linear
input = input() channels=1 height=2 width=2
flat = flatten(input)
fc = linear(flat) out=3
output fc
"""
    model = cz.Model.from_graph(cz.Graph.parse(linear))
    found = activation_statistics(model, np.ones((2, 1, 2, 2), np.float32))
    assert [row.node for row in found] == ["input", "flat", "fc"]
    assert found["input"].mean == 1 and found["input"].std == 0


def test_values_that_are_not_finite_are_counted() -> None:
    x = np.random.default_rng(0).normal(size=(3, 3, 16, 16)).astype(np.float32)
    x[1, :, 4, 4] = np.nan
    x[2, 0, 0, 0] = np.inf
    row = activation_statistics(tiny(), x, "input")[0]
    assert row.not_finite == 4
    assert np.isnan(row.mean) and np.isnan(row.std)
    known = x[np.isfinite(x)]
    assert (row.least, row.most) == (known.min(), known.max())
    nothing = activation_statistics(tiny(), np.full((1, 3, 16, 16), np.nan, np.float32), "input")
    above, _ = nothing.plot(ax=Figure().subplots(2, 1))
    assert above.get_title() == "tiny, 1 image, 768 values infinite or NaN"
    # Of NaN it is not known whether it is above 0.
    assert nothing[0].dead == ()
    assert repr(nothing).endswith("0 of 3 units dead, 768 values infinite or NaN>")
    for shown in (nothing.table(), nothing._repr_html_()):
        assert "not finite" in shown and "768" in shown
    plain = activation_statistics(tiny(), np.ones((1, 3, 16, 16), np.float32), "input")
    assert "finite" not in plain.table() + repr(plain)


def test_photographs_and_loaders_are_taken(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=2, each=3)
    model, data = (
        cz.create_model("resnet20", num_classes=2, image_size=32),
        cz.data.ImageFolder(root),
    )
    paths = [data.name(index) for index in range(6)]
    expected = activation_statistics(model, model.preprocess(paths)).rows
    loader = cz.data.Loader(data, transform=model.preprocess, shuffle=False, batch_size=4)
    at = loader.state()
    photos = cz.data.Loader(cz.data.Photos(root), transform=model.preprocess, shuffle=False)
    for source in (paths, data, loader, cz.data.Photos(root), photos):
        rows = activation_statistics(model, source, batch_size=4).rows
        assert [row.dead for row in rows] == [row.dead for row in expected]
        means = [row.mean for row in expected]
        np.testing.assert_allclose([row.mean for row in rows], means, rtol=1e-5)
    assert loader.state() == at
    one = activation_statistics(model, data.photo(0))
    assert one.images == 1
    stack = np.random.default_rng(0).integers(0, 255, (3, 40, 40, 3), np.uint8)
    assert activation_statistics(model, stack).images == 3


def test_they_are_drawn_with_zeros_and_dead_units() -> None:
    from matplotlib import pyplot

    model = cz.create_model("resnet20", num_classes=5)
    found = activation_statistics(model, images((32, 32), 2))
    values, shares = found.plot()
    np.testing.assert_array_equal(values.lines[0].get_ydata(), [row.mean for row in found])
    heights = [bar.get_height() for bar in shares.patches]
    assert heights == [row.zeros for row in found] + [row.dead_share for row in found]
    assert [t.get_text() for t in shares.get_xticklabels()] == [row.node for row in found]
    pyplot.close(values.figure)
    # More names would not be legible.
    every = activation_statistics(model, images((32, 32), 1), model.nodes())
    assert len(every) > 40
    assert every.plot(ax=Figure().subplots(2, 1))[1].get_xlabel() == "node"
    assert isinstance(every, ActivationStatistics) and len(every[2:4]) == 2


def test_what_cannot_be_looked_at_is_refused() -> None:
    model, x = tiny(), np.zeros((2, 3, 16, 16), np.float32)
    with pytest.raises(cz.ArgumentError, match="no_such"):
        activation_statistics(model, x, "no_such")
    refused: list[Any] = [[], {"conv1"}, 3]
    for nodes in refused:
        with pytest.raises(cz.ArgumentError, match="`nodes`"):
            activation_statistics(model, x, nodes)
    for wrong in (x[:0], x[0]):
        with pytest.raises(cz.ShapeError, match="at least one"):
            activation_statistics(model, wrong)
    with pytest.raises(cz.ArgumentError, match="at least one image"):
        activation_statistics(model, [])
    with pytest.raises(cz.ArgumentError, match="expected images"):
        activation_statistics(model, 3)
    with pytest.raises(cz.ArgumentError, match="`batch_size`"):
        activation_statistics(model, x, batch_size=0)
    with pytest.raises(cz.ArgumentError, match=r"`model`: expected a cnnzoo\.Model, got 'tiny'"):
        activation_statistics("tiny", x)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match=r"expected one of \S+, got 'fc'"):
        activation_statistics(model, x)["fc"]
