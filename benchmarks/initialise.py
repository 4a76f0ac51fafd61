"""The time to build a model with random parameters, beside torchvision's of the same name.

Both libraries build in one process, in turn, after one warm-up build each. Prints the median of
several builds each, and the ratio of ours to torchvision's.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from fnmatch import fnmatch

import torch
import torchvision

import cnnzoo as cz

# The largest ratio allowed of our time to torchvision's.
LIMIT = 1.5


def seconds(build: Callable[[], object]) -> float:
    """The seconds of one build; its model is freed before the next."""
    gc.collect()
    began = time.perf_counter()
    built = build()
    took = time.perf_counter() - began
    del built
    return took


def compare(name: str, runs: int) -> tuple[float, float]:
    """The median seconds of ours and of torchvision's."""

    def ours() -> object:
        return cz.create_model(name, source="torchvision")

    def theirs() -> object:
        return torchvision.models.get_model(name)

    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return statistics.median(o for o, _ in pairs), statistics.median(t for _, t in pairs)


def main() -> None:
    """Measure every network that torchvision has too, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("patterns", nargs="*", default=["*"], help="of names (default all)")
    parser.add_argument("--runs", type=int, default=5, help="builds of each (default 5)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)

    theirs = set(torchvision.models.list_models(module=torchvision.models))
    names = [
        name
        for name in cz.list_models(source="torchvision")
        if name in theirs and any(fnmatch(name, pattern) for pattern in arguments.patterns)
    ]
    versions = f"torchvision {torchvision.__version__}, Python {sys.version.split()[0]}"
    print(f"median of {arguments.runs}, {torch.get_num_threads()} threads, {versions}\n")
    print(f"{'model':24} {'params':>8} {'cnnzoo':>9} {'torchvision':>12} {'ratio':>6}")
    slow = []
    for name in names:
        params = cz.model_info(name, source="torchvision").params
        mine, others = compare(name, arguments.runs)
        ratio = mine / others
        if ratio > LIMIT:
            slow.append(name)
        columns = f"{params / 1e6:6.1f} M {mine:7.3f} s {others:10.3f} s {ratio:6.2f}"
        print(f"{name:24} {columns}", flush=True)
    print(f"\nover {LIMIT} times torchvision: {', '.join(slow) or 'none'}")


if __name__ == "__main__":
    main()
