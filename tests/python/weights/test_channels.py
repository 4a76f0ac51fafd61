"""Pretrained first convolutions for images of other channels, as timm makes them fit."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file
from timm.models import adapt_input_conv

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, difference

# Of each source: a network, its first convolution, and what reads it.
NETWORKS = {
    "torchvision": ("resnet18", "conv1.weight"),
    "timm": ("mobilenetv2_035", "conv_stem.weight"),
    "patches": ("vit_tiny_patch16_224", "patch_embed.proj.weight"),
    "padded": ("efficientnet_b0", "features.0.0.weight"),
}


@pytest.fixture(scope="module", params=NETWORKS)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, str, Path, dict[str, NDArray[np.float32]]]:
    """Name, first convolution, a file for three colours, and what is in it."""
    name, weight = NETWORKS[request.param]
    state = cz.create_model(name, seed=3).state_dict()
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(state, path)
    return name, weight, path, state


def expected(
    state: dict[str, NDArray[np.float32]], weight: str, channels: int
) -> NDArray[np.float32]:
    adapted: torch.Tensor = adapt_input_conv(channels, torch.from_numpy(state[weight]))
    return adapted.numpy()


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_the_first_convolution_is_adapted_as_timm_does(
    trained: tuple[str, str, Path, dict[str, NDArray[np.float32]]], channels: int
) -> None:
    name, weight, path, state = trained
    model = cz.create_model(name, in_channels=channels, weights=path)
    ours, theirs = model.state_dict(), expected(state, weight, channels)
    assert difference(ours[weight], theirs) <= ROUNDING
    report = model.load_report
    assert report is not None
    assert report.adapted == (cz.Mismatch(weight, theirs.shape, state[weight].shape),)
    assert "1 adapted" in repr(report)
    assert set(report.loaded) == set(state)
    for key in state.keys() - {weight}:
        np.testing.assert_array_equal(ours[key], state[key])


def test_other_classes_may_come_with_other_channels(
    trained: tuple[str, str, Path, dict[str, NDArray[np.float32]]],
) -> None:
    name, weight, path, state = trained
    model = cz.create_model(name, in_channels=1, num_classes=5, weights=path)
    assert difference(model.state_dict()[weight], expected(state, weight, 1)) <= ROUNDING
    _, height, width = model.graph.input_shape
    assert model(images((height, width), 1)[:, :1]).shape == (1, 5)


def test_grey_photographs_give_what_three_equal_colours_give(
    trained: tuple[str, str, Path, dict[str, NDArray[np.float32]]],
) -> None:
    name, _, path, _ = trained
    one, three = (
        cz.create_model(name, in_channels=1, weights=path),
        cz.create_model(name, weights=path),
    )
    assert three.load_report is not None
    assert three.load_report.adapted == ()
    _, height, width = three.graph.input_shape
    grey = images((height, width), 2)[:, :1]
    assert difference(one(grey), three(np.repeat(grey, 3, axis=1))) <= 10 * ROUNDING


def test_weights_of_keras_are_adapted_too(tmp_path: Path) -> None:
    """Into its own edition, and into another one, whose names and layout differ."""
    of_keras = cz.create_model("DenseNet121", seed=3)
    path = tmp_path / "weights.h5"
    write_keras(path, of_keras.state_dict(source="keras"))
    state = of_keras.state_dict()
    for name, source, weight in (
        ("DenseNet121", "keras", "conv1_conv.weight"),
        ("densenet121", "torchvision", "features.conv0.weight"),
    ):
        model = cz.create_model(name, source=source, in_channels=4, weights=path)
        theirs = expected(state, "conv1_conv.weight", 4)
        assert difference(model.state_dict()[weight], theirs) <= ROUNDING
        assert model.load_report is not None
        assert [m.name for m in model.load_report.adapted] == [weight]


def write_keras(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    """As Keras's `.weights.h5` of version 2, which says of each layer what it holds."""
    layers: dict[str, list[str]] = {}
    for variable in arrays:
        layers.setdefault(variable.rpartition("/")[0], []).append(variable)
    with h5py.File(path, "w") as stored:
        stored.attrs["layer_names"] = list(layers)
        for layer, variables in layers.items():
            group = stored.create_group(layer)
            group.attrs["weight_names"] = [f"{variable}:0" for variable in variables]
            for variable in variables:
                group[f"{variable}:0"] = arrays[variable]


def test_loading_into_a_model_adapts_nothing(
    trained: tuple[str, str, Path, dict[str, NDArray[np.float32]]],
) -> None:
    """A file is taken for what it is there; only `create_model` makes weights fit another use."""
    name, weight, path, _ = trained
    model = cz.create_model(name, in_channels=4)
    assert model.load_report is None
    before = model.state_dict()
    with pytest.raises(cz.WeightsError, match=f"1 of another shape: `{weight}`"):
        model.load_weights(path)
    report = model.load_weights(path, strict=False)
    assert [m.name for m in report.mismatched] == [weight]
    assert report.adapted == ()
    np.testing.assert_array_equal(model.state_dict()[weight], before[weight])
    assert model.load_report == report


@pytest.mark.parametrize("shape", [(64, 4, 7, 7), (64, 1, 7, 7), (63, 3, 7, 7), (64, 3, 7, 6)])
def test_other_arrays_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    state = cz.create_model("resnet18").state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(state | {"conv1.weight": np.zeros(shape, np.float32)}, path)
    with pytest.raises(cz.WeightsError, match=r"1 of another shape: `conv1\.weight`"):
        cz.create_model("resnet18", in_channels=2, weights=path)
