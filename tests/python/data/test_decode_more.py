"""BMP, GIF, TIFF and PNM against Pillow."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image
from skimage import data

import cnnzoo as cz
from cnnzoo import _native

RNG = np.random.default_rng(1)
CHELSEA = data.chelsea()[40:101, 90:187]
ALPHA = np.dstack([CHELSEA, RNG.integers(0, 256, CHELSEA.shape[:2], dtype=np.uint8)])
WIDE = RNG.integers(0, 1 << 16, (9, 14), dtype=np.uint16)
# Two decoders of JPEG; `test_decode` says why.
JPEG_LARGEST = 8


def encode(image: Any, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        file, kind, **options
    )
    return file.getvalue()


def check(source: bytes) -> None:
    theirs = np.array(Image.open(io.BytesIO(source)).convert("RGB"))
    np.testing.assert_array_equal(_native.decode_photo(source), theirs)


def refused(source: bytes, match: str) -> None:
    with pytest.raises(cz.DataError, match=match):
        _native.decode_photo(source)


def high_bytes(values: Any) -> Any:
    return (values >> 8).astype(np.uint8)[..., None].repeat(3, 2)


# BMP


@pytest.mark.parametrize("width", [7, 8, 13])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp(mode: str, width: int) -> None:
    check(encode(Image.fromarray(ALPHA[:5, :width]).convert(mode), "BMP"))


@pytest.mark.parametrize("colours", [2, 13, 16, 17, 200])
def test_bmp_palettes(colours: int) -> None:
    check(encode(Image.fromarray(CHELSEA).quantize(colours), "BMP"))


WIDTH, HEIGHT = 6, 4
PALETTE = np.dstack([RNG.integers(0, 256, (1, 256, 3), dtype=np.uint8), np.zeros((1, 256), "u1")])
MASKS_565 = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
MASKS_555 = struct.pack("<III", 0x7C00, 0x03E0, 0x001F)
MASKS_888 = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)


def bmp(
    bits: int,
    compression: int,
    body: bytes,
    *,
    masks: bytes = b"",
    colours: int = 0,
    header: int = 40,
    downwards: bool = False,
) -> bytes:
    palette = PALETTE.tobytes()[: 4 * (colours or 1 << bits)] if bits <= 8 else b""
    height = -HEIGHT if downwards else HEIGHT
    sizes = (header, WIDTH, height, 1, bits, compression, len(body), 2835, 2835, colours, 0)
    head = struct.pack("<IiiHHIIiiII", *sizes) + masks.ljust(header - 40, b"\0")
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + head + palette + body


@pytest.mark.parametrize(
    "source",
    [
        bmp(16, 0, RNG.bytes(48)),
        bmp(16, 3, RNG.bytes(48), masks=MASKS_565),
        bmp(16, 3, RNG.bytes(48), masks=MASKS_555),
        bmp(32, 0, RNG.bytes(96)),
        bmp(32, 3, RNG.bytes(96), masks=MASKS_888[:12]),
        bmp(32, 3, RNG.bytes(96), masks=MASKS_888, header=108),
        bmp(32, 3, RNG.bytes(96), masks=MASKS_888, header=124),
        bmp(24, 0, RNG.bytes(80), downwards=True),
        bmp(24, 0, RNG.bytes(80), header=64),
        bmp(8, 0, bytes(RNG.integers(0, 10, 32, dtype=np.uint8)), colours=10),
        bmp(8, 0, bytes(RNG.integers(0, 30, 32, dtype=np.uint8)), colours=10),
        bmp(4, 0, RNG.bytes(16)),
        bmp(1, 0, RNG.bytes(16)),
    ],
)
def test_bmp_headers(source: bytes) -> None:
    check(source)


def test_bmp_of_os2() -> None:
    body = RNG.bytes(80)
    head = struct.pack("<IHHI", 26 + len(body), 0, 0, 26)
    check(b"BM" + head + struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 24) + body)


@pytest.mark.parametrize(
    "source",
    [
        bmp(
            8,
            1,
            bytes.fromhex("0603 0000 0209 0401 0000 0003 0102 0300 0307 0000 0405 0202 0001"),
        ),
        bmp(
            4,
            2,
            bytes.fromhex("0612 0000 0004 1234 0277 0000 0607 0000 0409 0201 0001"),
        ),
    ],
    ids=["8 bits", "4 bits"],
)
def test_bmp_in_runs(source: bytes) -> None:
    check(source)


def test_bmp_that_skips_in_runs() -> None:
    """Pillow reads the step twice; the definition is Microsoft's: right, then up."""
    source = bmp(8, 1, bytes([1, 9, 0, 2, 2, 1, 2, 8, 0, 1]))
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[3, 0], expected[2, 3:5] = 9, 8
    colours = PALETTE[0, expected][..., 2::-1]
    np.testing.assert_array_equal(_native.decode_photo(source), colours)


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (bmp(2, 0, RNG.bytes(16)), "plain or run-length coded, got 2 bits, compression 0"),
        (bmp(24, 4, RNG.bytes(80)), "got 24 bits, compression 4"),
        (bmp(24, 0, RNG.bytes(79)), "a truncated file"),
        (bmp(8, 1, bytes([6, 3])), "a truncated file"),
    ],
)
def test_bmp_refused(source: bytes, match: str) -> None:
    refused(source, match)


