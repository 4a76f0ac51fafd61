"""Import times, each import in a Python process of its own.

Prints the median, the fastest and the slowest of several runs after one that warms the file cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

IMPORTS = ["numpy", "cnnzoo", "torch", "torch, cnnzoo"]

TIMED = """
import time
began = time.perf_counter()
import {names}
print(time.perf_counter() - began)
"""


def seconds(names: str) -> float:
    """The seconds of `import names` in a new process, without the start of Python."""
    command = [sys.executable, "-c", TIMED.format(names=names)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure each import and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="processes per import (default 9)")
    runs = parser.parse_args().runs

    print(f"{runs} processes each, Python {sys.version.split()[0]}\n")
    print(f"{'import':14} {'median':>9} {'fastest':>9} {'slowest':>9}")
    for names in IMPORTS:
        seconds(names)
        times = sorted(seconds(names) for _ in range(runs))
        median = statistics.median(times)
        print(f"{names:14} {median:7.3f} s {times[0]:7.3f} s {times[-1]:7.3f} s")


if __name__ == "__main__":
    main()
