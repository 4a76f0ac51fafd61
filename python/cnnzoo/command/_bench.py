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
from cnnzoo.command._commands import check_place, print_json
from cnnzoo.command._models import model_file
from cnnzoo.errors import ArgumentError, MissingPackageError
from cnnzoo.model import Model, create_model, load
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
from cnnzoo.registry import model_info

OURS = ("cnnzoo",) if LITE else ("cnnzoo", "cnnzoo_exact")
OTHERS = tuple(name for name in ENGINES if not name.startswith("cnnzoo"))
# Others that are timed if they are installed; torch.compile takes a minute for each network.
USUAL = ("torch", "torch_channels_last")
# The libraries whose networks are PyTorch modules.
LIBRARIES = ("torchvision", "timm")


@dataclass(frozen=True)
class Network:
    """A network that is timed: with random weights by its name, or the one in a model file."""

    title: str
    """Its name, or its file."""
    model: Model
    source: str
    """The source of its definition."""
    source_name: str
    """Its name there."""
    has_twin: bool
    """Whether that library can build it, given the number of classes."""


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
    if isinstance(args.json, str):
        check_place(args.json)
    networks = [_network(name) for name in args.models]
    against = [_against(args.against, network) for network in networks]
    cases: list[Case] = []
    for network, others in zip(networks, against, strict=True):
        settings = list(itertools.product(args.batch, args.threads or [get_num_threads()]))
        for case in _cases(network, settings, others, args.rounds, err):
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


def _network(name: str) -> Network:
    """The network of a name, or of a model file."""
    path = model_file(name)
    if path is None:
        info = model_info(name)
        model = create_model(info.source_name, source=info.source, seed=0)
        return Network(info.name, model, info.source, info.source_name, True)
    model = load(path, lazy=True)
    if model.source is None:
        return Network(name, model, "a graph", model.name, False)
    info = model_info(model.name, source=model.source)
    plain = create_model(
        info.source_name, source=info.source, num_classes=model.num_classes, meta=True
    )
    return Network(name, model, info.source, info.source_name, _is_same_but_for_size(model, plain))


def _is_same_but_for_size(model: Model, plain: Model) -> bool:
    """Whether networks have the same arrays and operations, for images of any size."""
    ours, theirs = model.graph, plain.graph
    return (
        ours.parameters() == theirs.parameters()
        and ours.input_shape[0] == theirs.input_shape[0]
        and ours.operations()[1:] == theirs.operations()[1:]
    )


def _against(named: str | None, network: Network) -> list[str]:
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
    if names and network.source not in LIBRARIES:
        if named is None:
            return []
        raise ArgumentError(
            f"`--against`: expected a network of {' or '.join(LIBRARIES)}, got {network.title}, "
            f"which follows {network.source}"
        )
    if names and not network.has_twin:
        if named is None:
            return []
        raise ArgumentError(
            f"`--against`: expected a network that {network.source} has, but for the number of "
            f"classes, got {network.title} with other options"
        )
    if names and importlib.util.find_spec(network.source) is None:
        if named is None:
            return []
        raise MissingPackageError(
            f"`--against {named}` needs {network.source}, which has {network.title}: "
            f"pip install {network.source}"
        )
    return names


def _cases(
    network: Network,
    settings: Sequence[tuple[int, int]],
    against: Sequence[str],
    rounds: int,
    err: Out,
) -> Iterator[Case]:
    model = network.model
    macs = model.summary().macs
    channels, height, width = model.graph.input_shape
    with tempfile.TemporaryDirectory() as folder:
        files = {"safetensors": f"{folder}/network.safetensors", "pt": f"{folder}/network.pt"}
        model.save(files["safetensors"])
        if against:
            _save_twin(network, files["pt"])
        entries = {
            name: Entry(ENGINES[name], files[ENGINES[name].form]) for name in (*OURS, *against)
        }
        for batch, threads in settings:
            if err.is_terminal:
                err.status(f"timing {network.title}, batch {batch}, threads {threads}")
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
                network.title,
                batch,
                threads,
                height,
                macs,
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


def _save_twin(network: Network, path: str) -> None:
    """Pickle the module of torchvision or timm with the model's parameters."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of initial values that will change in a later version
        module: Any
        name, classes = network.source_name, network.model.num_classes
        if network.source == "timm":
            import timm

            module = timm.create_model(name, num_classes=classes)
        else:
            import torchvision

            module = torchvision.models.get_model(name, num_classes=classes)
    arrays = network.model.state_dict()
    state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
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