# GIF


@pytest.mark.parametrize("colours", [2, 5, 256])
@pytest.mark.parametrize("interlace", [0, 1])
def test_gif(colours: int, interlace: int) -> None:
    check(encode(Image.fromarray(CHELSEA).quantize(colours), "GIF", interlace=interlace))


@pytest.mark.parametrize("transparency", [None, 0, 7])
def test_gif_animation(transparency: int | None) -> None:
    frames = [Image.fromarray(np.roll(CHELSEA, turn, 1)).quantize(64) for turn in range(3)]
    options = {} if transparency is None else {"transparency": transparency}
    check(encode(frames[0], "GIF", save_all=True, append_images=frames[1:], **options))


def gif(*, screen: tuple[int, int], place: tuple[int, int], transparent: int | None) -> bytes:
    """A frame of 4x3 pixels somewhere on its screen."""
    whole = encode(Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 4), "GIF")
    flags = whole[10]
    entries = 3 << ((flags & 7) + 1)
    palette = RNG.bytes(entries)
    start = whole.index(b"\x2c", 13 + entries)
    frame = bytearray(whole[start:])
    frame[1:5] = struct.pack("<HH", *place)
    control = b"" if transparent is None else bytes([0x21, 0xF9, 4, 1, 0, 0, transparent, 0])
    head = b"GIF89a" + struct.pack("<HH", *screen) + whole[10:13]
    return head + palette + control + bytes(frame)


@pytest.mark.parametrize("transparent", [None, 2, 255])
@pytest.mark.parametrize("place", [(0, 0), (2, 1), (5, 6)])
def test_gif_frame_smaller_than_its_screen(place: tuple[int, int], transparent: int | None) -> None:
    check(gif(screen=(7, 8), place=place, transparent=transparent))


def test_gif_without_frames() -> None:
    refused(b"GIF89a\4\0\3\0\0\0\0;", "expected a complete, undamaged GIF file, got")


# TIFF

