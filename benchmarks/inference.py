"""Latency and memory of inference on the CPU, beside PyTorch and seven other engines.

One network of each family runs on the same random weights and images in every engine that is
installed: ours, PyTorch eager in both memory formats, torch.compile with frozen parameters,
onnxruntime, OpenVINO, ncnn, MNN, LiteRT, ExecuTorch and DeepSparse, all in float32. Each engine is
a process of its own, started once for a network, a batch and a number of threads; they take turns
in random order. A turn is a pause of 30 ms, a call that is not counted, and calls for 50 ms. Times
are medians of the turns. Answers are compared with those of PyTorch eager: an engine that answers
otherwise is marked, and never the best. A product of square matrices of 2048 (torch.mm, the same
number of threads) takes turns like an engine: its speed is called the GEMM peak.

Memory is the peak of the engine's process (VmHWM), with its interpreter, libraries, images and
everything that loading needed. "First" is the first call after loading.

With --precision int8, networks are quantized after training: by NNCF for OpenVINO (its default
settings), by onnxruntime's quantize_static (QDQ, by channel, uint8 activations, int8 weights,
ranges from minima and maxima) and by ai-edge-quantizer for LiteRT (int8 by channel). All, and ours,
are calibrated on the same 32 random crops of scikit-image's photographs, which are written beside
the network as calibration.npy. The images that are raced are other crops of them, since the random
images of the other precisions have values that calibration has not seen. Errors are relative to
PyTorch eager in float32, on random weights: they say that an engine runs the same network, and
`quantization.py` says what its answers lose.

Engines are looked for in the interpreter that runs this, and in those of --python. Conversions are
written to --folder, and those of a network and batch deleted after it was measured, unless --keep
is given: all take 30 GB. A failed one is remembered beside them in a file that ends in `.failed`.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "python"))

from calibration import RACING, imagenet_crops
from inference_report import Case, draw, filled, lines
from machine import instructions, processor

from cnnzoo import _json
from cnnzoo.racing import ENGINES, GEMM, Engine, Entry, gemm_entry, gemm_speed, race

ROOT = Path(__file__).parent.parent

NETWORKS = (
    "alexnet",
    "vgg16",
    "googlenet",
    "inception_v3",
    "resnet18",
    "resnet50",
    "densenet121",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "xception",
    "efficientnet_b0",
    "vit_b_16",
)
# Networks whose auxiliary classifiers, which inference does not run, are left out.
AUXILIARY = {"googlenet", "inception_v3"}

PEERS_FILE = str(Path(__file__).with_name("peers.py"))
PEERS = {
    name: Engine(name, modules, form, PEERS_FILE, title)
    for name, modules, form, title in (
        ("onnxruntime", ("onnxruntime",), "onnx", "onnxruntime"),
        ("openvino", ("openvino",), "xml", "OpenVINO"),
        ("ncnn", ("ncnn",), "ncnn.param", "ncnn"),
        ("mnn", ("MNN",), "mnn", "MNN"),
        ("litert", ("ai_edge_litert",), "tflite", "LiteRT"),
        ("executorch", ("executorch", "torch"), "pte", "ExecuTorch"),
        ("deepsparse", ("deepsparse",), "old.onnx", "DeepSparse"),
    )
}
EVERY = {name: engine for name, engine in ENGINES.items() if name != "cnnzoo_exact"} | PEERS

# The engines that compute in bfloat16 where they are asked to.
BFLOAT16 = ("cnnzoo", "openvino", "ncnn")
# The engines that compute in int8, all but ours from a form that begins with `int8.`.
INT8 = ("cnnzoo", "onnxruntime", "openvino", "litert")
QUANTIZED = "int8."

# What the interpreter that converts needs for a form, beside torch, torchvision and timm.
TOOLS = {
    "onnx": ("onnx",),
    "old.onnx": ("onnx",),
    "xml": ("openvino",),
    "ncnn.param": ("pnnx",),
    "mnn": ("MNN",),
    "tflite": ("litert_torch",),
    "pte": ("executorch",),
    "int8.onnx": ("onnx", "onnxruntime"),
    "int8.xml": ("openvino", "nncf"),
    "int8.tflite": ("litert_torch", "ai_edge_quantizer"),
}
# Seconds that a conversion may take.
CONVERTING = 1800
# Stands for every engine in --python.
ANY = "any"


class MissingError(Exception):
    """The reason why an engine does not take part."""


@dataclass(frozen=True)
class Network:
    """A network in our format and in PyTorch's, with the same weights."""

    name: str
    folder: Path
    size: int
    macs: int

    @property
    def calibration(self) -> Path:
        """The file of the images for calibration."""
        return self.folder / "calibration.npy"

    def data(self, batch: int, *, photographs: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Images, random or crops of photographs, and the logits of PyTorch eager."""
        import torch

        from reference import images

        if photographs:
            x = imagenet_crops(self.size, count=batch, seed=RACING)
        else:
            x = images((self.size, self.size), batch, seed=2)
        module = torch.load(self.folder / "network.pt", weights_only=False)
        with torch.inference_mode():
            return x, module(torch.from_numpy(x)).numpy()


def export(name: str, folder: Path, size: int | None = None) -> Network:
    """Write a network with random weights, in our format and in PyTorch's, unless it is there."""
    import torch

    from reference import LIBRARIES, TorchReference, build_reference, editions

    edition = next(
        edition
        for edition in editions()
        if name in {edition.name, edition.source_name} and edition.source in LIBRARIES[:2]
    )
    auxiliary = name in AUXILIARY
    options = {"aux": False} if auxiliary else {}
    size = size or edition.info.input_size
    macs = edition.create(meta=True, **options).summary((size, size)).macs
    network = Network(name, folder / name, size, macs)
    ours, theirs = network.folder / "network.safetensors", network.folder / "network.pt"
    if not theirs.exists():
        network.folder.mkdir(parents=True, exist_ok=True)
        reference = build_reference(edition, **({"aux_logits": False} if auxiliary else {}))
        assert isinstance(reference, TorchReference)
        model = edition.create(**options)
        model.load_state_dict(reference.state())
        model.save(ours)
        torch.save(reference.module.eval(), theirs)
    return network


@functools.cache
def installed(python: str) -> frozenset[str]:
    """The top packages, of those that any engine or conversion needs, that an interpreter has."""
    needed = {module for engine in EVERY.values() for module in engine.modules}
    code = (
        "import importlib.util, json, sys\n"
        "print(json.dumps([m for m in sys.argv[1:] if importlib.util.find_spec(m)]))"
    )
    tools = set(itertools.chain(*TOOLS.values()))
    command = [python, "-c", code, *sorted(needed | tools | {"timm"})]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return frozenset(json.loads(done.stdout))


def interpreter(needs: Sequence[str], pythons: Sequence[str]) -> str:
    """The first interpreter that has all of these packages.

    Raises:
        MissingError: None has.
    """
    for python in pythons:
        if set(needs) <= installed(python):
            return python
    raise MissingError(f"not installed: expected {', '.join(needs)} in one of {', '.join(pythons)}")


def converted(network: Network, form: str, x: np.ndarray, pythons: Sequence[str]) -> Path:
    """The network's file in a format, converted in a process of its own unless it is there.

    Formats in int8 need the file of the images for calibration.

    Raises:
        MissingError: No interpreter has the tools, or the conversion fails.
    """
    if form in {"pt", "safetensors"}:
        return network.folder / f"network.{form}"
    folder = batch_folder(network, len(x))
    target, failed = folder / f"network.{form}", folder / f"network.{form}.failed"
    if target.exists():
        return target
    if failed.exists():
        raise MissingError(f"conversion failed: {failed.read_text()}")
    python = interpreter((*TOOLS[form], "torch", "torchvision", "timm"), pythons)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as part:
        np.save(f"{part}/images.npy", x[:1] if form == "ncnn.param" else x)
        command = [python, Path(__file__).with_name("conversions.py"), form]
        command += [network.folder / "network.pt", f"{part}/images.npy", f"{part}/network.{form}"]
        if form.startswith(QUANTIZED):
            command.append(network.calibration)
        reason = failure(list(map(str, command)))
        if not (Path(part) / f"network.{form}").exists():
            failed.write_text(reason)
            raise MissingError(f"conversion failed: {reason}")
        for file in Path(part).glob("network.*"):
            file.replace(folder / file.name)
    return target


def failure(command: Sequence[str]) -> str:
    """The last line that a program writes."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CONVERTING, check=False,
            errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end within {CONVERTING} s"
    said = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no message"]
    return said[0]


def batch_folder(network: Network, batch: int) -> Path:
    """The folder of the conversions for a batch."""
    return network.folder / f"batch-{batch}"


def measure(network: Network, batch: int, threads: int, arguments: argparse.Namespace) -> Case:
    """Race the engines on one network."""
    in_int8 = arguments.precision == "int8"
    x, want = network.data(batch, photographs=in_int8)
    calibration = imagenet_crops(network.size) if in_int8 else None
    if calibration is not None:
        np.save(network.calibration, calibration)
    entries: dict[str, Entry] = {}
    missing: dict[str, str] = {}
    for name in arguments.engines:
        engine = EVERY[name]
        if in_int8 and name in PEERS:
            engine = replace(engine, form=QUANTIZED + engine.form)
        pythons = [
            *(path for label, path in arguments.python if label == name),
            sys.executable,
            *(path for label, path in arguments.python if label == ANY),
        ]
        tools = [*dict.fromkeys([*pythons, *(path for _, path in arguments.python)])]
        try:
            python = interpreter(engine.modules, pythons)
            entries[name] = Entry(engine, str(converted(network, engine.form, x, tools)), python)
        except MissingError as reason:
            missing[name] = str(reason)
    outcome = race(
        {**entries, GEMM: gemm_entry()}, x, want, threads=threads, rounds=arguments.rounds,
        turn=arguments.turn, seed=arguments.seed, precision=arguments.precision,
        calibration=calibration,
    )  # fmt: skip
    peak = outcome.figures.pop(GEMM, None)
    return Case(
        network=network.name,
        batch=batch,
        threads=threads,
        size=network.size,
        macs=network.macs,
        gemm=gemm_speed(peak) if peak else None,
        load_average=os.getloadavg()[0],
        figures=outcome.figures,
        missing={**missing, **outcome.missing},
    )


def cases(arguments: argparse.Namespace, done: Sequence[Case]) -> Iterator[Case]:
    """Measure what is not done yet, and delete conversions that no longer are needed."""
    keys = {case.key for case in done}
    for name in arguments.networks:
        todo = [
            (batch, threads)
            for batch in arguments.batch
            for threads in arguments.threads
            if (name, batch, threads) not in keys
        ]
        if not todo:
            continue
        network = export(name, arguments.folder, arguments.size)
        for batch in dict.fromkeys(batch for batch, _ in todo):
            for threads in (threads for also, threads in todo if also == batch):
                yield measure(network, batch, threads, arguments)
            if not arguments.keep:
                shutil.rmtree(batch_folder(network, batch), ignore_errors=True)
        if not arguments.keep:
            shutil.rmtree(network.folder)


@contextmanager
def company(count: int) -> Iterator[None]:
    """Other processes that never rest."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def machine() -> str:
    """The processor and the system."""
    return (
        f"{os.cpu_count()} cores of {processor()} ({instructions()}), "
        f"Python {platform.python_version()}"
    )


def numbers(text: str) -> list[int]:
    """The numbers of a list such as `1,8`."""
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers from 1 up, got {text}")
    return found


def known(words: str, names: Sequence[str]) -> list[str]:
    """The names of a list, each of which must be known."""
    found = words.split(",")
    if unknown := [name for name in found if name not in names]:
        raise argparse.ArgumentTypeError(
            f"expected some of {', '.join(names)}, got {', '.join(unknown)}"
        )
    return found


def pair(text: str) -> tuple[str, str]:
    """The engine and the path of NAME=PATH."""
    name, _, path = text.partition("=")
    if name not in {ANY, *EVERY} or not shutil.which(path):
        raise argparse.ArgumentTypeError(
            f"expected NAME=PATH, where NAME is {ANY} or an engine, and PATH an interpreter, "
            f"got {text}"
        )
    return name, path


def main() -> None:
    """Measure, or read what was measured; print, write and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(NETWORKS))
    parser.add_argument("--batch", type=numbers, default=[1, 8], help="default 1,8")
    parser.add_argument("--threads", type=numbers, default=[1, 2], help="default 1,2")
    parser.add_argument("--size", type=int, help="image size; each network's own if not given")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each engine (default 12)")
    parser.add_argument("--turn", type=float, default=0.05, help="seconds of one (default 0.05)")
    parser.add_argument("--seed", type=int, default=0, help="of the order of turns")
    parser.add_argument(
        "--engines", type=lambda text: known(text, [*EVERY]), default=[*EVERY],
        help=f"default {','.join(EVERY)}",
    )  # fmt: skip
    parser.add_argument(
        "--without", type=lambda text: known(text, [*EVERY]), default=[], help="engines left out"
    )
    parser.add_argument(
        "--python", type=pair, action="append", default=[], metavar="NAME=PATH",
        help=f"another interpreter to look for an engine in, or for any: {ANY}=PATH; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "target" / "inference", help="for converted networks"
    )
    parser.add_argument(
        "--busy", type=int, default=0, help="other processes that compute meanwhile; only printed"
    )
    parser.add_argument(
        "--precision", choices=("float32", "bfloat16", "int8"), default="float32",
        help=f"bfloat16 is for {', '.join(BFLOAT16)}, int8 for {', '.join(INT8)}; only printed",
    )  # fmt: skip
    parser.add_argument("--keep", action="store_true", help="keep them (30 GB for all)")
    parser.add_argument("--json", type=Path, help="all figures; cases in it are not repeated")
    parser.add_argument("--read", action="store_true", help="measure nothing: only read --json")
    parser.add_argument("--write", type=Path, help="put the tables into this Markdown file")
    parser.add_argument("--plot", type=Path, help="draw the comparison: .svg or .png")
    arguments = parser.parse_args()
    arguments.engines = [name for name in arguments.engines if name not in arguments.without]

    is_usual = not arguments.busy and arguments.precision == "float32"
    if not is_usual and (arguments.json or arguments.write or arguments.plot):
        parser.error(
            "--json, --write, --plot: expected figures in float32 of a machine at rest, without "
            "--busy and --precision"
        )
    having = {"float32": [*EVERY], "bfloat16": BFLOAT16, "int8": INT8}[arguments.precision]
    arguments.engines = [name for name in arguments.engines if name in having]

    stored = {"machine": machine(), "cases": []}
    if arguments.json and arguments.json.exists():
        stored = json.loads(arguments.json.read_text())
        if not arguments.read and stored["machine"] != machine():
            parser.error(f"--json: expected figures of {machine()}, got {stored['machine']}")
    elif arguments.read:
        parser.error(f"--read: expected the figures in --json, got {arguments.json}")
    results = [Case.read(case) for case in stored["cases"]]
    titles = {name: str(engine) for name, engine in EVERY.items()}
    print(stored["machine"], flush=True)
    for case in results:
        print(lines(case, titles), flush=True)
    with company(arguments.busy):
        for case in () if arguments.read else cases(arguments, results):
            results.append(case)
            print(lines(case, titles), flush=True)
            if arguments.json:
                stored["cases"] = [asdict(case) for case in results]
                arguments.json.write_text(_json.lines(stored) + "\n")
    if arguments.write:
        text = arguments.write.read_text()
        arguments.write.write_text(filled(text, results, titles, stored["machine"], arguments.plot))
    if arguments.plot:
        draw(results, titles, arguments.plot)


if __name__ == "__main__":
    main()
