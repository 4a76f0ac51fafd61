"""Heatmaps: which part of a photograph speaks for a class."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnzoo._arguments import number
from cnnzoo._html import Markup, html_picture, html_table
from cnnzoo._plots import GREY, axes_for, ink, literal, save_figure
from cnnzoo.errors import Notice
from cnnzoo.explain._pixels import (
    ALPHA,
    LEAST_SHOWN,
    Bytes,
    Floats,
    enlarged,
    for_page,
    overlaid,
    scaled,
)
from cnnzoo.explain._subject import Asked, Subject
from cnnzoo.prediction import Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "a heatmap"
WIDTH = 4.2
# The height of the lines above a picture, in inches.
HEAD = 0.55
# The share of pixels below the one that is drawn in the hottest colour, where single pixels stand
# out: as in the library `saliency` of PAIR.
QUANTILE = 0.99


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Heatmap:
    """Evidence for a class, over the part of a photograph that the network sees.

    Attributes:
        values: float32 (H, W), from 0 to 1, for each pixel of the network's input; NaN, which is
            drawn in magenta, where the evidence is infinite or NaN.
        raw: float32 (h, w): the evidence before it was cut, scaled and enlarged, with its sign.
        photo: uint8 (S, S, 3): that part of the photograph, in its own colours.
        method: The name of the method.
        model: The name of the network.
        node: The node that was looked at; None if the method looks at none.
        target: The class; None if the method asks about none.
        label: The class's label.
        prediction: The most probable classes of the photograph, and last the class, where it is
            not among them; None if the method asks about none.
        error: The share by which integrated gradients miss the difference of the scores that they
            divide among the pixels; None of other methods.
    """

    values: Floats
    raw: Floats
    photo: Bytes
    method: str
    model: str
    node: str | None = None
    target: int | None = None
    label: str | None = None
    prediction: Prediction | None = None
    error: float | None = None

    def overlay(self, *, alpha: float = ALPHA) -> Bytes:
        """The photograph, paler, with the colours of the heatmap over it where it is hot.

        Args:
            alpha: The share of the colours where they cover most, from 0 to 1.

        Returns:
            Pixels, uint8 (S, S, 3). `PIL.Image.fromarray` makes them a Pillow image.

        Raises:
            ArgumentError: `alpha` is no number of 0 to 1.
        """
        return overlaid(self.photo, self.values, number("`alpha`", alpha, least=0.0, most=1.0))

    def plot(self, *, ax: Axes | None = None, alpha: float = ALPHA) -> Axes:
        """Draw the overlay, with the class and its probability above it.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.
            alpha: As for `overlay`.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        pixels = self.overlay(alpha=alpha)
        drawn: Axes = axes_for(ax, WHAT, size_of(pixels, WIDTH))
        show(drawn, pixels, self._title(), self._about())
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        save_figure(path, WHAT, size_of(self.photo, WIDTH), lambda ax: self.plot(ax=ax))

    def __repr__(self) -> str:
        of = "" if self.label is None else f" of {self.label}"
        at = "" if self.node is None else f" at `{self.node}`"
        return f"<Heatmap {self.method}{of}{at}, {self.model}>"

    def _repr_html_(self) -> str:
        title = f"{self._title()} · {self._about()}"
        picture = html_picture(for_page(self.overlay()), title)
        bars = "" if self.prediction is None else self.prediction._repr_html_()
        return html_table((), [(picture, Markup(bars))], caption=title)

    def _title(self) -> str:
        if self.label is None:
            return self.method
        found = [guess for guess in self.prediction or () if guess.index == self.target]
        return self.label + "".join(f" · {guess.probability:.1%}" for guess in found)

    def _about(self) -> str:
        at = "" if self.node is None else f" at {self.node}"
        return f"{self.model}{at}" if self.label is None else f"{self.method}{at} · {self.model}"


def heatmap_of(
    subject: Subject,
    raw: np.ndarray,
    *,
    method: str,
    asked: Asked,
    node: str | None = None,
    error: float | None = None,
    fine: bool = False,
    reason: str | None = None,
    stacklevel: int = 3,
) -> Heatmap:
    """The heatmap of evidence (h, w): what is negative speaks against, and counts as none.

    A heatmap without any evidence comes with a `Notice`.

    Args:
        subject: The photograph.
        raw: The evidence.
        method: The name of the method.
        asked: The class.
        node: The node that was looked at.
        error: As in `Heatmap`.
        fine: Whether single pixels stand out, the hottest of which are drawn alike; both signs
            count as evidence.
        reason: The reason why there is no evidence, if it is known.
        stacklevel: The number of functions from here to the user's, for the notice.
    """
    if fine:
        size = np.abs(raw).astype(np.float64)
        size[~np.isfinite(size)] = np.nan
        most = np.nanquantile(size, QUANTILE) if (size >= 0).any() else 0.0
        # Where nearly all pixels are 0, the others are not clipped.
        values = scaled(np.minimum(size, most) if most > 0 else size)
    else:
        values = scaled(enlarged(np.maximum(raw, 0), *subject.size))
    if not values.any():
        where = "pixel" if node is None else f"place of node `{node}`"
        reason = reason or f"no {where} speaks more than others for class {asked.target}"
        warnings.warn(
            f"{method} of {subject.model.name}: {reason}, so the heatmap is empty",
            Notice,
            stacklevel=stacklevel,
        )
    return Heatmap(
        values=values,
        raw=raw.astype(np.float32),
        photo=subject.photo,
        method=method,
        model=subject.model.name,
        node=node,
        target=asked.target,
        label=asked.label,
        prediction=asked.prediction,
        error=error,
    )


def size_of(pixels: Bytes, width: float) -> tuple[float, float]:
    """Width and height in inches of a figure with a picture and the lines above it."""
    return width, width * pixels.shape[0] / pixels.shape[1] + HEAD


def show(ax: Axes, pixels: Bytes, title: str, about: str) -> None:
    """Draw a picture on axes, with a title and a line about it above."""
    few = min(pixels.shape[:2]) < LEAST_SHOWN
    ax.imshow(pixels, interpolation="nearest" if few else "antialiased")
    ax.set_axis_off()
    name = ax.set_title(literal(title), loc="left", pad=19)
    name.set(fontsize=10.5, color=ink(ax), weight="bold")
    ax.annotate(
        literal(about),
        (0, 1),
        (0, 6),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=7.5,
        color=GREY,
    )
