"""`create_model` with a file of `save`: the same network as `load` makes of it, or a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import cnnzoo as cz

X = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
NAMES = ["apple", "pear", "plum"]


def save(path: Path, name: str, **options: Any) -> cz.Model:
    model = cz.create_model(name, num_classes=3, seed=1, **options)
    model.labels = NAMES
    model._preprocess = cz.Preprocess(
        resize=70, crop=64, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(1, 1, 1)
    )
    model.save(path)
    return model


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet18", {"activation": "silu", "stem": "small"}),
        ("resnet18", {"image_size": 96, "norm": "group"}),
        ("mobilenet_v3_small", {"source": "timm", "drop_rate": 0.5}),
        ("googlenet", {"transform_input": True, "aux": False}),
    ],
)
def test_what_is_not_given_is_as_the_file_says(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path = tmp_path / "saved.safetensors"
    saved = save(path, name, **options)
    found = cz.create_model(name, weights=path)
    np.testing.assert_array_equal(found(X), saved(X))
    assert (found.options, found.source, found.graph) == (saved.options, saved.source, saved.graph)
    assert (found.preprocess, found.labels) == (saved.preprocess, tuple(NAMES))
    same = cz.create_model(name, num_classes=3, weights=path, **options)
    np.testing.assert_array_equal(same(X), saved(X))
    assert same.labels == tuple(NAMES)


def test_channels_come_from_the_file_too(tmp_path: Path) -> None:
    path = tmp_path / "grey.safetensors"
    saved = cz.create_model("resnet20", in_channels=1, seed=2)
    saved.save(path)
    found = cz.create_model("resnet20", weights=path)
    np.testing.assert_array_equal(found(X[:, :1]), saved(X[:, :1]))
    assert found.preprocess == saved.preprocess


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"activation": "gelu"}, '`activation` as the file\'s network has it, "silu", got "gelu"'),
        ({"norm": "none"}, '`norm` as the file\'s network has it, none, got "none"'),
        ({"stem": "small"}, '`stem` as the file\'s network has it, none, got "small"'),
        ({"source": "timm"}, "the definition of timm, got a network of torchvision"),
    ],
)
def test_what_makes_another_function_is_refused_by_name(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    path = tmp_path / "saved.safetensors"
    save(path, "resnet18", activation="silu")
    with pytest.raises(cz.WeightsError) as caught:
        cz.create_model("resnet18", weights=path, **given)
    assert str(path) in str(caught.value) and says in str(caught.value)


def test_an_option_that_says_what_the_network_has_anyway_is_taken(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved.safetensors", "resnet18")
    found = cz.create_model("resnet18", weights=tmp_path / "saved.safetensors", activation="relu")
    np.testing.assert_array_equal(found(X), saved(X))


def test_another_network_of_the_same_arrays_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "saved.safetensors"
    save(path, "tf_efficientnet_lite0")
    with pytest.raises(cz.WeightsError, match="efficientnet_lite0, got those of tf_efficientnet"):
        cz.create_model("efficientnet_lite0", weights=path)
    with pytest.raises(cz.WeightsError, match="expected weights of resnet34, got those of tf_"):
        cz.create_model("resnet34", weights=path)
    model = cz.create_model("resnet20", num_classes=3)
    cz.Model.from_graph(model.graph).save(path)
    with pytest.raises(cz.WeightsError, match=r"a custom graph, resnet20; use cnnzoo\.load"):
        cz.create_model("resnet20", weights=path)


def test_other_classes_start_afresh_and_have_no_names(tmp_path: Path) -> None:
    path = tmp_path / "saved.safetensors"
    saved = save(path, "resnet18", activation="silu")
    found = cz.create_model("resnet18", weights=path, num_classes=5, image_size=32)
    np.testing.assert_array_equal(found.embed(X), saved.embed(X))
    assert found.labels == tuple(f"class {i}" for i in range(5))
    assert (found.preprocess.resize, found.preprocess.crop) == (35, 32)
    assert found.load_report is not None
    assert [m.name for m in found.load_report.mismatched] == ["fc.weight", "fc.bias"]
    thousand = cz.create_model("resnet18", weights=path, num_classes=1000)
    assert thousand.num_classes == 1000
    assert thousand.labels[0] == cz.create_model("resnet18", meta=True).labels[0]


def test_bare_weights_are_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    saved = cz.create_model("resnet20", activation="silu", seed=4)
    state = {name: torch.from_numpy(array) for name, array in saved.state_dict().items()}
    safetensors.torch.save_file(state, path)
    found = cz.create_model("resnet20", weights=path, activation="silu")
    np.testing.assert_array_equal(found(X[..., :32, :32]), saved(X[..., :32, :32]))


@pytest.mark.parametrize(
    ("own", "labels", "says"),
    [
        ({"num_classes": 2}, "ab", '`activation` "silu" (here none)'),
        ({"num_classes": 2, "activation": "gelu"}, "ab", '`activation` "silu" (here "gelu")'),
        ({"num_classes": 2, "activation": "silu"}, "ba", "has other `labels`;"),
        ({"num_classes": 2, "activation": "silu"}, None, "has other `labels`;"),
        (
            {"num_classes": 2, "activation": "silu", "image_size": 32},
            "ab",
            "has another `preprocess`;",
        ),
    ],
)
def test_parameters_alone_of_another_network_are_noticed(
    tmp_path: Path, own: dict[str, Any], labels: str | None, says: str
) -> None:
    saved = cz.create_model("resnet18", num_classes=2, activation="silu")
    saved.labels = ("a", "b")
    saved.save(tmp_path / "saved.safetensors")
    model = cz.create_model("resnet18", **own)
    if labels is not None:
        model.labels = tuple(labels)
    with pytest.warns(cz.Notice) as caught:
        model.load_weights(tmp_path / "saved.safetensors")
    [notice] = caught
    assert says in str(notice.message)
    assert notice.filename == __file__


def test_parameters_alone_of_the_same_network_are_loaded_in_silence(tmp_path: Path) -> None:
    saved = cz.create_model("resnet20", num_classes=2, activation="relu")
    saved.save(tmp_path / "saved.safetensors")
    # The default, and a classifier of other classes.
    model = cz.create_model("resnet20", num_classes=2)
    assert model.load_weights(tmp_path / "saved.safetensors").loaded
    other = cz.create_model("resnet20", num_classes=3)
    assert other.load_weights(tmp_path / "saved.safetensors", strict=False).mismatched


def test_a_checkpoint_of_a_run_points_to_resume(tmp_path: Path) -> None:
    model = cz.create_model("resnet20", num_classes=3)
    cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1)).save(tmp_path / "last.safetensors")
    path = str(tmp_path / "last.safetensors")
    for load in (
        lambda: cz.load(path),
        lambda: cz.create_model("resnet20", weights=path),
        lambda: model.load_weights(path),
        lambda: model.load_weights(path, strict=False),
    ):
        with pytest.raises(cz.WeightsError) as caught:
            load()
        assert f"Trainer.resume({path!r}, ...)" in str(caught.value)


@pytest.mark.parametrize("name", ["x.pth", "x.PT", "x.h5", "x.onnx", "x.bin"])
def test_a_name_of_another_format_is_refused(tmp_path: Path, name: str) -> None:
    model = cz.create_model("resnet20")
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    for write in (model.save, trainer.save):
        with pytest.raises(cz.ArgumentError, match=r"a name that ends in \.safetensors"):
            write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x.safetensors", "x", "x.v2"])
def test_a_name_that_says_no_other_format_is_taken(tmp_path: Path, name: str) -> None:
    model = cz.create_model("resnet20")
    model.save(tmp_path / name)
    assert cz.load(tmp_path / name).name == "resnet20"