COMPRESSIONS = [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK"])
def test_tiff(mode: str, compression: str | None) -> None:
    check(encode(Image.fromarray(ALPHA).convert(mode), "TIFF", compression=compression))


@pytest.mark.parametrize("options", [{"tiffinfo": {317: 2}}, {"big_tiff": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_tiff_with_predictor_and_large(mode: str, options: dict[str, Any]) -> None:
    image = Image.fromarray(CHELSEA).convert(mode)
    check(encode(image, "TIFF", compression="tiff_lzw", **options))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_grey_of_16_bits_is_scaled(order: str, compression: str | None) -> None:
    image = Image.frombytes("I;16" if order == "<" else "I;16B", (14, 9), WIDE.astype(f"{order}u2"))
    source = encode(image, "TIFF", compression=compression)
    np.testing.assert_array_equal(_native.decode_photo(source), high_bytes(WIDE))


def tiff(entries: dict[int, tuple[int, list[int]]], pixels: bytes, order: str = "<") -> bytes:
    """A file of one strip; entries are kinds (3 short, 4 long) and values by tag."""
    entries = {**entries, 273: (4, [8]), 279: (4, [len(pixels)])}
    start = 8 + len(pixels) + len(pixels) % 2
    extra = b""
    after = start + 2 + 12 * len(entries) + 4
    directory = struct.pack(f"{order}H", len(entries))
    for tag, (kind, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(packed) > 4:
            place = struct.pack(f"{order}I", after + len(extra))
            extra += packed
        else:
            place = packed.ljust(4, b"\0")
        directory += struct.pack(f"{order}HHI", tag, kind, len(values)) + place
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)
    return head + pixels.ljust(start - 8, b"\0") + directory + bytes(4) + extra


def described(bits: list[int], photometric: int, **more: list[int]) -> dict[int, Any]:
    entries = {256: [6], 257: [4], 258: bits, 259: [1], 262: [photometric], 277: [len(bits)]}
    entries |= {278: [4]} | {int(tag[1:]): values for tag, values in more.items()}
    return {tag: (3, values) for tag, values in entries.items()}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("photometric", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_tiff_bits(bits: int, photometric: int, order: str) -> None:
    more = {"t320": RNG.integers(0, 1 << 16, 3 << bits).tolist()} if photometric == 3 else {}
    check(tiff(described([bits], photometric, **more), RNG.bytes(4 * -(-6 * bits // 8)), order))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("photometric", "samples", "more"),
    [(2, 3, {}), (2, 4, {"t338": [0]}), (2, 4, {"t338": [1]}), (2, 4, {"t338": [2]}), (5, 4, {})],
)
def test_tiff_colours_of_16_bits(
    photometric: int, samples: int, more: dict[str, list[int]], order: str
) -> None:
    check(tiff(described([16] * samples, photometric, **more), RNG.bytes(48 * samples), order))


@pytest.mark.parametrize("extra", [0, 1, 2])
def test_tiff_alpha(extra: int) -> None:
    pixels = RNG.integers(0, 256, (24, 4), dtype=np.uint8)
    pixels[::5, 3] = 0
    check(tiff(described([8] * 4, 2, t338=[extra]), pixels.tobytes()))


def test_tiff_in_planes() -> None:
    pixels = RNG.integers(0, 256, (3, 4, 6), dtype=np.uint8)
    entries = described([8] * 3, 2, t284=[2])
    source = tiff_in_strips(entries, pixels.tobytes(), 3)
    np.testing.assert_array_equal(_native.decode_photo(source), pixels.transpose(1, 2, 0))


def tiff_in_strips(entries: dict[int, Any], pixels: bytes, count: int) -> bytes:
    """A strip for each plane; their places stand behind the directory."""
    whole = tiff(entries | {65000: (4, list(range(count))), 65001: (4, list(range(count)))}, pixels)
    start = struct.unpack_from("<I", whole, 4)[0]
    number = struct.unpack_from("<H", whole, start)[0]
    found = {}
    for index in range(number):
        at = start + 2 + 12 * index
        tag, _, _, place = struct.unpack_from("<HHII", whole, at)
        found[tag] = (at, place)
    out = bytearray(whole)
    size = len(pixels) // count
    struct.pack_into(f"<{count}I", out, found[65000][1], *(8 + size * n for n in range(count)))
    struct.pack_into(f"<{count}I", out, found[65001][1], *[size] * count)
    for tag, other in ((273, 65000), (279, 65001)):
        struct.pack_into("<HHII", out, found[tag][0], tag, 4, count, found[other][1])
    return bytes(out)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", [0, 2])
def test_tiff_of_jpeg(mode: str, subsampling: int) -> None:
    image = Image.fromarray(CHELSEA).convert(mode)
    source = encode(image, "TIFF", compression="jpeg", quality=90)
    ours = _native.decode_photo(source).astype(int)
    theirs = np.array(Image.open(io.BytesIO(source)).convert("RGB"))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= JPEG_LARGEST


def test_tiff_first_page() -> None:
    pages = [Image.fromarray(np.roll(CHELSEA, turn, 1)) for turn in range(2)]
    check(encode(pages[0], "TIFF", save_all=True, append_images=pages[1:]))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (encode(Image.fromarray(CHELSEA).convert("1"), "TIFF", compression="group4"), "Fax4"),
        (encode(CHELSEA[..., 0].astype(np.float32), "TIFF"), "got floating-point numbers"),
        (encode(CHELSEA[..., 0].astype(np.int32), "TIFF"), "got signed or complex numbers"),
        (encode(Image.fromarray(CHELSEA).convert("LAB"), "TIFF"), "CIELab"),
        (tiff(described([8], 1, t266=[2]), RNG.bytes(24)), "got fill order 2"),
        (tiff(described([12], 1), RNG.bytes(36)), r"got Gray\(12\)"),
        (tiff(described([8], 1, t50706=[1]), RNG.bytes(24)), "a camera's raw file"),
        (tiff(described([8], 3), RNG.bytes(24)), "expected a palette of 256 colours, got 0"),
        (tiff(described([8], 1), RNG.bytes(23))[:30], "TIFF"),
    ],
)
def test_tiff_refused(source: bytes, match: str) -> None:
    refused(source, match)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation(orientation: int) -> None:
    source = encode(CHELSEA, "TIFF", tiffinfo={274: orientation})
    # Pillow turns TIFF files by itself.
    check(source)
    flat = _native.decode_photo(source, orientation=False)
    np.testing.assert_array_equal(flat, CHELSEA)


# PNM


@pytest.mark.parametrize("mode", ["1", "L", "RGB"])
def test_pnm(mode: str) -> None:
    check(encode(Image.fromarray(CHELSEA).convert(mode), "PPM"))


@pytest.mark.parametrize("most", [1, 7, 99, 254, 255, 256, 1000, 65535])
@pytest.mark.parametrize("kind", [2, 3, 5, 6])
def test_pnm_maxima(kind: int, most: int) -> None:
    channels = 3 if kind in {3, 6} else 1
    values = RNG.integers(0, most + 1, (5, 7, channels))
    body = (
        b" ".join(b"%d" % value for value in values.ravel())
        if kind < 4
        else values.astype(">u2" if most > 255 else "u1").tobytes()
    )
    source = b"P%d # comment\n7 # 9 9\n5\n%d\n" % (kind, most) + body
    if channels == 3 or most <= 255:
        check(source)
    # Grey as colours: where Pillow would clip, the same in three equal channels is the reference.
    coloured = b"P6 7 5 %d\n" % most
    coloured += values.repeat(3 // channels, 2).astype(">u2" if most > 255 else "u1").tobytes()
    theirs = np.array(Image.open(io.BytesIO(coloured)).convert("RGB"))
    np.testing.assert_array_equal(_native.decode_photo(source), theirs)


@pytest.mark.parametrize(
    "body",
    [b"1 0 1 0 1 1", b"101\n011", b"1#0\n0 1 0#x\n#\n1 1"],
    ids=["apart", "joined", "comments"],
)
def test_pnm_bits_as_text(body: bytes) -> None:
    expected = 255 - 255 * np.array([[1, 0, 1], [0, 1, 1]])
    ours = _native.decode_photo(b"P1\n3 2\n" + body)
    np.testing.assert_array_equal(ours, expected[..., None].repeat(3, 2))


@pytest.mark.parametrize(
    ("source", "match"),
    [
        (b"P5 3 2 255\n12345", "a truncated file"),
        (b"P2 3 2 255\n1 2 3 4 5 x", "byte 78 in the place of a number"),
        (b"P1 3 2\n10112", "byte 32 in the place of a 0 or 1"),
        (b"P5 3 2 0\n123456", "expected a maximum value of 1 to 65535, got 0"),
        (b"P5 3 2 99999\n123456", "got 99999"),
        (b"P5 0 2 255\n", "expected at least one pixel, got 0x2"),
        (b"P5 99999 99999 255\n", "expected at most 178956970 pixels, got 99999x99999"),
        (b"P5 99999999999999999999999 1 255\n", "sides of at most"),
        (b"P7\nWIDTH 3\n", "got a PAM file"),
    ],
)
def test_pnm_refused(source: bytes, match: str) -> None:
    refused(source, match)
