"""The model registry: names, facts and constructors."""

from __future__ import annotations

import functools
import inspect
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from cnnzoo import _native
from cnnzoo._arguments import instance, number, shown, text
from cnnzoo._html import html_facts, html_fold, html_table
from cnnzoo._neighbours import tagged
from cnnzoo._text import human
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model, create_model
from cnnzoo.weights.published import edition_accuracies, other_editions, published_weights

Constructor: TypeAlias = Callable[..., Model]

# The largest and the smallest width of running text, in characters.
WIDEST = 88
NARROWEST = 20
# More weights than these are folded in a notebook.
MOST_UNFOLDED = 6


@dataclass(frozen=True, kw_only=True, repr=False)
class ModelInfo:
    """The facts about one model, which print as `cnnzoo info` does.

    Attributes:
        name: The model's name in cnnzoo.
        family: The architecture that it is a variant of.
        year: The paper's year.
        paper: The paper's authors, title and venue.
        idea: The idea in a sentence.
        strengths: Its advantages.
        weaknesses: Its drawbacks.
        source: The library or paper whose definition these numbers are of.
        source_name: That source's name for it.
        sources: All sources that define it.
        default_source: The source that is built unless another is asked for.
        options: Options of `create_model` for it, beside source, weights, device and seed.
        deviations: Differences between that definition and the paper.
        params: Number of trainable parameters.
        macs: Multiply-adds (MACs) of convolutions, linear layers and attention for one image.
        activations: Output values of convolutions and linear layers for one image.
        input_size: Height and width of that image in pixels.
        fixed_image_size: Whether a model takes images of one size only: `input_size`, or the option
            `image_size`.
        min_image_size: The smallest height and width of images in pixels; if the size is fixed, the
            smallest `image_size`.
        min_training_image_size: The same in training, where auxiliary classifiers may need more.
        num_classes: Number of classes of the data it was designed for: 1000 of ImageNet, 10 of
            CIFAR-10.
        weights: Tags of published weights, as `weights=` takes them, the best first; unless a
            source was asked for, those of the other sources come after those of this one.
        accuracies: Top-1 accuracy of those weights in percent on ImageNet's validation set, by tag,
            as their publishers state it. Weights whose publisher states none are not in it.
    """

    name: str
    family: str
    year: int
    paper: str
    idea: str
    strengths: str
    weaknesses: str
    source: str
    source_name: str
    sources: tuple[str, ...]
    default_source: str
    options: tuple[str, ...]
    deviations: str
    params: int
    macs: int
    activations: int
    input_size: int
    fixed_image_size: bool
    min_image_size: int
    min_training_image_size: int
    num_classes: int
    weights: tuple[str, ...]
    accuracies: dict[str, float] = field(hash=False)

    @property
    def top1(self) -> float | None:
        """The top-1 accuracy of the first of `weights` in percent; None if none is stated."""
        return self.accuracies.get(self.weights[0]) if self.weights else None

    def text(self, *, width: int = WIDEST) -> str:
        """The facts as text, in lines of at most so many characters."""
        lines = {**_facts(self), "weights (top-1)": _weights(self)}
        indent = max(map(len, lines)) + 2
        shown = [f"{self.name} · {self.family}, {self.year}", "", textwrap.fill(self.idea, width)]
        shown.append("")
        for title, fact in lines.items():
            first, *others = textwrap.wrap(fact, max(NARROWEST, width - indent))
            shown += [f"{title:<{indent}}{first}", *(" " * indent + line for line in others)]
        return "\n".join(shown)

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        facts = {"idea": self.idea, **_facts(self), "weights": _weights_in_html(self)}
        return html_facts(f"{self.name} · {self.family}, {self.year}", facts.items())

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; facts that an earlier version did not have are looked up."""
        if any(field.name not in state for field in fields(self)):
            state = vars(model_info(state["name"], source=state["source"])) | state
        vars(self).update(state)


@functools.cache
def accepted_names() -> frozenset[str]:
    """Every name that `create_model` takes: ours, and those of the sources."""
    return frozenset(_native.accepted_names())


def model_info(name: str, *, source: str | None = None) -> ModelInfo:
    """Look up the facts about a model.

    Args:
        name: A name of `list_models()`, or a source's name for the model.
        source: The source of the definition; the model's default one if not given.

    Raises:
        UnknownModelError: There is no such model.
        ArgumentError: The model has no such source.
    """
    name = text("`name`", name, "the name of a model")
    if source is not None:
        source = text("`source`", source, "the name of a source")
    if source in {None, "timm"} and (of_timm := tagged(name)) is not None:
        return _cached_info(of_timm[0], "timm")
    return _cached_info(name, source)


@functools.cache
def _cached_info(name: str, source: str | None) -> ModelInfo:
    facts = _native.model_info(name, source)
    lists = {field: tuple(facts[field]) for field in ("sources", "options")}
    sizes = _native.image_sizes(name, source)
    edition = (facts["source"], facts["source_name"])
    top1 = edition_accuracies(*edition)
    if source is None:
        for other in other_editions(facts["name"], *edition):
            top1 |= {t: v for t, v in edition_accuracies(*other).items() if t not in top1}
    accuracies = {tag: value for tag, value in top1.items() if value is not None}
    return ModelInfo(
        **{**facts, **sizes, **lists, "weights": tuple(top1), "accuracies": accuracies}
    )


def list_models(
    pattern: str = "*",
    *,
    family: str | None = None,
    source: str | None = None,
    weights: bool | None = None,
    max_params: float | None = None,
    max_macs: float | None = None,
) -> list[str]:
    """List the names of models, family by family.

    Args:
        pattern: A glob pattern, with `*`, `?` and `[...]`.
        family: Only this family, case-insensitive: `"resnet"`.
        source: Only models with a definition of this source; the limits are on that definition.
        weights: Only models that have published weights, or (`False`) have none.
        max_params: Only models with at most so many trainable parameters.
        max_macs: Only models with at most so many multiply-adds for one image.

    Raises:
        ArgumentError: There is no such family, or no such source.
    """
    text("`pattern`", pattern)
    for at, given in (("`family`", family), ("`source`", source)):
        _ = given is None or text(at, given)
    if weights is not None:
        instance("`weights`", weights, bool, "True or False")
    max_params, max_macs = (
        None if most is None or most is math.inf else number(at, most)
        for at, most in (("`max_params`", max_params), ("`max_macs`", max_macs))
    )
    names = [name for name in _native.model_names() if fnmatchcase(name, pattern)]
    if all(limit is None for limit in (family, source, weights, max_params, max_macs)):
        return names
    everything = [_cached_info(name, None) for name in _native.model_names()]
    families = dict.fromkeys(info.family for info in everything)
    sources = dict.fromkeys(source for info in everything for source in info.sources)
    if family is not None and family.lower() not in map(str.lower, families):
        raise ArgumentError(f"`family`: expected one of {', '.join(families)}, got {shown(family)}")
    if source is not None and source not in sources:
        raise ArgumentError(f"`source`: expected one of {', '.join(sources)}, got {shown(source)}")

    def wanted(name: str) -> bool:
        if source is not None and source not in _cached_info(name, None).sources:
            return False
        info = _cached_info(name, source)
        return (
            (family is None or info.family.lower() == family.lower())
            and (weights is None or bool(info.weights) == weights)
            and (max_params is None or info.params <= max_params)
            and (max_macs is None or info.macs <= max_macs)
        )

    return [name for name in names if wanted(name)]


def constructor(name: str) -> Constructor:
    """Make the function that builds one model."""

    def build(**options: Any) -> Model:
        return create_model(name, **options)

    info = model_info(name)
    build.__name__ = build.__qualname__ = name
    build.__module__ = "cnnzoo"
    signature = inspect.signature(create_model)
    choices = [p for p in signature.parameters.values() if p.name != "name"]
    build.__signature__ = signature.replace(parameters=choices)  # type: ignore[attr-defined]
    build.__doc__ = (
        f"Build {name}: {info.idea}\n\n"
        f"{info.paper}.\n\n"
        f"The same as `create_model({name!r}, ...)`, and with its options.\n"
    )
    return build


def _facts(info: ModelInfo) -> dict[str, str]:
    """The facts by their titles, without the weights."""
    others = [source for source in info.sources if source != info.source]
    return {
        "paper": info.paper,
        "strengths": info.strengths,
        "weaknesses": info.weaknesses,
        "source": info.source + (f"; also of {', '.join(others)}" if others else ""),
        "deviations": info.deviations,
        "parameters": f"{human(info.params)} ({info.params:,})",
        "multiply-adds": f"{human(info.macs)} ({info.macs:,}) for one image",
        "activations": f"{human(info.activations)} ({info.activations:,}) for one image",
        "image": _image(info),
    }


def _image(info: ModelInfo) -> str:
    size, least, in_training = (
        f"{side} × {side}"
        for side in (info.input_size, info.min_image_size, info.min_training_image_size)
    )
    text = f"{size} pixels; " + ("image_size: " if info.fixed_image_size else "")
    return f"{text}at least {least}" + (f", in training {in_training}" * (in_training != least))


def _weights(info: ModelInfo) -> str:
    """The tags with their accuracies."""
    tags = [
        f"{tag} ({info.accuracies[tag]:.2f}%)" if tag in info.accuracies else tag
        for tag in info.weights
    ]
    return ", ".join(tags) or "none are published"


def _weights_in_html(info: ModelInfo) -> str:
    """A table of the weights, folded if it is long."""
    if not info.weights:
        return _weights(info)
    own = published_weights(info.source_name, source=info.source)
    by_tag = {weights.tag: weights for weights in (*published_weights(info.name), *own)}
    every = [by_tag[tag] for tag in info.weights]
    rows = [
        (
            weights.tag,
            *("" if value is None else f"{value:.2f}%" for value in (weights.top1, weights.top5)),
            weights.data,
            weights.license,
        )
        for weights in every
    ]
    head = ("weights", "top-1", "top-5", "extra data", "licence")
    table = html_table(head, rows, right=(1, 2))
    if len(rows) <= MOST_UNFOLDED:
        return table
    return html_fold(f"{rows[0][0]} {rows[0][1]}, and {len(rows) - 1} more", table)
