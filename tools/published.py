"""Writes the table of published weights from the metadata of torchvision, timm and Keras.

    python tools/published.py [--timm results-imagenet.csv] [--keras index.md]

The networks are those of the registry. torchvision states the accuracies of its weights, and Keras
those of MobileNetV3. The others are in no library: they are kept from the existing table, or taken
from the file `results/results-imagenet.csv` of timm's repository and the page
`templates/api/applications/index.md` of keras.io's. Keras's normalisation is kept from the table.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cnnzoo import _native

os.environ.setdefault("KERAS_BACKEND", "torch")

TABLE = Path(__file__).parents[1] / "python" / "cnnzoo" / "weights" / "published.csv"
COLUMNS = (
    *("source", "source_name", "tag", "default", "address", "hash", "license", "classes"),
    *("top1", "top5", "accuracy_from"),
    *("resize", "crop", "fit", "interpolation", "mean", "std", "data", "recipe"),
)

# The places where accuracies are stated, as the table names them.
TIMM_RESULTS = "results/results-imagenet.csv of timm"
KERAS_PAGE = "keras.io/api/applications"

Row = dict[str, str]

# Training data beyond ImageNet-1k's training set, by a part of the tag.
DATA = {
    "SWAG": "Instagram-3.6B",
    "bamboo": "Bamboo-69M",
    "ig1b": "Instagram-1B",
    "in12k": "ImageNet-12k",
    "in21k": "ImageNet-21k",
    "jft": "JFT-300M",
    "yfcc100m": "YFCC-100M",
}


def read(path: Path = TABLE) -> list[Row]:
    """The rows of a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write(rows: list[Row]) -> None:
    """Write the table, sorted."""
    with TABLE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda r: (r["source"], r["source_name"], r["tag"])))


def extra_data(tag: str) -> str:
    """The training data of weights of this tag, beside ImageNet-1k."""
    return " ".join(data for part, data in DATA.items() if part in tag.split("_"))


def numbers(values: Any) -> str:
    """Numbers as the table writes them."""
    return " ".join(f"{float(value):.8g}" for value in values)


def torchvision_rows(name: str) -> Iterator[Row]:
    """Every row of a network, complete."""
    from torchvision.models import get_model_weights

    every = get_model_weights(name)
    for weights in every:
        meta, transform = weights.meta, weights.transforms()
        metrics = meta["_metrics"]["ImageNet-1K"]
        [digits] = re.findall(r"-([0-9a-f]{8})\.pth$", weights.url)
        yield {
            "source": "torchvision",
            "source_name": name,
            "tag": weights.name,
            "default": "1" if weights is every.DEFAULT else "",
            "address": weights.url,
            "hash": f"sha256:{digits}",
            "license": meta.get("license", ""),
            "classes": str(len(meta["categories"] or ())),
            "top1": _accuracy(metrics["acc@1"]),
            "top5": _accuracy(metrics["acc@5"]),
            "accuracy_from": "" if math.isnan(metrics["acc@1"]) else "torchvision",
            "resize": str(transform.resize_size[0]),
            "crop": str(transform.crop_size[0]),
            "fit": "center",
            "interpolation": transform.interpolation.value,
            "mean": numbers(transform.mean),
            "std": numbers(transform.std),
            "data": extra_data(weights.name),
            "recipe": meta["recipe"],
        }


def _accuracy(value: float) -> str:
    return "" if math.isnan(value) else f"{value:g}"


def timm_rows(name: str) -> Iterator[Row]:
    """Every row of a network, without accuracies."""
    import timm

    # Its fields are optional to the type checker.
    look_up: Any = timm.get_pretrained_cfg
    default = look_up(name).tag
    for full_name in timm.list_pretrained(f"{name}.*", exclude_filters=""):
        cfg = look_up(full_name)
        size = cfg.input_size[-1]
        yield {
            "source": "timm",
            "source_name": name,
            "tag": cfg.tag,
            "default": "1" if cfg.tag == default else "",
            # The digits in the names of timm's own downloads are never checked.
            "address": cfg.hf_hub_id or cfg.url,
            "hash": "",
            "license": cfg.license or "",
            "classes": str(cfg.num_classes),
            "resize": str(math.floor(size / cfg.crop_pct)),
            "crop": str(size),
            "fit": cfg.crop_mode,
            "interpolation": cfg.interpolation,
            "mean": numbers(cfg.mean),
            "std": numbers(cfg.std),
            "data": extra_data(cfg.tag),
            "recipe": cfg.paper_ids or cfg.origin_url or "",
        }


