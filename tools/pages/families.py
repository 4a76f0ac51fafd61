"""A page for each family: what the registry, the graphs and the benchmarks say of it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.pages.links import ROOT, in_both_themes, write_picture

import cnnzoo as cz
from cnnzoo._text import human

TEXTS = ROOT / "docs" / "families"
BENCHMARKS = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True, kw_only=True)
class Page:
    """The families of a page, and what is drawn on it.

    Attributes:
        name: The name of the page, and of its text in `docs/families`.
        families: The families, by the registry's names.
        drawn: The networks that are drawn at block level.
        modules: Networks and a part of each, which is drawn with its inside.
    """

    name: str
    families: tuple[str, ...]
    drawn: tuple[str, ...]
    modules: tuple[tuple[str, str], ...] = ()


ENCODER = "encoder.layers.encoder_layer_0"
PAGES = (
    Page(name="alexnet", families=("AlexNet",), drawn=("alexnet",)),
    Page(name="vgg", families=("VGG", "VGG-BN"), drawn=("vgg16",)),
    Page(
        name="googlenet",
        families=("GoogLeNet",),
        drawn=("googlenet",),
        modules=(("googlenet", "inception3a"),),
    ),
    Page(
        name="inception",
        families=("Inception-v3", "Inception-v4", "Inception-ResNet-v2"),
        drawn=("inception_v3",),
        modules=(("inception_v3", "Mixed_6b"),),
    ),
    Page(
        name="resnet",
        families=("ResNet", "Plain"),
        drawn=("resnet50",),
        modules=(("resnet18", "layer1.0"), ("resnet50", "layer1.1")),
    ),
    Page(
        name="later-resnets",
        families=("ResNet-v2", "ResNet-D", "SE-ResNet"),
        drawn=("resnet50d",),
        modules=(("resnetv2_50", "stages.0.blocks.1"), ("seresnet50", "layer1.1")),
    ),
    Page(
        name="resnext",
        families=("ResNeXt",),
        drawn=("resnext50_32x4d",),
        modules=(("resnext50_32x4d", "layer1.1"),),
    ),
    Page(
        name="wide-resnet",
        families=("Wide ResNet",),
        drawn=("wide_resnet50_2",),
        modules=(("wide_resnet50_2", "layer1.1"),),
    ),
    Page(
        name="densenet",
        families=("DenseNet",),
        drawn=("densenet121",),
        modules=(("densenet121", "stage1"),),
    ),
    Page(
        name="squeezenet",
        families=("SqueezeNet",),
        drawn=("squeezenet1_1",),
        modules=(("squeezenet1_1", "features.6"),),
    ),
    Page(
        name="xception",
        families=("Xception", "Aligned Xception"),
        drawn=("xception",),
        modules=(("xception", "block4"),),
    ),
    Page(
        name="mobilenet",
        families=("MobileNet", "MobileNetV2", "MobileNetV3", "MobileNetV4"),
        drawn=("mobilenet_v2",),
        modules=(("mobilenet_v2", "features.3"), ("mobilenet_v4_hybrid_medium", "blocks.2.4")),
    ),
    Page(
        name="efficientnet",
        families=("EfficientNet", "EfficientNet-Lite"),
        drawn=("efficientnet_b0",),
        modules=(("efficientnet_b0", "features.2.1"),),
    ),
    Page(
        name="efficientnet-v2",
        families=("EfficientNetV2",),
        drawn=("efficientnet_v2_s",),
        modules=(("efficientnet_v2_s", "features.2.1"),),
    ),
    Page(
        name="vit",
        families=("ViT",),
        drawn=("vit_b_16",),
        modules=(("vit_b_16", ENCODER),),
    ),
    Page(name="deit", families=("DeiT",), drawn=("deit_small_distilled_16",)),
)


@functools.cache
def members() -> dict[str, tuple[cz.ModelInfo, ...]]:
    """The networks of each family, as the registry orders them."""
    found: dict[str, list[cz.ModelInfo]] = {}
    for name in cz.list_models():
        info = cz.model_info(name)
        found.setdefault(info.family, []).append(info)
    listed = [family for page in PAGES for family in page.families]
    if sorted(listed) != sorted(found):
        raise SystemExit(f"{__file__}: the pages need each family once: {', '.join(found)}")
    return {family: tuple(infos) for family, infos in found.items()}


def table(head: str, rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; `head` separates its titles by commas, a `:` at the end aligns right."""
    titles = [title.strip() for title in head.split(",")]
    lines = [titles, ["---:" if title.endswith(":") else "---" for title in titles]]
    lines[0] = [title.rstrip(":") for title in titles]
    return "\n".join(f"| {' | '.join(line)} |" for line in [*lines, *rows]) + "\n"


