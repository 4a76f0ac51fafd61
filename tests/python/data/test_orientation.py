"""Photographs are upright by default, everywhere, and one switch turns that off."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

import cnnzoo as cz
import pictures
from cnnzoo import _native
from cnnzoo._photo import decoded, upright
from cnnzoo.picture import _fit

PICTURE = pictures.picture(3, width=24, height=16)
SMALL: dict[str, Any] = {
    "resize": 12,
    "crop": 10,
    "interpolation": "bilinear",
    "mean": (0.5,) * 3,
    "std": (0.5,) * 3,
}


def save(path: Path, orientation: int | None, kind: str = "PNG") -> Path:
    """A picture that is upright once it is turned."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.save(path, kind, exif=exif)
    return path


def turned(path: Path) -> Any:
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


@pytest.fixture(params=range(1, 9))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return save(tmp_path / "class" / "a.png", request.param)


def test_every_way_to_a_photograph_turns_it(path: Path) -> None:
    right, flat = turned(path), np.asarray(PICTURE)
    image = Image.open(path)
    keep = cz.transforms.Compose([])
    folder = cz.data.ImageFolder(path.parent.parent)
    prepared, plain = cz.Preprocess(**SMALL), cz.Preprocess(**SMALL, orientation=False)

    np.testing.assert_array_equal(_native.decode_photo(path), right)
    np.testing.assert_array_equal(_native.decode_photo(path.read_bytes()), right)
    np.testing.assert_array_equal(folder[0][0], right)
    as_numbers = (right / np.float32(255)).transpose(2, 0, 1)
    for photo in (path, image):
        np.testing.assert_array_equal(keep(photo), as_numbers)
        np.testing.assert_array_equal(prepared(photo), prepared(right))
        np.testing.assert_array_equal(plain(photo), prepared(flat))
        np.testing.assert_array_equal(decoded(photo, orientation=True), right)
        np.testing.assert_array_equal(decoded(photo, orientation=False), flat)
    with_tiles = keep.preview(path, count=1).pixels
    np.testing.assert_array_equal(with_tiles, keep.preview(right, count=1).pixels)
    for drawn, wanted in [(True, right), (False, flat)]:
        shown = np.asarray(_fit(path, orientation=drawn))
        np.testing.assert_array_equal(shown, np.asarray(_fit(wanted, orientation=drawn)))


def test_a_loader_does_as_its_transform(path: Path) -> None:
    folder = cz.data.ImageFolder(path.parent.parent)
    right, flat = turned(path), np.asarray(PICTURE)
    prepared = cz.Preprocess(**SMALL)
    crop = cz.transforms.CenterCrop(10)
    for transform, wanted in [
        (prepared, prepared(right)),
        (cz.Preprocess(**SMALL, orientation=False), prepared(flat)),
        (crop, crop(right)[None]),
        (cz.transforms.Compose([crop]), crop(right)[None]),
        (cz.transforms.Compose([crop], orientation=False), crop(flat)[None]),
        (None, cz.transforms.Compose([])(right)[None]),
    ]:
        loader = cz.data.Loader(folder, batch_size=1, transform=transform)
        np.testing.assert_array_equal(next(iter(loader))[0], wanted)


