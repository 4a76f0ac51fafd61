"""Readers of .safetensors, of files of `save`, of runs, graphs and logs, for the fuzzer."""

from __future__ import annotations

import json
import os
import random
import tempfile
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import cnnzoo as cz
from cnnzoo import _native
from fuzz import changes
from fuzz.harness import Reader
from small_network import BATCHES, TINY, tiny

FOLDER = Path(tempfile.mkdtemp(prefix="cnnzoo-fuzz-"))
# An array has at most as many bytes as its file; those of 16 bits come back twice as wide.
WIDER = 2
SMALL = 1 << 20


def in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A reader of paths as one of bytes."""

    def from_bytes(data: bytes) -> object:
        path = FOLDER / f"{os.getpid()}-{name}"
        path.write_bytes(data)
        return read(path)

    return from_bytes


MODEL = tiny()


def read_weights(path: Path) -> None:
    """Every array, and into a model; a seed fits it, or parts of it do."""
    stored = _native.read_checkpoint(path)
    most = WIDER * max(path.stat().st_size, SMALL)
    assert all(stored[name].nbytes <= most for name in stored)
    assert all(isinstance(name, str) and what for name, what in stored.ignored)
    with warnings.catch_warnings(record=True):
        MODEL.load_weights(path, strict=False)
        MODEL.load_weights(path)


def split(data: bytes) -> tuple[Any, bytes]:
    """The header of a .safetensors file, none if it is damaged, and what is behind it."""
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        return json.loads(data[8:end]), data[end:]
    except (ValueError, RecursionError):
        return None, data


def joined(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


def rewrite_header(data: bytes, dice: random.Random) -> bytes:
    header, rest = split(data)
    if header is None:
        return data
    header = changes.json(header, dice)
    if dice.random() < 0.2:
        rest = rest[: dice.randrange(len(rest) + 1)] + bytes(dice.choice((0, 1, 4, 100)))
    return joined(header, rest)


def rewrite_description(key: str) -> Callable[[bytes, random.Random], bytes]:
    """Changes of what a file says beside its arrays, or of its header."""

    def rewrite(data: bytes, dice: random.Random) -> bytes:
        header, rest = split(data)
        try:
            described = json.loads(header["__metadata__"][key])
        except (TypeError, KeyError, ValueError, RecursionError):
            return data
        if dice.random() < 0.2:
            return checked(rewrite_header(data, dice))
        header["__metadata__"][key] = json.dumps(changes.json(described, dice))
        return checked(joined(header, rest))

    return rewrite


def checked(data: bytes) -> bytes:
    """A run checkpoint with the checksum that its arrays and text have."""
    header, rest = split(data)
    try:
        total = zlib.crc32(header["__metadata__"]["cnnzoo-run"].encode())
        for name in sorted(set(header) - {"__metadata__"}):
            begin, end = header[name]["data_offsets"]
            shape = ", ".join(map(str, header[name]["shape"]))
            total = zlib.crc32(f"{name}[{shape}]".encode(), total)
            total = zlib.crc32(rest[begin:end], total)
        header["__metadata__"]["checksum"] = f"{total:08x}"
    except (TypeError, KeyError, ValueError, AttributeError):
        return data
    return joined(header, rest)


def safetensors() -> list[bytes]:
    path = FOLDER / "seed.safetensors"
    arrays = tiny().state_dict()
    seeds = []
    for prefix, kind in (("", np.float32), ("module.", np.float16), ("model.net.", np.float64)):
        cast = {
            prefix + name: array if array.dtype.kind == "i" else array.astype(kind)
            for name, array in arrays.items()
        }
        save_file(cast, path, metadata={"a": "b"})
        seeds.append(path.read_bytes())
    return seeds


def saved() -> list[bytes]:
    path = FOLDER / "seed.safetensors"
    named = cz.create_model("mobilenet_v2_035", num_classes=3, width=0.05, image_size=32)
    named.labels = ["a", "b", "c"]
    seeds = []
    for model in (tiny(), named):
        model.save(path)
        seeds.append(path.read_bytes())
    return seeds


class Enough(cz.callbacks.Callback):
    """Ends a run that goes on: what the run checkpoint says is read by then."""

    def on_start(self, trainer: cz.Trainer) -> None:
        trainer.stop()


def runs() -> list[bytes]:
    """Run checkpoints of two runs that hold something of everything; the second is to go on."""
    seeds = []
    for optimizer, ema in (("SGD", 0.5), ("AdamW", None)):
        model = tiny().freeze("conv1")
        trainer = cz.Trainer(
            model,
            optimizer=cz.SGD(model, lr=0.01, momentum=0.9)
            if optimizer == "SGD"
            else cz.AdamW(model, lr=0.01, groups=[cz.ParameterGroup("fc", weight_decay=0.5)]),
            schedule=cz.MultiStep(at=[1, 2]) if ema else cz.Cosine(warmup=1),
            loss=cz.CrossEntropy(class_weights=[1, 2, 3]),
            ema=ema,
            clip_norm=1.0,
            accumulate=2,
        )
        folder = FOLDER / optimizer
        trainer.fit(BATCHES, BATCHES, epochs=1, progress=False, checkpoint=folder)
        seeds.append((folder / "last.safetensors").read_bytes())
    return seeds


def resume(path: Path) -> None:
    cz.Trainer.resume(path, BATCHES, BATCHES, progress=False, callbacks=[Enough()])


def read_graph(data: bytes) -> None:
    """Read a graph that prints as it was read, and whose parts can be asked for."""
    graph = cz.Graph.parse(data.decode("utf-8", "replace"))
    assert cz.Graph.parse(str(graph)) == graph
    graph.nodes()
    graph.pyramid()
    graph.parameters()
    try:
        graph.rows(*graph.input_shape[1:])
    except cz.ShapeError:
        raise AssertionError("the size that a graph is drawn for does not fit it") from None


def rewrite_graph(data: bytes, dice: random.Random) -> bytes:
    return changes.text(data.decode("utf-8", "replace"), dice).encode()


GRAPHS = [TINY.encode()]
GRAPHS += [
    str(_native.draw(name)).encode()
    for name in ("mobilenet_v3_small", "googlenet", "vit_tiny")
    if name in cz.list_models()
]

LOG = (
    b'{"step": 1, "loss": 2.5}\n{"epoch": 1, "step": 2, "val_top1": null}\n{"step": 9, "loss": 1}\n'
)


def read_log(path: Path) -> None:
    """As a run reads it that goes on."""
    trainer = cz.Trainer(MODEL, optimizer=cz.SGD(MODEL, lr=0.1))
    trainer._state.step = 2
    log = cz.callbacks.JsonLines(path)
    log.on_start(trainer)
    log.on_end(trainer)


def rewrite_log(data: bytes, dice: random.Random) -> bytes:
    lines = data.split(b"\n")
    at = dice.randrange(len(lines))
    try:
        lines[at] = json.dumps(changes.json(json.loads(lines[at]), dice)).encode()
    except (ValueError, RecursionError):
        return data
    return b"\n".join(lines)


READERS = {
    "safetensors": Reader(
        seeds=safetensors(),
        read=in_file("w.safetensors", read_weights),
        errors=["WeightsError"],
        rewrite=rewrite_header,
    ),
    "save": Reader(
        seeds=saved(),
        read=in_file("m.safetensors", cz.load),
        errors=["WeightsError"],
        rewrite=rewrite_description("cnnzoo"),
    ),
    "run": Reader(
        seeds=runs(),
        read=in_file("r.safetensors", resume),
        errors=["CheckpointError"],
        repair=checked,
        rewrite=rewrite_description("cnnzoo-run"),
    ),
    "graph": Reader(seeds=GRAPHS, read=read_graph, errors=["GraphError"], rewrite=rewrite_graph),
    "log": Reader(
        seeds=[LOG], read=in_file("log.jsonl", read_log), errors=["LogError"], rewrite=rewrite_log
    ),
}