def variants(family: str) -> str:
    """The table of the networks of a family."""
    infos = members()[family]
    by_name = {row.name: row for row in cz.compare([info.name for info in infos])}
    rows = []
    for info in infos:
        row = by_name[info.name]
        top1 = "–" if row.top1 is None else f"{row.top1:.2f}{' †' if row.data else ''}"
        weights = f"`{row.weights}`" if row.weights else "–"
        size = f"{row.input_size}"
        sources = ", ".join(info.sources)
        facts = (human(row.params), human(row.macs), size, top1, weights, sources)
        rows.append((f"`{info.name}`", *facts))
    head = "network, parameters:, multiply-adds:, image:, top-1 in %:, weights, sources"
    beyond = any(row.data for row in by_name.values())
    note = "\n† trained with more data than ImageNet-1k.\n" if beyond else ""
    return table(head, rows) + note


def deviations(family: str) -> str:
    """The differences of each source from the paper, and the networks that have them."""
    found: dict[tuple[str, str], list[str]] = {}
    for info in members()[family]:
        for source in info.sources:
            words = cz.model_info(info.name, source=source).deviations
            found.setdefault((source, words), []).append(f"`{info.name}`")
    total = len(members()[family])
    rows = [
        (source, words, "all" if len(names) == total > 1 else ", ".join(names))
        for (source, words), names in found.items()
    ]
    return table("source, deviations from the paper, networks", rows)


@functools.cache
def measured() -> tuple[str, dict[str, dict[str, tuple[float, float, str]]]]:
    """The machine, and of each setting the times of each network: ours, the best other, its name.

    All of docs/benchmarks.md's tables of inference in float32, in milliseconds.
    """
    text = BENCHMARKS.read_text(encoding="utf-8")
    part = text.split("<!-- inference -->")[1].split("<!-- end of inference -->")[0]
    (machine,) = re.findall(r"^Measured on (.*)\.$", part, re.M)
    settings: dict[str, dict[str, tuple[float, float, str]]] = {}
    for title, rows in re.findall(r"^\*\*(1 image, [^*]*)\*\*.*\n\n((?:\|.*\n)+)", part, re.M):
        head, _, *lines = (
            [cell.strip() for cell in row.split("|")[1:-1]] for row in rows.splitlines()
        )
        for name, *cells in lines:
            best = [
                (engine, cell) for engine, cell in zip(head[1:], cells, strict=True) if "**" in cell
            ]
            if best:
                ((engine, time),) = best
                times = (float(cells[0]), float(time.strip("*")), engine)
                settings.setdefault(title, {})[name] = times
    return machine, settings


def accuracy(name: str) -> cz.Published | None:
    """The most accurate published weights at the size of image that was measured."""
    info = cz.model_info(name)
    fitting = [
        weights
        for weights in cz.published_weights(name)
        if weights.top1 is not None
        and weights.source == info.default_source
        and weights.preprocess is not None
        and weights.preprocess.crop == info.input_size
        and weights.classes == info.num_classes
    ]
    return max(fitting, key=lambda weights: weights.top1 or 0, default=None)


