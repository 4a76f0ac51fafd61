"""Decoding against Pillow: every colour type, and everything that is no picture."""

from __future__ import annotations

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage
from PIL import Image, ImageOps
from skimage import data

from cnnzoo import _native

# Two JPEG decoders round the inverse transform and the upsampled chroma a step apart at most, and
# the change to RGB weighs a step of chroma up to 1.772 times. 6 is the largest seen.
JPEG_LARGEST = 8
# Few pixels are touched by that: 0.4 on noise, 0.27 on photographs.
JPEG_MEAN = 0.5
# Without upsampling there is only the inverse transform to round.
JPEG_PLAIN_LARGEST = 3
JPEG_PLAIN_MEAN = 0.06

RNG = np.random.default_rng(0)
CHELSEA = data.chelsea()[40:167, 90:291]
NOISE = RNG.integers(0, 256, (61, 83, 3), dtype=np.uint8)
ALPHA = np.dstack([CHELSEA, RNG.integers(0, 256, CHELSEA.shape[:2], dtype=np.uint8)])
ALPHA[:30, :30, 3] = 0


def pillow(source: bytes) -> Any:
    image = Image.open(io.BytesIO(source))
    if image.mode == "I;16":
        # What `convert` would make white: the high byte, as of colours of 16 bits.
        return np.array(image).astype(np.uint16)[..., None].repeat(3, 2) >> 8
    return np.array(image.convert("RGB"))


def encode(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def check_exact(source: bytes) -> None:
    ours = _native.decode_photo(source)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, pillow(source))


def check_close(source: bytes, largest: int = JPEG_LARGEST, mean: float = JPEG_MEAN) -> None:
    ours, theirs = _native.decode_photo(source), pillow(source)
    assert ours.shape == theirs.shape
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= largest
    assert difference.mean() <= mean


# JPEG


@pytest.mark.parametrize("array", [CHELSEA, NOISE, CHELSEA[:1], CHELSEA[:, :1], CHELSEA[:17, :33]])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [20, 75, 100])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(array: Any, subsampling: int, quality: int, progressive: bool) -> None:
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
    source = encode(array, "JPEG", **options)
    if subsampling == 0:
        check_close(source, JPEG_PLAIN_LARGEST, JPEG_PLAIN_MEAN)
    else:
        check_close(source)


