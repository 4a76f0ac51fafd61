"""The model card of a repository: its README.md, with facts that are known and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cnnzoo import _json, _native
from cnnzoo._arguments import number, shown, text
from cnnzoo._configuration import Configuration
from cnnzoo._text import human
from cnnzoo.errors import ArgumentError
from cnnzoo.preprocess import Preprocess
from cnnzoo.weights.timm_config import fits_timm

# Class labels that are listed.
MOST_LABELS = 100


@dataclass(frozen=True, kw_only=True)
class Told:
    """The facts of a card that only its author knows, each of which may be missing.

    Attributes:
        license: The licence of the weights, such as `apache-2.0`.
        data: The data that the weights were trained on, such as a data set of the hub.
        base: The weights that training began with, such as `timm/resnet50.a1_in1k`.
        metrics: Figures on data that was not trained on, by name.
        description: A text about the model.
    """

    license: str | None = None
    data: str | None = None
    base: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    description: str | None = None

    @classmethod
    def of(cls, license: Any, data: Any, base: Any, metrics: Any, description: Any) -> Told:
        """Check the arguments.

        Raises:
            ArgumentError: One is of another type.
        """
        given = {"license": license, "data": data, "base": base, "description": description}
        texts = {
            name: None if value is None else text(f"`{name}`", value)
            for name, value in given.items()
        }
        metrics = {} if metrics is None else metrics
        if not isinstance(metrics, Mapping):
            raise ArgumentError(f"`metrics`: expected numbers by name, got {shown(metrics)}")
        numbers = {
            text("`metrics`: a name", name): number(f"`metrics`: {name}", value)
            for name, value in metrics.items()
        }
        return cls(metrics=numbers, **texts)


def card_of(
    configuration: Configuration, engine: _native.Model, told: Told, repository: str
) -> str:
    """The text of a model card.

    Args:
        configuration: The network's configuration.
        engine: The network.
        told: The facts that the author states.
        repository: The repository, or the name of the folder, in the example.
    """
    paragraphs = [
        _metadata(configuration, told),
        f"# {repository.rpartition('/')[2]}",
        *([told.description] if told.description else []),
        "## Model\n\n" + _table(_facts(configuration, engine, told)),
    ]
    if told.metrics:
        figures = {name: f"{value:.6g}" for name, value in told.metrics.items()}
        paragraphs.append("## Metrics\n\n" + _table(figures))
    labels = configuration.labels
    if labels:
        shown_labels = ", ".join(labels[:MOST_LABELS])
        more = f" and {len(labels) - MOST_LABELS} more" if len(labels) > MOST_LABELS else ""
        paragraphs.append(f"## Classes\n\n{shown_labels}{more}")
    paragraphs.append("## Preprocessing\n\n" + _preprocessing(configuration.preprocess))
    paragraphs.append("## Use\n\n" + _use(configuration, repository))
    return "\n\n".join(paragraphs) + "\n"


def _metadata(configuration: Configuration, told: Told) -> str:
    """The YAML that the hub reads; every value is JSON, which YAML contains."""
    library = "timm" if fits_timm(configuration) else "cnnzoo"
    facts: dict[str, Any] = {
        "license": told.license,
        "library_name": library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", *dict.fromkeys((library, "cnnzoo"))],
        "base_model": told.base,
        "datasets": [told.data] if told.data and _is_name(told.data) else None,
    }
    lines = [f"{name}: {_json.line(value)}" for name, value in facts.items() if value is not None]
    return "\n".join(["---", *lines, "---"])


def _is_name(data: str) -> bool:
    """Whether this may be the name of a data set of the hub, which the metadata take alone."""
    return " " not in data and all(data.split("/"))


def _facts(configuration: Configuration, engine: _native.Model, told: Told) -> dict[str, str]:
    graph = engine.graph()
    channels, height, width = graph.input_shape
    params = sum(_product(shape) for _, shape, trained in graph.parameters() if trained)
    facts = {"Network": f"`{configuration.name}`"}
    if configuration.source is not None:
        known = _native.model_info(configuration.name, configuration.source)
        facts |= {"Family": known["family"], "Paper": known["paper"]}
        facts["Definition"] = f"that of {configuration.source}"
    options = ", ".join(f"{name}={value!r}" for name, value in configuration.options.items())
    facts |= {
        "Options": options,
        "Parameters": f"{human(params)} ({params:,})",
        "Image": f"{channels} × {height} × {width}",
        "Outputs": f"{engine.num_classes} classes" if engine.num_classes else "features",
        "Task": "several labels for an image" if configuration.task == "multi_label" else "",
        "Trained on": told.data or "",
        "Began with": told.base or "",
        "Licence": told.license or "",
    }
    return {name: fact for name, fact in facts.items() if fact}


def _product(shape: list[int]) -> int:
    product = 1
    for side in shape:
        product *= side
    return product


def _preprocessing(preprocess: Preprocess) -> str:
    mean, std = (", ".join(f"{v:.6g}" for v in of) for of in (preprocess.mean, preprocess.std))
    return (
        f"The short side is resized to {preprocess.resize} pixels ({preprocess.interpolation}), "
        f"the centre cropped to {preprocess.crop} × {preprocess.crop}; values of 0 to 1 are "
        f"normalised with mean {mean} and standard deviation {std}."
    )


def _use(configuration: Configuration, repository: str) -> str:
    lines = [
        "```python",
        "import cnnzoo as cz",
        "",
        f"model = cz.from_pretrained({repository!r})",
        'print(model.predict("photo.jpg"))',
        "```",
    ]
    if fits_timm(configuration):
        kind = "hf-hub" if "/" in repository else "local-dir"
        lines += [
            "",
            "```python",
            "import timm",
            "",
            f"model = timm.create_model({f'{kind}:{repository}'!r}, pretrained=True).eval()",
            "```",
        ]
    return "\n".join(lines)


def _table(facts: Mapping[str, str]) -> str:
    rows = [f"| {name} | {fact.replace('|', chr(92) + '|')} |" for name, fact in facts.items()]
    return "\n".join(["| | |", "|---|---|", *rows])
