"""Photographs drawn beside their bars, measured in pixels."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

import cnnzoo as cz
from cnnzoo import Guess, Prediction, _native, picture

PHOTOGRAPHS: Any = skimage.data  # has no types
# A bar ends on a pixel.
PIXEL = 1
# Pillow's WebP and JPEG change values; PNG does not.
LOSSY = 6.0

GUESSES = Prediction(
    [
        Guess("espresso", 967, 0.75),
        Guess("cup", 968, 0.2),
        Guess("coffee mug", 504, 0.04),
        Guess("consomme", 925, 0.003),
        Guess("plate", 923, 0.0),
    ]
)


def draw(photo: Any, prediction: Prediction = GUESSES, title: str = "") -> NDArray[np.uint8]:
    return np.asarray(picture.draw_predictions([(title, photo, prediction)]))


def rgb(colour: str) -> NDArray[np.uint8]:
    return np.frombuffer(bytes.fromhex(colour[1:]), np.uint8)


def is_colour(pixels: NDArray[np.uint8], colour: str) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (pixels == rgb(colour)).all(axis=-1)
    return same


def bars(pixels: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """(filled, whole) length in pixels of every bar, from the top."""
    panel = pixels[:, 2 * (picture.MARGIN + picture.PHOTO[0] + picture.GUTTER) :]
    panel = panel[:, : 2 * picture.PANEL]
    found = []
    tracks = is_colour(panel, picture.TRACK)
    filled = is_colour(panel, picture.FIRST_BAR) | is_colour(panel, picture.OTHER_BARS)
    inside = (tracks | filled)[:, 2 * picture.PANEL - 40].astype(int)
    edges = np.flatnonzero(np.diff(inside, prepend=0, append=0))
    for top, bottom in edges.reshape(-1, 2):
        middle = (top + bottom) // 2
        length = 2 * picture.PANEL - int(tracks[middle].sum())
        found.append((length, int((tracks | filled)[middle].sum())))
    return found


def photo_of(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The rectangle of the photograph: in the middle of its place."""
    left = 2 * picture.MARGIN + picture.PHOTO[0] - width // 2
    top = (pixels.shape[0] - height) // 2
    return pixels[top : top + height, left : left + width]


def test_bars_are_as_long_as_their_probabilities() -> None:
    measured = bars(draw(PHOTOGRAPHS.coffee()))
    assert len(measured) == len(GUESSES)
    for (length, _), guess in zip(measured, GUESSES, strict=True):
        assert length == pytest.approx(guess.probability * 2 * picture.PANEL, abs=PIXEL)


def test_a_short_bar_keeps_inside_its_round_corner() -> None:
    photo = PHOTOGRAPHS.coffee()
    empty, short = (draw(photo, Prediction([Guess("", 0, share)])) for share in (0.0, 0.003))
    track = np.flatnonzero(is_colour(empty, picture.TRACK).any(axis=1))
    corner = is_colour(empty, picture.PAPER)[track]
    assert is_colour(short, picture.PAPER)[track][corner].all()
    assert (short[track] != empty[track]).any()


def test_only_the_first_bar_stands_out() -> None:
    pixels = draw(PHOTOGRAPHS.coffee()[:, :, [2, 2, 2]])
    first = np.flatnonzero(is_colour(pixels, picture.FIRST_BAR).any(axis=1))
    others = np.flatnonzero(is_colour(pixels, picture.OTHER_BARS).any(axis=1))
    assert np.ptp(first) < 2 * picture.BAR
    assert first.max() < others.min()


@pytest.mark.parametrize("bad", [float("nan"), 0.0])
def test_nothing_is_filled_without_a_probability(bad: float) -> None:
    ((length, whole),) = bars(draw(PHOTOGRAPHS.coffee(), Prediction([Guess("x", 0, bad)])))
    assert length == 0
    assert whole == 2 * picture.PANEL


