"""Heatmaps: the part of the photograph that they cover, overlays, plots and pages."""

from __future__ import annotations

import base64
import io
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import cnnzoo as cz
from cnnzoo.explain._pixels import coloured, enlarged, for_page, magnified, mosaic, scaled
from explain.subjects import CAT, COFFEE, TIGER_CAT, stretched, trained

# The difference between a pixel of the photograph's part, resized here, and what the network sees.
PIXELS = 0.02


def heatmap(photo: object = CAT, **options: object) -> cz.explain.Heatmap:
    return cz.explain.grad_cam(trained(), photo, **options)  # type: ignore[arg-type]


def seen(model: cz.Model, photo: Any) -> np.ndarray:
    """The network's input in colours again, (H, W, 3) of 0 to 1."""
    x = model.preprocess.to_array(photo)[0].transpose(1, 2, 0)
    colours: np.ndarray = x * model.preprocess.std + model.preprocess.mean
    return colours


def turned(path: Path, orientation: int) -> Path:
    """The cat, held by a camera in another way."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.open(CAT).convert("RGB").save(path, exif=exif, quality=95)
    return path


def forms(folder: Path) -> dict[str, object]:
    cat = Image.open(CAT).convert("RGB")
    return {
        "a photograph": CAT,
        "another": COFFEE,
        "upright": cat.resize((200, 500)),
        "wide": cat.resize((900, 120)),
        "small": cat.resize((40, 30)),
        "large": cat.resize((1800, 1300)),
        "grey": np.asarray(cat.convert("L")),
        "one channel": np.asarray(cat.convert("L"))[..., np.newaxis],
        "transparent": cat.convert("RGBA"),
        "16 bits": np.asarray(cat).astype(np.uint16) << 8,
        "turned": turned(folder / "turned.jpg", 6),
        "mirrored": turned(folder / "mirrored.jpg", 2),
    }


FORMS = [
    *("a photograph", "another", "upright", "wide", "small", "large", "grey", "one channel"),
    *("transparent", "16 bits", "turned", "mirrored"),
]


@pytest.mark.parametrize("form", FORMS)
def test_the_photograph_is_the_part_that_the_network_sees(form: str, tmp_path: Path) -> None:
    """Resized to the network's input, it is what the network gets."""
    model, photo = trained(), forms(tmp_path)[form]
    found = heatmap(photo)
    assert found.photo.dtype == np.uint8 and found.photo.shape[0] == found.photo.shape[1]
    assert 224 <= found.photo.shape[0] <= 768
    small = Image.fromarray(found.photo).resize((224, 224), Image.Resampling.BICUBIC)
    apart = np.abs(np.asarray(small) / 255 - seen(model, photo))
    assert apart.mean() <= PIXELS


@pytest.mark.parametrize("size", [(300, 451), (60, 80), (31, 200)])
def test_what_is_smaller_than_the_crop_is_framed_in_black(size: tuple[int, int]) -> None:
    model = cz.create_model("resnet18", num_classes=3, seed=1)
    model.preprocess = cz.Preprocess(
        resize=50, crop=96, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    photo = np.random.default_rng(0).integers(60, 250, (*size, 3), np.uint8)
    found = cz.explain.grad_cam(model, photo, target=0).photo
    small = Image.fromarray(found).resize((96, 96), Image.Resampling.BILINEAR)
    black = (np.asarray(small) == 0).all(-1)
    expected = (seen(model, photo) < 1 / 512).all(-1)
    assert expected.any() and (black != expected).mean() < 0.05


def test_heat_is_enlarged_as_pytorch_enlarges() -> None:
    values = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    for size in [(224, 224), (7, 5), (8, 40), (3, 2)]:
        found = enlarged(values, *size)
        expected = stretched(values, size)
        assert np.abs(scaled(found) - expected).max() < 1e-6


def test_scaled_values_reach_from_zero_to_one() -> None:
    assert scaled(np.array([3.0, 5.0, 4.0])).tolist() == [0, 1, 0.5]
    assert scaled(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]
    assert scaled(np.array([0.0, 1e-40])).tolist() == [0, 1]


def test_values_that_are_not_finite_are_not_scaled() -> None:
    found = scaled(np.array([3.0, np.nan, 5.0, np.inf, -np.inf, 4.0]))
    assert np.array_equal(found, [0, np.nan, 1, np.nan, np.nan, 0.5], equal_nan=True)
    assert np.isnan(scaled(np.full(3, np.nan))).all()


def test_colours_get_lighter_with_the_heat() -> None:
    steps = coloured(np.linspace(0, 1, 101)).astype(int)
    light = steps @ np.array([299, 587, 114])
    assert (np.diff(light) > 0).all() and steps.shape == (101, 3)
    assert coloured(np.array([np.nan, -1.0, 2.0])).tolist() == [
        [255, 0, 255], steps[0].tolist(), steps[-1].tolist(),
    ]  # fmt: skip


def test_an_overlay_is_pale_where_it_is_cold_and_coloured_where_it_is_hot() -> None:
    found = heatmap(target=TIGER_CAT)
    picture = found.overlay().astype(float)
    assert picture.shape == found.photo.shape and found.overlay().dtype == np.uint8
    heat = enlarged(found.values, *picture.shape[:2])
    grey = np.asarray(Image.fromarray(found.photo).convert("L"), float)[..., np.newaxis]
    photo = 0.75 * grey + 0.25 * found.photo
    cold, hot = heat < 0.002, heat > 0.625
    assert cold.sum() > 100 and hot.sum() > 100
    assert np.abs(picture - photo)[cold].max() <= 2
    assert np.abs(picture - (0.25 * photo + 0.75 * coloured(heat)))[hot].max() <= 2
    assert np.abs(found.overlay(alpha=0) - photo).max() <= 2
    assert np.abs(found.overlay(alpha=1).astype(int) - coloured(heat))[hot].max() == 0
    for wrong in (-0.1, 1.1, "half", np.nan, None, True):
        with pytest.raises(cz.ArgumentError, match="`alpha`"):
            found.overlay(alpha=wrong)  # type: ignore[arg-type]


def test_a_plot_shows_the_overlay_under_the_class(tmp_path: Path) -> None:
    found = heatmap(target=TIGER_CAT)
    axes = found.plot(ax=Figure().subplots())
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array(), found.overlay())
    title, (about,) = axes.get_title("left"), (text.get_text() for text in axes.texts)
    guess = next(guess for guess in found.prediction or () if guess.index == TIGER_CAT)
    assert title == f"tiger cat · {guess.probability:.1%}"
    assert about == f"Grad-CAM at {found.node} · tf_efficientnet_lite0"
    found.save(tmp_path / "heatmap.png")
    with Image.open(tmp_path / "heatmap.png") as picture:
        assert picture.width > 400
    with pytest.raises(cz.ArgumentError, match="ends in"):
        found.save(tmp_path / "heatmap.xyz")


