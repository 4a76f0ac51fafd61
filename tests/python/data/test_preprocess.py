"""Preprocessing against torchvision, in every bit."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from cnnzoo import _native

# Pillow 13 resizes rows before columns where that is less work, which rounds otherwise; it needs
# Python 3.11.
pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


def torchvision(
    array: Any, resize: int, crop: int, name: str, mean: Any = MEAN, std: Any = STD
) -> Any:
    steps = transforms.Compose(
        [
            transforms.Resize(resize, InterpolationMode(name)),
            transforms.CenterCrop(crop),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )
    return steps(Image.fromarray(array).convert("RGB")).numpy()


def check(array: Any, resize: int, crop: int, name: str, mean: Any = MEAN, std: Any = STD) -> None:
    preprocess = _native.Preprocess(
        resize=resize, crop=crop, interpolation=name, mean=mean, std=std
    )
    ours = preprocess.apply_array(array)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, torchvision(array, resize, crop, name, mean, std))


@pytest.mark.parametrize("name", INTERPOLATIONS)
@pytest.mark.parametrize("photo", ["chelsea", "coffee", "rocket", "astronaut", "coins", "page"])
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (320, 299), (224, 224)])
def test_photographs(photo: str, name: str, resize: int, crop: int) -> None:
    check(getattr(data, photo)(), resize, crop, name)


@settings(max_examples=250, deadline=None)
@given(
    st.integers(1, 150),
    st.integers(1, 150),
    st.integers(1, 90),
    st.integers(1, 110),
    st.sampled_from(INTERPOLATIONS),
)
def test_any_size(width: int, height: int, resize: int, crop: int, name: str) -> None:
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    check(noise.astype(np.uint8), resize, crop, name)


@pytest.mark.parametrize(
    "size", [(256, 300), (300, 256), (256, 256), (257, 256), (1000, 300), (300, 1000)]
)
@pytest.mark.parametrize("crop", [224, 225, 255, 256, 290, 400])
def test_offsets_and_padding(size: tuple[int, int], crop: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    check(array, 256, crop, "bilinear")


def test_odd_normalisation() -> None:
    array = data.chelsea()
    check(array, 64, 64, "bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    check(array, 64, 64, "bicubic", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    check(array, 64, 64, "bicubic", mean=(1 / 3, -2.0, 1e-7), std=(1e-3, -7.0, 1 / 255))


def test_every_byte() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    check(ramp, 16, 16, "bilinear")
    ours = _native.Preprocess(resize=16, crop=16).apply_array(ramp)
    assert all(len(np.unique(channel)) == 256 for channel in ours)


def test_long_thin_photograph_costs_the_crop_only() -> None:
    array = np.random.default_rng(0).integers(0, 256, (2, 20_000, 3), dtype=np.uint8)
    ours = _native.Preprocess(resize=256, crop=224).apply_array(array)
    # The middle of the whole would be 2.5 million pixels across; a piece around it is the same.
    middle = array[:, 9_990:10_010]
    np.testing.assert_array_equal(ours, torchvision(middle, 256, 224, "bilinear"))


def test_files_equal_arrays(tmp_path: Path) -> None:
    path = tmp_path / "chelsea.png"
    Image.fromarray(data.chelsea()).save(path)
    preprocess = _native.Preprocess()
    expected = torchvision(data.chelsea(), 256, 224, "bilinear")
    np.testing.assert_array_equal(preprocess.apply_file(path), expected)
    np.testing.assert_array_equal(preprocess.apply_file(str(path)), expected)
    np.testing.assert_array_equal(preprocess.apply_file(path.read_bytes()), expected)


def test_orientation_is_honoured_unless_asked_not_to() -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(data.chelsea()).save(file, "PNG", exif=exif)
    preprocess = _native.Preprocess(resize=96, crop=96)
    turned = np.rot90(data.chelsea(), -1)
    np.testing.assert_array_equal(
        preprocess.apply_file(file.getvalue()), preprocess.apply_array(turned)
    )
    np.testing.assert_array_equal(
        preprocess.apply_file(file.getvalue(), orientation=False),
        preprocess.apply_array(data.chelsea()),
    )


def test_a_frozen_value() -> None:
    preprocess = _native.Preprocess(resize=280, crop=260, interpolation="bicubic")
    assert (preprocess.resize, preprocess.crop, preprocess.interpolation) == (280, 260, "bicubic")
    assert (preprocess.mean, preprocess.std) == (MEAN, STD)
    same = _native.Preprocess(resize=280, crop=260, interpolation="bicubic", mean=MEAN, std=STD)
    assert preprocess == same
    assert hash(preprocess) == hash(same)
    assert preprocess != _native.Preprocess(resize=280, crop=261, interpolation="bicubic")
    assert preprocess != _native.Preprocess(resize=280, crop=260, interpolation="bicubic", mean=STD)
    assert preprocess != "Preprocess"
    assert eval(repr(preprocess), {"Preprocess": _native.Preprocess}) == preprocess
    with pytest.raises(AttributeError):
        preprocess.crop = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "options",
    [
        {"resize": 0},
        {"resize": -1},
        {"resize": 2**31},
        {"crop": 0},
        {"crop": 2**40},
        {"interpolation": "area"},
        {"std": (0.0, 1.0, 1.0)},
        {"std": (float("nan"), 1.0, 1.0)},
        {"mean": (float("inf"), 0.0, 0.0)},
        {"mean": (0.5, 0.5)},
    ],
)
def test_options_that_are_none(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        _native.Preprocess(**options)


def test_options_have_names() -> None:
    with pytest.raises(TypeError):
        _native.Preprocess(256, 224)  # type: ignore[call-arg]


def test_what_is_no_photograph() -> None:
    with pytest.raises(TypeError, match="got float32"):
        _native.Preprocess().apply_array(np.zeros((4, 4, 3), dtype=np.float32))
    with pytest.raises(TypeError, match="Tensor"):
        _native.Preprocess().apply_array(torch.zeros(4, 4, 3))
    with pytest.raises(TypeError, match="expected a path or the bytes of a file, got int"):
        _native.Preprocess().apply_file(3)  # type: ignore[arg-type]
