"""Draws photographs beside a model's predictions for them. Needs Pillow."""

from __future__ import annotations

import functools
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._files import write_whole
from cnnzoo._package import NAME
from cnnzoo._photo import Contents, Photo, decoded
from cnnzoo._text import one_line
from cnnzoo.errors import ArgumentError, MissingPackageError, PhotoFileError, ShapeError
from cnnzoo.prediction import Guess, Prediction

if TYPE_CHECKING:
    from PIL import ImageFont
    from PIL.Image import Image

    Font: TypeAlias = ImageFont.ImageFont | ImageFont.FreeTypeFont

# File endings and Pillow's name of the format.
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
# More photographs would make a picture too large to open.
MOST_PHOTOS = 60
# More bars would be taller than any photograph; a line below them sums up the rest.
MOST_BARS = 12

# Lengths are in points; the picture has this many pixels to each.
SCALE = 2
MARGIN = 28
PHOTO = (360, 270)
PANEL = 300
GUTTER = 32
BETWEEN_COLUMNS = 64
BETWEEN_ROWS = 40
ROW = 42
BAR = 8
HEADING = 30
TEXT = 14
SMALL = 12
CORNER = 8
# The largest factor by which a small photograph is enlarged.
LARGEST_PIXEL = 8

PAPER = "#ffffff"
INK = "#1f2933"
GREY = "#7b8794"
TRACK = "#eef1f4"
FIRST_BAR = "#3a6ea5"
OTHER_BARS = "#a9c3dd"


