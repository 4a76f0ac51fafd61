"""Mutated files for readers, in a child process with limits of memory and time.

A module lists its readers in `READERS`. Each gets mutants of its seeds, one after another, each in
the child's file `case` before it is read; so whatever ends the child, by a signal, by hanging or by
an exception that is not ours, can be read from there again:

    PYTHONPATH=tests/python python tests/python/fuzz/harness.py fuzz.photographs png --case FILE
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

# What a child may take besides what it has when it begins.
MEMORY = 1 << 30
# No file of a few kilobytes is worth more seconds.
PATIENCE = 20
# A minute each in the slow profile; `make fuzz SECONDS=600` for more.
SECONDS = float(os.environ.get("CNNZOO_FUZZ_SECONDS", "60"))
# The numbers at the edges of what headers hold.
EDGES = [0, 1, 2, 3, 7, 8, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000]
EDGES += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32, (1 << 63) - 1, (1 << 64) - 1]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A reader of files.

    Attributes:
        seeds: Sound files.
        read: Reads one, and raises one of `errors` where it is none.
        errors: Names in `cnnzoo.errors`. A shortage of memory is one only where a small file may be
            a large picture.
        repair: Makes checksums and the like right again, so that a mutant gets further.
        rewrite: A part of a file is changed that has a meaning in its format.
        patience: Seconds that no case may take.
    """

    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    errors: Sequence[str] = ("DataError",)
    repair: Callable[[bytes], bytes] | None = None
    rewrite: Callable[[bytes, random.Random], bytes] | None = None
    patience: int = PATIENCE

    def mutant(self, dice: random.Random) -> bytes:
        """A seed that is rewritten, damaged, or both."""
        seeds = self.seeds
        if self.rewrite is not None and dice.random() < 0.7:
            data = dice.choice(seeds)
            for _ in range(dice.choice((1, 1, 1, 2, 4))):
                data = self.rewrite(data, dice)
            if dice.random() < 0.8:
                return data
            seeds = [data]
        data = mutant(seeds, dice)
        return self.repair(data) if self.repair is not None and dice.random() < 0.7 else data


def mutant(seeds: Sequence[bytes], dice: random.Random) -> bytes:
    """A seed with a few changes, most of them near its head."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 2, 3, 5, 9))):
        within = len(data) if dice.random() < 0.5 else min(len(data), 200)
        at = dice.randrange(within + 1)
        kind = dice.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = dice.randrange(256)
        elif kind == 2:
            width = dice.choice((1, 2, 4, 8))
            order = dice.choice(("little", "big"))
            number = dice.choice(EDGES) % (1 << 8 * width)
            data[at : at + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + dice.randrange(1, 40)]
        elif kind == 5:
            data[at:at] = data[at : at + dice.randrange(1, 400)]
        else:
            other = dice.choice(seeds)
            start = dice.randrange(len(other) + 1)
            data[at : at + 40] = other[start : start + dice.randrange(1, 400)]
    return bytes(data)


def check(reader: Reader, data: bytes) -> bool:
    """Whether it is read; what is raised otherwise has to be one of its errors."""
    import cnnzoo as cz

    try:
        reader.read(data)
    except tuple(getattr(cz.errors, name) for name in reader.errors):
        return False
    return True


def fuzz(module: str, name: str, folder: Path, *, seconds: float, cases: int | None = None) -> str:
    """Run mutants for so long, or so many, in a child.

    Returns:
        How many there were and how many were sound.

    Raises:
        AssertionError: The child ended otherwise; its message holds the case.
    """
    command = [sys.executable, __file__, module, name, "--folder", str(folder)]
    command += ["--seconds", str(seconds)] + ([] if cases is None else ["--cases", str(cases)])
    path = os.pathsep.join([str(Path(__file__).parent.parent), *sys.path])
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
        timeout=seconds + 600,
    )
    if done.returncode:
        case = (folder / "case").read_bytes() if (folder / "case").exists() else b""
        raise AssertionError(
            f"{name}: the child ended with {done.returncode} at {folder / 'case'}, {len(case)} "
            f"bytes: {case[:3000].hex()}\n{done.stderr[-3000:]}"
        )
    return done.stdout


def main() -> None:
    """The child."""
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("reader")
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--case", type=Path)
    args = parser.parse_args()
    reader: Reader = importlib.import_module(args.module).READERS[args.reader]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    if args.case is not None:
        print(check(reader, args.case.read_bytes()))
        return
    sound = [check(reader, seed) for seed in reader.seeds]
    assert all(sound), f"expected sound seeds, got {sound}"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
    # Another one every time, unless so many cases are asked for.
    dice = random.Random(0 if args.cases is not None else None)
    end = time.monotonic() + args.seconds
    number = read = 0
    while time.monotonic() < end and number != args.cases:
        data = reader.mutant(dice)
        (args.folder / "case").write_bytes(data)
        signal.alarm(reader.patience)
        read += check(reader, data)
        signal.alarm(0)
        number += 1
    print(f"{number} cases, {read} sound")


if __name__ == "__main__":
    main()