def speed(page: Page) -> str:
    """The section of measured times; empty if none of the networks was measured."""
    machine, settings = measured()
    rows, tags = [], {}
    for name in (info.name for family in page.families for info in members()[family]):
        for title, times in settings.items():
            if name not in times:
                continue
            ours, other, engine = times[name]
            weights = accuracy(name)
            top1, rate = "–", "–"
            if weights is not None and weights.top1 is not None:
                top1, rate = f"{weights.top1:.2f}", f"{weights.top1 / ours:.2f}"
                tags[name] = weights.tag
            rows.append((f"`{name}`", title, top1, f"{ours:g}", rate, f"{other:g} ({engine})"))
    if not rows:
        return ""
    head = "network, setting, top-1 in %:, milliseconds:, % per ms:, fastest other engine:"
    trained = ", ".join(f"`{tag}` for `{name}`" for name, tag in tags.items())
    accuracies = (
        f" Accuracy is what the publisher of the weights states: {trained}." if tags else ""
    )
    return (
        f"## Accuracy per millisecond\n\nMeasured on {machine}, in float32; "
        f"[Benchmarks](../benchmarks.md) says how.{accuracies}\n\n{table(head, rows)}\n"
    )


def picture(name: str, part: str | None, folder: Path) -> str:
    """Draws a network or a part of it; Markdown that shows it."""
    drawn = cz.create_model(name, meta=True).diagram(part=part)
    file = f"{name}.svg" if part is None else f"{name}-{part}.svg"
    write_picture(drawn.svg, folder / "pictures" / file)
    words = name if part is None else f"{part} of {name}"
    return in_both_themes(f"Diagram of {words}", f"pictures/{file}") + "\n{ .diagram }\n"


def facts(family: str) -> str:
    """The paper, strengths and weaknesses as the registry has them."""
    info = members()[family][0]
    return (
        f"**{family}, {info.year}.** {info.idea}\n\n"
        f"- *Strengths:* {info.strengths}\n- *Weaknesses:* {info.weaknesses}\n"
        f"- *Paper:* {linked(info.paper)}\n"
    )


def linked(paper: str) -> str:
    """The same with links to arXiv."""
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def written(page: Page, folder: Path) -> str:
    """The page; its pictures are written below `folder`."""
    text = (TEXTS / f"{page.name}.md").read_text(encoding="utf-8")
    opening, _, rest = text.partition("\n## ")
    parts = [opening.rstrip(), ""]
    parts += [picture(name, None, folder) for name in page.drawn]
    if page.modules:
        parts.append("## Modules\n")
    for name, part in page.modules:
        parts += [f"`{part}` of `{name}`:\n", picture(name, part, folder)]
    parts.append("## Networks\n")
    for family in page.families:
        if len(page.families) > 1:
            parts.append(f"### {family}\n")
        parts += [facts(family), variants(family)]
    parts += [f"## {rest.rstrip()}\n", speed(page), "## Deviations\n"]
    for family in page.families:
        if len(page.families) > 1:
            parts.append(f"**{family}**\n")
        parts.append(deviations(family))
    return "\n".join(parts)


def index() -> str:
    """The list of all families in the order of their papers, with links to their pages."""
    lines = []
    for page in PAGES:
        for family in page.families:
            infos = members()[family]
            sizes = sorted(info.params for info in infos)
            span = " to ".join(dict.fromkeys(human(size) for size in (sizes[0], sizes[-1])))
            count = f"{len(infos)} networks" if len(infos) > 1 else "one network"
            first = infos[0]
            about = f"{first.year}, {count}, {span} parameters"
            lines.append(
                (first.year, f"**[{family}]({page.name}.md)** · {about}  \n{first.idea}\n")
            )
    lines.sort(key=lambda line: line[0])
    opening = (
        "# Networks\n\nEach network equals that of the library that it follows: the same names of "
        "parameters, logits and gradients. [Parity](../parity.md) has the largest difference of "
        "each.\n"
    )
    return "\n".join([opening, *(line for _, line in lines)])
