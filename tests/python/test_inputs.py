"""Inputs of a model: every layout and float type, and clear refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from reference import images


@pytest.fixture(scope="module")
def model() -> cz.Model:
    return cz.create_model("resnet18", num_classes=7)


X = images((40, 48), 3)


def unaligned(x: np.ndarray) -> np.ndarray:
    """The same values one byte off where a float may begin."""
    moved = np.frombuffer(b"." + x.tobytes(), np.float32, offset=1).reshape(x.shape)
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(np.asfortranarray(X), id="fortran"),
        pytest.param(X[:, :, ::-1][:, :, ::-1], id="twice reversed"),
        pytest.param(
            np.ascontiguousarray(X.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), id="nhwc"
        ),
        pytest.param(unaligned(X), id="unaligned"),
        pytest.param(X.astype(np.float64), id="float64"),
        pytest.param(X.astype(">f4"), id="big endian"),
        pytest.param(torch.from_numpy(X), id="tensor"),
        pytest.param(X.tolist(), id="lists"),
    ],
)
def test_every_layout_gives_the_same_logits(model: cz.Model, x: np.ndarray) -> None:
    np.testing.assert_array_equal(model(x), model(X))


def test_negative_strides_are_read_as_they_stand(model: cz.Model) -> None:
    flipped = X[:, :, :, ::-1]
    assert flipped.strides[3] < 0
    np.testing.assert_array_equal(model(flipped), model(np.ascontiguousarray(flipped)))


def test_float16_is_widened_exactly(model: cz.Model) -> None:
    half = X.astype(np.float16)
    np.testing.assert_array_equal(model(half), model(half.astype(np.float32)))


def test_the_input_is_not_changed(model: cz.Model) -> None:
    x = X.copy()
    x.flags.writeable = False
    model(x)
    np.testing.assert_array_equal(x, X)


def test_nan_passes_through_its_own_image_only(model: cz.Model) -> None:
    x = X.copy()
    x[1, 0, 5, 5] = np.nan
    logits = model(x)
    assert np.isnan(logits[1]).all()
    np.testing.assert_array_equal(logits[[0, 2]], model(X)[[0, 2]])


@pytest.mark.parametrize(
    ("shape", "got"),
    [
        ((3, 40, 40), r"\(3, 40, 40\)"),
        ((40, 40), r"\(40, 40\)"),
        ((1, 1, 3, 40, 40), r"\(1, 1, 3, 40, 40\)"),
        ((2, 1, 40, 40), r"\(2, 1, 40, 40\)"),
        ((2, 40, 40, 3), r"\(2, 40, 40, 3\)"),
        ((0, 3, 40, 40), r"\(0, 3, 40, 40\)"),
        ((), r"\(\)"),
    ],
)
def test_another_shape_is_refused(model: cz.Model, shape: tuple[int, ...], got: str) -> None:
    expected = rf"the input of resnet18: expected \(N, 3, H, W\) with N at least 1, got {got}"
    with pytest.raises(cz.ShapeError, match=expected):
        model(np.zeros(shape, np.float32))


def test_images_without_pixels_are_refused(model: cz.Model) -> None:
    with pytest.raises(cz.ShapeError, match=r"resnet18, image 0×40, node `conv1` \(conv\)"):
        model(np.zeros((1, 3, 0, 40), np.float32))


def test_images_smaller_than_a_window_are_refused() -> None:
    graph = cz.Graph.parse(
        "graph tiny\ninput = input() height=8 width=8\n"
        "conv = conv(input) out=2 kernel=5\nflat = flatten(conv)\noutput flat"
    )
    tiny = cz.Model.from_graph(graph)
    assert tiny(np.zeros((1, 3, 5, 5), np.float32)).shape == (1, 2)
    with pytest.raises(cz.ShapeError, match="at least as large as the window, got 4×9"):
        tiny(np.zeros((1, 3, 4, 9), np.float32))


def test_images_that_do_not_fit_the_parameters_are_refused() -> None:
    graph = cz.Graph.parse(
        "graph flat\ninput = input() height=8 width=8\n"
        "flat = flatten(input)\nfc = linear(flat) out=2\noutput fc"
    )
    model = cz.Model.from_graph(graph)
    assert model(np.zeros((1, 3, 8, 8), np.float32)).shape == (1, 2)
    with pytest.raises(cz.ShapeError, match=r"`fc` \(linear\): expected 192 .*, got 216"):
        model(np.zeros((1, 3, 9, 8), np.float32))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool", "complex64", "O", "U3", "float128"])
def test_another_element_type_is_refused(model: cz.Model, dtype: str) -> None:
    with pytest.raises(TypeError, match="expected an array of float32, float64 or float16, got"):
        model(np.zeros((1, 3, 40, 40)).astype(dtype))


def test_bytes_are_told_where_to_go(model: cz.Model) -> None:
    with pytest.raises(TypeError, match="photographs of bytes go through `preprocess`"):
        model(np.zeros((1, 3, 40, 40), np.uint8))


@pytest.mark.parametrize("x", [None, "photo.jpg", {"x": 1}])
def test_things_that_are_no_array_are_refused(model: cz.Model, x: object) -> None:
    with pytest.raises(TypeError):
        model(x)  # type: ignore[call-overload]


def test_no_gradient_is_recorded_in_inference(model: cz.Model) -> None:
    """Neither the caller's grad mode nor ours leaks into the other."""
    assert torch.is_grad_enabled()
    model(X)
    assert torch.is_grad_enabled()
    with torch.no_grad():
        _, gradients = model.vjp(X, np.ones((3, 7), np.float32))
        assert not torch.is_grad_enabled()
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_a_cotangent_of_another_shape_is_refused(model: cz.Model) -> None:
    with pytest.raises(cz.ShapeError, match=r"the cotangent of resnet18"):
        model.vjp(X, np.ones((3, 8), np.float32))