class _FoundError(Exception):
    """Carries the address and hash that Keras was about to download."""


def keras_rows(name: str) -> Iterator[Row]:
    """The row of a network such as `MobileNet(alpha=0.5)`, without normalisation.

    Accuracies are MobileNetV3's alone.
    """
    import keras
    from keras.src.utils import file_utils

    def found(_name: str, address: str, *_: Any, file_hash: str | None = None, **__: Any) -> None:
        raise _FoundError(address, file_hash)

    function, _, inside = name.rstrip(")").partition("(")
    options: dict[str, Any] = {}
    for option in filter(None, inside.split(",")):
        key, _, value = option.partition("=")
        options[key] = float(value) if value else True
    get_file, file_utils.get_file = file_utils.get_file, found
    try:
        with keras.device("meta"):
            getattr(keras.applications, function)(weights="imagenet", **options)
    except _FoundError as error:
        address, md5 = error.args
    finally:
        file_utils.get_file = get_file
    yield {
        "source": "keras",
        "source_name": name,
        "tag": "imagenet",
        "default": "1",
        "address": address,
        "hash": f"md5:{md5}" if md5 else "",
        "license": "",
        "classes": "1000",
        "resize": "",
        "fit": "",
        "interpolation": "",
        "data": "",
        "recipe": "",
        **_of_docstring(name),
    }


def _of_docstring(name: str) -> Row:
    """The accuracy that the docstring of Keras's MobileNetV3 states in a table."""
    import keras

    found = re.fullmatch(r"(MobileNetV3)(Small|Large)\(alpha=([\d.]+)(,minimalistic)?.*\)", name)
    if found is None:
        return {}
    kind, size, alpha, minimal = found.groups()
    entry = f"mobilenet_v3_{size.lower()}_{'minimalistic_' if minimal else ''}{alpha}_224"
    text = getattr(keras.applications, kind + size).__doc__
    [top1] = re.findall(rf"\| {entry} +(?:\|[^|]+){{2}}\| +([\d.]+) ", text)
    return {"top1": top1, "top5": "", "accuracy_from": f"keras.applications.{kind}{size}"}


def timm_accuracies(lines: Iterable[str]) -> dict[tuple[str, str], Row]:
    """The accuracies of timm's results file, by `network.tag` and image size."""
    return {
        (row["model"], row["img_size"]): {
            "top1": _accuracy(float(row["top1"])),
            "top5": _accuracy(float(row["top5"])),
            "accuracy_from": TIMM_RESULTS,
        }
        for row in csv.DictReader(lines)
    }


def keras_accuracies(lines: Iterable[str]) -> dict[str, Row]:
    """The accuracies of the page of Keras's applications, by the name of the function."""
    found = (
        re.match(r"\| \[(\w+)\][^|]*\|[^|]*\| ([\d.]+)% \| ([\d.]+)% \|", line) for line in lines
    )
    return {
        match[1]: {"top1": match[2], "top5": match[3], "accuracy_from": KERAS_PAGE}
        for match in found
        if match
    }


ROWS = {"torchvision": torchvision_rows, "timm": timm_rows, "keras": keras_rows}


def main() -> int:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Write the table of published weights.")
    parser.add_argument("--timm", type=Path, help="results-imagenet.csv of timm's repository")
    parser.add_argument("--keras", type=Path, help="index.md of the applications on keras.io")
    args = parser.parse_args()
    timm = timm_accuracies(args.timm.read_text().splitlines()) if args.timm else {}
    keras = keras_accuracies(args.keras.read_text().splitlines()) if args.keras else {}
    by_key = {(row["source"], row["source_name"], row["tag"]): row for row in read()}
    rows = []
    for _, source, name in _native.editions():
        for row in ROWS[source](name) if source in ROWS else ():
            before = by_key.get((source, name, row["tag"]), {})
            # The page has only the widest network of each function.
            function = name.replace("(alpha=1.0)", "")
            stated = {
                "timm": timm.get((f"{name}.{row['tag']}", row.get("crop", "")), {}),
                "keras": keras.get(function, {}),
            }
            rows.append({**before, **stated.get(source, {}), **row})
    write(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
