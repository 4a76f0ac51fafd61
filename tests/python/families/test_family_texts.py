"""Texts about families: each figure is computed from the registry and graphs, or has a source."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import cnnzoo as cz
from tolerance import TOLD

ROOT = Path(__file__).parents[3]
TEXTS = ROOT / "docs" / "families"

# Figures that no graph has, by page, and where they were read.
CITED: dict[str, dict[str, str]] = {
    "alexnet": {
        "26.2 % of the photographs": "Krizhevsky et al. 2012, table 2: the second best entry",
        "15.3 %, one alone for 18.2 %": "table 2: seven networks in the test, one in validation",
        "60 million parameters": "its abstract; `alexnet_2012` is compared below",
        "two GPUs of 3 GB": "sections 1 and 3.2: GTX 580",
    },
    "deit": {"81.8 %": "Touvron et al. 2020, table 5: DeiT-B at 224 pixels"},
    "efficientnet": {
        "powers of 1.2, 1.1 and 1.15": "Tan and Le 2019, section 4: depth, width, resolution",
        "B7 reached 84.3 %": "its abstract",
        "8.4 times fewer parameters": "its abstract: than GPipe",
    },
    "efficientnet-v2": {"87.3 %, 2.0 points more": "Tan and Le 2021, abstract"},
    "googlenet": {"top-5 error of 6.7 %": "Szegedy et al. 2014, table 2: 6.67 %, seven networks"},
    "inception": {"0.1 to 0.3": "Szegedy et al. 2016 (arXiv:1602.07261), section 3.3"},
    "later-resnets": {"75.3 % to 79.3 %": "He et al. 2018 (arXiv:1812.01187), abstract: 79.29 %"},
    "resnet": {
        "one of 56 layers than one of 20": "He et al. 2015, figure 1",
        "up to 152 layers": "section 4.1: six models of different depth",
        "top-5 error of 3.57 %": "its abstract",
        "1202 layers trained": "section 4.2: 7.93 % of errors, 6.43 % with 110 layers",
        "than 110.": "the same",
    },
    "resnext": {"ImageNet, 85.4 %": "Mahajan et al. 2018 (arXiv:1805.00932), abstract"},
    "squeezenet": {
        "less than 10 MB of memory on the chip": "Iandola et al. 2016, section 1",
        "Version 1.1": "the name of a network",
    },
    "vit": {
        "300 million photographs (JFT)": "Dosovitskiy et al. 2020, section 4.1: 303 million",
        "ViT-H/14 reached 88.55 %": "its table 2",
    },
    "wide-resnet": {"a network of 28 layers": "Zagoruyko and Komodakis 2016: WRN-28-10"},
    "xception": {"350 million photographs": "Chollet 2016, section 4.1"},
}


def params(name: str) -> int:
    return cz.model_info(name).params


def macs(name: str) -> int:
    return cz.model_info(name).macs


def top1(name: str, tag: str | None = None) -> float:
    info = cz.model_info(name)
    found = info.top1 if tag is None else info.accuracies[tag]
    assert found is not None
    return found


@functools.cache
def layers(name: str, op: str) -> tuple[dict[str, object], ...]:
    """The fields of each operation of a sort."""
    graph = cz.create_model(name, meta=True).graph
    return tuple(json.loads(fields) for _, kind, _, fields in graph.operations() if kind == op)


def linear(name: str) -> list[int]:
    """The parameters of each linear layer."""
    graph = cz.create_model(name, meta=True).graph
    return [params for _, op, _, _, params, *_ in graph.rows(224, 224) if op == "linear"]


def growths() -> Iterator[int]:
    for name in cz.list_models("densenet*"):
        wide = [fields["out"] for fields in layers(name, "conv") if fields["kernel"] == 3]
        yield int(str(wide[-1]))


def cardinalities() -> str:
    names = cz.list_models("resnext*")
    found = {int(str(fields["groups"])) for name in names for fields in layers(name, "conv")}
    return " or ".join(map(str, sorted(found - {1})))


def patches(size: int) -> int:
    (stride,) = {fields["stride"] for fields in layers("vit_b_16", "conv")}
    return (size // int(str(stride))) ** 2


def separable_share() -> float:
    """The multiply-adds of MobileNet's separable convolutions by those of full ones."""
    convs = layers("mobilenet_v1", "conv")
    deep = [int(str(one["out"])) for one in convs if one["groups"] == one["out"]]
    last = deep[-1] * 1024
    return (9 * deep[-1] + last) / (9 * last)