def test_batch_statistics_of_a_single_value_are_refused(model: cz.Model) -> None:
    with pytest.raises(cz.ShapeError, match="more than one value per channel"):
        model.vjp(images((32, 32), 1), np.ones((1, 7), np.float32), training=True)


def test_features_stop_at_the_named_node(model: cz.Model) -> None:
    values = model.features(X, ["layer2", "layer4.1.relu_1", "input"])
    assert values["layer2"].shape == (3, 128, 5, 6)
    np.testing.assert_array_equal(values["input"], X)
    pooled = values["layer4.1.relu_1"].mean(axis=(2, 3))
    np.testing.assert_allclose(pooled, model.embed(X), rtol=1e-5)
    with pytest.raises(cz.ArgumentError, match="`layer9`; similar are `layer1`, `layer2`"):
        model.features(X, ["layer9"])


@pytest.mark.parametrize("nodes", [3, [3], [None], b"conv1", {"conv1"}, [["conv1"]]])
def test_nodes_are_names_in_a_list(model: cz.Model, nodes: Any) -> None:
    with pytest.raises(cz.ArgumentError, match=r"`nodes`: expected (the name|names) of"):
        model.features(X, nodes)
    with pytest.raises(cz.ArgumentError, match=r"`nodes`: expected (the name|names) of"):
        cz.analysis.activation_statistics(model, X, nodes, progress=False)


def test_no_nodes_have_no_values(model: cz.Model) -> None:
    assert model.features(X, []) == {}
    with pytest.raises(cz.ArgumentError, match="`nodes`: expected names of nodes in a list"):
        model.features(X, None)  # type: ignore[call-overload]


def test_a_pyramid_holds_the_last_value_of_each_resolution(model: cz.Model) -> None:
    values = model.pyramid(images((64, 96), 1))
    assert [(name, value.shape[1:]) for name, value in values.items()] == [
        ("relu", (64, 32, 48)),
        ("layer1.1.relu_1", (64, 16, 24)),
        ("layer2.1.relu_1", (128, 8, 12)),
        ("layer3.1.relu_1", (256, 4, 6)),
        ("layer4.1.relu_1", (512, 2, 3)),
    ]
    b0 = cz.create_model("efficientnet_b0", num_classes=0)
    strides = [224 // value.shape[2] for value in b0.pyramid(images((224, 224), 1)).values()]
    assert strides == [2, 4, 8, 16, 32]


def test_without_classes_the_features_come_out(model: cz.Model) -> None:
    headless = cz.create_model("resnet18", num_classes=0)
    assert headless(X).shape == (3, 512)
    np.testing.assert_array_equal(headless(X), headless.embed(X))
    np.testing.assert_array_equal(headless(X), model.embed(X))


def test_an_image_too_large_for_memory_is_a_memory_error() -> None:
    graph = cz.Graph.parse(
        "graph huge\ninput = input() channels=1\n"
        "conv = conv(input) out=1048576\nflat = flatten(conv)\noutput flat"
    )
    model = cz.Model.from_graph(graph)
    # 4 TiB of output from 1 MiB of input.
    with pytest.raises(MemoryError, match=r"huge, node `conv` \(conv\): out of memory") as caught:
        model(np.zeros((1, 1, 1024, 1024), np.float32))
    assert isinstance(caught.value, cz.OutOfMemoryError)


@pytest.mark.parametrize("size", [4096, 65536])
def test_parameters_too_large_for_memory_are_a_memory_error(size: int) -> None:
    graph = cz.Graph.parse(
        f"graph huge\ninput = input() height={size} width={size}\n"
        "flat = flatten(input)\nfc = linear(flat) out=1048576\noutput fc"
    )
    with pytest.raises(cz.OutOfMemoryError, match=r"fc\.weight"):
        cz.Model.from_graph(graph)
    assert graph.rows(size, size)
