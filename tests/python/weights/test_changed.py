"""Files that are changed, cut or replaced while they are read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import cnnzoo as cz
from cnnzoo import _native

FORMATS = ["safetensors", "zip", "legacy"]
# More than is read at once of a file that has no bytes for it, and than was ever read as a whole.
HUGE = 5 << 30


def write(path: Path, kind: str, value: float = 1.0) -> None:
    state = {name: np.full((64, 64), value, np.float32) for name in ("a", "b")}
    if kind == "safetensors":
        save_file(state, path)
    else:
        tensors = {name: torch.from_numpy(array) for name, array in state.items()}
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("how", ["cut", "changed", "longer"])
def test_a_file_that_does_not_stay_as_it_is_is_refused(tmp_path: Path, kind: str, how: str) -> None:
    path = tmp_path / "weights"
    write(path, kind)
    stored = _native.read_checkpoint(path)
    assert stored["a"][0, 0] == 1
    length = path.stat().st_size
    with path.open("r+b") as file:
        if how == "cut":
            file.truncate(length // 2)
        elif how == "longer":
            file.seek(length)
            file.write(b"more")
        else:
            file.seek(length - 1000)
            file.write(bytes(8))
    os.utime(path, ns=(0, 0))
    with pytest.raises(cz.WeightsError, match="expected an unchanged file of ") as caught:
        stored["b"]
    assert f"{path}: `b`: " in str(caught.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_replaced_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "weights", tmp_path / "other"
    write(path, kind)
    write(other, kind, 2.0)
    stored = _native.read_checkpoint(path)
    other.replace(path)
    assert stored["a"][0, 0] == 1
    path.unlink()
    assert stored["b"][0, 0] == 1


def test_of_a_file_of_holes_only_what_it_has_is_read(tmp_path: Path) -> None:
    """Cutting such a file ended the process, which had it mapped."""
    path = tmp_path / "weights.safetensors"
    header = {
        "small": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "huge": {"dtype": "U8", "shape": [HUGE], "data_offsets": [8, 8 + HUGE]},
        "last": {"dtype": "F32", "shape": [2], "data_offsets": [8 + HUGE, 16 + HUGE]},
    }
    text = json.dumps(header).encode()
    begin = len(text).to_bytes(8, "little") + text + np.array([1, 2], np.float32).tobytes()
    with path.open("wb") as file:
        file.write(begin)
        file.truncate(len(begin) + HUGE + 8)
    stored = _native.read_checkpoint(path)
    assert stored["small"].tolist() == [1, 2]
    assert stored["last"].tolist() == [0, 0]
    with pytest.raises(cz.WeightsError, match=r"`huge`: expected at most .* bytes in one piece"):
        stored["huge"]
    os.truncate(path, 1000)
    with pytest.raises(cz.WeightsError, match="`last`: expected an unchanged file"):
        stored["last"]


def test_pickles_longer_than_what_is_read_first(tmp_path: Path) -> None:
    """The first mebibyte of a legacy file is read first, and its end may lie in any opcode."""
    path = tmp_path / "weights.pth"
    array = np.arange(5, dtype=np.float32)
    for before in range(0, 600, 13):
        filler = np.zeros((1 << 20) - before, np.uint8)
        state = {"filler": filler, "a": torch.arange(3.0), "b": array, "c": {"d": [0.5, 2**70]}}
        torch.save(state, path, pickle_protocol=4, _use_new_zipfile_serialization=False)
        stored = _native.read_checkpoint(path)
        assert stored.names() == ["filler", "a", "b"]
        assert stored["a"].tolist() == [0, 1, 2] and stored["b"].tolist() == array.tolist()
