"""One engine in a process of its own: it loads a network, answers once, and is timed on request.

Run by its path, in any interpreter that has NumPy: it imports nothing of cnnzoo, so that no engine
shares a process with another's threads. It reads a line of JSON, the `Task`, writes the engine's
answer to a file, and says how long that took. Each further line is a request, answered by a line:
a number of seconds for a turn, or `peak` for the peak memory.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import runpy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

# A run of the network on the images of the task: the logits, float32 (N, classes).
Run = Callable[[], NDArray[Any]]

RacePrecision = Literal["float32", "bfloat16", "int8"]


@dataclass(frozen=True)
class Task:
    """The engine to run, and the files of its network."""

    engine: str
    """The function of `file` that makes a `Run` of the task and the images."""
    file: str
    modules: tuple[str, ...]
    """What is imported before the clock starts; the first has the engine's version."""
    threads: int
    images: str
    """An .npy file, float32 (N, C, H, W)."""
    model: str
    """The network in the engine's format."""
    answer: str
    """Where the logits go, as an .npy file."""
    precision: RacePrecision = "float32"
    """The compute precision; not every engine has each."""
    calibration: str = ""
    """An .npy file of images that an engine which reads no int8 format is calibrated on."""


def load(task: Task) -> tuple[Run, float]:
    """The run, and the seconds that loading the network took, imports not counted."""
    for module in task.modules:
        __import__(module)
    make = runpy.run_path(task.file)[task.engine]
    images = np.load(task.images)
    began = time.perf_counter()
    run: Run = make(task, images)
    return run, time.perf_counter() - began


def turn(run: Run, seconds: float) -> list[float]:
    """The seconds of calls: one that is not counted, then as many as fit, at least one."""
    run()
    took: list[float] = []
    while not took or sum(took) + took[-1] / 2 < seconds:
        began = time.perf_counter()
        run()
        took.append(time.perf_counter() - began)
    return took


def peak() -> int:
    """The peak memory of this process in bytes: VmHWM of Linux, the interpreter included."""
    with open("/proc/self/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def version(module: str) -> str:
    """The version of the package that a module belongs to."""
    top = module.partition(".")[0]
    said = getattr(sys.modules[top], "__version__", None)
    if said is None:
        packages = importlib.metadata.packages_distributions().get(top, [])
        said = importlib.metadata.version(packages[0]) if packages else ""
    return str(said)


def main() -> None:
    """Answer each line on standard input by a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Anything that a library prints goes to stderr, not among the answers.
    task = Task(**json.loads(sys.stdin.readline()))
    run, loading = load(task)
    began = time.perf_counter()
    answer = run()
    first = time.perf_counter() - began
    np.save(task.answer, np.asarray(answer, np.float32))
    ready = {"load": loading, "first": first, "version": version(task.modules[0])}
    print(json.dumps(ready), file=answers)
    for line in sys.stdin:
        reply: Any = peak() if line.strip() == "peak" else turn(run, float(line))
        print(json.dumps(reply), file=answers)


if __name__ == "__main__":
    main()
