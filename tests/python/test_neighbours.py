"""Names and options of timm, torchvision and Keras, as their users write them."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

import cnnzoo as cz
from cnnzoo import _neighbours, weights
from reference import images


@pytest.fixture
def of_timm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[torch.nn.Module, list[str]]:
    """timm's ResNet-18, whose file stands in for all that are fetched, and the tags of these."""
    network = timm.create_model("resnet18.a1_in1k").eval()
    torch.save(network.state_dict(), tmp_path / "m.pth")
    fetched: list[str] = []

    def path(self: cz.Published) -> Path:
        fetched.append(self.tag)
        return tmp_path / "m.pth"

    monkeypatch.setattr(weights.Published, "path", path)
    return network, fetched


@pytest.mark.parametrize("prefix", ["", "timm/", "hf_hub:timm/", "hf-hub:timm/"])
def test_timms_name_with_a_tag_is_its_network_with_those_weights(
    of_timm: tuple[torch.nn.Module, list[str]], prefix: str
) -> None:
    model = cz.create_model(prefix + "resnet18.a1_in1k")
    network, fetched = of_timm
    assert (model.source, fetched) == ("timm", ["timm/a1_in1k"])
    x = images((64, 64), 2)
    with torch.no_grad():
        expected = network(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(model(x, exact=True), expected)
    wanted = timm.get_pretrained_cfg("resnet18.a1_in1k")
    assert wanted is not None
    assert model.preprocess.interpolation == wanted.interpolation
    assert model.preprocess.mean == tuple(wanted.mean)
    assert cz.model_info(prefix + "resnet18.a1_in1k").source == "timm"


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("resnet18.a1_in2k", {}, cz.WeightsError, "closest tags are 'timm/a1_in1k'"),
        (
            "resnet18.a1_in1k",
            {"source": "torchvision"},
            cz.ArgumentError,
            "tag in its name, got",
        ),
        ("resnet18.a1_in1k", {"weights": "default"}, cz.ArgumentError, "tag in its name, got"),
        ("resnot18.a1_in1k", {}, cz.UnknownModelError, "closest are resnet18"),
    ],
)
def test_what_a_name_with_a_tag_cannot_be(
    name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cz.create_model(name, meta=True, **options)


def of_keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras.applications

    return keras.applications


def test_every_function_of_keras_whose_network_we_have_is_known_by_its_name() -> None:
    functions = {
        name
        for name, value in vars(of_keras()).items()
        if inspect.isfunction(value) and name[0].isupper()
    }
    assert len(functions) > 30
    others = {name for name in functions if name.startswith(("ConvNeXt", "NASNet"))}
    for name in functions - others:
        model = getattr(cz, name)(meta=True)
        assert model.source == "keras", name
    for name in others:
        with pytest.raises(cz.UnknownModelError):
            cz.create_model(name, meta=True)


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Small"])
def test_keras_functions_build_what_they_build_there(name: str) -> None:
    theirs = getattr(of_keras(), name)(weights=None, classes=7)
    ours = cz.create_model(name, num_classes=7).state_dict(source="keras")
    shapes = [tuple(variable.shape) for variable in theirs.weights if "seed" not in variable.path]
    assert [array.shape for array in ours.values()] == shapes


@pytest.mark.parametrize("option", sorted(_neighbours.OPTIONS))
def test_options_of_the_neighbours_say_what_does_the_same(option: str) -> None:
    assert option not in cz.model_info("resnet18").options
    given: dict[str, Any] = {option: True}
    with pytest.raises(cz.ArgumentError) as caught:
        cz.create_model("resnet18", meta=True, **given)
    assert str(caught.value).startswith("options of resnet18: expected one of num_classes, ")
    assert str(caught.value).endswith(f"got `{option}`; take {_neighbours.OPTIONS[option]}")


@pytest.mark.parametrize("option", ["labels", "class_names", "id2label"])
def test_options_with_names_of_classes_say_where_they_belong(option: str) -> None:
    given: dict[str, Any] = {option: ["cat", "dog"]}
    with pytest.raises(
        cz.ArgumentError, match=r"take num_classes=\.\.\., then set `model\.labels`$"
    ):
        cz.create_model("resnet18", meta=True, **given)
    model = cz.create_model("resnet18", meta=True, num_classes=2)
    model.labels = given[option]
    assert model.labels == ("cat", "dog")


@pytest.mark.parametrize(
    ("option", "nearest"),
    [("num_clases", "num_classes"), ("drop_rat", "drop_rate"), ("weight", "weights")],
)
def test_other_options_get_the_nearest(option: str, nearest: str) -> None:
    with pytest.raises(cz.ArgumentError, match=f"got `{option}`; the nearest is {nearest}$"):
        cz.resnet18(meta=True, **{option: 1})


def test_an_option_of_other_families_gets_the_list_too() -> None:
    with pytest.raises(cz.ArgumentError, match=r"expected one of .*activation.*, got `aux`$"):
        cz.create_model("resnet18", meta=True, aux=True)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "tf_efficientnet_lite0"])
