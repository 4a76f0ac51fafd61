"""Resizing against Pillow, in every bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnzoo import _native

# Pillow 13 resizes rows before columns where that is less work, which rounds otherwise; it needs
# Python 3.11.
pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def pixels(height: int, width: int, *, seed: int = 0, stark: bool = False) -> Any:
    """Noise; `stark` noise is black and white, so that filters overshoot and are clipped."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(noise > 127, 255, 0).astype(np.uint8) if stark else noise


def pillow(array: Any, width: int, height: int, name: str) -> Any:
    return np.array(Image.fromarray(array).resize((width, height), FILTERS[name]))


def check(array: Any, width: int, height: int, name: str) -> None:
    ours = _native.resize_photo(array, width, height, name)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, pillow(array, width, height, name))


SIDE = st.integers(1, 200)


@settings(max_examples=400, deadline=None)
@given(SIDE, SIDE, SIDE, SIDE, st.sampled_from(list(FILTERS)), st.integers(0, 999), st.booleans())
def test_equals_pillow(
    width: int, height: int, to_width: int, to_height: int, name: str, seed: int, stark: bool
) -> None:
    check(pixels(height, width, seed=seed, stark=stark), to_width, to_height, name)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((500, 375), (341, 256)),
        ((375, 500), (256, 341)),
        ((1200, 900), (298, 224)),
        ((64, 48), (300, 225)),
        ((90, 900), (60, 600)),
        ((300, 200), (300, 77)),
        ((300, 200), (77, 200)),
        ((40, 30), (40, 30)),
        ((1, 1), (50, 40)),
        ((97, 89), (1, 1)),
        # The height loses 100 pixels, the width 50, then 49: the second begins with the rows.
        ((150, 300), (100, 200)),
        ((149, 300), (100, 200)),
        ((100, 200), (150, 199)),
        ((100, 200), (150, 200)),
    ],
)
def test_sizes_that_matter(name: str, size: tuple[int, int], to: tuple[int, int]) -> None:
    width, height = size
    check(pixels(height, width), *to, name)


def test_flat_colour_stays() -> None:
    flat = np.full((31, 47, 3), (1, 128, 254), dtype=np.uint8)
    for name in FILTERS:
        resized = _native.resize_photo(flat, 90, 13, name)
        assert np.unique(resized.reshape(-1, 3), axis=0).tolist() == [[1, 128, 254]]


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[::-1, ::-1],
        lambda a: a[:, :, ::-1],
        lambda a: a[::2, 1::3],
        np.asfortranarray,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
)
def test_any_layout(view: Any) -> None:
    array = view(pixels(40, 60))
    array.flags.writeable = False
    check(np.ascontiguousarray(array), 33, 21, "bicubic")
    np.testing.assert_array_equal(
        _native.resize_photo(array, 33, 21, "bicubic"),
        _native.resize_photo(np.ascontiguousarray(array), 33, 21, "bicubic"),
    )


def test_grey_and_alpha() -> None:
    array = pixels(20, 30)
    grey = np.repeat(array[:, :, :1], 3, axis=2)
    expected = pillow(grey, 12, 9, "lanczos")
    np.testing.assert_array_equal(_native.resize_photo(array[:, :, 0], 12, 9, "lanczos"), expected)
    np.testing.assert_array_equal(_native.resize_photo(array[:, :, :1], 12, 9, "lanczos"), expected)
    alpha = np.dstack([array, pixels(20, 30, seed=1)[:, :, :1]])
    np.testing.assert_array_equal(
        _native.resize_photo(alpha, 12, 9, "lanczos"), pillow(array, 12, 9, "lanczos")
    )


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((4, 4, 3)), TypeError, "float64"),
        (np.zeros((4, 4, 3), dtype=np.int8), TypeError, "int8"),
        (np.zeros((4, 4, 3), dtype=object), TypeError, "object"),
        ([[1, 2], [3, 4]], TypeError, "list"),
        (None, TypeError, "NoneType"),
        (np.zeros((4, 4, 2), dtype=np.uint8), ValueError, r"\(4, 4, 2\)"),
        (np.zeros((3, 4, 4, 3), dtype=np.uint8), ValueError, r"\(3, 4, 4, 3\)"),
        (np.zeros(12, dtype=np.uint8), ValueError, r"\(12,\)"),
        (np.zeros((0, 4, 3), dtype=np.uint8), ValueError, r"\(0, 4, 3\)"),
        (np.zeros((4, 0), dtype=np.uint8), ValueError, r"\(4, 0\)"),
    ],
)
def test_what_is_no_photograph(array: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=rf"expected a uint8 array of shape .*, got .*{words}"):
        _native.resize_photo(array, 2, 2, "bilinear")


@pytest.mark.parametrize(
    ("width", "height"),
    [(0, 5), (5, 0), (-1, 5), (2**40, 5), (5, 2**62), (100_000, 100_000), (2**20 + 1, 1)],
)
@pytest.mark.parametrize("name", FILTERS)
def test_sizes_that_are_none(width: int, height: int, name: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        _native.resize_photo(pixels(4, 4), width, height, name)


def test_extreme_ratios() -> None:
    for size, to in [((1, 9000), (700, 3)), ((9000, 1), (3, 700)), ((2, 5000), (1000, 4999))]:
        check(pixels(size[1], size[0]), *to, "box")


@pytest.mark.parametrize("name", ["", "cubic", "BILINEAR", "antialias"])
def test_unknown_interpolation(name: str) -> None:
    with pytest.raises(ValueError, match=f"nearest, box, .*lanczos, got `{name}`"):
        _native.resize_photo(pixels(4, 4), 2, 2, name)
