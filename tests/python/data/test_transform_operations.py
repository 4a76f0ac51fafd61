"""Each operation of augmentation against torchvision on Pillow pictures, in every bit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from cnnzoo import _native
from cnnzoo.errors import ArgumentError
from torchvision_operations import apply

# Pillow 13 resizes rows before columns where that is less work, which rounds otherwise; it needs
# Python 3.11.
pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

CASES = settings(max_examples=150, deadline=None)
SIDE = st.integers(1, 40)
FILL = [124, 116, 104]
FACTORS = (0.0, 0.01, 0.37, 0.7300000190734863, 1.0, 1.27, 1.99, 5.0)

PHOTOGRAPHS = {
    "chelsea": data.chelsea(),
    "coffee": data.coffee()[:, :399],
    "rocket": data.rocket()[::3, ::3],
    "coins": data.coins(),
    "square": data.astronaut()[100:228, 100:228],
}

# Of each operation, the options that every photograph is tried with.
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "resize": [
        {"height": 64, "width": 57, "interpolation": name}
        for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ],
    "crop": [{"top": 3, "left": 5, "height": 60, "width": 40}],
    "flip_horizontal": [{}],
    "flip_vertical": [{}],
    "grayscale": [{"channels": 1}, {"channels": 3}],
    "adjust_brightness": [{"factor": factor} for factor in FACTORS],
    "adjust_contrast": [{"factor": factor} for factor in FACTORS],
    "adjust_saturation": [{"factor": factor} for factor in FACTORS],
    "adjust_sharpness": [{"factor": factor} for factor in FACTORS],
    "adjust_hue": [{"factor": f} for f in (-0.5, -0.31, -0.003, 0.0, 0.1, 0.25, 0.5)],
    "posterize": [{"bits": bits} for bits in range(1, 9)],
    "solarize": [{"threshold": t} for t in (0.0, 1.0, 127.5, 128.0, 246.5, 255.0, 256.0)],
    "auto_contrast": [{}],
    "equalize": [{}],
    "invert": [{}],
    "rotate": [
        {"degrees": degrees, "fill": FILL}
        for degrees in (0.0, 9.0, -30.0, 45.0, 90.0, -90.0, 135.0, 180.0, 270.0, 359.9, 721.5)
    ],
    "translate": [
        {"x": x, "y": y, "fill": FILL}
        for x, y in ((7, 0), (-7, 0), (0, 13), (0, -13), (3, 2), (500, 0), (0, 0))
    ],
    "shear_x": [{"factor": f, "fill": FILL} for f in (0.0, 0.09, -0.09, 0.3, 0.99, -0.99)],
    "shear_y": [{"factor": f, "fill": FILL} for f in (0.0, 0.09, -0.09, 0.3, 0.99, -0.99)],
}


def check(array: Any, operation: str, **options: Any) -> None:
    """Equal to torchvision, on a colour picture (H, W, 3) or a grey one (H, W)."""
    named = {"operation": operation, **options}
    expected = np.asarray(apply(Image.fromarray(array), named))
    ours = _native.apply_operation(array, json.dumps(named), 1 if array.ndim == 2 else 3)
    np.testing.assert_array_equal(ours, expected.reshape(*expected.shape[:2], -1))


def picture(height: int, width: int, *, seed: int = 0, grey: bool = False, few: int = 256) -> Any:
    """Noise of `few` different values."""
    shape = (height, width) if grey else (height, width, 3)
    values = np.random.default_rng(seed).integers(0, few, shape)
    return (values * (255 // (few - 1))).astype(np.uint8)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize("operation", EXAMPLES)
def test_photographs(operation: str, photograph: str) -> None:
    for options in EXAMPLES[operation]:
        check(PHOTOGRAPHS[photograph], operation, **options)


@pytest.mark.parametrize("factor", [0.0, 0.2, -0.4])
def test_hue_of_every_third_colour(factor: float) -> None:
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, levels.size, 3)
    check(grid, "adjust_hue", factor=factor)


@CASES
@given(
    SIDE, SIDE, st.integers(0, 99), st.booleans(), st.sampled_from([2, 4, 256]), st.floats(0.0, 3.0)
)
def test_colours_of_any_picture(
    height: int, width: int, seed: int, grey: bool, few: int, factor: float
) -> None:
    array = picture(height, width, seed=seed, grey=grey, few=few)
    for name in ("brightness", "contrast", "saturation", "sharpness"):
        check(array, f"adjust_{name}", factor=factor)
    check(array, "adjust_hue", factor=factor / 3.0 - 0.5)
    check(array, "auto_contrast")
    check(array, "equalize")


@CASES
@given(SIDE, SIDE, st.integers(0, 99), st.booleans(), st.floats(-400, 400), st.floats(-1.5, 1.5))
def test_places_of_any_picture(
    height: int, width: int, seed: int, grey: bool, degrees: float, factor: float
) -> None:
    array = picture(height, width, seed=seed, grey=grey)
    check(array, "rotate", degrees=degrees, fill=FILL)
    check(array, "shear_x", factor=factor, fill=FILL)
    check(array, "shear_y", factor=factor, fill=FILL)


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@CASES
@given(SIDE, SIDE, st.booleans(), st.tuples(*[st.integers(0, 50)] * 4))
def test_margins(
    mode: str, height: int, width: int, grey: bool, sizes: tuple[int, int, int, int]
) -> None:
    sides = dict(zip(("left", "top", "right", "bottom"), sizes, strict=True))
    check(picture(height, width, grey=grey), "pad", margins=sides, fill=FILL, mode=mode)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@CASES
@given(SIDE, SIDE, SIDE, SIDE)
def test_resizing_grey(
    interpolation: str, height: int, width: int, to_height: int, to_width: int
) -> None:
    array = picture(height, width, grey=True)
    check(array, "resize", height=to_height, width=to_width, interpolation=interpolation)


def test_pictures_too_large_for_fixed_point() -> None:
    check(picture(3, 40_000), "shear_x", factor=0.3, fill=FILL)
    check(picture(3, 40_000), "rotate", degrees=0.002, fill=FILL)
    check(picture(40_000, 3), "rotate", degrees=-0.002, fill=FILL)


@pytest.mark.parametrize(
    ("operation", "options", "message"),
    [
        ("posterize", {"bits": 0}, "posterize: bits: expected 1 to 8, got 0"),
        ("posterize", {"bits": 9}, "posterize: bits: expected 1 to 8, got 9"),
        ("adjust_hue", {"factor": 0.6}, "hue: factor: expected -0.5 to 0.5, got 0.6"),
        (
            "crop",
            {"top": 1, "left": 0, "height": 4, "width": 4},
            r"crop: expected a part of 4 by 5 pixels \(height, width\), got 4 by 4 at \(1, 0\)",
        ),
        ("turn", {}, "operation: expected options of the right types, got unknown variant `turn`"),
    ],
)
def test_refusals(operation: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        _native.apply_operation(
            picture(4, 5), json.dumps({"operation": operation, **options}), channels=3
        )