# Phrases with computed figures, by page.
COMPUTED: list[tuple[str, Callable[[], str]]] = [
    ("densenet", lambda: f"*growth rate* of {min(growths())} to {max(growths())} channels"),
    ("resnet", lambda: f"have {top1('resnet50', 'torchvision/IMAGENET1K_V1'):.1f} %"),
    ("resnet", lambda: f"have {top1('resnet50', 'torchvision/IMAGENET1K_V2'):.1f} %"),
    ("resnet", lambda: f"images of {cz.model_info('resnet20').input_size} pixels"),
    ("resnext", lambda: f"becomes {cardinalities()} narrow ones"),
    ("squeezenet", lambda: f"leaves {params('squeezenet1_1') / 1e6:.1f} million parameters"),
    ("squeezenet", lambda: f"{macs('squeezenet1_0') / macs('squeezenet1_1'):.1f} times fewer"),
    ("squeezenet", lambda: f"a file of {4 * params('squeezenet1_1') / 1e6:.0f} MB in float32"),
    ("vgg", lambda: f"up to {max(int(str(one['out'])) for one in layers('vgg19', 'conv'))}."),
    ("vgg", lambda: f"alone holds {max(linear('vgg16')) / 1e6:.0f} million parameters"),
    ("vit", lambda: f"at 384 pixels a 16×16 network reads {patches(384)} of them"),
    ("vit", lambda: f"at 224 it reads {patches(224)}"),
]

# Phrases whose figure is a word, what it says of the graphs, and the computed number.
TOLD_IN_WORDS: list[tuple[str, str, float, Callable[[], float]]] = [
    ("alexnet", "60 million parameters", 60e6, lambda: params("alexnet_2012")),
    ("alexnet", "a fiftieth", 1 / 50, lambda: params("squeezenet1_1") / params("alexnet")),
    ("deit", "about the parameters", 0.85, lambda: params("deit_small_16") / params("resnet50")),
    ("deit", "one half of those", 1 / 2, lambda: params("deit_tiny_16") / params("resnet18")),
    ("densenet", "half of its", 0.45, lambda: params("densenet201") / params("resnet101")),
    (
        "densenet",
        "about as accurate",
        1,
        lambda: top1("densenet201") / top1("resnet101", "torchvision/IMAGENET1K_V1"),
    ),
    ("googlenet", "more than half", 0.57, lambda: params("googlenet") / params("resnet18")),
    ("googlenet", "about the same", 1, lambda: top1("googlenet") / top1("resnet18")),
    ("resnext", "are those of", 1, lambda: macs("resnext50_32x4d") / macs("resnet50")),
    ("vgg", "less than a quarter", 0.24, lambda: macs("resnet34") / macs("vgg16")),
    ("xception", "parameters of", 1, lambda: params("xception") / params("inception_v3")),
]

# The same of the strengths and weaknesses that the registry tells, by a network.
REGISTRY: list[tuple[str, str, float, Callable[[], float]]] = [
    ("alexnet", "96 %", 0.96, lambda: sum(linear("alexnet")) / params("alexnet")),
    ("googlenet", "A ninth", 1 / 9, lambda: params("googlenet") / params("alexnet")),
    ("squeezenet1_1", "A ninth", 1 / 9, lambda: params("squeezenet1_1") / params("resnet18")),
    ("squeezenet1_1", "5 MB", 5, lambda: 4 * params("squeezenet1_1") / 1e6),
    ("seresnet50", "A tenth more", 1.1, lambda: params("seresnet50") / params("resnet50")),
    ("wide_resnet50_2", "Nearly three", 2.8, lambda: macs("wide_resnet50_2") / macs("resnet50")),
    (
        "wide_resnet101_2",
        "Nearly three",
        2.85,
        lambda: params("wide_resnet101_2") / params("resnet101"),
    ),
    ("xception", "as many", 1, lambda: params("xception") / params("inception_v3")),
    ("mobilenet_v1", "An eighth to a ninth", 1 / 8.5, separable_share),
]


