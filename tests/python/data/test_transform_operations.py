"""Each operation of augmentation against torchvision on Pillow pictures, in every bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

from cnnzoo import _native
from cnnzoo.errors import ArgumentError

# Pillow 13 resizes rows before columns where that is less work, which rounds otherwise; it needs
# Python 3.11.
pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

CASES = settings(max_examples=150, deadline=None)
SIDE = st.integers(1, 40)
FACTOR = st.floats(0.0, 3.0)
FILL = (124, 116, 104)


def ours(array: Any, operation: str, **options: Any) -> Any:
    channels = 1 if array.ndim == 2 else 3
    text = json.dumps({"operation": operation, **options})
    result = _native.apply_operation(array, text, channels)
    return result[..., 0] if array.ndim == 2 and result.shape[2] == 1 else result


def picture(height: int, width: int, *, seed: int = 0, grey: bool = False, few: int = 256) -> Any:
    """Noise of `few` different values."""
    shape = (height, width) if grey else (height, width, 3)
    values = np.random.default_rng(seed).integers(0, few, shape)
    return (values * (255 // (few - 1))).astype(np.uint8)


def photographs() -> dict[str, Any]:
    return {
        "chelsea": data.chelsea(),
        "coffee": data.coffee()[:, :399],
        "rocket": data.rocket()[::3, ::3],
        "coins": data.coins(),
        "square": data.astronaut()[100:228, 100:228],
    }


PHOTOGRAPHS = photographs()

# Of each operation: options, and the same by torchvision. They are tried on every photograph.
EXAMPLES: list[tuple[str, dict[str, Any], Callable[[Any], Any]]] = [
    ("flip_horizontal", {}, F.hflip),
    ("flip_vertical", {}, F.vflip),
    ("auto_contrast", {}, F.autocontrast),
    ("equalize", {}, F.equalize),
    ("invert", {}, F.invert),
    ("grayscale", {"channels": 1}, lambda image: F.to_grayscale(image, 1)),
    ("grayscale", {"channels": 3}, lambda image: F.to_grayscale(image, 3)),
    (
        "crop",
        {"top": 3, "left": 5, "height": 60, "width": 40},
        lambda image: F.crop(image, 3, 5, 60, 40),
    ),
    *(
        (
            "resize",
            {"height": 64, "width": 57, "interpolation": name},
            lambda image, name=name: F.resize(image, [64, 57], InterpolationMode(name)),
        )
        for name in ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
    ),
    *(
        ("posterize", {"bits": bits}, lambda image, bits=bits: F.posterize(image, bits))
        for bits in range(1, 9)
    ),
    *(
        ("solarize", {"threshold": t}, lambda image, t=t: F.solarize(image, t))
        for t in (0.0, 1.0, 127.5, 128.0, 246.5, 255.0, 256.0)
    ),
    *(
        (f"adjust_{name}", {"factor": f}, lambda image, adjust=adjust, f=f: adjust(image, f))
        for name, adjust in (
            ("brightness", F.adjust_brightness),
            ("contrast", F.adjust_contrast),
            ("saturation", F.adjust_saturation),
            ("sharpness", F.adjust_sharpness),
        )
        for f in (0.0, 0.01, 0.37, 0.7300000190734863, 1.0, 1.27, 1.99, 5.0)
    ),
    *(
        ("adjust_hue", {"factor": f}, lambda image, f=f: F.adjust_hue(image, f))
        for f in (-0.5, -0.31, -0.003, 0.0, 0.1, 0.25, 0.5)
    ),
    *(
        (
            "rotate",
            {"degrees": degrees, "fill": FILL},
            lambda image, degrees=degrees: F.rotate(image, degrees, fill=fill_of(image)),
        )
        for degrees in (0.0, 9.0, -30.0, 45.0, 90.0, -90.0, 135.0, 180.0, 270.0, 359.9, 721.5)
    ),
    *(
        (
            "translate",
            {"x": x, "y": y, "fill": FILL},
            lambda image, x=x, y=y: affine(image, translate=[x, y]),
        )
        for x, y in ((7, 0), (-7, 0), (0, 13), (0, -13), (3, 2), (500, 0), (0, 0))
    ),
    *(
        (
            f"shear_{axis}",
            {"factor": f, "fill": FILL},
            lambda image, axis=axis, f=f: sheared(image, axis, f),
        )
        for axis in "xy"
        for f in (0.0, 0.09, -0.09, 0.3, -0.3, 0.99, -0.99)
    ),
]


def fill_of(image: Image.Image) -> list[int]:
    """The fill of a colour picture, and what Pillow makes of it for a grey one."""
    if image.mode == "RGB":
        return list(FILL)
    pixel = Image.new("RGB", (1, 1), FILL).convert("L").getpixel((0, 0))
    assert isinstance(pixel, int)
    return [pixel]


def affine(image: Any, *, translate: Any = (0, 0), shear: Any = (0.0, 0.0), center: Any = None) -> Any:
    return F.affine(image, 0.0, list(translate), 1.0, list(shear), fill=fill_of(image), center=center)


def sheared(image: Any, axis: str, factor: float) -> Any:
    """As `torchvision.transforms.autoaugment` does it."""
    degrees = math.degrees(math.atan(factor))
    return affine(image, shear=[degrees, 0.0] if axis == "x" else [0.0, degrees], center=[0, 0])


def check(array: Any, operation: str, options: dict[str, Any], theirs: Any) -> None:
    expected = np.asarray(theirs(Image.fromarray(array)))
    result = ours(array, operation, **options)
    if expected.ndim == 2 and result.ndim == 3:
        result = result[..., 0]
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS)
@pytest.mark.parametrize(
    ("operation", "options", "theirs"),
    EXAMPLES,
    ids=[f"{name}-{'-'.join(map(str, options.values()))}" for name, options, _ in EXAMPLES],
)
def test_photographs(operation: str, options: dict[str, Any], theirs: Any, photograph: str) -> None:
    check(PHOTOGRAPHS[photograph], operation, options, theirs)


def test_every_colour_of_a_grid_turns_its_hue() -> None:
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, levels.size, 3)
    for factor in (0.0, 0.2, -0.4):
        check(grid, "adjust_hue", {"factor": factor}, lambda image, f=factor: F.adjust_hue(image, f))


@CASES
@given(SIDE, SIDE, st.integers(0, 99), st.booleans(), st.sampled_from([2, 4, 256]), FACTOR)
def test_colours_of_any_picture(
    height: int, width: int, seed: int, grey: bool, few: int, factor: float
) -> None:
    array = picture(height, width, seed=seed, grey=grey, few=few)
    for name, adjust in (
        ("adjust_brightness", F.adjust_brightness),
        ("adjust_contrast", F.adjust_contrast),
        ("adjust_saturation", F.adjust_saturation),
        ("adjust_sharpness", F.adjust_sharpness),
    ):
        check(array, name, {"factor": factor}, lambda image, adjust=adjust: adjust(image, factor))
    check(array, "auto_contrast", {}, F.autocontrast)
    check(array, "equalize", {}, F.equalize)
    hue = factor / 3.0 - 0.5
    check(array, "adjust_hue", {"factor": hue}, lambda image: F.adjust_hue(image, hue))


@CASES
@given(SIDE, SIDE, st.integers(0, 99), st.booleans(), st.floats(-400, 400), st.floats(-1.5, 1.5))
def test_places_of_any_picture(
    height: int, width: int, seed: int, grey: bool, degrees: float, factor: float
) -> None:
    array = picture(height, width, seed=seed, grey=grey)
    fill = {"fill": FILL}
    check(
        array,
        "rotate",
        {"degrees": degrees, **fill},
        lambda image: F.rotate(image, degrees, fill=fill_of(image)),
    )
    for axis in "xy":
        check(
            array,
            f"shear_{axis}",
            {"factor": factor, **fill},
            lambda image, axis=axis: sheared(image, axis, factor),
        )


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@CASES
@given(
    SIDE,
    SIDE,
    st.booleans(),
    st.tuples(*[st.integers(0, 50)] * 4),
)
def test_margins(
    mode: str, height: int, width: int, grey: bool, margins: tuple[int, int, int, int]
) -> None:
    array = picture(height, width, grey=grey)
    sides = dict(zip(("left", "top", "right", "bottom"), margins, strict=True))
    check(
        array,
        "pad",
        {"margins": sides, "fill": FILL, "mode": mode},
        lambda image: F.pad(
            image, list(margins), fill=tuple(fill_of(image)) if image.mode == "RGB" else fill_of(image)[0], padding_mode=mode
        ),
    )


def test_a_picture_too_wide_for_fixed_point() -> None:
    array = picture(3, 40_000)
    check(
        array,
        "shear_x",
        {"factor": 0.3, "fill": FILL},
        lambda image: sheared(image, "x", 0.3),
    )
    check(
        array,
        "rotate",
        {"degrees": 0.002, "fill": FILL},
        lambda image: F.rotate(image, 0.002, fill=list(FILL)),
    )


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
        ours(picture(4, 5), operation, **options)
