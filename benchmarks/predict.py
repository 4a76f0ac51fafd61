"""The best batch size for prediction: milliseconds a photograph, by batch size.

Every size runs in turn in each round, and the fastest round counts, since other programs only ever
slow one down. The photographs are in memory and decoded, so that only the network is measured.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import cnnzoo as cz

NETWORKS = ["resnet50", "efficientnet_b0", "mobilenet_v2"]
BATCHES = [1, 2, 4, 8, 16, 32]


def milliseconds(name: str, batches: list[int], photos: int, rounds: int) -> dict[int, float]:
    """Milliseconds a photograph in the fastest round, by batch size."""
    model = cz.create_model(name)
    pixels = np.random.default_rng(0).integers(0, 256, (photos, 256, 256, 3), np.uint8)
    fastest = dict.fromkeys(batches, float("inf"))
    model.predict(list(pixels[:2]))
    for _ in range(rounds):
        for batch in batches:
            began = time.perf_counter()
            for _ in model.predict(list(pixels), stream=True, batch_size=batch):
                pass
            fastest[batch] = min(fastest[batch], time.perf_counter() - began)
    return {batch: 1000 * seconds / photos for batch, seconds in fastest.items()}


def peak(name: str, batch: int, photos: int) -> int:
    """The peak memory of a new process in MiB."""
    command = [sys.executable, __file__, "--peak", name, "--batches", str(batch)]
    command += ["--photos", str(photos)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure each network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES)
    parser.add_argument("--photos", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", metavar="NETWORK", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        milliseconds(args.peak, args.batches, args.photos, 1)
        # Not ru_maxrss, which for a child begins with its parent's peak.
        status = Path("/proc/self/status").read_text()
        print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
        return
    print(f"{'ms a photograph':20}" + "".join(f"{batch:8}" for batch in args.batches))
    for name in args.networks:
        times = milliseconds(name, args.batches, args.photos, args.rounds)
        print(f"{name:20}" + "".join(f"{times[batch]:8.1f}" for batch in args.batches))
        peaks = [peak(name, batch, args.photos) for batch in args.batches]
        print(f"{'  peak, MiB':20}" + "".join(f"{number:8}" for number in peaks), flush=True)


if __name__ == "__main__":
    main()