def test_a_page_shows_the_picture_and_the_classes() -> None:
    found = heatmap(target=TIGER_CAT)
    page = found._repr_html_()
    data = re.search(r"src='data:image/png;base64,([^']+)'", page)
    assert data is not None
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    # Of a photograph as small as this part of the cat, nothing is left out.
    np.testing.assert_array_equal(picture, found.overlay())
    for guess in found.prediction or ():
        assert guess.label in page
    assert repr(found) == "<Heatmap Grad-CAM of tiger cat at `act2`, tf_efficientnet_lite0>"


def test_tiles_lie_row_by_row_and_pixels_are_repeated() -> None:
    tiles = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (10, 20, 30)])
    found = mosaic(tiles)
    assert found.shape == (4, 14, 3)
    assert [found[0, at, 0] for at in (0, 3, 4, 5, 9, 10)] == [10, 10, 255, 20, 255, 30]
    shapes = {24: (4, 6), 32: (4, 8), 36: (6, 6), 64: (8, 8), 7: (2, 4), 1: (1, 1), 13: (3, 5)}
    for count, (rows, columns) in shapes.items():
        picture = mosaic(np.zeros((count, 4, 4, 3), np.uint8))
        assert picture.shape == (5 * rows - 1, 5 * columns - 1, 3), count
        assert (picture == 0).all(-1).sum() == 16 * count
    assert magnified(tiles[0], 10).shape == (12, 12, 3)
    assert magnified(tiles[0], 3).shape == (4, 4, 3)


def test_a_picture_in_a_page_is_neither_tiny_nor_huge() -> None:
    for side, expected in ((32, 256), (100, 300), (300, 300), (448, 448), (768, 448)):
        pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
        found = for_page(pixels)
        assert found.shape == (expected, expected, 3)
        if side == 768:
            small = Image.fromarray(pixels).resize((448, 448), Image.Resampling.LANCZOS)
            np.testing.assert_array_equal(found, np.asarray(small))


def test_a_dark_16_bit_photograph_is_noticed_once() -> None:
    dark = np.full((64, 64, 3), 7, np.uint16)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        heatmap(dark, target=0)
    assert len([one for one in found if one.category is cz.Notice and "uint16" in str(one)]) == 1


PIXEL = """
graph pixel
input = input() channels=3 height=8 width=8
flat = flatten(input)
fc = linear(flat) out=2
output fc
"""


def linear(weight: Any) -> cz.Model:
    """A network whose logits are weighted sums of the pixels."""
    model = cz.Model.from_graph(cz.Graph.parse(PIXEL))
    model.load_state_dict({"fc.weight": weight, "fc.bias": np.zeros(2, np.float32)})
    return model


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "occlusion"])
def test_a_heatmap_without_evidence_comes_with_a_notice(method: str) -> None:
    model = linear(np.zeros((2, 192), np.float32))
    with pytest.warns(cz.Notice, match="no pixel speaks .* for class 1, so the heatmap is") as told:
        found = getattr(cz.explain, method)(model, CAT, target=1)
    assert not found.values.any()
    # It points at the user's line.
    assert told[0].filename == __file__


def test_evidence_of_a_single_pixel_is_seen() -> None:
    """Less than the hottest percent, which is drawn alike, is not nothing."""
    weight = np.zeros((2, 3, 8, 8), np.float32)
    weight[1, 0, 2, 5] = 1.0
    found = cz.explain.saliency(linear(weight.reshape(2, 192)), CAT, target=1)
    assert np.argwhere(found.values).tolist() == [[2, 5]] and found.values[2, 5] == 1
