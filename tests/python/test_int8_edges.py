"""Inference in int8 at its edges: values that are not finite, other options, changed reports."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import cnnzoo as cz
from forged import arrays_of, described, forge
from reference import Array, images

# Few images keep these tests short; the notice has a test of its own.
pytestmark = pytest.mark.filterwarnings(
    "ignore:quantization of .* expected at least:cnnzoo.errors.Notice"
)

SMALL = "resnet20"


@pytest.fixture(scope="module")
def x() -> Array:
    return images((32, 32), 6)


@pytest.fixture
def model(x: Array) -> cz.Model:
    model = cz.create_model(SMALL)
    model.quantize(x)
    return model


# ---- values that are not finite


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_with_a_value_that_is_not_finite_has_logits_that_are_nan(
    value: float, model: cz.Model, x: Array
) -> None:
    whole, wrong = model(x, precision="int8"), x.copy()
    wrong[2, 1, 3, 4] = value
    found = model(wrong, precision="int8")
    assert np.isnan(found[2]).all()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(found[others], whole[others])
    features = model.features(wrong, ["input", "layer1"], precision="int8")
    assert all(np.isnan(values[2]).all() for values in features.values())
    assert all(np.isfinite(values[others]).all() for values in features.values())
    assert np.isnan(model.embed(wrong, precision="int8")[2]).all()


@pytest.mark.parametrize("name", ["fc.weight", "fc.bias"])
def test_a_network_whose_output_is_not_finite_is_refused(name: str, x: Array) -> None:
    model = cz.create_model(SMALL)
    state = model.state_dict()
    state[name].flat[0] = np.nan
    model.load_state_dict(state)
    with pytest.raises(cz.ArgumentError, match="node `fc`: expected finite values, got NaN"):
        model.quantize(x)
    assert not model.quantized


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_images_of_one_value_are_refused(value: float, x: Array) -> None:
    model = cz.create_model(SMALL)
    with pytest.raises(cz.ArgumentError, match="got images of the one value"):
        model.quantize(np.full_like(x, value))
    assert not model.quantized


# ---- other options


@pytest.mark.parametrize(
    ("name", "options", "others"),
    [
        ("resnet18", {}, {"drop_rate": 0.1}),
        ("resnet18", {}, {"drop_path_rate": 0.1}),
        ("resnet18", {"drop_rate": 0.5}, {"drop_rate": 0.0}),
        ("efficientnet_b0", {}, {"drop_rate": 0.0, "drop_path_rate": 0.0}),
        ("vit_ti_16", {}, {"drop_path_rate": 0.1}),
    ],
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_network_with_other_dropout_takes_the_quantization_over(
    precision: Any, name: str, options: dict[str, Any], others: dict[str, Any], tmp_path: Path
) -> None:
    model = cz.create_model(name, num_classes=10, **options)
    x = images(model.graph.input_shape[1:], 2)
    model.quantize(x)
    model.save(tmp_path / "model.safetensors", precision=precision)
    found = cz.create_model(
        name, weights=tmp_path / "model.safetensors", num_classes=10, **{**options, **others}
    )
    assert found.quantized
    np.testing.assert_array_equal(found(x, precision="int8"), model(x, precision="int8"))


# ---- reports


def test_a_report_does_not_change(model: cz.Model, x: Array) -> None:
    found = model.quantization
    assert found is not None
    with pytest.raises(TypeError, match="read-only"):
        found.ranges["input"] = (0.0, 0.5)
    with pytest.raises(TypeError, match="read-only"):
        found.ranges.clear()
    given = dict(found.ranges)
    other = replace(found, ranges=given)
    given["input"] = (0.0, 0.5)
    assert other == found and hash(other) == hash(found)
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert twin == found and twin.ranges == found.ranges
        with pytest.raises(TypeError, match="read-only"):
            twin.ranges["input"] = (0.0, 0.5)


def test_whole_numbers_in_ranges_are_read_again(model: cz.Model, x: Array, tmp_path: Path) -> None:
    found = model.quantization
    assert found is not None
    model.quantization = replace(found, ranges={**found.ranges, "layer1.0.relu": (-1, 1)})
    whole = model(x, precision="int8")
    path = tmp_path / "model.safetensors"
    model.save(path)
    np.testing.assert_array_equal(cz.load(path)(x, precision="int8"), whole)
    text = described(path)
    text["quantization"]["ranges"]["layer1.0.relu"] = [-1, 1]
    forge(path, json.dumps(text), arrays_of(path))
    np.testing.assert_array_equal(cz.load(path)(x, precision="int8"), whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ranges": {"input": ("a", "b")}}, "range of `input`: expected a finite number, got 'a'"),
        ({"ranges": {"input": (1,)}}, "range of `input`: expected the lowest and the highest"),
        ({"ranges": {"input": (0, 1, 2)}}, "range of `input`: expected the lowest and the highest"),
        ({"ranges": {"input": None}}, "range of `input`: expected the lowest and the highest"),
        ({"ranges": {"input": (0, float("nan"))}}, "range of `input`: expected a finite number"),
        ({"ranges": [1]}, "ranges: expected a dict"),
        ({"ranges": {3: (0, 1)}}, "a node"),
        ({"layers": (1, 2)}, "layers: expected QuantizedLayer objects"),
        ({"layers": 7}, "layers: expected QuantizedLayer objects"),
        ({"error": "x"}, "error: expected a number of at least 0"),
        ({"error": float("nan")}, "error: expected a number of at least 0"),
        ({"images": 0}, "images"),
        ({"name": None}, "name"),
    ],
)
def test_a_report_of_other_kinds_of_fields_is_refused(
    change: dict[str, Any], message: str, model: cz.Model
) -> None:
    found = model.quantization
    assert found is not None
    with pytest.raises(cz.ArgumentError, match=message):
        replace(found, **change)


def test_other_layers_than_the_network_has_are_refused(model: cz.Model, tmp_path: Path) -> None:
    found = model.quantization
    assert found is not None
    unknown = replace(found.layers[0], name="conv9")
    for layers in ((), found.layers[1:], (found.layers[0], *found.layers), (unknown,)):
        with pytest.raises(cz.ArgumentError, match="quantization of resnet20, node"):
            model.quantization = replace(found, layers=layers)
        assert model.quantization == found
    path = tmp_path / "model.safetensors"
    model.save(path)
    text = described(path)
    text["quantization"]["layers"] = []
    forge(path, json.dumps(text), arrays_of(path))
    with pytest.raises(cz.WeightsError, match="each convolution and linear layer once"):
        cz.load(path)


@pytest.mark.parametrize("step", [-0.1, np.inf, 1e38, 1e300])
def test_a_file_with_steps_that_are_none_is_refused(
    step: float, model: cz.Model, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path, precision="int8")
    text, arrays = json.dumps(described(path)), arrays_of(path)
    name = next(name for name in arrays if name.endswith("weight_step"))
    forge(path, text, {**arrays, name: np.full_like(arrays[name], step)})
    with pytest.raises(cz.WeightsError, match=f"{name}.*expected steps of float32 weights"):
        cz.load(path)


# ---- images for calibration


def test_batches_of_torch_and_lists_of_batches_give_the_same_ranges(x: Array) -> None:
    expected = cz.create_model(SMALL).quantize(x).ranges
    tensor = torch.from_numpy(x)
    labelled = DataLoader(TensorDataset(tensor, torch.zeros(len(x))), batch_size=4)
    ways: list[Any] = [tensor, labelled, [x[:4], x[4:]], iter([(x[:5], None), (x[5:], None)])]
    for way in ways:
        assert cz.create_model(SMALL).quantize(way).ranges == expected


def test_batches_of_other_shapes_are_refused(x: Array) -> None:
    model = cz.create_model(SMALL)
    several: list[Any] = [[x[0], x[1]], [x, x[:, :, :16]], [x, "nothing.png"]]
    for wrong in several:
        with pytest.raises(cz.ShapeError, match="expected a batch of images"):
            model.quantize(wrong)


def test_other_precisions_and_shapes_are_refused(model: cz.Model, x: Array) -> None:
    for precision in (None, 8, "int4"):
        with pytest.raises(cz.ArgumentError, match="`precision`"):
            model(x, precision=precision)  # type: ignore[call-overload]
        with pytest.raises(cz.ArgumentError, match="`precision`"):
            model.plan(precision=precision)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`x_shape`"):
        model.plan((-1, 3, 32, 32), precision="int8")
    with pytest.raises(cz.ArgumentError, match="`progress`"):
        model.quantize(x, progress="x")  # type: ignore[arg-type]
