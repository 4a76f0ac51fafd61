"""What all transforms have in common: calls, draws, previews and the checks of their options."""

from __future__ import annotations

import functools
import io
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _arguments, _native
from cnnzoo._arguments import SEEDS, is_sequence, kind_of, shown, whole
from cnnzoo._copying import Value
from cnnzoo._photo import Photo, decoded, source
from cnnzoo.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
Size: TypeAlias = "int | tuple[int, int]"
Range: TypeAlias = "tuple[float, float]"

# Of a preview, in pixels: the smallest side that a tile is enlarged to, and what lies between two.
TILE = 112
GAP = 4
MOST_TILES = 400


class Transform(Value):
    """A step from photographs to numbers, or several in a row.

    Transforms are values: frozen, equal when their options are, hashable, and safe to share between
    threads.
    """

    def __post_init__(self) -> None:
        for option in fields(self):  # type: ignore[arg-type]
            value = getattr(self, option.name)
            if isinstance(value, list):
                object.__setattr__(self, option.name, tuple(value))
        _ = self._engine  # which checks the values

    @property
    def orientation(self) -> bool:
        """Whether photographs are turned upright from their EXIF data first."""
        return True

    def _options(self) -> dict[str, Any]:
        """The options as the engine takes them."""
        raise NotImplementedError

    def _flat(self) -> tuple[Transform, ...]:
        return (self,)

    def _spec(self) -> dict[str, Any]:
        return {"step": type(self).__name__, **self._options()}

    @functools.cached_property
    def _engine(self) -> _native.Transform:
        return _native.Transform(json.dumps([self._spec()]))

    def __call__(
        self, image: Photo, *, seed: int = 0, epoch: int = 0, index: int = 0
    ) -> NDArray[np.float32]:
        """Transform one photograph.

        Args:
            image: A path, the bytes of a file or an open file (JPEG, PNG, WebP, GIF, BMP, TIFF or
                PNM), a uint8 array (H, W, 3), (H, W) or (H, W, 4), or a Pillow image; also uint16,
                and Pillow's modes I;16 and I, of which the high byte counts.
            seed: Of the run.
            epoch: Of the run, from 0.
            index: Of the photograph in its data set. What is drawn follows from these three.

        Returns:
            float32 of shape (C, height, width).

        Raises:
            ArgumentError: The photograph is smaller than a part that is to be cut out.
            DataError: A file does not decode; it names the path.
            ShapeError: An array is no image.
            TypeError: An array is neither of uint8 nor uint16, or an object is no photograph.
        """
        key = [count(name, n) for name, n in (("seed", seed), ("epoch", epoch), ("index", index))]
        found = source(image, orientation=self.orientation)
        if isinstance(found, np.ndarray):
            return self._engine.apply_array(found, *key)
        return self._engine.apply_file(found, *key, orientation=self.orientation)

    def operations(
        self, height: int, width: int, *, seed: int = 0, epoch: int = 0, index: int = 0
    ) -> list[dict[str, Any]]:
        """What a call does to a photograph of this size, after every draw.

        Args:
            height: Of the photograph, in pixels.
            width: Likewise.
            seed: As for a call.
            epoch: As for a call.
            index: As for a call.

        Returns:
            A name (`operation`) and its options for each operation, in order.
        """
        key = [count(name, n) for name, n in (("seed", seed), ("epoch", epoch), ("index", index))]
        size = (count("height", height), count("width", width))
        drawn = json.loads(self._engine.draw(*size, *key))
        erasures = [{"operation": "erase", **erasure} for erasure in drawn["erasures"]]
        return [*drawn["operations"], *erasures]

    def preview(self, image: Photo, *, count: int = 16, seed: int = 0, epoch: int = 0) -> Preview:
        """What a network would see of a photograph at several draws, as one grid picture.

        Args:
            image: As for a call.
            count: How many draws, with index 0 and on.
            seed: As for a call.
            epoch: As for a call.

        Returns:
            A `Preview`, which Jupyter shows and which saves itself.

        Raises:
            ArgumentError: No draws, or more than 400.
        """
        if not 1 <= count <= MOST_TILES:
            raise ArgumentError(f"preview: count: expected 1 to {MOST_TILES}, got {count}")
        photo = decoded(image, orientation=self.orientation)
        tiles = [self(photo, seed=seed, epoch=epoch, index=index) for index in range(count)]
        return Preview(pixels=_grid([_bytes(tile, self._flat()) for tile in tiles]), count=count)

    def __repr__(self) -> str:
        options = ", ".join(
            f"{option.name}={readable(getattr(self, option.name))}"
            for option in fields(self)  # type: ignore[arg-type]
        )
        return f"{type(self).__name__}({options})"


