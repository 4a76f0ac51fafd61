"""The base class of transforms, with calls, random draws and previews; and `Compose`."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._arguments import kind_of, shown
from cnnzoo._copying import Value
from cnnzoo._html import html_table
from cnnzoo._photo import Photo, decoded, source
from cnnzoo.errors import ArgumentError
from cnnzoo.transforms._options import count, readable
from cnnzoo.transforms.preview import MOST_TILES, Preview, grid, tile

Size: TypeAlias = "int | tuple[int, int]"
Range: TypeAlias = "tuple[float, float]"


class Transform(Value):
    """A transform: one step from photographs to numbers, or several in sequence.

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
        """Whether photographs are first turned upright by their EXIF orientation."""
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
                and Pillow's modes I;16 and I, of which the high byte is kept.
            seed: The training run's seed.
            epoch: The epoch, from 0.
            index: The photograph's index in its data set. Random draws depend on these three alone.

        Returns:
            float32 of shape (C, height, width).

        Raises:
            ArgumentError: The photograph is smaller than a crop.
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
        """The operations of a call on a photograph of this size, with their random draws.

        Args:
            height: The photograph's height in pixels.
            width: The photograph's width in pixels.
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
        """A grid picture of the network's input for a photograph, at several random draws.

        Args:
            image: As for a call.
            count: The number of draws, with index 0 and on.
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
        specs = [step._spec() for step in self._flat()]
        tiles = [
            tile(self(photo, seed=seed, epoch=epoch, index=index), specs) for index in range(count)
        ]
        return Preview(pixels=grid(tiles), count=count)

    def __repr__(self) -> str:
        options = ", ".join(
            f"{option.name}={readable(getattr(self, option.name))}"
            for option in fields(self)  # type: ignore[arg-type]
        )
        return f"{type(self).__name__}({options})"

    def _repr_html_(self) -> str:
        rows = [
            (
                str(number),
                type(step).__name__,
                ", ".join(
                    f"{option.name}={readable(getattr(step, option.name))}"
                    for option in fields(step)  # type: ignore[arg-type]
                ),
            )
            for number, step in enumerate(self._flat(), 1)
        ]
        return html_table(("", "step", "options"), rows, caption=self._notes())

    def _notes(self) -> str:
        """The options that belong to no step."""
        return ""


@dataclass(frozen=True, repr=False)
class Compose(Transform):
    """Steps in sequence: first those on bytes, then at most one `Normalize`, then `RandomErasing`.

    Without `Normalize` the numbers are bytes divided by 255.

    Attributes:
        steps: The transforms; another `Compose` among them is replaced by its steps.
        channels: Input channels: 3, or 1 for grey. Other photographs are converted as Pillow does.
            If none: as many as `Normalize` has numbers for, unless `Grayscale` stands before it;
            else 3.
        orientation: Whether photographs in files, in data sets and in Pillow images are first
            turned upright by their EXIF orientation, as viewers do. torchvision does not turn them;
            with False neither does this. If none, as the steps say: True, unless another `Compose`
            among them has False.
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

    def _notes(self) -> str:
        grey = "1 channel" if self.channels == 1 else ""
        raw = "" if self.orientation else "photographs are not turned upright"
        return ", ".join(filter(None, (grey, raw)))

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
