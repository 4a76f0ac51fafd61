"""The rows of a comparison: models of names and patterns, with one or all of their weights."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias, get_args

from cnnzoo import _native
from cnnzoo._arguments import instance, kind_of, one_of, shown
from cnnzoo._neighbours import tagged
from cnnzoo.comparison.comparison import Comparison
from cnnzoo.comparison.row import ComparedModel, costs
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model
from cnnzoo.registry import ModelInfo, list_models, model_info
from cnnzoo.weights import Published, published_weights
from cnnzoo.weights.published import choose_weights

# A model to compare: a name or pattern, with a source or a tag of weights beside it, or an object.
Compared: TypeAlias = "str | tuple[str, str] | ModelInfo | Model"
Which: TypeAlias = Literal["best", "all"]

PAIR = 2


def compare(
    models: Compared | Iterable[Compared] = "*",
    *,
    weights: Which = "best",
    extra_data: bool = True,
) -> Comparison:
    """Compare models: their size, cost, memory and published accuracy.

    Nothing is downloaded and no network is run. `Comparison.measure` measures times.

    Args:
        models: Names or patterns of `list_models()`, sources' own names (timm's `resnet50.a1_in1k`
            with those weights), pairs of one of these and a source or a tag of weights,
            `("resnet50", "keras")`, results of `model_info`, and models; one of these, or several.
        weights: The published weights whose accuracy is shown. `"best"`: of the model's source its
            default weights, or the best if the accuracy of these is not published. `"all"`: a row
            for each of that source's weights.
        extra_data: Whether weights that were trained on more than ImageNet-1k are among them.

    Returns:
        A row for each model; `print` shows a table, `plot` draws.

    Raises:
        UnknownModelError: There is no model of a name.
        ArgumentError: Something else is given than models, or no model, or a pattern matches none.
        WeightsError: There are no weights of a tag.
    """
    one_of("`weights`", weights, get_args(Which))
    instance("`extra_data`", extra_data, bool, "True or False")
    one = isinstance(models, str | ModelInfo | Model)
    if not one and not isinstance(models, Iterable):
        raise ArgumentError(f"`models`: expected names, pairs or models, got {kind_of(models)}")
    rows: list[ComparedModel] = []
    for entry in [models] if one else models:  # type: ignore[union-attr]
        rows += [row for row in _rows(entry, weights, extra_data) if row not in rows]
    if not rows:
        raise ArgumentError("`models`: expected at least one, got none")
    return Comparison(rows)


def _rows(entry: Any, which: Which, extra_data: bool) -> Iterator[ComparedModel]:
    """The rows of one argument."""
    if isinstance(entry, Model):
        yield _of_model(entry)
        return
    if isinstance(entry, ModelInfo):
        yield from _with_weights(entry, which, extra_data)
        return
    name, beside = _name(entry)
    tag = beside if beside is not None and "/" in beside else None
    source = beside if tag is None else None
    if tag is None and source in {None, "timm"} and (of_timm := tagged(name)) is not None:
        (name, tag), source = of_timm, "timm"
    for one in _matching(name, source):
        if tag is None:
            yield from _with_weights(model_info(one, source=source), which, extra_data)
        else:
            published = choose_weights(one, source, tag)
            if published is None:
                raise ArgumentError(f"`models`: expected a tag beside {one}, got the file {tag!r}")
            info = model_info(published.source_name, source=published.source)
            yield _row(info, published)


def _name(entry: Any) -> tuple[str, str | None]:
    """A name or pattern, and the source or tag beside it."""
    if isinstance(entry, str):
        return entry, None
    if isinstance(entry, tuple | list) and len(entry) == PAIR:
        name, beside = entry
        if isinstance(name, str) and isinstance(beside, str):
            return name, beside
    raise ArgumentError(
        f"`models`: expected a name, (name, source), ModelInfo or Model, got {shown(entry)}"
    )


def _matching(name: str, source: str | None) -> list[str]:
    """The names that a pattern matches; a name that is no pattern itself."""
    if not set(name) & set("*?["):
        return [name]
    names = list_models(name, source=source)
    if not names:
        of = f" of {source}" * (source is not None)
        raise ArgumentError(f"`models`: expected a pattern of models{of}, got {shown(name)}")
    return names


def _with_weights(info: ModelInfo, which: Which, extra_data: bool) -> Iterator[ComparedModel]:
    """A row with the best weights, or one for each."""
    found = [
        weights
        for weights in published_weights(info.source_name, source=info.source)
        if extra_data or not weights.data
    ]
    if which == "best":
        stated = [weights for weights in found if weights.top1 is not None]
        found = (stated or found)[:1]
    if not found:
        yield _row(info, None)
    for weights in found:
        yield _row(info, weights)


def _row(info: ModelInfo, weights: Published | None) -> ComparedModel:
    """The row of a model with these weights, at their image size."""
    options: dict[str, Any] = dict(weights.options) if weights else {}
    if weights and weights.preprocess and weights.preprocess.crop != info.input_size:
        options["image_size"] = weights.preprocess.crop
    if weights and weights.classes != info.num_classes:
        options["num_classes"] = weights.classes
    facts = _facts(info)
    if weights:
        facts |= {"weights": weights.tag, "data": weights.data}
        facts |= {"top1": weights.top1, "top5": weights.top5}
    return ComparedModel(**facts, **_costs(info.source_name, info.source, json.dumps(options)))


def _facts(info: ModelInfo) -> dict[str, Any]:
    return {"name": info.name, "source": info.source, "family": info.family, "year": info.year}


@functools.lru_cache(maxsize=1024)
def _costs(source_name: str, source: str, options: str) -> dict[str, Any]:
    return costs(_native.draw(source_name, source, options))


def _of_model(model: Model) -> ComparedModel:
    """The row of a model as it was built; its accuracy is not known."""
    facts: dict[str, Any] = {"name": model.name}
    if model.source is not None:
        facts = _facts(model_info(model.name, source=model.source))
    return ComparedModel(**facts, **costs(model.graph))