def draw_predictions(
    photos: Sequence[tuple[str, Photo | Contents, Prediction]], *, orientation: bool = True
) -> Image:
    """Draw each photograph beside a bar for each predicted class.

    The photographs are drawn as the network sees them: turned upright by their EXIF orientation,
    and without transparency. A bar of full width is a probability of 1.

    Args:
        photos: For each, a title, the photograph as `Model.predict` takes it (an open file is read
            from its current position), and the prediction.
        orientation: As in the model's `preprocess`; with False nothing is turned.

    Returns:
        A Pillow image in RGB, two pixels to the point; in Jupyter it shows itself.

    Raises:
        ArgumentError: No photographs, or more than 60.
        DataError: A file does not decode; it names the path.
        ShapeError: An array is no image.
        TypeError: An array is not of uint8, or an object is no photograph.
        MissingPackageError: Pillow is not installed.
    """
    _check_count(len(photos))
    pillow = _pillow()
    cards = [_Card(*photo, orientation=orientation) for photo in photos]
    columns = math.ceil(math.sqrt(len(cards) / 3))
    rows = [cards[start : start + columns] for start in range(0, len(cards), columns)]
    heights = [max(card.height for card in row) for row in rows]
    card_width = _px(PHOTO[0] + GUTTER + PANEL)
    width = 2 * _px(MARGIN) + columns * card_width + (columns - 1) * _px(BETWEEN_COLUMNS)
    height = 2 * _px(MARGIN) + sum(heights) + (len(rows) - 1) * _px(BETWEEN_ROWS)
    paper: Image = pillow.new("RGB", (width, height), PAPER)
    top = _px(MARGIN)
    for row, row_height in zip(rows, heights, strict=True):
        for column, card in enumerate(row):
            left = _px(MARGIN) + column * (card_width + _px(BETWEEN_COLUMNS))
            card.draw(paper, left, top + (row_height - card.height) // 2)
        top += row_height + _px(BETWEEN_ROWS)
    return paper


def check_save(file: str | os.PathLike[str], *, photos: int) -> None:
    """Check early that a picture of so many photographs can be drawn and saved.

    Raises:
        ArgumentError: Another ending than .png, .jpg, .jpeg or .webp; too many photographs.
        PhotoFileError: There is no such folder, or the file is a folder.
        MissingPackageError: Pillow is not installed.
    """
    path = Path(file)
    if path.suffix.lower() not in FORMATS:
        raise ArgumentError(f"{path}: expected a name that ends in {', '.join(FORMATS)}")
    if os.path.isdir(path):
        raise PhotoFileError(f"{path}: expected a file to write, got a folder")
    if not os.path.isdir(path.parent):
        raise PhotoFileError(f"{path}: there is no folder {path.parent}")
    _check_count(photos)
    _pillow()


def save(picture: Image, file: str | os.PathLike[str]) -> None:
    """Write a picture as PNG, JPEG or WebP, by the ending of the file name.

    Raises:
        ArgumentError: Another ending.
        PhotoFileError: The file cannot be written.
    """
    check_save(file, photos=1)
    path = Path(file)
    encoded = io.BytesIO()
    try:
        # In memory first, so that a picture that its format cannot hold leaves no broken file.
        picture.save(encoded, FORMATS[path.suffix.lower()], quality=92, optimize=True)
        write_whole(path, encoded.getvalue())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PhotoFileError(f"{path}: cannot be written: {reason}") from error


class _Card:
    """One photograph and its panel."""

    def __init__(
        self, title: str, photo: Photo | Contents, prediction: Prediction, *, orientation: bool
    ) -> None:
        self._title = one_line(title)
        self._photo = _fit(photo, orientation=orientation)
        self._bars = prediction[:MOST_BARS]
        self._rest = prediction[MOST_BARS:]
        rows = len(self._bars) * ROW - (ROW - TEXT - BAR - 6)
        self._panel_height = _px(HEADING + rows + (SMALL + 14 if self._rest else 0))
        self.height = max(self._panel_height, self._photo.height)

    def draw(self, paper: Image, left: int, top: int) -> None:
        box = _px(PHOTO[0])
        photo = self._photo
        at = (left + (box - photo.width) // 2, top + (self.height - photo.height) // 2)
        paper.paste(photo, at, _rounded(photo.size, min(_px(CORNER), min(photo.size) // 8)))
        left += box + _px(GUTTER)
        top += (self.height - self._panel_height) // 2
        right = left + _px(PANEL)
        _write(paper, self._title, left, right, top + _px(SMALL), size=SMALL, colour=GREY)
        top += _px(HEADING)
        for place, guess in enumerate(self._bars):
            self._draw_bar(paper, guess, left, top + place * _px(ROW), first=place == 0)
        if self._rest:
            together = sum(guess.probability for guess in self._rest)
            text = f"and {len(self._rest)} more, {together:.1%} together"
            line = top + len(self._bars) * _px(ROW) + _px(SMALL)
            _write(paper, text, left, right, line, size=SMALL, colour=GREY)

    def _draw_bar(self, paper: Image, guess: Guess, left: int, top: int, *, first: bool) -> None:
        right = left + _px(PANEL)
        line = top + _px(TEXT)
        percent = f"{guess.probability:.1%}"
        colour = INK if first else GREY
        start = _write(paper, percent, left, right, line, size=TEXT, colour=colour, at_right=True)
        _write(paper, one_line(guess.label), left, start - _px(16), line, size=TEXT, colour=INK)
        top = line + _px(6)
        track = (right - left, _px(BAR))
        paper.paste(TRACK, (left, top), _rounded(track, track[1] // 2))
        length = 0 if math.isnan(guess.probability) else round(track[0] * guess.probability)
        if length > 0:
            # Cropped from the full track, so that a bar shorter than its corner keeps its length.
            mask = _rounded((max(length, track[1]), track[1]), track[1] // 2)
            mask = mask.crop((0, 0, length, track[1]))
            paper.paste(FIRST_BAR if first else OTHER_BARS, (left, top), mask)


def _fit(photo: Photo | Contents, *, orientation: bool) -> Image:
    """The photograph in RGB, scaled to fit its box."""
    pillow = _pillow()
    pixels = _image_array(decoded(photo, orientation=orientation))
    image: Image = pillow.fromarray(pixels).convert("RGB")
    factor = min(_px(PHOTO[0]) / image.width, _px(PHOTO[1]) / image.height, LARGEST_PIXEL)
    size = (max(1, round(factor * image.width)), max(1, round(factor * image.height)))
    if factor > LARGEST_PIXEL / 2:
        return image.resize(size, pillow.Resampling.NEAREST)
    return image.resize(size, pillow.Resampling.LANCZOS, reducing_gap=3.0)


def _image_array(photo: NDArray[Any]) -> NDArray[np.uint8]:
    if photo.dtype.kind == "u" and photo.dtype.itemsize == 2:  # noqa: PLR2004
        photo = (photo >> 8).astype(np.uint8)
    if photo.dtype != np.uint8:
        raise TypeError(f"a photograph: expected an array of uint8, got {photo.dtype}")
    rank = photo.ndim
    if 0 in photo.shape or not (rank == 2 or photo.shape[2:] in {(1,), (3,), (4,)}):  # noqa: PLR2004
        raise ShapeError(
            "a photograph: expected an array of shape (H, W, 3), (H, W), (H, W, 1) or (H, W, 4), "
            f"got {photo.shape}"
        )
    return np.ascontiguousarray(photo[..., 0] if photo.shape[2:] == (1,) else photo)


def _write(
    paper: Image,
    text: str,
    left: int,
    right: int,
    line: int,
    *,
    size: int,
    colour: str,
    at_right: bool = False,
) -> int:
    """Write on a line between two edges, shortened to fit; returns where the text begins."""
    from PIL import ImageDraw

    font = _font(size)
    if font.getlength(text) > right - left:
        while text and font.getlength(text + "…") > right - left:
            text = text[:-1]
        text = text.rstrip() + "…"
    start = right - math.ceil(font.getlength(text)) if at_right else left
    ImageDraw.Draw(paper).text((start, line), text, fill=colour, font=font, anchor="ls")
    return start


@functools.cache
def _font(size: int) -> Font:
    from PIL import ImageFont

    return ImageFont.load_default(_px(size))


def _rounded(size: tuple[int, int], radius: int) -> Image:
    """A mask with round corners, smooth at the edge."""
    from PIL import ImageDraw

    pillow = _pillow()
    finer = 4
    mask: Image = pillow.new("L", (finer * size[0], finer * size[1]), 0)
    box = (0, 0, finer * size[0] - 1, finer * size[1] - 1)
    ImageDraw.Draw(mask).rounded_rectangle(box, finer * radius, fill=255)
    return mask.reduce(finer)


def _px(points: float) -> int:
    return round(SCALE * points)


def _check_count(photos: int) -> None:
    if not 1 <= photos <= MOST_PHOTOS:
        raise ArgumentError(f"a picture holds 1 to {MOST_PHOTOS} photographs, got {photos}")


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "drawing needs Pillow, which is not installed; "
            f"install it with: pip install '{NAME}[pictures]'"
        ) from error
    return Image
