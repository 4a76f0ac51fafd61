"""Timing engines in turns: each in its own process, in random order, with a pause before each."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _json
from cnnzoo.racing import contestant, engines
from cnnzoo.racing.contestant import RacePrecision, Task

Array: TypeAlias = "NDArray[np.float32]"

# Seconds before a turn, so that the threads of the one before have gone to sleep: onnxruntime's
# spin for a while after a call, and made OpenVINO 1.7 times slower without a pause.
PAUSE = 0.03
# Seconds of timed calls in a turn.
TURN = 0.05
# The largest difference to the reference, over its largest value, that counts as rounding. Float32
# engines stay below 1e-4, large Winograd tiles of MNN's reach 3e-3; another network differs by 1.
WRONG = 1e-2
# The same in bfloat16, in which OpenVINO's MobileNetV2 reaches 2e-2.
WRONG_IN_BFLOAT16 = 5e-2
# The same in int8, in which LiteRT's VGG16 with random weights reaches 0.11. Two photographs differ
# by 0.2 to 0.5.
WRONG_IN_INT8 = 0.2
TOLERANCES = {"float32": WRONG, "bfloat16": WRONG_IN_BFLOAT16, "int8": WRONG_IN_INT8}
# An engine so many times slower than the fastest gets no more than these turns.
FAR_BEHIND = 4
ENOUGH = 3
# Seconds that an engine may take to load and answer once, and for a turn.
LOADING = 600.0
TURNING = 300.0
# Bytes of free memory without which no further engine starts.
LEAST_MEMORY = 2 << 30
# Characters of a reason that are kept.
REASON = 300

# The name of the contestant that multiplies matrices.
GEMM = "gemm"


@dataclass(frozen=True)
class Engine:
    """An engine: the function that makes its run, and what that needs."""

    name: str
    modules: tuple[str, ...]
    """What must be installed; the first has the engine's version."""
    form: str
    """The ending of the files that it reads, which names their format."""
    file: str = engines.__file__
    title: str = ""
    """The name in tables, if it is another."""

    def __str__(self) -> str:
        return self.title or self.name


def _by_name(*every: Engine) -> dict[str, Engine]:
    return {engine.name: engine for engine in every}


TORCH = ("torch", "torchvision")
ENGINES = _by_name(
    Engine("cnnzoo", ("cnnzoo",), "safetensors"),
    Engine("cnnzoo_exact", ("cnnzoo",), "safetensors", title="cnnzoo, exact=True"),
    Engine("torch", TORCH, "pt"),
    Engine("torch_channels_last", TORCH, "pt", title="torch, channels_last"),
    Engine("torch_compile", TORCH, "pt", title="torch.compile"),
)


@dataclass(frozen=True)
class Entry:
    """An engine that takes part, with its files and its interpreter."""

    engine: Engine
    model: str
    python: str = sys.executable


@dataclass
class Figures:
    """The measurements of one engine."""

    version: str
    load: float
    """Seconds to load the network, imports not counted."""
    first: float
    """Seconds of the first call."""
    error: float
    """The largest difference to the reference over the reference's largest value."""
    bytes: int = 0
    """Peak memory of the engine's process, its interpreter and libraries included."""
    turns: list[float] = field(default_factory=list)
    """Seconds a call, by turn."""
    tolerance: float = WRONG
    """The largest error that counts as rounding."""

    @property
    def seconds(self) -> float:
        """The median seconds a call."""
        return statistics.median(self.turns)

    @property
    def wrong(self) -> bool:
        """Whether the answer is another network's."""
        return not self.error <= self.tolerance


@dataclass
class Outcome:
    """The engines that were measured, and the reasons why others were not."""

    figures: dict[str, Figures] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def best(self, names: Sequence[str] | None = None) -> str | None:
        """The fastest engine whose answer is right, of these names if given."""
        right = {
            name: figures.seconds
            for name, figures in self.figures.items()
            if not figures.wrong and (names is None or name in names)
        }
        return min(right, key=lambda name: right[name], default=None)


class EngineError(Exception):
    """An engine that ended or took too long."""


class Contestant:
    """An engine, running in a process of its own."""

    def __init__(self, python: str, task: Task) -> None:
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with it
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(task.threads))
        silent = {"NM_DISABLE_ANALYTICS": "1", "DO_NOT_TRACK": "1"}  # Nothing is reported home.
        self.process = subprocess.Popen(
            [python, contestant.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **threads, **silent},
        )
        self._send(_json.line(asdict(task)))

    def ask(self, request: str, limit: float) -> Any:
        """The answer to a request.

        Raises:
            EngineError: The process ended, or did not answer in time.
        """
        self._send(request)
        return self.answer(limit)

    def answer(self, limit: float) -> Any:
        """The next answer.

        Raises:
            EngineError: The process ended, or did not answer in time.
        """
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            raise EngineError(f"no answer within {limit:g} s")
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        self.log.seek(0)
        said = self.log.read().strip().splitlines()[-1:] or ["no message"]
        raise EngineError(f"ended with status {status}: {said[0][:REASON]}")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate()
        self.log.close()

    def _send(self, line: str) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer will say why
            print(line, file=self.process.stdin, flush=True)


