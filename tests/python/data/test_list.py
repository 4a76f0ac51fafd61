"""Listing of the photographs below a folder: the same for data sets and the command."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
import pictures
from cnnzoo import _native


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """A reader that waits for a pipe's writer waits for ever: then the test fails instead."""
    signal.alarm(30)
    yield
    signal.alarm(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, each with one photograph, and all that surrounds photographs."""
    root = tmp_path / "root"
    for name in ["cat/a.png", "dog/deep/b.jpg"]:
        pictures.save(root / name, 0)
    for name in [
        ".ipynb_checkpoints/a-checkpoint.png",
        "cat/.ipynb_checkpoints/a-checkpoint.png",
        "cat/.a.png",
        "__MACOSX/cat/a.png",
        "cat/@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg",
        "$RECYCLE.BIN/a.png",
    ]:
        pictures.save(root / name, 1)
    (root / "cat" / "._a.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (root / "cat" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    os.mkfifo(root / "cat" / "pipe.png")
    os.mkfifo(tmp_path / "pipe")
    (root / "cat" / "linked-pipe.png").symlink_to(tmp_path / "pipe")
    bind(root / "dog" / "socket.png")
    (root / "dog" / "device.png").symlink_to("/dev/null")
    (root / "dog" / "around").symlink_to(root / "dog")
    (root / "dog" / "deep" / "to-the-top").symlink_to(root)
    (root / "around").symlink_to(root)
    return root


def bind(path: Path) -> None:
    """Make a socket; its name may be longer than the system's address of one."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


PHOTOS = ["cat/a.png", "dog/deep/b.jpg"]


def test_a_data_set_has_what_is_a_photograph(root: Path) -> None:
    dataset = cz.data.ImageFolder(root)
    assert dataset.classes == ["cat", "dog"]
    assert [dataset.name(index) for index in range(len(dataset))] == [f"{root}/{p}" for p in PHOTOS]
    assert [label for _, label in dataset] == [0, 1]


def test_the_command_finds_the_same(root: Path) -> None:
    photos, unreadable = _native.list_photos(root)
    assert (photos, unreadable) == ([f"{root}/{name}" for name in PHOTOS], [])
    from cnnzoo.command._commands import find_photos

    assert list(find_photos([str(root)])) == photos


def test_links_are_followed_by_both(root: Path, tmp_path: Path) -> None:
    pictures.save(tmp_path / "outside" / "c.png", 2)
    (root / "linked").symlink_to(tmp_path / "outside")
    (root / "cat" / "linked.png").symlink_to(tmp_path / "outside" / "c.png")
    (root / "cat" / "missing.png").symlink_to(tmp_path / "nowhere")
    photos, _ = _native.list_photos(root)
    dataset = cz.data.ImageFolder(root)
    assert dataset.classes == ["cat", "dog", "linked"]
    assert photos == [dataset.name(index) for index in range(len(dataset))]
    names = ["cat/a.png", "cat/linked.png", "cat/missing.png", "dog/deep/b.jpg", "linked/c.png"]
    assert photos == [f"{root}/{name}" for name in names]


def test_a_folder_that_is_named_is_read_though_its_name_is_hidden(tmp_path: Path) -> None:
    pictures.save(tmp_path / ".cache" / "cat" / "a.png", 0)
    assert cz.data.ImageFolder(tmp_path / ".cache").classes == ["cat"]
    assert len(_native.list_photos(tmp_path / ".cache")[0]) == 1


def test_a_name_that_is_no_text_comes_through(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.png")
    pictures.save(tmp_path / "a.png", 0)
    (tmp_path / "a.png").rename(tmp_path / name)
    photos, _ = _native.list_photos(tmp_path)
    assert photos == [os.path.join(tmp_path, name)]
    assert os.path.exists(photos[0])


def unusual(folder: Path) -> dict[str, Path]:
    """A file of every kind that is no regular one."""
    os.mkfifo(folder / "pipe")
    bind(folder / "socket")
    return {"pipe": folder / "pipe", "socket": folder / "socket", "device": Path("/dev/zero")}


@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = unusual(tmp_path)[kind]
    message = f"expected a regular file, got a {kind}"
    whole = tmp_path / "x.csv"
    whole.write_text(f"path,label\n{path},0\n")
    small = cz.Preprocess(
        resize=8, crop=8, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    parquet, csv = tmp_path / "t.parquet", tmp_path / "t.csv"
    parquet.symlink_to(path)
    csv.symlink_to(path)
    readers: list[Callable[[], object]] = [
        lambda: _native.decode_photo(path),
        lambda: small(path),
        lambda: cz.transforms.Resize(8)(path),
        lambda: cz.data.idx(path, path),
        lambda: _native.Dataset.cifar([path], "only", path),
        lambda: cz.data.Table(csv),
        lambda: cz.data.Table(whole)[0],
        lambda: cz.data.Table(parquet),
    ]
    for read in readers:
        with pytest.raises(cz.errors.PhotoFileError, match=message):
            read()


SWAP = """
import os, sys, threading
import numpy as np, cnnzoo as cz
from cnnzoo import _native
file, pipe, name, other = sys.argv[1:]
going = True
def swap():
    while going:
        for target in (file, pipe):
            os.symlink(target, other)
            os.rename(other, name)
thread = threading.Thread(target=swap)
os.symlink(file, name)
thread.start()
read = refused = 0
while read < 20 or refused < 20:
    try:
        _native.decode_photo(name)
        read += 1
    except cz.errors.PhotoFileError as error:
        assert "expected a regular file, got a pipe" in str(error), error
        refused += 1
going = False
thread.join()
"""


def test_a_pipe_put_there_between_looking_and_opening_is_no_trap(tmp_path: Path) -> None:
    pictures.save(tmp_path / "a.png", 0)
    os.mkfifo(tmp_path / "pipe")
    names = [tmp_path / name for name in ("a.png", "pipe", "name", "other")]
    subprocess.run([sys.executable, "-c", SWAP, *map(str, names)], check=True, timeout=60)


def test_suffixes_of_what_is_decoded(tmp_path: Path) -> None:
    np.testing.assert_array_equal(
        sorted(set(_native.PHOTO_SUFFIXES)), sorted(_native.PHOTO_SUFFIXES)
    )
    for suffix in _native.PHOTO_SUFFIXES:
        (tmp_path / f"x{suffix.upper()}").write_bytes(b"")
    (tmp_path / "x.txt").write_bytes(b"")
    assert len(_native.list_photos(tmp_path)[0]) == len(_native.PHOTO_SUFFIXES)


READ = """
import os, signal, sys, threading
import cnnzoo as cz
# A shell may have told its children to ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    cz.data.idx(sys.argv[1], sys.argv[1])
except KeyboardInterrupt:
    os._exit(7)
"""


def test_ctrl_c_ends_the_reading_of_a_large_file(tmp_path: Path) -> None:
    """3 GiB of zeros, which take seconds to decompress."""
    path = tmp_path / "large"
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (3 << 20, 32, 32))
    path.write_bytes(gzip.compress(head) + gzip.compress(bytes(1 << 26)) * 48)
    assert subprocess.run([sys.executable, "-c", READ, str(path)], check=False).returncode == 7
