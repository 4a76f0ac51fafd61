"""Receptive fields: the part of a photograph that one value of a network depends on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cnnzoo._arguments import in_order, whole
from cnnzoo._html import html_picture
from cnnzoo._photo import Photo
from cnnzoo._plots import axes_for, save_figure
from cnnzoo.errors import ArgumentError
from cnnzoo.explain._pixels import Bytes, for_page, pale
from cnnzoo.explain._subject import focus_of, subject_of
from cnnzoo.explain.heatmap import WIDTH, show, size_of
from cnnzoo.model import Model

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WHAT = "a receptive field"
# The share of light outside of the field.
DIMMED = 0.55
# The edge of the field, as a share of the picture's side, and its colour.
EDGE = 0.008
COLOUR = (252, 179, 45)


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ReceptiveField:
    """The pixels that one place of a node's value depends on.

    Attributes:
        box: (top, bottom, left, right) in pixels of the network's input, the bottom and the right
            not among them; cut at the border of the image.
        node: The name of the node.
        cell: The place: (row, column).
        grid: Rows and columns of the node's value.
        size: Height and width of the network's input.
        photo: uint8 (S, S, 3): the part of the photograph that the network sees.
        model: The name of the network.
    """

    box: tuple[int, int, int, int]
    node: str
    cell: tuple[int, int]
    grid: tuple[int, int]
    size: tuple[int, int]
    photo: Bytes
    model: str

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole image."""
        return self.box == (0, self.size[0], 0, self.size[1])

    def overlay(self) -> Bytes:
        """The photograph, grey outside the field, whose edge is drawn.

        Returns:
            Pixels, uint8 (S, S, 3).
        """
        height, width = self.photo.shape[:2]
        zoom = height / self.size[0], width / self.size[1]
        top, bottom = (round(at * zoom[0]) for at in self.box[:2])
        left, right = (round(at * zoom[1]) for at in self.box[2:])
        found: Bytes = np.rint(DIMMED * pale(self.photo, colour=0.0)).astype(np.uint8)
        if bottom <= top or right <= left:
            return found
        edge = max(1, round(EDGE * min(height, width)))
        outer = (slice(max(0, top - edge), bottom + edge), slice(max(0, left - edge), right + edge))
        found[outer] = COLOUR
        inner = (slice(top, bottom), slice(left, right))
        found[inner] = self.photo[inner]
        if self.is_whole:
            # Its edge lies inside.
            found[[*range(edge), *range(-edge, 0)]] = COLOUR
            found[:, [*range(edge), *range(-edge, 0)]] = COLOUR
        return found

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the overlay, with node, place and size of the field above it.

        Args:
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        drawn: Axes = axes_for(ax, WHAT, size_of(self.photo, WIDTH))
        row, column = self.cell
        about = f"at ({row}, {column}) of {self.grid[0]}×{self.grid[1]} · {self.model}"
        show(drawn, self.overlay(), f"{self.node} sees {self._extent()}", about)
        return drawn

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the picture of `plot` to a file, in the format of the name's ending.

        Raises:
            ArgumentError: matplotlib writes no files of this ending.
            MissingPackageError: matplotlib is not installed.
        """
        save_figure(path, WHAT, size_of(self.photo, WIDTH), lambda ax: self.plot(ax=ax))

    def __repr__(self) -> str:
        return f"<ReceptiveField `{self.node}` {self.cell} of {self.model}: {self._extent()}>"

    def _repr_html_(self) -> str:
        return html_picture(for_page(self.overlay()), repr(self))

    def _extent(self) -> str:
        top, bottom, left, right = self.box
        return "the whole image" if self.is_whole else f"{bottom - top}×{right - left} pixels"


def receptive_field(
    model: Model,
    image: Photo,
    *,
    node: str | None = None,
    cell: tuple[int, int] | None = None,
) -> ReceptiveField:
    """The receptive field of one place of a node's value, over a photograph.

    It follows from the windows of the layers alone, not from the parameters. A squeeze-and-excite
    gate sees the whole image, but only scales channels, and does not count.

    Args:
        model: The network; it need not have parameters.
        image: A photograph, as `Model.predict` takes it.
        node: Name of a node whose value is an image or tokens; as for `grad_cam` if not given.
        cell: (row, column) in the node's value; the middle if not given.

    Raises:
        ArgumentError: There is no such node or place, or the value is a vector.
        DataError: The photograph cannot be read.
        ShapeError: An array is no photograph, or the network takes no photographs.
        TypeError: An object is no photograph.
    """
    subject = subject_of(model, image)
    name = focus_of(model, node)
    graph, (height, width) = model.graph, subject.size
    grid = graph.grid(name, height, width)
    if grid is None:
        raise ArgumentError(
            f"node `{name}` of {model.name}: expected an image or tokens, which have places in the "
            "photograph, got a vector"
        )
    _, rows, columns = grid
    at = (rows // 2, columns // 2) if cell is None else _cell(cell, rows, columns)
    box = graph.field(name, at, height, width)
    return ReceptiveField(
        box=(0, height, 0, width) if box is None else box,
        node=name,
        cell=at,
        grid=(rows, columns),
        size=subject.size,
        photo=subject.photo,
        model=model.name,
    )


def _cell(cell: tuple[int, int], rows: int, columns: int) -> tuple[int, int]:
    found = in_order("`cell`", cell, "a row and a column")
    if len(found) != 2:  # noqa: PLR2004 (a row and a column)
        raise ArgumentError(f"`cell`: expected a row and a column, got {len(found)} numbers")
    return (
        whole("`cell`: row", found[0], most=rows - 1),
        whole("`cell`: column", found[1], most=columns - 1),
    )