@pytest.mark.parametrize("options", [{"restart_marker_rows": 1}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_with_restarts(options: dict[str, int], progressive: bool) -> None:
    check_close(encode(CHELSEA, "JPEG", progressive=progressive, **options))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_without_chroma(mode: str, progressive: bool) -> None:
    source = encode(Image.fromarray(CHELSEA).convert(mode), "JPEG", progressive=progressive)
    check_close(source, JPEG_PLAIN_LARGEST, JPEG_PLAIN_MEAN)


def test_jpeg_rgb() -> None:
    check_close(encode(CHELSEA, "JPEG", keep_rgb=True), JPEG_PLAIN_LARGEST, JPEG_PLAIN_MEAN)


def test_jpeg_ycck() -> None:
    source = bytearray(encode(Image.fromarray(CHELSEA).convert("CMYK"), "JPEG"))
    transform = source.index(b"Adobe") + 11
    assert source[transform] == 0
    source[transform] = 2
    plain = encode(Image.fromarray(CHELSEA).convert("CMYK"), "JPEG")
    assert not np.array_equal(pillow(bytes(source)), pillow(plain))
    check_close(bytes(source), JPEG_PLAIN_LARGEST, JPEG_PLAIN_MEAN)


@pytest.mark.parametrize(
    ("subsampling", "written", "wanted"),
    [(1, 0x21, 0x12), (2, 0x22, 0x41), (2, 0x22, 0x14)],
    ids=["4:4:0", "4:1:1", "1x4"],
)
def test_jpeg_with_rare_sampling(subsampling: int, written: int, wanted: int) -> None:
    # As many blocks in other places: another picture, but a sound one.
    source = bytearray(
        encode(NOISE[:32, :32].repeat(2, 0).repeat(2, 1), "JPEG", subsampling=subsampling)
    )
    sampling = source.index(b"\xff\xc0") + 11
    assert source[sampling] == written
    source[sampling] = wanted
    check_close(bytes(source))


@pytest.mark.parametrize("photo", ["chelsea", "coffee", "rocket"])
def test_jpeg_photographs(photo: str) -> None:
    check_close(encode(getattr(data, photo)(), "JPEG", quality=90))


def test_jpeg_with_bytes_after_its_end() -> None:
    source = encode(CHELSEA, "JPEG")
    np.testing.assert_array_equal(
        _native.decode_photo(source + b"more"), _native.decode_photo(source)
    )


# PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


PNG_HEAD = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def png(
    width: int, height: int, depth: int, color: int, *between: bytes, interlace: bool = False
) -> bytes:
    """Noise, as any PNG whatever: Pillow itself writes few of them."""
    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [
            (0, 0, 8, 8),
            (4, 0, 8, 8),
            (0, 4, 4, 8),
            (2, 0, 4, 4),
            (0, 2, 2, 4),
            (1, 0, 2, 2),
            (0, 1, 1, 2),
        ]
    rows = b""
    for left, top, step_x, step_y in passes:
        columns = len(range(left, width, step_x))
        size = (columns * CHANNELS[color] * depth + 7) // 8
        for _ in range(top, height, step_y) if columns else ():
            rows += b"\0" + RNG.bytes(size)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    parts = [
        chunk(b"IHDR", header),
        *between,
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return PNG_HEAD + b"".join(parts)


KINDS = [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8)]
KINDS += [(4, 8), (4, 16), (6, 8), (6, 16)]


@pytest.mark.parametrize(("color", "depth"), KINDS)
@pytest.mark.parametrize("interlace", [False, True])
@pytest.mark.parametrize(("width", "height"), [(37, 23), (1, 1), (8, 3), (3, 5)])
def test_png(color: int, depth: int, interlace: bool, width: int, height: int) -> None:
    palette = [chunk(b"PLTE", RNG.bytes(3 * 2**depth))] if color == 3 else []
    check_exact(png(width, height, depth, color, *palette, interlace=interlace))


def test_png_grey_of_16_bits_is_scaled_as_colours_are() -> None:
    values = np.array([[0, 255, 256, 511, 32768, 65279, 65535]], dtype=np.uint16)
    body = zlib.compress(b"\0" + values.astype(">u2").repeat(3).tobytes())
    header = struct.pack(">IIBBBBB", 7, 1, 16, 2, 0, 0, 0)
    colour = PNG_HEAD + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", body), chunk(b"IEND", b"")]
    )
    ours = _native.decode_photo(encode(values, "PNG"))
    np.testing.assert_array_equal(ours, pillow(colour))
    assert ours[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255]


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize(
    ("color", "depth", "body"),
    [
        (0, 8, b"\0\7"),
        (0, 16, b"\1\7"),
        (0, 1, b"\0\1"),
        (2, 8, b"\0\1\0\2\0\3"),
        (2, 16, b"\0\1\0\2\0\3"),
        (3, 8, bytes(range(200))),
        (3, 4, b"\0\x80\xff"),
    ],
)
def test_png_with_transparency(color: int, depth: int, body: bytes) -> None:
    palette = [chunk(b"PLTE", RNG.bytes(3 * 2**depth))] if color == 3 else []
    check_exact(png(40, 30, depth, color, *palette, chunk(b"tRNS", body)))


@pytest.mark.parametrize("entries", [1, 2, 5])
def test_png_with_a_short_palette(entries: int) -> None:
    check_exact(png(40, 30, 4, 3, chunk(b"PLTE", RNG.bytes(3 * entries))))


@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_by_pillow(mode: str) -> None:
    check_exact(encode(Image.fromarray(ALPHA).convert(mode), "PNG"))


def test_png_with_gamma_and_text() -> None:
    extra = [chunk(b"gAMA", struct.pack(">I", 100_000)), chunk(b"tEXt", b"Title\0A picture")]
    check_exact(png(20, 20, 8, 2, *extra))


def test_png_animation() -> None:
    frames = [Image.fromarray(CHELSEA), Image.fromarray(CHELSEA[::-1].copy())]
    check_exact(encode(frames[0], "PNG", save_all=True, append_images=frames[1:]))


# WebP


@pytest.mark.parametrize("array", [CHELSEA, NOISE, ALPHA, CHELSEA[:1, :1], CHELSEA[:17, :33]])
@pytest.mark.parametrize(
    "options",
    [
        {"quality": 20},
        {"quality": 75},
        {"quality": 100},
        {"lossless": True, "exact": True},
        {"lossless": True, "quality": 10, "method": 0},
    ],
)
def test_webp(array: Any, options: dict[str, Any]) -> None:
    # Lossy as well: the format defines every bit, up to the upsampling that libwebp chose.
    check_exact(encode(array, "WEBP", **options))


@pytest.mark.parametrize("array", [CHELSEA, ALPHA])
@pytest.mark.parametrize("options", [{"quality": 60}, {"lossless": True, "exact": True}])
def test_webp_animation(array: Any, options: dict[str, Any]) -> None:
    frames = [Image.fromarray(array), Image.fromarray(array[::-1].copy())]
    source = encode(
        frames[0],
        "WEBP",
        save_all=True,
        append_images=frames[1:],
        background=(255, 0, 0, 255),
        **options,
    )
    check_exact(source)


# Orientation


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True})]
)
def test_orientation(kind: str, options: dict[str, Any], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x010F] = "maker"
    exif[0x0112] = orientation
    source = encode(CHELSEA, kind, exif=exif, **options)
    plain = _native.decode_photo(source, orientation=False)
    assert plain.shape == CHELSEA.shape
    upright = Image.fromarray(plain)
    upright.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(
        _native.decode_photo(source),
        np.array(ImageOps.exif_transpose(upright)),
    )