def gemm_entry() -> Entry:
    """The contestant whose speed is called the machine's peak."""
    return Entry(Engine(GEMM, ("torch",), ""), "")


def race(
    entries: Mapping[str, Entry],
    images: Array,
    want: Array,
    *,
    threads: int,
    rounds: int,
    turn: float = TURN,
    pause: float = PAUSE,
    seed: int = 0,
    precision: RacePrecision = "float32",
    calibration: Array | None = None,
) -> Outcome:
    """Start every engine once, compare its answer, and time all in turns.

    In each round every engine has a turn, in random order: a pause, a call that is not counted, and
    calls for `turn` seconds, at least one.

    Args:
        entries: The engines by name. The one called `GEMM` multiplies matrices, and has no answer.
        images: Images (N, C, H, W).
        want: The right logits (N, classes).
        threads: Threads of each engine.
        rounds: Number of rounds, at least one.
        turn: Seconds of timed calls in a turn.
        pause: Seconds before each turn.
        seed: Seed of the order.
        precision: Compute precision; an engine must have it, or read a file that has it.
        calibration: Images (N, C, H, W) that our engine is calibrated on for int8.
    """
    outcome = Outcome()
    order = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        given = str(Path(folder) / "images.npy")
        np.save(given, images)
        calibrating = str(Path(folder) / "calibration.npy") if calibration is not None else ""
        if calibration is not None:
            np.save(calibrating, calibration)
        running: dict[str, Contestant] = {}
        for name, entry in entries.items():
            if _free_memory() < LEAST_MEMORY:
                outcome.missing[name] = f"expected {LEAST_MEMORY >> 30} GiB of free memory"
                continue
            task = Task(
                engine=entry.engine.name,
                file=entry.engine.file,
                modules=entry.engine.modules,
                threads=threads,
                images=given,
                model=entry.model,
                answer=str(Path(folder) / f"{name}.npy"),
                precision=precision,
                calibration=calibrating,
            )
            one = Contestant(entry.python, task)
            stack.callback(one.close)
            try:
                ready = one.answer(LOADING)
                error = 0.0 if name == GEMM else difference(np.load(task.answer), want)
                most = TOLERANCES[precision]
                outcome.figures[name] = Figures(**ready, error=error, tolerance=most)
                running[name] = one
            except EngineError as failure:
                outcome.missing[name] = str(failure)
        for number in range(rounds):
            for name in order.sample(sorted(running), len(running)):
                if number >= ENOUGH and name != GEMM and _far_behind(outcome, name):
                    continue
                time.sleep(pause)
                try:
                    took = running[name].ask(str(turn), TURNING)
                except EngineError as failure:
                    outcome.missing[name] = str(failure)
                    del running[name], outcome.figures[name]
                    continue
                outcome.figures[name].turns.append(statistics.mean(took))
        for name, one in running.items():
            try:
                outcome.figures[name].bytes = one.ask("peak", TURNING)
            except EngineError as failure:
                outcome.missing[name] = str(failure)
                del outcome.figures[name]
    return outcome


def difference(answer: Array, want: Array) -> float:
    """The largest difference over the largest magnitude of `want`; infinite for other shapes."""
    if answer.size != want.size:
        return math.inf
    worst = np.abs(answer.reshape(want.shape) - want).max()
    return float(worst / np.abs(want).max())


def gflops(macs: int, seconds: float) -> float:
    """GFLOP/s, two operations for each multiply-add of the direct algorithm."""
    return 2e-9 * macs / seconds


def gemm_speed(figures: Figures) -> float:
    """GFLOP/s of the product of matrices."""
    return gflops(engines.GEMM_SIDE**3, figures.seconds)


def _far_behind(outcome: Outcome, name: str) -> bool:
    best = outcome.best([other for other in outcome.figures if other != GEMM])
    if best is None:
        return False
    return outcome.figures[name].seconds > FAR_BEHIND * outcome.figures[best].seconds


def _free_memory() -> int:
    """Bytes that programs can still have: MemAvailable of Linux, or no limit elsewhere."""
    with contextlib.suppress(OSError), open("/proc/meminfo") as lines:
        for line in lines:
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return sys.maxsize
