"""Photographs a second of `cnnzoo predict`, beside scripts with torchvision and timm.

All read the same JPEG files of 500x375 pixels and run the same network with the same weights. The
scripts use `torch.inference_mode` and a `DataLoader` with 0, 1 and 2 workers, batches of 1, 4, 8
and 32, and both memory formats. The fastest of each library on some of the files is then measured
in turn with ours on all files, in new processes. The table shows medians: photographs a second of a
pass in a process that is warm, where workers start with the pass (ours is `Model.predict`); and the
seconds of a whole process (ours is `cnnzoo predict`).
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import PIL
import timm
import torch
import torchvision
from loader import SIZE, make_photographs

import cnnzoo as cz

NETWORKS = ["mobilenet_v2", "resnet18", "resnet50"]
# The names of timm, where they differ.
TIMM = {"mobilenet_v2": "mobilenetv2_100"}
WORKERS, BATCHES = (0, 1, 2), (1, 4, 8, 32)
LAYOUTS = ("contiguous_format", "channels_last")
LIBRARIES = ("torchvision", "timm")
# The target, as a multiple of the best of the others.
TARGET = 2.0

# A pass in a process of its own, after one over a few files.
OURS = """
import json, sys, time
import cnnzoo as cz
model, files = cz.load(sys.argv[1]), sys.stdin.read().split("\\n")
model.predict(files[:8])
began = time.perf_counter()
model.predict(files)
print(time.perf_counter() - began)
"""


def decided(name: str, files: list[str]) -> cz.Model:
    """A network whose answers differ from photograph to photograph, though it was never trained.

    Its logits, all but equal at first, are centred and spread by another last layer.
    """
    model = cz.create_model(name)
    logits = model(model.preprocess(files[:8]))
    mean = logits.mean(axis=0)
    scale = 2 / (logits - mean).std()
    state = model.state_dict()
    *_, weight, bias = state
    state[weight], state[bias] = state[weight] * scale, (state[bias] - mean) * scale
    model.load_state_dict(state)
    return model


class Race:
    """One network on all sides."""

    def __init__(self, name: str, root: Path, files: list[str]) -> None:
        self.name, self.root, self.files = name, root, files
        model = decided(name, files)
        self.preprocess = model.preprocess
        self.file = root / f"{name}.safetensors"
        model.save(self.file)
        self._write("torchvision", model)
        there = cz.create_model(name, source="timm", weights=root / "torchvision.pth")
        self._write("timm", there)

    def _write(self, library: str, model: cz.Model) -> None:
        state = {key: torch.from_numpy(value.copy()) for key, value in model.state_dict().items()}
        torch.save(state, self.root / f"{library}.pth")

    def peer(
        self, library: str, options: list[dict[str, Any]], files: list[str]
    ) -> tuple[float, list[dict[str, Any]]]:
        """The seconds of the process, and its lines."""
        task = {
            "library": library,
            "network": TIMM.get(self.name, self.name) if library == "timm" else self.name,
            "weights": str(self.root / f"{library}.pth"),
            "files": files,
            "options": options,
            "resize": self.preprocess.resize,
            "crop": self.preprocess.crop,
            "mean": self.preprocess.mean,
            "std": self.preprocess.std,
        }
        program = Path(__file__).with_name("predict_peer.py")
        took, out = run([str(program)], json.dumps(task))
        return took, [json.loads(line) for line in out.splitlines()]

    def fastest(self, library: str, args: argparse.Namespace) -> dict[str, Any]:
        """The fastest options on some of the files."""
        options = [
            {"workers": workers, "batch": batch, "layout": layout}
            for workers, batch, layout in itertools.product(args.workers, args.batches, LAYOUTS)
        ]
        _, lines = self.peer(library, options, self.files[: args.some])
        times = [line["seconds"] for line in lines]
        return options[times.index(min(times))]

    def ours(self) -> tuple[float, float, list[Any]]:
        """The seconds of a warm pass and of the command, and what the command answers."""
        _, out = run(["-c", OURS, str(self.file)], "\n".join(self.files))
        command = ["-m", "cnnzoo", "predict", str(self.root / "photos"), "--format", "csv"]
        whole, table = run([*command, "--model", str(self.file)], "")
        rows = list(csv.DictReader(table.splitlines()))
        by_path = itertools.groupby(rows, key=lambda row: row["path"])
        found = [
            ([float(r["probability"]) for r in some], [int(r["index"]) for r in some])
            for some in (list(group) for _, group in by_path)
        ]
        return float(out), whole, found


def run(arguments: list[str], text: str) -> tuple[float, str]:
    """The seconds of a Python process, and what it prints."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(done.stderr)
    return time.perf_counter() - began, done.stdout


