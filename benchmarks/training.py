"""Time and memory of a training step, beside PyTorch's.

The smallest network of every family takes steps of SGD with momentum on the same images from the
same weights: ours, PyTorch's eager one, the same in channels_last, and compiled (torch.compile, in
channels_last too), PyTorch's with its fused optimiser. Each side is a process of its own; they take
turns, so that other load on the machine falls on all. The table shows medians, and compares ours
with the best of theirs. Compiling takes a minute or more per network.

Memory is the rise of a new process's peak by one step, where freed memory returns to the system at
once (MALLOC_MMAP_THRESHOLD_), ours against each of PyTorch's eager two. "Resident" is the rise of
the peak by the timed steps in their own processes, where ours keeps freed memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "python"))

from machine import processor
from trainee import Task

import cnnzoo as cz
from cnnzoo import _json
from reference import Edition, smallest, torch_options, without_drops
from tolerance import VALUES_IN_ANOTHER_LAYOUT

EAGER = ("eager", "channels_last")
SIDES = ("ours", *EAGER, "compiled")
BATCH = 8
# The most multiply-adds of a batch's forward pass; images are made smaller to stay below it.
MOST_MACS = 6e9
# Smallest image sizes for batch norms of more than one value, where 96 pixels are too few.
LEAST_SIZE = {"Inception-v4": 139}
# Seconds between two sides, so that the previous one's threads have gone to sleep.
PAUSE = 0.03
# The target: memory of a step with activation checkpointing over that of one without.
FRUGAL = 0.5


class Trainee:
    """One side, running in a process of its own."""

    def __init__(self, task: Task, **environment: str) -> None:
        command = [sys.executable, str(Path(__file__).with_name("trainee.py"))]
        threads = str(task.threads)
        numbers = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, **numbers, **environment},
        )
        self.ask(json.dumps(asdict(task)))

    def ask(self, request: str) -> dict[str, Any]:
        """The answer to a request, which is a line."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            print(request, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.log.seek(0)
            last = self.log.read().strip().splitlines()[-1:] or ["no message"]
            raise RuntimeError(f"ended with {self.process.returncode}: {last[0]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.log.close()


@dataclass
class Row:
    """The measurements of one network."""

    family: str
    network: str
    batch: int
    size: int
    seconds: dict[str, float] = field(default_factory=dict)
    """The median seconds of a step, by side."""
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    """The rise of the peak memory by a step, by side."""
    resident: dict[str, int] = field(default_factory=dict)
    """The rise of the peak memory by the timed steps, memory kept by the allocator included."""
    compiling: float | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def time_ratio(self, *, cpu: bool = False) -> float:
        """The ratio of our time to the best of PyTorch's."""
        seconds = self.cpu_seconds if cpu else self.seconds
        return seconds["ours"] / min(took for side, took in seconds.items() if side != "ours")

    def memory_ratio(self, *sides: str) -> float:
        """The ratio of our memory to the least of these sides'."""
        return self.bytes["ours"] / min(self.bytes[side] for side in sides)


def size_of(edition: Edition) -> int:
    """The image size: the usual one, or a smaller one that keeps a step short."""
    info = edition.info
    if info.fixed_image_size:
        return info.input_size
    for size in (info.input_size, 160, 128):
        if (
            size <= info.input_size
            and BATCH * info.macs * (size / info.input_size) ** 2 < MOST_MACS
        ):
            break
    else:
        size = 96
    return max(size, info.min_training_image_size, LEAST_SIZE.get(info.family, 0))


def save(model: cz.Model, path: str) -> None:
    """Write the parameters to a file that each side reads."""
    arrays: dict[str, Any] = model.state_dict()
    np.savez(path, **arrays)


@contextlib.contextmanager
def tasks(edition: Edition, threads: int, folder: str) -> Iterator[dict[str, Task]]:
    """The task of each side, with the same weights."""
    info, size = edition.info, size_of(edition)
    built_for = size if info.fixed_image_size else None
    weights = str(Path(folder) / "weights.npz")
    drawn = edition.create(num_classes=1000, image_size=built_for, seed=1)
    save(drawn, weights)
    graph = str(without_drops(drawn.graph))
    own = {**torch_options(edition, built_for), "num_classes": 1000}
    yield {
        side: Task(
            side=side,
            threads=threads,
            batch=BATCH,
            size=size,
            weights=weights,
            source=edition.source,
            name=edition.source_name,
            options=own,
            graph=graph,
        )
        for side in SIDES
    }
    Path(weights).unlink()


def measure(edition: Edition, arguments: argparse.Namespace, folder: str) -> Row:
    """Measure all sides of one network."""
    row = Row(edition.info.family, edition.source_name, BATCH, size_of(edition))
    with tasks(edition, arguments.threads, folder) as todo:
        for side in ("ours", *EAGER) if arguments.memory else ():
            # The allocator returns freed memory at once.
            with contextlib.closing(Trainee(todo[side], MALLOC_MMAP_THRESHOLD_=str(1 << 17))) as at:
                row.bytes[side] = at.ask("memory")["bytes"]
        with contextlib.ExitStack() as stack:
            trainees: dict[str, Trainee] = {}
            firsts: dict[str, float] = {}
            for side in SIDES if arguments.compile else SIDES[:-1]:
                began = time.perf_counter()
                try:
                    trainee = stack.enter_context(contextlib.closing(Trainee(todo[side])))
                    (_, _, firsts[side]), *_ = trainee.ask("2")["took"]
                except RuntimeError as error:
                    if side != "compiled":
                        raise
                    row.failures[side] = str(error)
                    continue
                trainees[side] = trainee
                if side == "compiled":
                    row.compiling = time.perf_counter() - began
            # All start from the same weights and take the same images.
            for side, first in firsts.items():
                if abs(first - firsts["ours"]) > VALUES_IN_ANOTHER_LAYOUT * firsts["ours"]:
                    raise RuntimeError(f"{edition}: first losses differ, {side}: {firsts}")
            took: dict[str, list[list[float]]] = {side: [] for side in trainees}
            for _ in range(arguments.rounds):
                for side, trainee in trainees.items():
                    time.sleep(PAUSE)
                    took[side] += trainee.ask(str(arguments.steps))["took"]
            for side, trainee in trainees.items():
                row.resident[side] = trainee.ask("resident")["bytes"]
        for side, steps in took.items():
            row.seconds[side] = statistics.median(wall for wall, _, _ in steps)
            row.cpu_seconds[side] = statistics.median(cpu for _, cpu, _ in steps)
    return row


def frugality(arguments: argparse.Namespace, folder: str) -> tuple[int, int]:
    """Bytes of a DenseNet-121 step (8 x 224 pixels), without and with activation checkpointing."""
    weights = str(Path(folder) / "weights.npz")
    options = {"drop_rate": 0.0}
    save(cz.densenet121(seed=1), weights)

    def peak(*, checkpointing: bool) -> int:
        task = Task(
            side="ours",
            threads=arguments.threads,
            batch=8,
            size=224,
            weights=weights,
            source="torchvision",
            name="densenet121",
            options={**options, "checkpointing": checkpointing},
        )
        with contextlib.closing(Trainee(task, MALLOC_MMAP_THRESHOLD_=str(1 << 17))) as trainee:
            found: int = trainee.ask("memory")["bytes"]
            return found

    return peak(checkpointing=False), peak(checkpointing=True)


def header(arguments: argparse.Namespace) -> str:
    """The machine, the versions, and the table's header."""
    import timm
    import torch
    import torchvision

    columns = [f"{'ms per step':17} {'batch x size':>12}", *(f"{side:>14}" for side in SIDES)]
    columns += [f"{'ours/best':>10}", f"{'CPU':>6}"]
    columns += [f"{'MiB ours':>10}", f"{'eager':>7}", f"{'ch.last':>8}", f"{'ratio':>7}"]
    columns += [f"{'resident':>10}", f"{'ch.last':>8}"]
    return (
        f"Training steps in float32, SGD with momentum; {arguments.threads} threads on "
        f"{os.cpu_count()} cores of {processor()}\n"
        f"medians of {arguments.rounds} rounds of {arguments.steps} steps; "
        f"cnnzoo {cz.__version__}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, timm {timm.__version__}, "
        f"Python {sys.version.split()[0]}\n"
        f"ours/best: to the best of PyTorch's; CPU: the same in processor time; ratio: of memory, "
        f"to the better of the eager two\n\n{''.join(columns)}"
    )


def line(row: Row) -> str:
    """A row of the table."""
    cells = [f"{row.family:17} {f'{row.batch} x {row.size}':>12}"]
    for side in SIDES:
        cells.append(f"{1e3 * row.seconds[side]:14.1f}" if side in row.seconds else f"{'-':>14}")
    cells.append(f"{row.time_ratio():10.2f}")
    cells.append(f"{row.time_ratio(cpu=True):6.2f}")
    ours, eager, last = ((row.bytes.get(side, 0) >> 20) for side in SIDES[:3])
    ratio = row.memory_ratio(*EAGER) if row.bytes else float("nan")
    cells.append(f"{ours:10}{eager:8}{last:9}{ratio:8.2f}")
    cells.append(f"{row.resident['ours'] >> 20:11}{row.resident['channels_last'] >> 20:9}")
    if row.compiling is not None:
        cells.append(f"  compiled in {row.compiling:.0f} s")
    cells += [f"  {side} failed: {message}" for side, message in row.failures.items()]
    return "".join(cells)


def main() -> None:
    """Measure, print rows as they come, then the targets that were missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--families", nargs="*", help="of which networks (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each side (default 7)")
    parser.add_argument("--steps", type=int, default=2, help="in a turn (default 2)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each side")
    parser.add_argument(
        "--compile", action=argparse.BooleanOptionalAction, default=True, help="and torch.compile"
    )
    parser.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, default=True, help="and memory"
    )
    parser.add_argument("--json", type=Path, help="where all figures go")
    arguments = parser.parse_args()

    editions = sorted(smallest(), key=lambda edition: edition.info.macs)
    known = [edition.info.family for edition in editions]
    unknown = set(arguments.families or ()) - set(known)
    if unknown:
        parser.error(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    rows: list[Row] = []
    print(header(arguments), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for edition in editions:
            if arguments.families and edition.info.family not in arguments.families:
                continue
            rows.append(measure(edition, arguments, folder))
            print(line(rows[-1]), flush=True)
            if arguments.json:
                text = _json.lines([asdict(row) for row in rows])
                arguments.json.write_text(text + "\n")
        slower = [row.family for row in rows if row.time_ratio() > 1]
        print(
            f"\ntime at most that of the best of PyTorch's: missed by {', '.join(slower) or 'none'}"
        )
        if arguments.memory:
            for name, sides in (("channels_last", EAGER[1:]), ("the better of the two", EAGER)):
                larger = [row.family for row in rows if row.memory_ratio(*sides) > 1]
                print(f"memory at most that of {name}: missed by {', '.join(larger) or 'none'}")
            everything, less = frugality(arguments, folder)
            print(
                f"DenseNet-121, a step of 8 x 224 raises the peak by {everything >> 20} MiB, with "
                f"checkpointing by {less >> 20} MiB: {less / everything:.2f}, target {FRUGAL}"
            )


if __name__ == "__main__":
    main()
