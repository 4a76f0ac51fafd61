"""Distortions of arrays, against torchvision's functions of tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from cnnzoo.analysis import distortions

BILINEAR = InterpolationMode.BILINEAR
# torchvision computes the places of pixels in float32, whose rounding is a share of a pixel.
PLACES = 1e-4


def images(height: int = 21, width: int = 30, *, count: int = 3) -> Any:
    random = np.random.default_rng(height)
    return random.normal(size=(count, 2, height, width)).astype(np.float32)


NONE = np.zeros(2, np.float32)
FILL = np.array([0.5, -2.0], np.float32)


@pytest.mark.parametrize("pixels", [0, 1, 7, -4, 29, 30, -30, 1000, -1000])
@pytest.mark.parametrize("fill", [NONE, FILL], ids=["zero", "fill"])
def test_a_shift_is_that_of_torchvision(pixels: int, fill: Any) -> None:
    x = images()
    theirs = functional.affine(
        torch.from_numpy(x), 0.0, [max(-40, min(40, pixels)), 0], 1.0, [0.0], fill=fill.tolist()
    )
    ours = distortions.shifted(x, pixels, fill=fill)
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert ours.dtype == np.float32 and not np.shares_memory(ours, x)


@pytest.mark.parametrize("size", [(21, 30), (16, 16), (1, 9)], ids=str)
@pytest.mark.parametrize("degrees", [0.0, 10.0, -33.0, 90.0, 180.0, 275.5, 360.0])
def test_a_rotation_is_that_of_torchvision(size: tuple[int, int], degrees: float) -> None:
    x = images(*size)
    theirs = functional.rotate(torch.from_numpy(x), degrees, BILINEAR)
    ours = distortions.rotated(x, degrees, fill=NONE)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=PLACES * np.abs(x).max())


def test_a_rotation_by_right_angles_moves_pixels() -> None:
    x = images(17, 17)
    for turns in range(4):
        ours = distortions.rotated(x, 90.0 * turns, fill=FILL)
        np.testing.assert_allclose(ours, np.rot90(x, turns, axes=(2, 3)), atol=1e-6)


@pytest.mark.parametrize("factor", [1.0, 1.2, 1.5, 2.0, 7.3])
@pytest.mark.parametrize("size", [(21, 30), (16, 16)], ids=str)
def test_an_enlargement_is_that_of_torchvision(size: tuple[int, int], factor: float) -> None:
    x = images(*size)
    theirs = functional.affine(torch.from_numpy(x), 0.0, [0, 0], factor, [0.0], BILINEAR)
    ours = distortions.scaled(x, factor, fill=FILL)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=PLACES * np.abs(x).max())


@pytest.mark.parametrize(("side", "smaller"), [(20, 10), (24, 18), (21, 7), (40, 10)])
def test_a_reduction_is_torchvisions_antialiased_one_in_the_middle(side: int, smaller: int) -> None:
    x = images(side, 2 * side)
    theirs = functional.resize(
        torch.from_numpy(x), [smaller, 2 * smaller], BILINEAR, antialias=True
    )
    border = (side - smaller) // 2
    for fill in (NONE, FILL):
        padded = np.empty(x.shape, np.float32)
        padded[:] = fill[None, :, None, None]
        padded[:, :, border:-border, 2 * border : -2 * border] = theirs.numpy()
        ours = distortions.scaled(x, smaller / side, fill=fill)
        np.testing.assert_allclose(ours, padded, atol=1e-5 * np.abs(x).max())


def test_nothing_is_left_of_an_image_that_is_much_too_small() -> None:
    x = images(20, 20)
    ours = distortions.scaled(x, 0.01, fill=FILL)
    assert (ours == FILL[None, :, None, None]).all()


@pytest.mark.parametrize("degrees", [30.0, -100.0])
def test_corners_from_outside_have_the_colour_that_fills(degrees: float) -> None:
    """An image of that colour alone stays it."""
    x = np.broadcast_to(FILL[None, :, None, None], (2, 2, 15, 20)).astype(np.float32)
    np.testing.assert_allclose(distortions.rotated(x, degrees, fill=FILL), x, atol=1e-6)
    np.testing.assert_allclose(distortions.scaled(x, 0.37, fill=FILL), x, atol=1e-6)
    np.testing.assert_array_equal(distortions.shifted(x, 4, fill=FILL), x)


def test_noise_is_gaussian_and_the_image_s_own() -> None:
    x = np.zeros((2, 3, 200, 200), np.float32)
    deviation = np.array([0.1, 0.5, 2.0], np.float32)
    found = distortions.noisy(x, deviation, np.array([4, 9]), seed=1)
    # A deviation of 80000 numbers is known to 0.25 %, of which this is four times as much.
    np.testing.assert_allclose(found.std((0, 2, 3)), deviation, rtol=0.01)
    np.testing.assert_allclose(found.mean((0, 2, 3)) / deviation, 0, atol=0.015)
    kurtosis = (found**4).mean((0, 2, 3)) / deviation**4
    np.testing.assert_allclose(kurtosis, 3, rtol=0.06)
    twice = distortions.noisy(x, 2 * deviation, np.array([9, 4]), seed=1)
    np.testing.assert_array_equal(twice[::-1], 2 * found)
    assert not np.array_equal(distortions.noisy(x, deviation, np.array([4, 9]), seed=2), found)
    assert abs(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1]) < 0.02
    same = distortions.noisy(images(), np.zeros(2, np.float32), np.arange(3), seed=0)
    np.testing.assert_array_equal(same, images())


@pytest.mark.parametrize("area", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_occlusion_is_torchvisions_erasure_of_a_square(area: float) -> None:
    x = images(24, 20, count=50)
    found = distortions.occluded(x, area, np.arange(50), seed=3, fill=FILL)
    side = round((area * 24 * 20) ** 0.5)
    tall, wide = min(side, 24), min(side, 20)
    places = set()
    for image, original in zip(found, x, strict=True):
        rows, columns = (np.flatnonzero((image != original).any(0).any(axis)) for axis in (1, 0))
        if side == 0:
            assert len(rows) == 0
            continue
        top, left = int(rows[0]), int(columns[0])
        theirs = functional.erase(
            torch.from_numpy(original), top, left, tall, wide, torch.from_numpy(FILL[:, None, None])
        )
        np.testing.assert_array_equal(image, theirs.numpy())
        places.add((top, left))
    # Anywhere within the image.
    if 0 < side < 12:
        assert len(places) > 25
        assert max(top for top, _ in places) > 0.8 * (24 - side)
        assert min(top for top, _ in places) < 0.2 * (24 - side)
    again = distortions.occluded(x[7:9], area, np.array([7, 8]), seed=3, fill=FILL)
    np.testing.assert_array_equal(again, found[7:9])
