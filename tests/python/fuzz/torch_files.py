"""Readers of the files of `torch.save`, for the fuzzer."""

from __future__ import annotations

import io
import random
import warnings
import zipfile
from argparse import Namespace
from collections import OrderedDict
from typing import Any

import torch

from fuzz import changes
from fuzz.harness import EDGES, Reader
from fuzz.weights import in_file, read_weights
from small_network import tiny

# Of the object and the keys of its storages, behind three that say what the file is.
LEGACY_PICKLES = 5
# Records of an archive: of an entry, in its directory, of its end, and the same with 64 bits.
SIGNATURES = [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"]
HEADER = 60
DESCRIPTION = "/data.pkl"


def states() -> list[object]:
    """Objects as people save them: weights, run checkpoints of Lightning and others, arrays."""
    arrays = tiny().state_dict()
    plain = OrderedDict((name, torch.from_numpy(array.copy())) for name, array in arrays.items())
    strided = {
        "conv1.weight": torch.arange(27.0).reshape(1, 3, 3, 3).expand(4, 3, 3, 3),
        "fc.weight": plain["fc.weight"].T.contiguous().T,
        "fc.bias": torch.arange(12.0)[1:10:3],
    }
    halves = {
        f"module.{name}": tensor.bfloat16() if tensor.is_floating_point() else tensor
        for name, tensor in plain.items()
    }
    parameter = torch.nn.Parameter(plain["fc.weight"])
    lightning = {
        "epoch": 3,
        "global_step": 2**33,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.net.{name}": tensor for name, tensor in plain.items()},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": []}],
        "hyper_parameters": {"lr": 1e-3, "args": Namespace(a=(1, None), b={1, 2})},
    }
    return [
        plain,
        {**plain, **strided},
        {"model": halves, "history": [0.5, (1, 2)], "best": True},
        {**plain, "fc.weight": parameter},
        lightning,
        {"state_dict": dict(arrays)},
    ]


def saved(state: object, *, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def repacked(entries: list[tuple[str, bytes]], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", kind) as archive:
        # A name twice is one of the cases.
        warnings.simplefilter("ignore")
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def rewrite_zip(data: bytes, dice: random.Random) -> bytes:
    """The pickle, an entry or a record of the archive is changed."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [(name, archive.read(name)) for name in archive.namelist()]
            pickle = next(i for i, (name, _) in enumerate(entries) if name.endswith(DESCRIPTION))
            steps, _ = changes.opcodes(entries[pickle][1])
    except Exception:
        # It was changed before.
        return data
    at, kind = dice.randrange(len(entries)), dice.randrange(10)
    name, content = entries[at]
    if kind == 0:
        return record_changed(data, dice)
    if kind == 1:
        del entries[at]
    elif kind == 2:
        entries.append((dice.choice((name, name + "x", "archive/data/0", "../a", "/")), content))
    elif kind == 3:
        content = content[: dice.randrange(len(content) + 1)] + bytes(dice.choice((0, 1, 64)))
        entries[at] = (name, content)
    else:
        name, _ = entries[pickle]
        entries[pickle] = (name, changes.pickled(steps, dice))
    return repacked(entries, compressed=dice.random() < 0.03)


def record_changed(data: bytes, dice: random.Random) -> bytes:
    """A field of one of the archive's records has a number at an edge."""
    signature = dice.choice(SIGNATURES)
    places = [at for at in range(len(data)) if data.startswith(signature, at)]
    if not places:
        return data
    at = dice.choice(places) + dice.randrange(4, HEADER)
    width = dice.choice((2, 4, 8))
    number = (dice.choice(EDGES) % (1 << 8 * width)).to_bytes(width, "little")
    return data[:at] + number + data[at + width :]


def rewrite_legacy(data: bytes, dice: random.Random) -> bytes:
    """An opcode of the pickles is changed, or what is behind them: counts and storages."""
    try:
        steps, rest = changes.opcodes(data, LEGACY_PICKLES)
    except Exception:
        return data
    if dice.random() < 0.1:
        at = dice.randrange(len(rest) + 1)
        number = dice.choice(EDGES) % (1 << 64)
        rest = dice.choice((rest[:at], number.to_bytes(8, "little") + rest[8:], rest + bytes(8)))
        return b"".join(code for _, _, code in steps) + rest
    return changes.pickled(steps, dice) + rest


def reader(name: str, rewrite: Any, *, zipped: bool) -> Reader:
    return Reader(
        seeds=[saved(state, zipped=zipped) for state in states()],
        read=in_file(name, read_weights),
        errors=["WeightsError"],
        rewrite=rewrite,
    )


READERS = {
    "zip": reader("zip.pth", rewrite_zip, zipped=True),
    "legacy": reader("legacy.pth", rewrite_legacy, zipped=False),
}
