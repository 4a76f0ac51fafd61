"""Files of Keras that are damaged or hostile: refused in seconds, whatever HDF5 makes of them."""

from __future__ import annotations

import os
import random
import socket
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo.weights import _keras_reader
from cnnzoo.weights import keras as _keras

# Ten of work, where others work too.
MOST_SECONDS = 40


def whole(path: Path) -> h5py.File:
    stored = h5py.File(path, "w")
    stored.attrs["layer_names"] = ["conv"]
    stored.create_group("conv").attrs["weight_names"] = ["conv/kernel"]
    return stored


def read(path: Path) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    return _keras.read(path)


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    with whole(tmp_path / "m.h5") as stored:
        stored["conv/conv/kernel"] = values
        stored["conv/more"] = np.float64(3)
    found = read(tmp_path / "m.h5")
    assert list(found) == ["conv/kernel", "conv/more"]
    np.testing.assert_array_equal(found["conv/kernel"], values)


def external_storage(path: Path) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(bytes(48))
    with whole(path) as stored:
        stored.create_dataset(
            "conv/conv/kernel", (12,), np.float32, external=[(str(secret), 0, 48)]
        )


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["kernel"] = np.zeros(3, np.float32)
    with whole(path) as stored:
        stored["conv/conv/kernel"] = h5py.ExternalLink("other.h5", "kernel")


def virtual(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["kernel"] = np.zeros(3, np.float32)
    layout = h5py.VirtualLayout((3,), np.float32)
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "kernel", (3,))
    with whole(path) as stored:
        stored.create_virtual_dataset("conv/conv/kernel", layout)


def unwritten(path: Path) -> None:
    with whole(path) as stored:
        stored.create_dataset("conv/conv/kernel", (1 << 40,), np.float32, chunks=(1 << 20,))


def unwritten_in_one_piece(path: Path) -> None:
    with whole(path) as stored:
        stored.create_dataset("conv/conv/kernel", (1 << 36,), np.float64)


def unwritten_beside_the_layers(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.zeros(3, np.float32)
        stored.create_dataset("other", (1 << 20, 1 << 20), np.int8, chunks=(1, 1 << 20))


def many_times(path: Path) -> None:
    """A file of a kilobyte, whose layers have one name."""
    with whole(path) as stored:
        stored.create_dataset("conv/conv/kernel", (1 << 25,), np.float32, chunks=(1 << 20,))
        stored.attrs["layer_names"] = ["conv"] * 1000


def text_of_one_length(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.array([b"no number", b"none"])


def record(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.zeros(3, [("a", np.float32), ("b", np.int8)])


def reference(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = stored["conv"].ref


def nothing(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = h5py.Empty(np.float32)


def circle(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv"] = h5py.SoftLink("/conv/conv")


def layer_no_utf8(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.zeros(3, np.float32)
        stored.attrs["layer_names"] = np.array([b"\xff\xfe"])


def text(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = "no number"


def no_utf8(path: Path) -> None:
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.zeros(3, np.float32)
        stored["conv"].create_group(b"\xff\xfe")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (external_storage, "`/conv/conv/kernel` keeps its values in another file"),
        (external_link, "`kernel` leads to another file"),
        (virtual, "`/conv/conv/kernel` keeps its values in another file"),
        (unwritten, "its arrays take more than 268435456 bytes"),
        (unwritten_in_one_piece, "its arrays take more than 268435456 bytes"),
        (unwritten_beside_the_layers, "its arrays take more than 268435456 bytes"),
        (many_times, "Unable to allocate"),
        (text, "`conv/kernel`: expected numbers, got object"),
        (text_of_one_length, "`conv/kernel`: expected numbers, got |S9"),
        (record, "`conv/kernel`: expected numbers, got [('a', '<f4'), ('b', 'i1')]"),
        (reference, "`conv/kernel`: expected numbers, got object"),
        (nothing, "`conv/kernel`: expected numbers, got none"),
        (circle, "too many links"),
        (layer_no_utf8, "can't decode byte 0xff"),
        (no_utf8, "is no name in UTF-8"),
    ],
)
def test_what_is_no_plain_weights_is_refused(tmp_path: Path, make: object, says: str) -> None:
    assert callable(make)
    path = tmp_path / "m.h5"
    make(path)
    began = time.monotonic()
    with pytest.raises(cz.WeightsError) as caught:
        cz.create_model("mobilenet_v2_035").load_weights(path)
    assert f"{path}: no Keras weights (" in str(caught.value) and says in str(caught.value)
    assert time.monotonic() - began < MOST_SECONDS


def test_damaged_files_end_in_seconds(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with whole(path) as stored:
        stored["conv/conv/kernel"] = np.zeros((3, 3), np.float32)
    content = path.read_bytes()
    generator = random.Random(0)
    for _ in range(8):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except cz.WeightsError:
            continue


def test_a_reader_that_does_not_end_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file whose attribute says that it has 2⁶⁰ names."""
    path = tmp_path / "m.h5"
    path.write_bytes(b"")
    busy = tmp_path / "busy.py"
    busy.write_text("from __future__ import annotations\nwhile True: pass\n")
    monkeypatch.setattr(_keras_reader, "__file__", str(busy))
    monkeypatch.setattr(_keras_reader, "SECONDS", 1)
    began = time.monotonic()
    with pytest.raises(cz.WeightsError, match="did not end in 3 seconds"):
        read(path)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.h5"
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(os.path.relpath(path))
        else:
            path.mkdir()
        with pytest.raises(cz.WeightsError, match=r"m\.h5: not a regular file"):
            cz.create_model("mobilenet_v2_035").load_weights(path)