def test_the_model_agrees(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", 6)
    model = cz.create_model("mobilenet_v1_025", image_size=64)
    upright_answer = model.predict(turned(path))
    assert model.predict(path) == upright_answer
    assert model.predict(Image.open(path)) == upright_answer


def test_the_switch_is_a_value_like_others() -> None:
    off = cz.transforms.Compose([cz.transforms.CenterCrop(8)], orientation=False)
    assert cz.transforms.Compose([off]).orientation is False
    assert cz.transforms.Compose([off], orientation=True).orientation is True
    assert "orientation=False" in repr(off)
    for twin in (copy.deepcopy(off), pickle.loads(pickle.dumps(off))):
        assert twin == off
        assert twin.orientation is False
    assert off != cz.transforms.Compose([cz.transforms.CenterCrop(8)])
    resized = cz.Preprocess(**SMALL, orientation=False).resized(32).with_channels(1)
    assert resized.orientation is False
    with pytest.raises(cz.errors.ArgumentError, match="orientation: expected True or False, got 1"):
        cz.Preprocess(**SMALL, orientation=1)  # type: ignore[arg-type]
    with pytest.raises(cz.errors.ArgumentError, match="orientation: expected True, False or None"):
        cz.transforms.Compose([], orientation="yes")  # type: ignore[arg-type]


def test_a_file_of_a_model_keeps_the_switch(tmp_path: Path) -> None:
    model = cz.create_model("mobilenet_v1_025", image_size=64)
    model._preprocess = cz.Preprocess(**SMALL, orientation=False)
    model.save(tmp_path / "m.safetensors")
    assert cz.load(tmp_path / "m.safetensors").preprocess == model.preprocess


@pytest.mark.parametrize("orientation", range(-1, 10))
def test_upright_is_pillows(orientation: int) -> None:
    image = PICTURE.copy()
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(
        upright(np.asarray(PICTURE), orientation), np.asarray(ImageOps.exif_transpose(image))
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_pillow_image_is_as_its_file(tmp_path: Path, kind: str) -> None:
    path = save(tmp_path / "a", 6, kind)
    with Image.open(path) as image:
        image.load()
        ours = decoded(image, orientation=True)
    assert ours.shape == (24, 16, 3)
    assert _native.decode_photo(path).shape == (24, 16, 3)


DAMAGED = [b"", b"MM", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"junk junk junk"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", DAMAGED)
def test_damaged_exif_fails_no_picture(exif: bytes, kind: str) -> None:
    file = io.BytesIO()
    PICTURE.save(file, kind, exif=b"Exif\0\0" + exif)
    assert _native.decode_photo(file.getvalue()).shape == (16, 24, 3)
    assert decoded(Image.open(file), orientation=True).shape == (16, 24, 3)


# Sixteen bits

RAMP = np.tile(np.linspace(0, 65535, 24).astype(np.uint16), (16, 1))
HIGH = (RAMP >> 8).astype(np.uint8)


def test_grey_of_16_bits_is_the_same_from_everywhere(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    Image.fromarray(RAMP).save(tmp_path / "a.tif")
    keep = cz.transforms.Compose([])
    wanted = keep(HIGH)
    photos: list[Any] = [
        tmp_path / "a.png",
        tmp_path / "a.tif",
        Image.open(tmp_path / "a.png"),
        Image.fromarray(RAMP),
        Image.frombytes("I;16B", (24, 16), RAMP.astype(">u2").tobytes()),
        Image.fromarray(RAMP.astype(np.int32)),
        RAMP,
        RAMP.astype(">u2"),
        RAMP[..., None].repeat(3, 2),
    ]
    for photo in photos:
        np.testing.assert_array_equal(keep(photo), wanted)
        shown = np.asarray(_fit(photo, orientation=True))
        np.testing.assert_array_equal(shown, np.asarray(_fit(HIGH, orientation=True)))


@pytest.mark.parametrize("values", [[[-1, 5]], [[0, 65536]]])
def test_a_pillow_image_beyond_16_bits_is_refused(values: list[list[int]]) -> None:
    image = Image.fromarray(np.array(values, np.int32))
    with pytest.raises(cz.errors.ArgumentError, match="mode I with values of 0 to 65535, got"):
        cz.Preprocess(**SMALL)(image)


def test_what_has_no_known_range_is_refused() -> None:
    with pytest.raises(cz.errors.ArgumentError, match="whole numbers, got mode F"):
        cz.Preprocess(**SMALL)(Image.fromarray(np.zeros((4, 4), np.float32)))
    with pytest.raises(TypeError, match="got int32"):
        cz.Preprocess(**SMALL)(np.zeros((4, 4), np.int32))  # type: ignore[arg-type]
