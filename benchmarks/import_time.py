"""What importing costs, each import in a Python process of its own.

Prints the median and the fastest of several warm runs, beside a process that imports nothing.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

IMPORTS = ["", "import numpy", "import cnnzoo", "import torch", "import torch, cnnzoo"]


def seconds(statement: str) -> float:
    """The wall time of a process that runs `statement`, from start to exit."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - began


def main() -> None:
    """Measure each import and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="processes per import (default 7)")
    runs = parser.parse_args().runs

    print(f"Python {sys.version.split()[0]}, {runs} processes each after one to warm up\n")
    print(f"{'process':22} {'median':>9} {'fastest':>9}  above an empty one")
    empty = 0.0
    for statement in IMPORTS:
        seconds(statement)
        times = [seconds(statement) for _ in range(runs)]
        median = statistics.median(times)
        if not statement:
            empty = median
        label = statement or "(nothing)"
        print(f"{label:22} {median:7.3f} s {min(times):7.3f} s  {median - empty:7.3f} s")


if __name__ == "__main__":
    main()
