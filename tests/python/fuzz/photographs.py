"""Readers of photographs, tables, IDX and CIFAR, for the fuzzer."""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cnnzoo as cz
import pictures
from cnnzoo import _native
from fuzz.harness import Reader

PICTURE = pictures.picture(1, width=24, height=17)
WIDE = np.arange(24 * 17, dtype=np.uint16).reshape(17, 24) * 150
EXIF = Image.Exif()
EXIF[0x0112] = 6
FOLDER = Path(tempfile.mkdtemp(prefix="cnnzoo-fuzz-"))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def modes(kind: str, names: str, **options: Any) -> list[bytes]:
    return [encode(PICTURE.convert(mode), kind, **options) for mode in names.split()]


def checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right ones."""
    out, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = struct.unpack_from(">I", data, at)[0]
        body = data[at + 4 : at + 8 + length]
        if len(body) < length + 4:
            break
        out += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out + data[at:])


def animated(kind: str) -> bytes:
    more = [pictures.picture(seed, width=24, height=17) for seed in (2, 3)]
    return encode(PICTURE, kind, save_all=True, append_images=more)


def photographs(seeds: list[bytes], **options: Any) -> Reader:
    return Reader(seeds=seeds, read=_native.decode_photo, **options)


def in_file(name: str, read: Any) -> Any:
    """A reader of paths as one of bytes."""

    def from_bytes(data: bytes) -> object:
        path = FOLDER / f"{os.getpid()}-{name}"
        path.write_bytes(data)
        return read(path)

    return from_bytes


def parquet() -> bytes:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"path": ["a.png", "b.png"] * 20, "label": ["x", "y"] * 20})
    file = io.BytesIO()
    pyarrow.parquet.write_table(table, file)
    return file.getvalue()


def cifar(path: Path) -> object:
    names = FOLDER / "names.txt"
    names.write_text("\n".join("abcdefghij"))
    return _native.Dataset.cifar([path], "only", names)


IMAGES = np.arange(3 * 5 * 4, dtype=np.uint8).reshape(3, 5, 4)
LABELS = FOLDER / "labels"
LABELS.write_bytes(pictures.idx(np.arange(3, dtype=np.uint8)))
IDX = pictures.idx(IMAGES)
CSV = b'path,label\na.png,0\n"b, c.png",1\n\xc3\xa4.png,12\n'

READERS = {
    "jpeg": photographs(
        modes("JPEG", "RGB L CMYK", exif=EXIF)
        + modes("JPEG", "RGB L", progressive=True)
        + modes("JPEG", "RGB", subsampling=0, restart_marker_blocks=2)
    ),
    "png": photographs(
        [*modes("PNG", "1 L LA P RGB RGBA", exif=EXIF), encode(Image.fromarray(WIDE), "PNG")],
        repair=checksums,
    ),
    "webp": photographs(
        modes("WEBP", "RGB RGBA", exif=EXIF)
        + modes("WEBP", "RGB RGBA", lossless=True)
        + [animated("WEBP")],
        # A sound file of a few bytes may have 16 384 × 16 384 pixels.
        errors=("DataError", "OutOfMemoryError"),
    ),
    "gif": photographs([*modes("GIF", "L P RGB"), animated("GIF")]),
    "bmp": photographs(modes("BMP", "1 L P RGB RGBA")),
    "tiff": photographs(
        modes("TIFF", "1 L LA P RGB RGBA CMYK I;16")
        + modes("TIFF", "L P RGB", compression="tiff_lzw")
        + modes("TIFF", "1 RGB", compression="packbits")
        + modes("TIFF", "L RGB", compression="jpeg")
        + modes("TIFF", "L RGB CMYK", compression="tiff_adobe_deflate")
        + modes("TIFF", "L RGB", big_tiff=True, tiffinfo={274: 6})
    ),
    "pnm": photographs(
        [*modes("PPM", "1 L RGB"), b"P1 3 2 101 011", b"P2 3 1 9 1 2 3", b"P3 1 1 999 1 2 3"]
    ),
    "idx": Reader(
        seeds=[IDX, gzip.compress(IDX)],
        read=in_file("idx", lambda path: cz.data.idx(path, LABELS)),
    ),
    "cifar": Reader(seeds=[bytes(range(10)) + bytes(2 * 3073 - 10)], read=in_file("cifar", cifar)),
    "csv": Reader(seeds=[CSV], read=in_file("t.csv", cz.data.Table)),
    "parquet": Reader(seeds=[parquet()], read=in_file("t.parquet", cz.data.Table)),
}

KINDS = ("jpeg", "png", "webp", "gif", "bmp", "tiff", "pnm")


def main() -> None:
    """Write the seeds of photographs into a folder."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    for kind in KINDS:
        for number, seed in enumerate(READERS[kind].seeds):
            (folder / f"{kind}{number}").write_bytes(seed)


if __name__ == "__main__":
    main()