def test_the_photograph_is_there_in_its_own_pixels() -> None:
    # As large as its place, so that nothing is resized.
    photo = PHOTOGRAPHS.rocket()[:400, :500]
    photo = np.asarray(Image.fromarray(photo).resize((720, 480)))
    seen = photo_of(draw(photo), 720, 480)
    corner = 2 * picture.CORNER
    np.testing.assert_array_equal(seen[corner:-corner], photo[corner:-corner])
    np.testing.assert_array_equal(seen[:, corner:-corner], photo[:, corner:-corner])
    assert (seen[0, 0] == 255).all()  # cut off by the round corner


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1440, 960, (720, 480)),
        (300, 600, (270, 540)),
        (4000, 100, (720, 18)),
        (20, 10, (160, 80)),
        (1, 1, (8, 8)),
        (1, 3000, (1, 540)),
    ],
)
def test_any_size_keeps_its_proportions(width: int, height: int, expected: tuple[int, int]) -> None:
    photo = np.zeros((height, width, 3), np.uint8)
    photo[:] = (0, 255, 0)
    pixels = draw(photo)
    greenish = pixels[..., 1].astype(int) - pixels[..., 0] > 128
    rows, columns = np.flatnonzero(greenish.any(axis=1)), np.flatnonzero(greenish.any(axis=0))
    assert (columns.size, rows.size) == expected
    assert greenish.sum() <= expected[0] * expected[1]
    assert len(bars(pixels)) == 5


def test_few_pixels_stay_sharp() -> None:
    photo = PHOTOGRAPHS.chelsea()[100:132, 100:132]
    seen = photo_of(draw(photo), 256, 256)
    np.testing.assert_array_equal(seen[4::8, 4::8][1:-1, 1:-1], photo[1:-1, 1:-1])


def test_what_the_network_sees(tmp_path: Path) -> None:
    """The turn that EXIF asks for is made; transparency and grey become colours."""
    upright = Image.fromarray(PHOTOGRAPHS.rocket())
    exif = Image.Exif()
    exif[0x0112] = 6
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    turned = np.asarray(picture.draw_predictions([("", tmp_path / "turned.png", GUESSES)]))
    np.testing.assert_array_equal(turned, draw(_native.decode_photo(tmp_path / "turned.png")))
    np.testing.assert_array_equal(turned, draw(np.array(upright)))
    np.testing.assert_array_equal(turned, draw(upright))
    alpha = np.dstack([PHOTOGRAPHS.rocket(), np.zeros((427, 640), np.uint8)])
    np.testing.assert_array_equal(turned, draw(alpha))
    grey = PHOTOGRAPHS.coins()
    np.testing.assert_array_equal(draw(grey), draw(np.dstack([grey] * 3)))
    np.testing.assert_array_equal(draw(grey), draw(grey[..., np.newaxis]))
    mirrored = draw(PHOTOGRAPHS.rocket()[:, ::-1])
    np.testing.assert_array_equal(mirrored, draw(PHOTOGRAPHS.rocket()[:, ::-1].copy()))


def test_photographs_stack_then_stand_side_by_side() -> None:
    photo = PHOTOGRAPHS.coffee()
    one, three, eight = (
        picture.draw_predictions([("a.jpg", photo, GUESSES)] * count) for count in (1, 3, 8)
    )
    assert three.width == one.width
    assert 2.5 * one.height < three.height < 3.5 * one.height
    assert 1.8 * one.width < eight.width < 2.2 * one.width
    assert 3.5 * one.height < eight.height < 4.5 * one.height
    margin = 2 * picture.MARGIN
    for image in (one, three, eight):
        pixels = np.asarray(image)
        assert image.mode == "RGB"
        edge = [pixels[:margin], pixels[-margin:], pixels[:, :margin], pixels[:, -margin:]]
        assert all((side == 255).all() for side in edge)


def test_words_stay_in_their_panel() -> None:
    words = "a name that is far too long for the line that it has to stand on " * 3
    long = Prediction([Guess(words, 0, 1.0), Guess("i", 1, 0.5)])
    short = Prediction([Guess("a", 0, 1.0), Guess("i", 1, 0.5)])
    photo = PHOTOGRAPHS.coffee()
    with_title = draw(photo, short, words)
    assert (with_title[:, -2 * picture.MARGIN :] == 255).all()
    with_long, with_short = draw(photo, long), draw(photo, short)
    assert with_long.shape == with_short.shape
    left = 2 * (picture.MARGIN + picture.PHOTO[0] + picture.GUTTER)
    np.testing.assert_array_equal(with_long[:, :left], with_short[:, :left])
    assert (with_long[:, -2 * picture.MARGIN :] == 255).all()
    # The percentages are the same, and no word touches them.
    percent = left + 2 * (picture.PANEL - 44)
    np.testing.assert_array_equal(with_long[:, percent:], with_short[:, percent:])