def text_of(page: str) -> str:
    return " ".join((TEXTS / f"{page}.md").read_text(encoding="utf-8").split())


def notebook(name: str) -> str:
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    return " ".join(" ".join(cell["source"]) for cell in cells).replace("\n", "")


def figures(text: str) -> Iterator[re.Match[str]]:
    """Numbers that are no years, windows (3×3) or parts of names (ResNet-50, B7)."""
    for found in re.finditer(r"(?<![\w×.\-–/`])\d+(?:[.,]\d+)*(?![\d×-])", text):
        if not re.fullmatch(r"(19|20)\d\d", found.group()):
            yield found


@pytest.mark.parametrize("page", sorted(path.stem for path in TEXTS.glob("*.md")))
def test_each_figure_of_a_page_is_computed_or_cited(page: str) -> None:
    text = text_of(page)
    phrases = [*CITED.get(page, {}), *(phrase() for name, phrase in COMPUTED if name == page)]
    for phrase in phrases:
        assert text.count(phrase) == 1, phrase
    known = [range(at := text.index(phrase), at + len(phrase)) for phrase in phrases]
    for figure in figures(text):
        around = text[max(0, figure.start() - 30) : figure.end() + 30]
        assert any(figure.start() in one for one in known), f"no source of …{around}…"


@pytest.mark.parametrize(("page", "phrase", "told", "computed"), TOLD_IN_WORDS)
def test_words_of_a_page_tell_what_is_computed(
    page: str, phrase: str, told: float, computed: Callable[[], float]
) -> None:
    assert phrase in text_of(page)
    assert computed() == pytest.approx(told, rel=TOLD)


@pytest.mark.parametrize(("name", "phrase", "told", "computed"), REGISTRY)
def test_strengths_and_weaknesses_tell_what_is_computed(
    name: str, phrase: str, told: float, computed: Callable[[], float]
) -> None:
    info = cz.model_info(name)
    assert phrase in f"{info.strengths} {info.weaknesses}"
    assert computed() == pytest.approx(told, rel=TOLD)


@pytest.mark.parametrize(
    ("page", "phrase", "name"),
    [
        ("alexnet", "In {} the best entries", "alexnet"),
        ("vgg", "asked in {} what depth", "vgg16"),
        ("googlenet", "challenge of {} with a top-5", "googlenet"),
        ("inception", "In {} the authors", "inception_v4"),
        ("resnet", "challenge of {} with a top-5", "resnet50"),
        ("later-resnets", "*Identity Mappings* ({})", "resnetv2_50"),
        ("later-resnets", "challenge, of {};", "seresnet50"),
        ("later-resnets", "*Bag of Tricks* ({})", "resnet50d"),
        ("resnext", "ResNeXt ({})", "resnext50_32x4d"),
        ("wide-resnet", "In {} the race", "wide_resnet50_2"),
        ("densenet", "DenseNet ({})", "densenet121"),
        ("squeezenet", "In {} the aim", "squeezenet1_0"),
        ("xception", "*extreme Inception* ({})", "xception"),
        ("xception", "DeepLab v3+ ({})", "xception41"),
        ("mobilenet", "**V1** ({})", "mobilenet_v1"),
        ("mobilenet", "**V2** ({})", "mobilenet_v2"),
        ("mobilenet", "**V3** ({})", "mobilenet_v3_large"),
        ("mobilenet", "**V4** ({})", "mobilenet_v4_conv_small"),
        ("efficientnet", "Tan and Le ({})", "efficientnet_b0"),
        ("efficientnet", "In {} the Lite", "efficientnet_lite0"),
        ("efficientnet-v2", "Tan and Le ({})", "efficientnet_v2_s"),
        ("vit", "his colleagues ({})", "vit_b_16"),
        ("deit", "his colleagues ({})", "deit_small_16"),
    ],
)
def test_years_of_a_page_are_those_of_the_registry(page: str, phrase: str, name: str) -> None:
    assert phrase.format(cz.model_info(name).year) in text_of(page)