def test_orientation_in_other_byte_order() -> None:
    exif = b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    source = encode(CHELSEA, "JPEG", exif=exif)
    assert _native.decode_photo(source, orientation=True).shape == (201, 127, 3)


@pytest.mark.parametrize(
    "exif", [b"", b"MM", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"junk junk junk"]
)
def test_damaged_exif_turns_nothing(exif: bytes) -> None:
    source = encode(CHELSEA, "JPEG", exif=b"Exif\0\0" + exif)
    assert _native.decode_photo(source, orientation=True).shape == CHELSEA.shape


# Files


@pytest.mark.parametrize("path", sorted((Path(skimage.__file__).parent / "data").glob("*.*g")))
def test_files_of_scikit_image(path: Path) -> None:
    if path.suffix == ".png":
        check_exact(path.read_bytes())
    else:
        check_close(path.read_bytes())


def test_paths_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a photograph named ü.jpg"
    path.write_bytes(encode(CHELSEA, "PNG"))  # The name says JPEG, the content counts.
    for source in (path, str(path), path.read_bytes()):
        np.testing.assert_array_equal(_native.decode_photo(source), CHELSEA)


def test_many_threads() -> None:
    source = encode(CHELSEA, "WEBP", lossless=True)
    results: list[Any] = []
    work = lambda: results.append(_native.decode_photo(source))  # noqa: E731
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(np.array_equal(result, CHELSEA) for result in results)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.jpg"):
        _native.decode_photo(tmp_path / "nowhere.jpg")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path}: expected a JPEG.*, got a directory"):
        _native.decode_photo(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "locked.png"
    path.touch(mode=0)
    with pytest.raises(OSError, match=r"locked\.png"):
        _native.decode_photo(path)


FOREIGN: list[tuple[str, Callable[[], bytes], str]] = [
    ("empty", lambda: b"", "an empty file"),
    ("text", lambda: b"Once upon a time", "text that begins with .Once upon a time"),
    ("html", lambda: b"<!doctype html><p>Not found", "HTML or XML that begins with"),
    ("psd", lambda: encode(CHELSEA, "PCX"), "bytes 0a 05"),
    ("bm", lambda: b"BM is how this text begins", "text that begins with .BM is how"),
    ("p5", lambda: b"P5yche", "text that begins with .P5yche"),
    ("numpy", lambda: b"\x93NUMPY\x01\x00v\x00", "a NumPy file"),
    ("avif", lambda: b"\0\0\0\x20ftypavif\0\0\0\0", r"an ISO media file \(avif\)"),
    ("noise", lambda: bytes([0, 1, 2, 3, 200, 0]), "bytes 00 01 02 03 c8 00"),
    ("riff", lambda: b"RIFF\x10\0\0\0WAVEfmt \0\0\0\0", "bytes 52 49 46 46"),
]


@pytest.mark.parametrize(("name", "make", "got"), FOREIGN, ids=[name for name, _, _ in FOREIGN])
def test_foreign_file(tmp_path: Path, name: str, make: Callable[[], bytes], got: str) -> None:
    path = tmp_path / f"{name}.jpg"
    path.write_bytes(make())
    kinds = "JPEG, PNG, WebP, GIF, BMP, TIFF or PNM"
    with pytest.raises(ValueError, match=rf"{name}\.jpg: expected a {kinds} file, got.*{got}"):
        _native.decode_photo(path)


CORPUS = {
    "jpeg": encode(CHELSEA, "JPEG"),
    "jpeg 4:4:4": encode(CHELSEA, "JPEG", subsampling=0),
    "jpeg restarts": encode(CHELSEA, "JPEG", restart_marker_rows=1),
    "jpeg progressive": encode(CHELSEA, "JPEG", progressive=True),
    "jpeg grey": encode(CHELSEA[:, :, 0], "JPEG"),
    "jpeg cmyk": encode(Image.fromarray(CHELSEA).convert("CMYK"), "JPEG"),
    "png": encode(CHELSEA, "PNG"),
    "png palette": encode(Image.fromarray(CHELSEA).convert("P"), "PNG"),
    "png interlaced": png(50, 40, 8, 2, interlace=True),
    "webp": encode(CHELSEA, "WEBP"),
    "webp alpha": encode(ALPHA, "WEBP"),
    "webp lossless": encode(CHELSEA, "WEBP", lossless=True),
    "gif": encode(CHELSEA, "GIF"),
    "bmp": encode(CHELSEA, "BMP"),
    "bmp palette": encode(Image.fromarray(CHELSEA).convert("P"), "BMP"),
    "tiff": encode(CHELSEA, "TIFF"),
    "tiff lzw": encode(CHELSEA, "TIFF", compression="tiff_lzw"),
    "tiff palette": encode(Image.fromarray(CHELSEA).convert("P"), "TIFF"),
    "tiff jpeg": encode(CHELSEA, "TIFF", compression="jpeg"),
    "ppm": encode(CHELSEA, "PPM"),
    "pgm": encode(CHELSEA[..., 0], "PPM"),
}


@pytest.mark.parametrize("name", CORPUS)
def test_cut_short(name: str, tmp_path: Path) -> None:
    source = CORPUS[name]
    length = len(source)
    # Behind the last pixel of a PNG there are a checksum and 12 bytes that nobody misses.
    # A GIF ends with the end of its codes, of its blocks and of the file.
    spare = {"png": 16, "gif": 4}.get(name.split(maxsplit=1)[0], 0)
    ends = {*range(64), *range(0, length, max(1, length // 150)), *range(length - 60, length)}
    for end in sorted(end for end in ends if end < length - spare):
        with pytest.raises(ValueError, match=r"<bytes>: expected .*, got "):
            _native.decode_photo(source[:end])
    path = tmp_path / "half.jpg"
    path.write_bytes(source[: length // 2])
    with pytest.raises(ValueError, match=r"half\.jpg: expected a complete, undamaged .* file, got"):
        _native.decode_photo(path)


@pytest.mark.parametrize("name", CORPUS)
def test_damaged(name: str) -> None:
    """Damaged files decode or raise a ValueError; a panic would be another exception."""
    rng = np.random.default_rng(len(name))
    refused = 0
    for _ in range(200):
        source = bytearray(CORPUS[name])
        for _ in range(rng.integers(1, 6)):
            within = len(source) if rng.random() < 0.5 else min(len(source), 650)
            source[rng.integers(within)] = rng.integers(256)
        try:
            assert _native.decode_photo(bytes(source)).shape[2] == 3
        except ValueError as error:
            refused += 1
            if "expected" not in str(error):
                raise
    assert refused


@pytest.mark.parametrize("name", ["png", "png palette", "png interlaced"])
def test_every_flipped_bit_of_a_png_is_noticed(name: str) -> None:
    source = CORPUS[name]
    for at in range(0, len(source) - 12, max(1, len(source) // 200)):
        damaged = bytearray(source)
        damaged[at] ^= 1
        with pytest.raises(ValueError, match="expected"):
            _native.decode_photo(bytes(damaged))


@pytest.mark.parametrize("name", ["jpeg", "jpeg 4:4:4", "jpeg grey", "jpeg cmyk"])
@pytest.mark.parametrize("part", [0.4, 0.6, 0.8, 0.95])
def test_jpeg_that_ends_before_its_last_pixel(name: str, part: float) -> None:
    # Pillow paints the rest grey and says nothing.
    source = CORPUS[name][: int(len(CORPUS[name]) * part)] + b"\xff\xd9"
    assert pillow(source).shape == CHELSEA.shape
    with pytest.raises(ValueError, match="expected a complete, undamaged JPEG file"):
        _native.decode_photo(source)


@pytest.mark.parametrize(
    "source",
    [
        PNG_HEAD
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b""),
        PNG_HEAD
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 1, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", b""),
        CORPUS["jpeg"].replace(struct.pack(">HH", 127, 201), struct.pack(">HH", 65_500, 65_500), 1),
    ],
    ids=["png area", "png side", "jpeg area"],
)
def test_bombs(source: bytes) -> None:
    with pytest.raises(
        ValueError, match=r"expected (at most|sides of at most) \d+ pixels, got \d+x\d+"
    ):
        _native.decode_photo(source)


@pytest.mark.parametrize("source", [None, 3, np.zeros((2, 2, 3), dtype=np.uint8), ["a.jpg"]])
def test_neither_path_nor_bytes(source: Any) -> None:
    with pytest.raises(TypeError, match="expected a path or the bytes of a file, got"):
        _native.decode_photo(source)


def test_orientation_has_a_name() -> None:
    with pytest.raises(TypeError):
        _native.decode_photo(CORPUS["png"], True)  # type: ignore[call-arg]