def test_labels_and_titles_are_written() -> None:
    photo = PHOTOGRAPHS.coffee()
    others = Prediction(guess._replace(label=guess.label[::-1]) for guess in GUESSES)
    assert (draw(photo, GUESSES) != draw(photo, others)).any()
    assert (draw(photo, title="one.jpg") != draw(photo, title="two.jpg")).any()
    np.testing.assert_array_equal(
        draw(photo, title="line\nbreak \udcff"), draw(photo, title=r"line\nbreak \udcff")
    )


def test_many_classes_are_summed_up() -> None:
    many = Prediction(Guess(f"class {index}", index, 0.001) for index in range(1000))
    pixels = draw(PHOTOGRAPHS.coffee(), many)
    assert len(bars(pixels)) == picture.MOST_BARS
    twelve = draw(PHOTOGRAPHS.coffee(), Prediction(many[:12]))
    assert pixels.shape[0] > twelve.shape[0]


@pytest.mark.parametrize("count", [0, 61])
def test_how_many_photographs(count: int) -> None:
    with pytest.raises(cz.ArgumentError, match=f"1 to 60 photographs, got {count}"):
        picture.draw_predictions([("", PHOTOGRAPHS.coffee(), GUESSES)] * count)


def test_no_photograph(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(cz.DataError, match=r"text\.png"):
        draw(tmp_path / "text.png")
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        draw(tmp_path / "missing.png")
    with pytest.raises(TypeError, match="a photograph: expected"):
        draw(3)
    with pytest.raises(TypeError, match="float64"):
        draw(np.zeros((8, 8, 3)))
    with pytest.raises(cz.ShapeError, match=r"\(8, 8, 2\)"):
        draw(np.zeros((8, 8, 2), np.uint8))
    with pytest.raises(cz.ShapeError, match=r"\(8, 0\)"):
        draw(np.zeros((8, 0), np.uint8))


@pytest.mark.parametrize("name", ["p.png", "p.jpg", "p.JPEG", "p.webp"])
def test_save(tmp_path: Path, name: str) -> None:
    drawn = picture.draw_predictions([("a", PHOTOGRAPHS.coffee(), GUESSES)])
    picture.save(drawn, tmp_path / name)
    with Image.open(tmp_path / name) as image:
        difference = np.abs(np.asarray(image.convert("RGB")).astype(int) - np.asarray(drawn))
    assert difference.mean() <= (0 if name == "p.png" else LOSSY)


def test_where_nothing_can_be_saved(tmp_path: Path) -> None:
    drawn = picture.draw_predictions([("a", PHOTOGRAPHS.coffee(), GUESSES)])
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(cz.ArgumentError, match=r"p\.gif: expected a name that ends in \.png"):
        picture.save(drawn, tmp_path / "p.gif")
    with pytest.raises(cz.ArgumentError, match="expected a name that ends in"):
        picture.save(drawn, tmp_path / "p")
    with pytest.raises(OSError, match="got a folder"):
        picture.save(drawn, tmp_path / "folder.png")
    with pytest.raises(cz.errors.PhotoFileError, match="there is no folder"):
        picture.save(drawn, tmp_path / "no" / "p.png")
    with pytest.raises(cz.DataError, match="cannot be written: File name too long"):
        picture.save(drawn, tmp_path / f"{'x' * 300}.png")


def test_a_picture_that_its_format_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    endless = Image.new("RGB", (1, 70_000))
    with pytest.raises(cz.errors.PhotoFileError, match="cannot be written"):
        picture.save(endless, tmp_path / "p.jpg")
    assert os.listdir(tmp_path) == []


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    photo = PHOTOGRAPHS.coffee()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'cnnzoo\[pictures\]'") as raised:
        picture.draw_predictions([("", photo, GUESSES)])
    assert isinstance(raised.value, cz.MissingPackageError)