def test_pages_count_layers_as_the_graphs_do() -> None:
    groups = Counter(str(one["groups"]) for one in layers("alexnet_2012", "conv"))
    assert groups == {"1": 2, "2": 3}
    assert "three convolutions" in text_of("alexnet")

    convs = [len(layers(name, "conv")) for name in cz.list_models("vgg*", source="torchvision")]
    assert (min(convs), max(convs), len(layers("vgg16", "linear"))) == (8, 16, 3)
    assert "stacked eight to sixteen deep before three" in text_of("vgg")

    depthwise = [one for one in layers("xception", "conv") if one["groups"] != 1]
    shortcuts = len(layers("xception", "add"))
    ordinary = [one for one in layers("xception", "conv") if one["groups"] == 1]
    assert len([one for one in ordinary if one["kernel"] == 3]) == 2
    assert (len(depthwise), shortcuts) == (34, 12)
    assert "Two ordinary convolutions and thirty-four such pairs, in fourteen" in text_of(
        "xception"
    )

    every = layers("inception_resnet_v2", "conv")
    assert len(every) > 200
    assert 2 * len([one for one in every if one["kernel"] == 1]) > len(every)


def test_pages_compare_networks_as_the_registry_does() -> None:
    infos = [cz.model_info(name) for name in cz.list_models()]
    for info in infos:
        if info.top1 is None:
            continue
        if info.family != "AlexNet":
            assert info.top1 > top1("alexnet"), "AlexNet: all later ones are more accurate"
        if info.year > 2016 and info.macs >= macs("squeezenet1_0") / 2:
            assert info.top1 > top1("squeezenet1_0"), "SqueezeNet: the least accurate at its cost"
        if not info.family.startswith("VGG") and info.top1 <= top1("vgg19_bn"):
            assert info.params < params("vgg11"), "VGG: the most parameters for its accuracy"
            assert info.macs < macs("vgg11"), "VGG: the most multiply-adds for its accuracy"
    assert macs("mobilenet_v3_small") < macs("squeezenet1_1")
    assert top1("mobilenet_v3_small") > top1("squeezenet1_1")
    assert top1("resnet34") > top1("vgg16")
    assert all(2 * max(linear(name)) > params(name) for name in cz.list_models("vgg1?"))
    assert max(infos, key=lambda info: len(info.weights)).name == "resnet50"
    assert cz.model_info("inception_v3").min_image_size == 75
    years = [info.year for info in infos]
    assert max(years) - min(years) == 12
    assert "Twelve years" in notebook("13_the_zoo_at_a_glance")


def test_notebooks_tell_what_is_computed() -> None:
    assert f"{params('vgg16') / 1e6:.0f} million parameters" in notebook("04_vgg")
    graph = cz.create_model("mobilenet_v1", meta=True).graph
    costs = {row[0]: row[5] for row in graph.rows(224, 224)}
    separable = sum(
        costs[name]
        for name, op, _, fields in graph.operations()
        if op == "conv" and json.loads(fields)["kernel"] == 1
    )
    total = sum(costs.values())
    # A full convolution does nine times the work of a 1×1, in place of that and the depthwise one.
    depthwise = total - separable - sum(costs[name] for name in ("conv_stem", "classifier"))
    times = (total - depthwise + 8 * separable) / total
    assert f"the full one, which takes {times:.1f} times the work" in notebook(
        "08_mobilenet_and_xception"
    )


def test_the_cost_of_a_vit_grows_faster_than_its_patches() -> None:
    wide, narrow = (
        cz.create_model("vit_b_16", meta=True, image_size=size).graph.rows(size, size)
        for size in (384, 224)
    )
    times = sum(row[5] for row in wide) / sum(row[5] for row in narrow)
    assert patches(384) / patches(224) < times < (patches(384) / patches(224)) ** 2
