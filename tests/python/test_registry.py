"""Finding models."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo import registry

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


def test_patterns_and_filters() -> None:
    assert cz.list_models("resnet*", family="resnet", source="torchvision") == RESNETS
    assert cz.list_models("RESNET*") == []
    assert cz.list_models("resnet1*", family="resnet-d", max_macs=3e9) == ["resnet18d"]
    assert cz.list_models("*lite0") == ["efficientnet_lite0", "tf_efficientnet_lite0"]
    assert set(cz.list_models(weights=True)) >= {*RESNETS, "tf_efficientnet_lite0"}
    assert "efficientnet_lite4" not in cz.list_models(weights=True)
    assert set(cz.list_models(weights=False)) == set(cz.list_models()) - set(
        cz.list_models(weights=True)
    )
    assert "resnet18" in cz.list_models(max_params=12e6)
    assert "resnet34" not in cz.list_models(max_params=12e6)
    assert cz.list_models("efficientnet_b*", max_macs=4e8) == ["efficientnet_b0"]
    assert set(cz.list_models("*lite*")) <= set(cz.list_models(source="timm"))
    assert not {"resnet56", "plain34"} & set(cz.list_models(source="timm"))
    with pytest.raises(cz.ArgumentError, match=r"`family`: expected one of .*ResNet, .*ResNeXt"):
        cz.list_models(family="alexnot")
    with pytest.raises(cz.ArgumentError, match=r"`source`: expected one of torchvision, .*timm"):
        cz.list_models(source="torchvison")


def test_limits_are_on_the_source_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller_in_timm(name: str, source: str | None) -> registry.ModelInfo:
        info = dataclasses.replace(facts(name, None), sources=("torchvision", "timm"))
        return dataclasses.replace(info, params=1_000, macs=2_000) if source == "timm" else info

    facts = registry._cached_info
    monkeypatch.setattr(registry, "_cached_info", smaller_in_timm)
    everything = cz.list_models()
    assert cz.list_models(source="timm", max_params=1e3) == everything
    assert cz.list_models(source="timm", max_macs=2e3) == everything
    assert cz.list_models(source="timm", max_macs=1e3) == []
    assert cz.list_models(source="torchvision", max_params=1e3) == []
    assert cz.list_models(max_params=1e3) == []


def test_every_name_is_a_function_too() -> None:
    assert cz.resnet18.__name__ == "resnet18"
    assert "arXiv:1512.03385" in (cz.resnet18.__doc__ or "")
    assert "num_classes: 'int | None' = None" in str(inspect.signature(cz.resnet18))
    assert "name" not in inspect.signature(cz.resnet18).parameters
    model = cz.resnet18(num_classes=3)
    assert (model.name, model.num_classes) == ("resnet18", 3)
    assert set(cz.list_models()) <= set(dir(cz))
    with pytest.raises(AttributeError, match="no attribute 'resnet19'"):
        getattr(cz, "resnet19")  # noqa: B009 (a type checker knows that it is not there)
    assert registry.accepted_names() >= set(cz.list_models())


def test_info_is_frozen_and_complete() -> None:
    info = cz.model_info("resnet50")
    assert (info.params, info.macs, info.input_size) == (25557032, 4089184256, 224)
    assert (info.source, info.sources, info.default_source) == (
        "torchvision",
        ("torchvision", "timm", "keras", "paper"),
        "torchvision",
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.params = 0  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(info)) == info
    for name in cz.list_models():
        info = cz.model_info(name)
        values = (getattr(info, field.name) for field in dataclasses.fields(info))
        assert all(value is False or value not in ("", 0, None) for value in values)
        assert "arXiv" in info.paper


def test_info_shows_itself_with_the_accuracies_of_the_weights() -> None:
    info = cz.model_info("resnet50")
    assert info.top1 == 80.858
    stated = {w.tag: w.top1 for w in cz.published_weights("resnet50") if w.top1 is not None}
    assert info.accuracies == stated
    assert set(info.weights) - set(stated) == {"timm/bamboo"}
    text = repr(info)
    assert text.startswith("resnet50 · ResNet, 2015\n\n")
    assert max(map(len, text.splitlines())) <= 88
    assert "torchvision/IMAGENET1K_V2 (80.86%)" in " ".join(text.split())
    assert cz.model_info("plain34").top1 is None
    # Of what is installed no accuracy is stated.
    lite = cz.model_info("tf_efficientnet_lite0")
    assert (lite.top1, lite.accuracies) == (None, {"timm/in1k": 74.846})
    assert hash(info) == hash(dataclasses.replace(info))


@pytest.mark.parametrize(
    ("name", "source"), [("resnet50", None), ("vgg16", "timm"), ("plain34", None)]
)
def test_info_in_a_notebook_has_every_fact_and_weights(name: str, source: str | None) -> None:
    info = cz.model_info(name, source=source)
    page = ET.fromstring(info._repr_html_())
    words = " ".join(" ".join(page.itertext()).split())
    for fact in (info.idea, info.paper, info.strengths, info.deviations, f"{info.params:,}"):
        assert " ".join(fact.split()) in words
    rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]
    shown = {row[0]: row[1:] for row in rows if "/" in row[0]}
    assert list(shown) == list(info.weights)
    for weights in cz.published_weights(name, source=source):
        top1 = "" if weights.top1 is None else f"{weights.top1:.2f}%"
        assert shown[weights.tag][0] == top1
        assert shown[weights.tag][2:] == [weights.data, weights.license]
    assert info.weights or "none are published" in words


@pytest.mark.parametrize(
    ("typo", "closest"),
    [("resnet5O", "resnet50"), ("ResNet-50", "resnet50"), ("efficentnet_b3", "efficientnet_b3")],
)
def test_a_mistyped_name_gets_the_closest_ones(typo: str, closest: str) -> None:
    with pytest.raises(cz.UnknownModelError, match=closest) as caught:
        cz.create_model(typo)
    assert caught.value.closest[0] == closest  # type: ignore[attr-defined]
    assert isinstance(caught.value, KeyError)
    assert str(caught.value).startswith(f"there is no model `{typo}`")


def test_a_name_like_nothing_gets_no_advice() -> None:
    with pytest.raises(cz.UnknownModelError, match=r"^there is no model `zzz`$"):
        cz.model_info("zzz")


def test_a_source_that_is_not_there_is_refused() -> None:
    with pytest.raises(cz.ArgumentError, match='`source` of resnet18: expected "torchvision"'):
        cz.create_model("resnet18", source="keras")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": -1}, "num_classes"),
        ({"num_classes": 10**9}, "from 0 to 65536, got 1000000000"),
        ({"num_classes": 2.5}, "num_classes"),
        ({"in_channels": 0}, "`in_channels` of resnet18: expected from 1"),
        ({"image_size": 0}, "`image_size` of resnet18"),
        ({"drop_rate": 1.0}, "a rate from 0 to below 1, got 1"),
        ({"drop_rate": float("nan")}, "drop_rate"),
        ({"drop_path_rate": -0.1}, "`drop_path_rate` of resnet18"),
        ({"drop_rat": 0.1}, "got `drop_rat`; the nearest is drop_rate$"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model("resnet18", **options)  # type: ignore[arg-type]


def test_options_show_in_the_model() -> None:
    model = cz.create_model("resnet18", num_classes=10, drop_rate=0.5)
    assert model.options == {"num_classes": 10, "drop_rate": 0.5}
    assert repr(model) == "<Model resnet18 from torchvision, num_classes=10, drop_rate=0.5 on cpu>"
    assert "dropout = dropout(flatten) rate=0.5" in str(model.graph)


def test_without_parameters_a_model_is_there_to_be_read(tmp_path: Path) -> None:
    model = cz.create_model("efficientnet_v2_l", num_classes=7, meta=True)
    assert model.device == "meta"
    assert model.summary().params == cz.model_info("efficientnet_v2_l").params - 1281 * 993
    for use in (
        lambda: model(np.zeros((1, 3, 64, 64), np.float32)),
        model.state_dict,
        lambda: model.load_state_dict({}),
        lambda: model.save(tmp_path / "model.safetensors"),
        lambda: model.to("cpu"),
    ):
        with pytest.raises(cz.DeviceError, match="efficientnet_v2_l with parameters"):
            use()


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(cz.DeviceError, match="expected `cpu`, `cuda` or `cuda:N`, got `gpu`"):
        cz.create_model("resnet18", device="gpu")
    with pytest.raises(cz.DeviceError, match="expected a device that libtorch sees"):
        cz.create_model("resnet18", device="cuda:99")
