"""Writes the table of published weights from the metadata of torchvision, timm and Keras.

    python tools/published.py [ACCURACIES.csv]

The networks are those of the registry. The accuracies of timm's and Keras's weights, and Keras's
normalisation, are in no library: they are kept from the existing table, or taken from
ACCURACIES.csv, which has the same columns.
"""

from __future__ import annotations

import csv
import math
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cnnzoo import _native

os.environ.setdefault("KERAS_BACKEND", "torch")

TABLE = Path(__file__).parents[1] / "python" / "cnnzoo" / "weights" / "published.csv"
COLUMNS = (
    *("source", "source_name", "tag", "default", "address", "hash", "license", "classes"),
    *("top1", "top5", "resize", "crop", "fit", "interpolation", "mean", "std", "data", "recipe"),
)

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
    """The row of a network such as `MobileNet(alpha=0.5)`, without accuracies and normalisation."""
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
    }


ROWS = {"torchvision": torchvision_rows, "timm": timm_rows, "keras": keras_rows}


def main() -> int:
    """Write the table."""
    kept = read(Path(sys.argv[1]) if len(sys.argv) > 1 else TABLE)
    by_key = {(row["source"], row["source_name"], row["tag"]): row for row in kept}
    rows = []
    for _, source, name in _native.editions():
        for row in ROWS[source](name) if source in ROWS else ():
            before = by_key.get((source, name, row["tag"]), {})
            rows.append({**before, **row})
    write(rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