@pytest.mark.parametrize("tag", ["imagenet", "IMAGENET1K"])
def test_tags_of_the_neighbours_get_the_nearest(name: str, tag: str) -> None:
    with pytest.raises(cz.WeightsError, match=f"got '{tag}'; .*tags are '") as caught:
        cz.create_model(
            name,
            source="torchvision" if name != "tf_efficientnet_lite0" else None,
            meta=True,
            weights=tag,
        )
    assert any(known in str(caught.value) for known in cz.model_info(name).weights)


X = images((40, 48), 3)


def tensors(x: np.ndarray) -> dict[str, torch.Tensor]:
    plain = torch.from_numpy(x.copy())
    return {
        "gradients": plain.clone().requires_grad_(),
        "a result": plain.clone().requires_grad_() * 1,
        "a parameter": torch.nn.Parameter(plain.clone()),
        "bfloat16": plain.bfloat16(),
        "float16": plain.half(),
        "negative": torch.complex(plain, -plain).conj().imag,
        "channels last": plain.clone().to(memory_format=torch.channels_last),
    }


@pytest.mark.parametrize("kind", tensors(X))
def test_tensors_are_taken_wherever_arrays_are(kind: str) -> None:
    model = cz.create_model("resnet18", num_classes=4, stem="small")
    tensor = tensors(X)[kind]
    array = tensor.detach().resolve_neg().float().numpy()
    np.testing.assert_array_equal(model(tensor), model(array))
    np.testing.assert_array_equal(model.embed(tensor), model.embed(array))
    np.testing.assert_array_equal(
        model.features(tensor, "layer1")["layer1"], model.features(array, ["layer1"])["layer1"]
    )


def test_tensors_train_and_evaluate_as_arrays_do() -> None:
    x, y = X, np.array([0, 3, 1])
    steps, figures, states = [], [], []
    for images_, classes in (
        (x, y),
        (torch.from_numpy(x).requires_grad_(), torch.from_numpy(y)),
    ):
        model = cz.create_model("resnet18", num_classes=4, stem="small")
        steps.append(model.train_step(images_, classes, cz.SGD(model, lr=0.1)))
        figures.append(cz.metrics.evaluate(model, [(images_, classes)]).loss)
        states.append(model.state_dict())
    assert steps[0] == steps[1]
    assert figures[0] == figures[1]
    twin = cz.create_model("resnet18", num_classes=4, stem="small", seed=1)
    twin.load_state_dict(
        {
            name: torch.from_numpy(array).requires_grad_(array.dtype.kind == "f")
            for name, array in states[1].items()
        }
    )
    np.testing.assert_array_equal(twin(x), model(x))
    pixels = np.zeros((2, 8, 8), np.uint8)
    pictures = cz.data.Arrays(torch.from_numpy(pixels), torch.tensor([0, 1]))
    assert pictures.fingerprint == cz.data.Arrays(pixels, np.array([0, 1])).fingerprint


def test_devices_of_torch_are_devices(tmp_path: Path) -> None:
    device = torch.device("cpu")
    model = cz.create_model("mobilenet_v1_025", device=device)
    assert model.to(device).device == "cpu"
    model.save(tmp_path / "m.safetensors")
    assert cz.load(tmp_path / "m.safetensors", device=device).device == "cpu"
    with pytest.raises(cz.DeviceError):
        model.to(torch.device("cuda:77"))