@dataclass(frozen=True, repr=False)
class Compose(Transform):
    """Steps in a row: first those on bytes, then at most one `Normalize`, then `RandomErasing`.

    Without `Normalize` the numbers are bytes over 255.

    Attributes:
        steps: Transforms; those of another `Compose` among them are taken out of it.
        channels: Of photographs at the start: 3, or 1, grey. Others are converted as Pillow does.
            If none: as many as `Normalize` has numbers for, unless `Grayscale` stands before it;
            else 3.
        orientation: Whether photographs are turned upright from their EXIF data first, as a viewer
            shows them: those in files, in data sets and Pillow's images. torchvision does not turn
            them; with False neither does this. If none, as the steps: all turn, but another
            `Compose` may say that it does not.
    """

    steps: tuple[Transform, ...]
    channels: int | None = field(default=None, kw_only=True)
    orientation: bool = field(default=True, kw_only=True)

    def __init__(
        self,
        steps: Iterable[Transform],
        *,
        channels: int | None = None,
        orientation: bool | None = None,
    ) -> None:
        if orientation is not None and not isinstance(orientation, bool):
            raise ArgumentError(
                f"Compose: orientation: expected True, False or None, got {shown(orientation)}"
            )
        try:
            steps = list(steps)
        except TypeError:
            raise ArgumentError(
                f"Compose: steps: expected transforms, got {kind_of(steps)}"
            ) from None
        flat: list[Transform] = []
        for step in steps:
            if not isinstance(step, Transform):
                raise ArgumentError(f"Compose: steps: expected transforms, got {kind_of(step)}")
            flat.extend(step._flat())
        object.__setattr__(self, "steps", tuple(flat))
        object.__setattr__(self, "channels", channels)
        if orientation is None:
            orientation = all(step.orientation for step in steps)
        object.__setattr__(self, "orientation", orientation)
        _ = self._engine  # which checks the order

    def _flat(self) -> tuple[Transform, ...]:
        return self.steps

    @functools.cached_property
    def _engine(self) -> _native.Transform:
        channels = self.channels
        if channels is not None:
            channels = count("Compose: channels", channels)
        return _native.Transform(json.dumps([step._spec() for step in self.steps]), channels)

    def __repr__(self) -> str:
        lines = "".join(f"    {step!r},\n" for step in self.steps)
        steps = f"[\n{lines}]" if lines else "[]"
        channels = "" if self.channels is None else f", channels={self.channels}"
        orientation = "" if self.orientation else ", orientation=False"
        return f"Compose({steps}{channels}{orientation})"


@dataclass(frozen=True, repr=False, eq=False)
class Preview:
    """A grid of pictures; Jupyter shows it.

    Attributes:
        pixels: uint8 of shape (H, W, 3).
        count: How many pictures it holds.
    """

    pixels: NDArray[np.uint8]
    count: int

    @property
    def image(self) -> Image:
        """A Pillow image.

        Raises:
            MissingPackageError: Pillow is not installed.
        """
        try:
            from PIL import Image as pillow  # noqa: N813
        except ImportError as error:
            raise MissingPackageError(
                "drawing needs Pillow, which is not installed; "
                "install it with: pip install 'cnnzoo[pictures]'"
            ) from error
        image: Image = pillow.fromarray(self.pixels)
        return image

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into a file, in the format of the name's ending."""
        self.image.save(path)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype)

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

    def __repr__(self) -> str:
        height, width, _ = self.pixels.shape
        return f"Preview(count={self.count}, {width} x {height} pixels)"


