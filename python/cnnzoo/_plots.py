"""Plots: matplotlib, imported with the first of them, its axes and files, and colours."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnzoo._arguments import kind_of
from cnnzoo._files import write_whole
from cnnzoo._package import NAME
from cnnzoo._text import one_line
from cnnzoo.errors import ArgumentError, MissingPackageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#1f2933"
GREY = "#7b8794"
PALE = "#b4bec8"
LINES = "#eef1f4"
PAPER = "#ffffff"
# Around the plots of a file, in inches: matplotlib's own is so small that titles touch the edge.
PAD = 0.08
# Text and lines on a dark ground, as of the style `dark_background`.
LIGHT_INK = "#e4e7eb"
DARK_LINES = "#2f3944"
# Luma of red, green and blue (ITU-R BT.601), and that from which on a ground is light.
LUMA = np.array([0.299, 0.587, 0.114])
LIGHT = 0.5
# Colours of series, of which neighbours differ in hue and in lightness.
SERIES = ("#1d4e89", "#e9a03b", "#2a9d8f", "#d1603d", "#8e5ea2", "#7cb9e8", "#6b705c", "#c3a1cf")

Size = tuple[float, float]


def new_axes(what: str, size: Size, *, rows: int = 1, columns: int = 1) -> Any:
    """New axes of `pyplot`, one or an array of them.

    Args:
        what: The thing to be drawn, for the error's message: "a profile".
        size: Width and height of the figure in inches.
        rows: Rows of axes.
        columns: Columns of axes.

    Raises:
        MissingPackageError: matplotlib is not installed.
    """
    need_matplotlib(what)
    from matplotlib import pyplot

    _, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained")
    return axes


def axes_for(ax: Any, what: str, size: Size, *, rows: int = 1, columns: int = 1) -> Any:
    """The axes to draw on: those that were given, or `new_axes`.

    Args:
        ax: Axes, or as many of them as there are rows and columns; new ones if None.
        what: As for `new_axes`.
        size: As for `new_axes`.
        rows: Rows of axes.
        columns: Columns of axes.

    Raises:
        ArgumentError: There are more axes, or fewer.
        MissingPackageError: matplotlib is not installed.
        TypeError: `ax` is something else.
    """
    if ax is None:
        return new_axes(what, size, rows=rows, columns=columns)
    need_matplotlib(what)
    from matplotlib.axes import Axes

    count = rows * columns
    if count == 1:
        if not isinstance(ax, Axes):
            raise TypeError(f"`ax`: expected matplotlib axes, got {kind_of(ax)}")
        return ax
    given = np.ravel(np.asarray(ax, object))
    if not all(isinstance(one, Axes) for one in given):
        raise TypeError(f"`ax`: expected {count} matplotlib axes, got {kind_of(ax)}")
    if len(given) != count:
        raise ArgumentError(f"`ax`: expected {count} matplotlib axes, got {len(given)}")
    return given


def save_figure(
    path: str | os.PathLike[str], what: str, size: Size, draw: Callable[[Axes], object]
) -> None:
    """Draw on axes of a new figure and write it to a file, in the format of the name's ending.

    Raises:
        ArgumentError: matplotlib writes no files of this ending.
        MissingPackageError: matplotlib is not installed.
    """
    need_matplotlib(what)
    from matplotlib.figure import Figure

    # One of its own, which pyplot does not know and so does not show.
    figure = Figure(figsize=size, dpi=144)
    figure.set_layout_engine("constrained", w_pad=PAD, h_pad=PAD)
    known = figure.canvas.get_supported_filetypes()
    ending = Path(path).suffix.lower()[1:]
    if ending not in known:
        raise ArgumentError(f"{path}: expected a name that ends in .{', .'.join(known)}")
    ax = figure.subplots()
    on_paper(figure, [ax])
    draw(ax)
    written = io.BytesIO()
    figure.savefig(written, format=ending, facecolor=PAPER)
    write_whole(path, written.getvalue())


def on_paper(figure: Figure, axes: Iterable[Axes]) -> None:
    """Make the ground of a figure for a file white, whatever matplotlib's style is."""
    figure.set_facecolor(PAPER)
    for ax in axes:
        ax.set_facecolor(PAPER)


def ink(ax: Axes, *, inside: bool = False) -> str:
    """The colour of text that is legible beside axes, or on them: dark or light, as their ground.

    Args:
        ax: The axes.
        inside: Whether the text stands on the axes, not around them.
    """
    return LIGHT_INK if _is_dark(ax, inside=inside) else INK


def lines(ax: Axes) -> str:
    """The colour of lines and areas that are hardly seen on axes."""
    return DARK_LINES if _is_dark(ax, inside=True) else LINES


def literal(text: str) -> str:
    """A text as matplotlib draws it on one line, in which `$` begins no formula."""
    return one_line(text).replace("$", r"\$")


def _is_dark(ax: Axes, *, inside: bool) -> bool:
    from matplotlib.colors import to_rgba

    figure: Any = ax.figure
    grounds = [ax.get_facecolor()] if inside and ax.axison else []
    red, green, blue, share = 1.0, 1.0, 1.0, 0.0
    for ground in (*grounds, figure.get_facecolor()):
        red, green, blue, share = to_rgba(ground)
        if share > LIGHT:
            break
    # Behind a transparent figure there is a page, of which nothing is known.
    luma = float(np.dot(LUMA, (red, green, blue)))
    return share > LIGHT and luma < LIGHT


def calm(ax: Axes, *, grid: str | None = None) -> None:
    """Draw axes with few lines: those at the left and the bottom, and a pale grid.

    Args:
        ax: The axes.
        grid: The axis with a grid: `"x"`, `"y"` or `"both"`.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALE)
    ax.tick_params(which="both", labelsize=8, labelcolor=GREY, color=PALE)
    ax.xaxis.label.set(size=8, color=GREY)
    ax.yaxis.label.set(size=8, color=GREY)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(axis=grid, color=lines(ax), linewidth=0.8)  # type: ignore[arg-type]


def need_matplotlib(what: str) -> None:
    """Check that there is matplotlib to draw `what` with.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import matplotlib  # noqa: F401  # it is installed
    except ImportError as error:
        raise MissingPackageError(
            f"drawing {what} needs matplotlib: pip install '{NAME}[plots]'"
        ) from error
