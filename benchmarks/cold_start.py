"""Cold start: from the start of a process to the class of its first photograph, beside others.

Each engine loads the same network with the same random weights from a file of its own format, in a
process of its own, and classifies one photograph; all must name the same class. They take turns in
random order, so that files and libraries are in the system's cache. The time ends when the class is
written; memory is the peak of the process (VmHWM).

Engines are looked for in the interpreter that runs this, and in those of --python; `cnnzoo-lite` is
an environment with that package. Conversions are those of `inference.py`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from inference import ANY, EVERY, MissingError, converted, export, interpreter, pair
from machine import instructions, processor

ENGINES = ("cnnzoo", "torch", "onnxruntime", "litert", "ncnn")
LITE = "cnnzoo-lite"
NETWORKS = ("resnet50", "mobilenet_v2")


def main() -> None:
    """Race the engines and print a table for each network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=lambda text: text.split(","), default=[*NETWORKS])
    parser.add_argument("--runs", type=int, default=9, help="processes of each (default 9)")
    parser.add_argument("--photo", type=Path, default=Path("photos/coffee.png"))
    parser.add_argument("--lite", help="the interpreter of an environment with cnnzoo-lite")
    parser.add_argument(
        "--python", type=pair, action="append", default=[], metavar="NAME=PATH",
        help=f"another interpreter to look for an engine in, or for any: {ANY}=PATH; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=Path("target/inference"), help="for converted networks"
    )
    arguments = parser.parse_args()
    print(f"{processor()} ({instructions()}), {arguments.runs} processes each")
    for name in arguments.networks:
        race(name, arguments)


def race(name: str, arguments: argparse.Namespace) -> None:
    """Start every engine in turns on one network, and print the table."""
    network = export(name, arguments.folder)
    x, _ = network.data(1)
    commands: dict[str, list[str]] = {}
    missing: dict[str, str] = {}
    for engine in ENGINES:
        given = [path for label, path in arguments.python if label in {engine, ANY}]
        pythons = [sys.executable, *given] if engine != "cnnzoo" else [*given, sys.executable]
        form = "safetensors" if engine == "torch" else EVERY[engine].form
        try:
            python = interpreter(EVERY[engine].modules, pythons)
            model = converted(network, form, x, [sys.executable, *given])
        except MissingError as reason:
            missing[engine] = str(reason)
            continue
        commands[engine] = command(python, engine, name, model, arguments.photo)
    if arguments.lite:
        model = network.folder / "network.safetensors"
        commands[LITE] = command(arguments.lite, "cnnzoo", name, model, arguments.photo)
    times: dict[str, list[float]] = {engine: [] for engine in commands}
    peaks: dict[str, list[int]] = {engine: [] for engine in commands}
    classes: dict[str, int] = {}
    order = random.Random(0)
    for turn in range(arguments.runs + 1):
        for engine in order.sample([*commands], len(commands)):
            seconds, classes[engine], peak = start(commands[engine])
            # The first process reads its files from the disk.
            if turn:
                times[engine].append(seconds)
                peaks[engine].append(peak)
    if len(set(classes.values())) > 1:
        raise SystemExit(f"{name}: expected the same class of every engine, got {classes}")
    print(f"\n{name:14} {'median':>9} {'fastest':>9} {'slowest':>9} {'MiB':>6}")
    for engine in sorted(times, key=lambda engine: statistics.median(times[engine])):
        taken, memory = times[engine], statistics.median(peaks[engine]) / (1 << 20)
        middle = statistics.median(taken)
        print(f"{engine:14} {middle:7.3f} s {min(taken):7.3f} s {max(taken):7.3f} s {memory:6.0f}")
    for engine, reason in missing.items():
        print(f"{engine:14} missing: {reason}")


def command(python: str, engine: str, name: str, model: Path, photo: Path) -> list[str]:
    """The call of an engine's process."""
    peer = Path(__file__).with_name("cold_peer.py")
    return [python, *map(str, (peer, engine, name, model.resolve(), photo.resolve()))]


def start(call: list[str]) -> tuple[float, int, int]:
    """The seconds until a process names the class, the class, and the peak memory in bytes."""
    # A folder without files, so that nothing of this one is imported.
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        with subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            said = process.stdout.readline()
            seconds = time.perf_counter() - began
            memory = process.stdout.readline()
            if process.wait() or not memory:
                raise SystemExit(f"{' '.join(call)}: {process.stderr.read().strip()}")
    return seconds, int(said), int(memory)


if __name__ == "__main__":
    main()