def _bytes(x: NDArray[np.float32], steps: Sequence[Transform]) -> NDArray[np.uint8]:
    """The picture (H, W, 3) behind numbers (C, H, W)."""
    for step in steps:
        spec = step._spec()
        if spec["step"] == "Normalize":
            mean, std = (np.float32(spec[name]).reshape(-1, 1, 1) for name in ("mean", "std"))
            x = x * std + mean
    pixels = np.rint(255 * x.clip(0, 1)).astype(np.uint8).transpose(1, 2, 0)
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _grid(tiles: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Tiles of one size, in rows, on white; small ones are enlarged by a whole number."""
    enlarged = max(1, math.ceil(TILE / max(tiles[0].shape[:2])))
    tiles = [tile.repeat(enlarged, axis=0).repeat(enlarged, axis=1) for tile in tiles]
    height, width, _ = tiles[0].shape
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    shape = (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3)
    paper = np.full(shape, 255, np.uint8)
    for place, tile in enumerate(tiles):
        top = GAP + place // columns * (height + GAP)
        left = GAP + place % columns * (width + GAP)
        paper[top : top + height, left : left + width] = tile
    return paper


def readable(value: Any) -> str:
    """As `repr`, with 4/3 for the number that it is."""
    if isinstance(value, tuple):
        inner = ", ".join(readable(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, float) and len(repr(value)) > 10:  # noqa: PLR2004
        fraction = Fraction(value).limit_denominator(16)
        if fraction.numerator / fraction.denominator == value:
            return str(fraction)
    return repr(value)


def count(at: str, value: Any) -> int:
    """A whole number of 0 to 2^64 - 1."""
    return whole(at, value, most=SEEDS)


def number(at: str, value: Any) -> float:
    """A finite number."""
    return _arguments.number(at, value)


def numbers(at: str, value: Any) -> list[float]:
    """A number, or several."""
    if not is_sequence(value):
        return [number(at, value)]
    if not len(value):
        raise ArgumentError(f"{at}: expected a number, or one for each channel, got none")
    return [number(at, item) for item in value]


def pair(at: str, value: Any) -> list[float]:
    """From and to."""
    if not is_sequence(value) or len(value) != 2:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected two numbers, from and to, got {shown(value)}")
    return [number(at, item) for item in value]


def sides(at: str, value: Any) -> tuple[int, int]:
    """Height and width."""
    if not is_sequence(value):
        return count(at, value), count(at, value)
    if len(value) != 2:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected pixels or (height, width), got {shown(value)}")
    height, width = (count(at, item) for item in value)
    return height, width


def margins(at: str, value: Any) -> dict[str, int]:
    """Pixels of each side, from 1, 2 or 4 numbers."""
    given = tuple(value) if is_sequence(value) else (value,)
    if len(given) not in (1, 2, 4):
        raise ArgumentError(
            f"{at}: expected pixels, (left and right, top and bottom) or "
            f"(left, top, right, bottom), got {shown(value)}"
        )
    left, top, right, bottom = (count(at, item) for item in given * (4 // len(given)))
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def fill_of(at: str, value: Any) -> list[int]:
    """Red, green and blue."""
    given = tuple(value) if is_sequence(value) else (value,) * 3
    colour = [count(at, item) for item in given]
    if len(colour) != 3 or max(colour) > 255:  # noqa: PLR2004
        raise ArgumentError(f"{at}: expected a byte or (red, green, blue), got {shown(value)}")
    return colour
