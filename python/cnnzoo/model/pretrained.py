"""Loading a model from a folder or a repository of the Hugging Face hub."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from cnnzoo._arrays import Device
from cnnzoo._configuration import Configuration, WeightsFile, damaged
from cnnzoo._neighbours import tagged
from cnnzoo._record import Misfit
from cnnzoo.errors import ArgumentError, Notice, WeightsFileNotFoundError
from cnnzoo.model._build import create_model, load
from cnnzoo.model.model import Model
from cnnzoo.weights import repository, timm_config
from cnnzoo.weights.hub import HUB_FILES
from cnnzoo.weights.repository import Access, Place

# What timm does with photographs for weights whose crop mode `Preprocess` does not have.
CROPS = {
    "squash": "resizes photographs to a square for these weights, whatever their aspect ratio",
    "border": "shows photographs as a whole for these weights, with a border around them",
}
# More classes than this are looked for in the weights before a network with them is built.
MANY_CLASSES = 2**15


def from_pretrained(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    device: Device = "cpu",
    **options: Any,
) -> Model:
    """Load a model from a repository of the Hugging Face hub, or from a folder.

        model = cz.from_pretrained("timm/resnet50.a1_in1k")

    Repositories are those of timm, and those that `Model.push_to_hub` or timm's `push_to_hf_hub`
    wrote. Files are downloaded once, into the cache of huggingface_hub; `HF_HUB_OFFLINE=1` and
    `CNNZOO_OFFLINE=1` take them from there. Files are data: no code of a repository is run.

    Without huggingface_hub (the extra `hub`), folders are loaded, and the weights of timm that
    `model_info(name).weights` lists.

    Args:
        name: A repository `owner/name`, which may begin with `hf-hub:` and end with `@` and a
            revision; or a folder, as `Model.save_pretrained` writes it.
        revision: A branch, a tag or a commit of the repository; the main branch if not given.
        token: A token for private repositories; that of `hf auth login` or `HF_TOKEN` if not given.
            False sends none.
        cache_dir: The folder of the cache; that of huggingface_hub if not given.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.
        **options: Options of `create_model` in place of the repository's: `num_classes=10` loads
            the network with a fresh classifier.

    Raises:
        ArgumentError: The name or an option is invalid.
        UnknownModelError: It is a network that cnnzoo does not have; the error names the closest.
        MissingPackageError: huggingface_hub is not installed.
        WeightsError: There is no such repository or folder, it is private, damaged, or not in the
            cache; or the hub does not answer.
    """
    place = repository.place_of(name, revision)
    access = Access.of(token, cache_dir)
    if _is_in_table(place) and not repository.is_installed():
        return create_model(place.name, device=device, **options)
    config = repository.file_of(place, repository.CONFIG, access)
    weights = next(
        (path for file in HUB_FILES if (path := repository.file_of(place, file, access))), None
    )
    if weights is None:
        raise WeightsFileNotFoundError(
            f"{place.name}: expected {' or '.join(HUB_FILES)}, got neither"
        )
    saved = Configuration.of_file(WeightsFile.open(weights))
    if saved is not None:
        return _of_model_file(weights, saved, device, options)
    if config is None:
        raise WeightsFileNotFoundError(
            f"{place.name}: expected {repository.CONFIG}, which says what network it is, got none"
        )
    return _of_timm(config, weights, device, options)


def _is_in_table(place: Place) -> bool:
    """Whether these are published weights, which need no huggingface_hub."""
    return (
        place.repository is not None
        and place.repository.startswith("timm/")
        and place.revision is None
        and tagged(place.repository) is not None
    )


def _of_model_file(
    weights: Path, saved: Configuration, device: Device, options: dict[str, Any]
) -> Model:
    if not options:
        return load(weights, device=device)
    if saved.graph is not None:
        return _of_own_graph(weights, saved, device, options)
    return create_model(saved.name, source=saved.source, weights=weights, device=device, **options)


def _of_own_graph(
    weights: Path, saved: Configuration, device: Device, options: dict[str, Any]
) -> Model:
    """A model whose network is a graph of the user's, which has no options but a new classifier."""
    if others := sorted(options.keys() - {"num_classes"}):
        raise ArgumentError(
            f"options of {saved.name}: expected `num_classes` alone, since its network is a graph "
            f"in the file, which is no function of options, got `{others[0]}`"
        )
    model = load(weights, device=device)
    if options["num_classes"] != model.num_classes:
        model.reset_classifier(num_classes=options["num_classes"])
    return model


def _of_timm(config: Path, weights: Path, device: Device, options: dict[str, Any]) -> Model:
    with damaged(str(config)):
        found = timm_config.read(config)
        if "num_classes" not in options:
            _check_classes(weights, found.options["num_classes"])
    model = create_model(
        found.name,
        source="timm",
        weights=weights,
        device=device,
        **{**found.options, **options},
    )
    with damaged(str(config)):
        _check_taken(model, options)
    preprocess = timm_config.resized(found.preprocess, options.get("image_size"))
    model.preprocess = preprocess.with_channels(model.graph.input_shape[0])
    if found.labels is not None and len(found.labels) == model.num_classes:
        model.labels = found.labels
    if found.crop_mode != "center":
        warnings.warn(
            f"{config}: timm {CROPS[found.crop_mode]}; `preprocess` keeps the aspect ratio and "
            "crops the centre",
            Notice,
            stacklevel=3,
        )
    return model


def _check_classes(weights: Path, classes: int) -> None:
    """Refuse more classes than any array of the file has, for which memory might not suffice.

    Raises:
        Misfit: There are.
    """
    if classes <= MANY_CLASSES:
        return
    stored = WeightsFile.open(weights).stored
    most = max((side for name in stored for side in stored[name].shape), default=0)
    if classes > most:
        raise Misfit(
            "num_classes", f"at most the {most} of the largest side in {weights.name}", classes
        )


def _check_taken(model: Model, options: dict[str, Any]) -> None:
    """Refuse a configuration with other classes or channels than the weights beside it.

    Raises:
        Misfit: The classifier would be a fresh one, or the first convolution an adapted one,
            without the user's wish.
    """
    report = model.load_report
    if report is None:
        return
    for option, changed in (("num_classes", report.mismatched), ("in_channels", report.adapted)):
        if changed and option not in options:
            one = changed[0]
            raise Misfit(
                option,
                f"that of the weights, where {one.name} has shape {one.got}",
                f"that of shape {one.expected}",
            )
