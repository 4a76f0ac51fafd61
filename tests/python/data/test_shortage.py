"""A request for more memory than there is gets an error that says so, and the process lives."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import textwrap
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnnzoo as cz

# Beyond what the process has already taken: enough for itself, too little for a large picture.
SPARE = 128 << 20

PRELUDE = """
import io, os, re, resource, sys
import numpy as np
import cnnzoo as cz
from cnnzoo import _native
from pathlib import Path
def limit(spare):
    used = int(re.search(r"VmSize:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, resource.RLIM_INFINITY))
def short(work):
    try:
        work()
    except MemoryError as error:
        assert isinstance(error, cz.CnnzooError), repr(error)
        assert re.search(r"expected \\d+ bytes", str(error)), error
    else:
        raise AssertionError("there was room")
small = cz.Preprocess(resize=8, crop=8, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
"""


def run(body: str, *arguments: Path) -> None:
    """In a process of its own, since what fails here would end it."""
    code = PRELUDE + f"SPARE = {SPARE}\n" + textwrap.dedent(body)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))


def webp(width: int, height: int) -> bytes:
    """Lossless, of one colour."""
    bits = width - 1 | (height - 1) << 14
    body = b"/" + struct.pack("<I", bits) + bytes(20)
    data = b"WEBPVP8L" + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(data)) + data


def large(kind: str) -> bytes:  # noqa: PLR0911
    """A small file of a large picture."""
    if kind == "PNG":
        return png(13_000, 13_000)
    if kind == "WebP":
        return webp(13_000, 13_000)
    if kind in {"JPEG", "progressive"}:
        file = io.BytesIO()
        Image.new("RGB", (16, 16)).save(file, "JPEG", progressive=kind == "progressive")
        size = struct.pack(">HH", 16, 16)
        return file.getvalue().replace(size, struct.pack(">HH", 13_000, 13_000), 1)
    if kind == "GIF":
        file = io.BytesIO()
        Image.new("P", (16, 16)).save(file, "GIF")
        size = struct.pack("<HH", 16, 16)
        return file.getvalue().replace(size, struct.pack("<HH", 13_000, 13_000))
    if kind == "BMP":
        sizes = (40, 13_000, 13_000, 1, 8, 1, 2, 0, 0, 1, 0)
        head = struct.pack("<IiiHHIIiiII", *sizes)
        return b"BM" + struct.pack("<IHHI", 60, 0, 0, 58) + head + bytes(4) + b"\0\1"
    if kind == "PPM":
        return b"P6 13000 13000 255\n"
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "TIFF", compression="tiff_lzw")
    source = bytearray(file.getvalue())
    start = struct.unpack_from("<I", source, 4)[0]
    for index in range(struct.unpack_from("<H", source, start)[0]):
        at = start + 2 + 12 * index
        if struct.unpack_from("<H", source, at)[0] in {256, 257, 278}:
            struct.pack_into("<HII", source, at + 2, 4, 1, 13_000)
    return bytes(source)


KINDS = ["PNG", "WebP", "JPEG", "progressive", "GIF", "BMP", "PPM", "TIFF"]


def test_small_files_of_large_pictures(tmp_path: Path) -> None:
    for kind in KINDS:
        (tmp_path / kind).write_bytes(large(kind))
        assert (tmp_path / kind).stat().st_size < 1000
    run(
        """
        limit(SPARE)
        for name in sorted(os.listdir(sys.argv[1])):
            path = os.path.join(sys.argv[1], name)
            try:
                short(lambda: _native.decode_photo(path))
            except BaseException as error:
                raise AssertionError(name) from error
        """,
        tmp_path,
    )


def test_arrays_that_repeat_a_few_bytes() -> None:
    run(
        """
        one = np.zeros((1, 1, 3), np.uint8)
        for shape in [(10**6, 10**6, 3), (10**5, 10**5, 4), (2**31, 3, 3), (10**9, 10**9)]:
            virtual = np.broadcast_to(one[..., :1], shape) if len(shape) == 3 else \\
                np.broadcast_to(one[0, :, 0], shape)
            for take in (small, cz.transforms.Resize(8), cz.transforms.Resize(8).preview):
                try:
                    take(virtual)
                except cz.errors.ShapeError as error:
                    assert "at most" in str(error), error
                else:
                    raise AssertionError(shape)
        short(lambda: cz.data.Arrays(np.broadcast_to(one[..., :1], (10**9, 640, 480, 3)),
                                     np.broadcast_to(np.int64(0), 10**9)))
        limit(SPARE)
        short(lambda: small(np.broadcast_to(one, (13_000, 13_000, 3))))
        many = np.broadcast_to(one, (10**5, 64, 64, 3))
        short(lambda: cz.data.Arrays(many, np.zeros(10**5, int)))
        """
    )


def test_batches_canvases_and_squares() -> None:
    run(
        """
        t = cz.transforms
        photo = np.zeros((64, 64, 3), np.uint8)
        data = cz.data.Arrays(np.zeros((600, 8, 8, 1), np.uint8), np.zeros(600, int))
        large = cz.Preprocess(resize=8192, crop=8192, interpolation="bilinear",
                              mean=(0.5,) * 3, std=(0.5,) * 3)
        limit(SPARE)
        short(lambda: large(photo))
        short(lambda: t.Resize((8192, 8192))(photo))
        short(lambda: t.CenterCrop(8192)(photo))
        short(lambda: t.RandomCrop(64, padding=6000)(photo))
        short(lambda: next(iter(cz.data.Loader(data, batch_size=600, transform=t.Resize(256)))))
        # And there is still room for what is small.
        assert t.Resize(32)(photo).shape == (3, 32, 32)
        """
    )


def test_sizes_beyond_all_bounds_are_refused() -> None:
    t = cz.transforms
    photo = np.zeros((8, 8, 3), np.uint8)
    makers: list[Callable[[], object]] = [
        lambda: t.RandAugment(num_ops=2**62),
        lambda: t.RandAugment(num_magnitude_bins=2**62),
        lambda: t.Resize(2**31),
        lambda: t.CenterCrop(2**40),
        lambda: t.RandomCrop(8, padding=2**31)(photo),
        lambda: t.RandomShift(2**62)(photo),
        lambda: t.RandomCrop(8, padding=1 << 20)(photo),
        lambda: cz.Preprocess(
            resize=8, crop=2**31, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
        ),
    ]
    for make in makers:
        with pytest.raises(cz.errors.ArgumentError, match="expected"):
            make()


def test_a_loader_may_be_as_far_ahead_as_it_likes() -> None:
    data = cz.data.Arrays(np.zeros((6, 8, 8, 1), np.uint8), np.zeros(6, int))
    loader = cz.data.Loader(data, batch_size=2, threads=2, prefetch=2**63 - 1)
    assert sum(len(y) for _, y in loader) == 6