def difference(ours: list[Any], theirs: list[Any]) -> tuple[float, float]:
    """The share of files with the same first class, and the largest difference of probabilities."""
    same = [mine[1][0] == other[1][0] for mine, other in zip(ours, theirs, strict=True)]
    apart = [abs(mine[0][0] - other[0][0]) for mine, other in zip(ours, theirs, strict=True)]
    return statistics.mean(same), max(apart)


def measure(race: Race, args: argparse.Namespace) -> list[str]:
    """Measure a network and print its row; the options and answers of the others in words."""
    chosen = {library: race.fastest(library, args) for library in LIBRARIES}
    passes: dict[str, list[float]] = {side: [] for side in (*LIBRARIES, "cnnzoo")}
    wholes: dict[str, list[float]] = {side: [] for side in passes}
    found: dict[str, list[Any]] = {}
    for _ in range(args.rounds):
        for library in LIBRARIES:
            whole, (line,) = race.peer(library, [chosen[library]], race.files)
            passes[library].append(line["seconds"])
            wholes[library].append(whole)
            found[library] = line["found"]
        once, whole, found["cnnzoo"] = race.ours()
        passes["cnnzoo"].append(once)
        wholes["cnnzoo"].append(whole)
    rates = {side: len(race.files) / statistics.median(times) for side, times in passes.items()}
    seconds = {side: statistics.median(times) for side, times in wholes.items()}
    rate = rates["cnnzoo"] / max(rates[library] for library in LIBRARIES)
    whole = min(seconds[library] for library in LIBRARIES) / seconds["cnnzoo"]
    cells = [f"{rates[side]:.1f}" for side in passes] + [f"**{rate:.2f}**"]
    cells += [f"{seconds[side]:.1f}" for side in passes] + [f"**{whole:.2f}**"]
    print(f"| {race.name} | " + " | ".join(cells) + " |", flush=True)
    notes = []
    for library, options in chosen.items():
        same, apart = difference(found["cnnzoo"], found[library])
        text = ", ".join(f"{name} {value}" for name, value in options.items())
        about = f"{text}; same class in {same:.1%}, probabilities within {apart:.1e}"
        notes.append(f"{race.name}, {library}: {about}")
    return notes


def main() -> None:
    """Measure each network and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--photos", type=int, default=400, help="files (default %(default)s)")
    parser.add_argument("--some", type=int, default=64, help="files to choose by (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default %(default)s)")
    parser.add_argument("--workers", nargs="+", type=int, default=WORKERS, help="of the scripts")
    parser.add_argument("--batches", nargs="+", type=int, default=BATCHES, help="of the scripts")
    args = parser.parse_args()
    print(
        f"{args.photos} JPEG files of {SIZE[0]}x{SIZE[1]}, medians of {args.rounds} rounds, "
        f"{os.cpu_count()} cores, {cz.get_num_threads()} threads\n"
        f"cnnzoo {cz.__version__}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, timm {timm.__version__}, "
        f"Pillow {PIL.__version__}, Python {sys.version.split()[0]}\n"
    )
    sides = (*LIBRARIES, "cnnzoo")
    head = ["network", *(f"{side}, photographs/s" for side in sides), "ratio"]
    head += [*(f"{side}, s in all" for side in sides), "ratio"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|", flush=True)
    notes = []
    for name in args.networks:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "photos").mkdir()
            make_photographs(root / "photos", args.photos)
            files = [str(path) for path in sorted((root / "photos").rglob("*.jpg"))]
            notes += measure(Race(name, root, files), args)
    print("", *notes, sep="\n")
    print(f"\ntarget: {TARGET} times the better of torchvision and timm")


if __name__ == "__main__":
    main()
