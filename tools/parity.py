"""Writes docs/parity.md, the differences of networks from their sources, from `make parity`."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import sys
from pathlib import Path

import cnnzoo as cz
from cnnzoo import _native

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"

KINDS = ("evaluation", "native", "training", "gradients")

HEAD = """# Parity: the largest difference of every network from its source

Written by `make parity` on {date}, with torch {torch}, torchvision {torchvision}, timm {timm} and
Keras {keras} on its torch backend, on one CPU. Both sides have the same random weights, and norms
that are not the identity. Each number is the largest difference seen, relative to the largest
value of what is compared:

- *evaluation*: logits of odd-sized images, batches of 1 and 3, and for most of the default size;
- *native*: the same on cnnzoo's own engine, where *evaluation* is `exact=True`;
- *training*: logits with batch statistics, and the running statistics after the step;
- *gradients*: of every parameter.

0 means the same bits: torchvision and timm run the same operators of libtorch in the same order,
but for a few where one of them calls another for the same, which leaves what rounding leaves.
The native engine folds norms into weights and adds up in another order. Keras has its channels
last, so sums are taken in another order; `tests/python/tolerance.py` names
the tolerances and their reasons. The networks that only a paper has are in no library:
`tests/python/families/test_paper_*.py` compare them with the paper's tables, and with the network
written out in PyTorch.

| network | source | called there | evaluation | native | training | gradients |
|---|---|---|---|---|---|---|
"""


def main() -> int:
    """Write the page from the tests' JSON file, which is the argument."""
    seen: dict[str, dict[str, float]] = json.loads(Path(sys.argv[1]).read_text())
    versions = {
        package: importlib.metadata.version(package).partition("+")[0]
        for package in ("torch", "torchvision", "timm", "keras")
    }
    lines = [HEAD.format(date=datetime.datetime.now(tz=datetime.timezone.utc).date(), **versions)]
    missing = []
    for name, source, source_name in _native.editions():
        found = seen.get(f"{source}-{source_name}")
        if found is None:
            if source != "paper":
                missing.append(f"{source}-{source_name}")
            continue
        numbers = " | ".join(f"{found[kind]:.1e}" if found[kind] else "0" for kind in KINDS)
        lines.append(f"| {name} | {source} | {source_name} | {numbers} |\n")
    if missing:
        sys.stderr.write(f"not compared: {', '.join(missing)}\n")
        return 1
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text("".join(lines))
    sys.stderr.write(f"{len(lines) - 1} editions of {len(cz.list_models())} networks\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
