"""Files that we write, read by safetensors."""

from __future__ import annotations

import os
import pathlib
import stat

import numpy as np
import pytest
import safetensors
import safetensors.numpy
import safetensors.torch
import torch

from cnnzoo import _native

ARRAYS = {
    "weight": np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32),
    "flags": np.array([True, False, True]),
    "bytes": np.arange(7, dtype=np.uint8),
    "half": np.arange(5, dtype=np.float16),
    "double": np.arange(5, dtype=np.float64),
    "tracked": np.array(7, dtype=np.int64),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">f4"),
    "empty": np.empty((0, 3), np.float32),
    'a name with ünïcode and "quotes"': np.ones(1, np.int8),
}


def test_safetensors_reads_what_we_write(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    metadata = {"z": "last\nline", "a": "ü"}
    _native.write_safetensors(path, ARRAYS, metadata=metadata)
    for loaded in (safetensors.numpy.load_file(path), _native.read_checkpoint(path)):
        assert sorted(loaded.keys()) == sorted(ARRAYS)
        for name, array in ARRAYS.items():
            assert loaded[name].dtype == array.dtype.newbyteorder("=")
            np.testing.assert_array_equal(loaded[name], array, strict=array.dtype.isnative)
    with safetensors.safe_open(path, framework="np") as file:
        assert file.metadata() == metadata
    assert _native.read_checkpoint(path).metadata == dict(sorted(metadata.items()))


def test_tensors_lie_aligned(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    _native.write_safetensors(path, {"odd": np.ones(3, np.uint8), "b": np.ones(2), "a": np.ones(1)})
    assert _native.read_checkpoint(path).names() == ["b", "a", "odd"]
    assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0
    assert torch.equal(safetensors.torch.load_file(path)["b"], torch.ones(2, dtype=torch.float64))


def test_every_bit_comes_back(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    _native.write_safetensors(path, {"a": bits})
    assert _native.read_checkpoint(path)["a"].tobytes() == bits.tobytes()
    first = path.read_bytes()
    _native.write_safetensors(path, {"a": bits})
    assert path.read_bytes() == first


def test_nothing_to_write(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    _native.write_safetensors(path, {})
    assert _native.read_checkpoint(path).names() == []
    assert safetensors.numpy.load_file(path) == {}


def test_a_failed_write_leaves_everything_as_it_was(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"before")
    with pytest.raises(ValueError, match="`__metadata__`: expected a name of its own"):
        _native.write_safetensors(path, {"__metadata__": np.ones(1)})
    with pytest.raises(TypeError, match="`a`: complex128 has no place"):
        _native.write_safetensors(path, {"a": np.ones(1, complex)})
    assert path.read_bytes() == b"before"
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OSError, match="folder"):
        _native.write_safetensors(folder, {"a": np.ones(1)})
    with pytest.raises(FileNotFoundError, match="nowhere"):
        _native.write_safetensors(tmp_path / "nowhere" / "a", {"a": np.ones(1)})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "weights.safetensors"]


@pytest.mark.parametrize("exists", [True, False])
def test_what_a_link_leads_to_is_replaced(tmp_path: pathlib.Path, exists: bool) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if exists:
        (disk / "x.safetensors").write_bytes(b"before")
    (tmp_path / "inner").symlink_to("disk/x.safetensors")
    (disk / "latest").symlink_to("../inner")
    _native.write_safetensors(disk / "latest", {"a": np.ones(1)})
    assert (disk / "latest").is_symlink()
    assert (tmp_path / "inner").is_symlink()
    assert list(safetensors.numpy.load_file(disk / "x.safetensors")) == ["a"]
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OSError, match="symbolic links"):
        _native.write_safetensors(tmp_path / "circle", {"a": np.ones(1)})


def test_a_file_keeps_its_permissions(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "secret.safetensors"
    path.touch(mode=0o600)
    _native.write_safetensors(path, {"a": np.ones(1)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_pipes_and_devices_are_not_replaced(tmp_path: pathlib.Path) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OSError, match="expected a regular file, got a pipe"):
            _native.write_safetensors(path, {"a": np.ones(1)})
    assert pipe.is_fifo()
    # One that is made here, since who may make it may replace it too.
    device = tmp_path / "device"
    try:
        os.mknod(device, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    except PermissionError:
        return
    with pytest.raises(OSError, match="expected a regular file, got a device"):
        _native.write_safetensors(device, {"a": np.ones(1)})
    assert device.is_char_device()


def test_a_full_disk(tmp_path: pathlib.Path) -> None:
    full = pathlib.Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "weights.safetensors"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
    try:
        with pytest.raises(OSError, match=r"weights\.safetensors"):
            _native.write_safetensors(path, {"a": np.ones(1 << 20)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
