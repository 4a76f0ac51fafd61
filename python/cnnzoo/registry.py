"""The model registry: names, facts and constructors."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from cnnzoo import _native
from cnnzoo._arguments import instance, number, shown, text
from cnnzoo._neighbours import tagged
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model, create_model
from cnnzoo.weights.published import edition_tags, other_editions

Constructor: TypeAlias = Callable[..., Model]


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The facts about one model.

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
        macs: Multiply-adds (MACs) of convolutions and linear layers for one image.
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
    edition = (facts["source"], facts["source_name"])
    tags = edition_tags(*edition)
    if source is None:
        for other in other_editions(facts["name"], *edition):
            tags += edition_tags(*other)
    sizes = _native.image_sizes(name, source)
    return ModelInfo(**{**facts, **sizes, **lists, "weights": tuple(dict.fromkeys(tags))})


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
