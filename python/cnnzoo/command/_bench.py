"""`cnnzoo bench`: the speed of inference on this machine, beside PyTorch's."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _json
from cnnzoo._package import LITE
from cnnzoo._text import Out, counted, table
from cnnzoo._threads import get_num_threads
from cnnzoo.command._commands import print_json
from cnnzoo.errors import ArgumentError, MissingPackageError
from cnnzoo.model import Model, create_model
from cnnzoo.racing import (
    ENGINES,
    GEMM,
    Entry,
    Figures,
    Outcome,
    gemm_entry,
    gemm_speed,
    gflops,
    race,
)
from cnnzoo.registry import ModelInfo, model_info

OURS = ("cnnzoo",) if LITE else ("cnnzoo", "cnnzoo_exact")
OTHERS = tuple(name for name in ENGINES if not name.startswith("cnnzoo"))
# Others that are timed if they are installed; torch.compile takes a minute for each network.
USUAL = ("torch", "torch_channels_last")
# The libraries whose networks are PyTorch modules.
LIBRARIES = ("torchvision", "timm")


@dataclass
class Case:
    """The figures of one network, batch and number of threads."""

    network: str
    batch: int
    threads: int
    image_size: int
    macs: int
    """Multiply-adds of one image."""
    gemm: float | None
    """GFLOP/s of a product of matrices, which took turns with the engines."""
    figures: dict[str, Figures]
    missing: dict[str, str]


def bench(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Time networks; an engine that does not run is named, and the status is 1 if it is ours."""
    infos = [model_info(name) for name in args.models]
    against = {info.name: _against(args.against, info) for info in infos}
    cases: list[Case] = []
    for info in infos:
        settings = list(itertools.product(args.batch, args.threads or [get_num_threads()]))
        for case in _cases(info, settings, against[info.name], args.rounds, err):
            cases.append(case)
            if args.json is not True:
                out.print("\n" * (len(cases) > 1) + shown(case))
                out.flush()
            if isinstance(args.json, str):
                text = _json.lines([asdict(case) for case in cases])
                Path(args.json).write_text(text + "\n", encoding="utf-8")
    if args.json is True:
        print_json(out, [asdict(case) for case in cases])
    return 0 if all(_ours_is_right(case) for case in cases) else 1


def _against(named: str | None, info: ModelInfo) -> list[str]:
    """The other engines to time: those that were named, or the usual ones that can run.

    Raises:
        ArgumentError: One is unknown, or has no such network.
        MissingPackageError: The library of the network is not installed.
    """
    names = [] if named == "" else named.split(",") if named else list(USUAL)
    if unknown := [name for name in names if name not in OTHERS]:
        raise ArgumentError(
            f"`--against`: expected some of {', '.join(OTHERS)}, got {', '.join(unknown)}; "
            f"benchmarks/inference.py in the sources of cnnzoo times more engines"
        )
    if names and info.source not in LIBRARIES:
        if named is None:
            return []
        raise ArgumentError(
            f"`--against`: expected a network of {' or '.join(LIBRARIES)}, got {info.name}, which "
            f"follows {info.source}"
        )
    if names and importlib.util.find_spec(info.source) is None:
        if named is None:
            return []
        raise MissingPackageError(
            f"`--against {named}` needs {info.source}, which has {info.name}: "
            f"pip install {info.source}"
        )
    return names


def _cases(
    info: ModelInfo,
    settings: Sequence[tuple[int, int]],
    against: Sequence[str],
    rounds: int,
    err: Out,
) -> Iterator[Case]:
    model = create_model(info.name, seed=0)
    channels, height, width = model.graph.input_shape
    with tempfile.TemporaryDirectory() as folder:
        files = {"safetensors": f"{folder}/network.safetensors", "pt": f"{folder}/network.pt"}
        model.save(files["safetensors"])
        if against:
            _save_twin(model, info, files["pt"])
        entries = {
            name: Entry(ENGINES[name], files[ENGINES[name].form]) for name in (*OURS, *against)
        }
        for batch, threads in settings:
            if err.is_terminal:
                err.status(f"timing {info.name}, batch {batch}, threads {threads}")
            generator = np.random.default_rng(0)
            x = generator.standard_normal((batch, channels, height, width), np.float32)
            outcome = race(
                {**entries, GEMM: gemm_entry()},
                x,
                _reference(model, x),
                threads=threads,
                rounds=rounds,
            )
            if err.is_terminal:
                err.status("")
            peak = outcome.figures.pop(GEMM, None)
            yield Case(
                info.name,
                batch,
                threads,
                height,
                info.macs,
                gemm_speed(peak) if peak else None,
                outcome.figures,
                outcome.missing,
            )


def _reference(model: Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output that differences are from: libtorch's, or that of the most accurate algorithms."""
    if not LITE:
        return model(x, exact=True)
    accurate = model.copy()
    accurate.accuracy = "high"
    return accurate(x)


def _save_twin(model: Model, info: ModelInfo, path: str) -> None:
    """Pickle the module of torchvision or timm with the model's parameters."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initial values that will change in a later version
        module: Any
        if info.source == "timm":
            import timm

            module = timm.create_model(info.source_name, num_classes=info.num_classes)
        else:
            import torchvision

            module = torchvision.models.get_model(info.source_name)
    state = {name: torch.from_numpy(np.array(a)) for name, a in model.state_dict().items()}
    module.load_state_dict(state)
    torch.save(module.eval(), path)


def _ours_is_right(case: Case) -> bool:
    ours = case.figures.get(OURS[0])
    return ours is not None and not ours.wrong


def shown(case: Case) -> str:
    """The table of a case: a row for each engine, the fastest first."""
    images, threads = counted(case.batch, "image"), counted(case.threads, "thread")
    peak = f"; a product of matrices runs at {case.gemm:.0f} GFLOP/s" if case.gemm else ""
    title = f"{case.network} · {images} of {case.image_size} × {case.image_size}, {threads}{peak}"
    head = ("engine", "ms", "relative", "images/s", "GFLOP/s", "MiB", "first, ms", "difference", "")
    fastest = Outcome(case.figures).best()
    rows = []
    for name, figures in sorted(case.figures.items(), key=lambda item: item[1].seconds):
        least = case.figures[fastest].seconds if fastest else figures.seconds
        rows.append(
            (
                str(ENGINES[name]),
                f"{1e3 * figures.seconds:.2f}",
                f"{figures.seconds / least:.2f}",
                f"{case.batch / figures.seconds:.1f}",
                f"{gflops(case.batch * case.macs, figures.seconds):.1f}",
                str(figures.bytes >> 20),
                f"{1e3 * figures.first:.0f}",
                f"{figures.error:.0e}",
                "wrong" if figures.wrong else "",
            )
        )
    lines = [title, "", table(head, rows, right=range(1, 8))]
    lines += [f"{ENGINES.get(name, name)}: {reason}" for name, reason in case.missing.items()]
    return "\n".join(lines)
