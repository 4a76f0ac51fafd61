"""HTML for notebooks: tables, bars and pictures, legible on a light and on a dark page."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

# It has enough contrast on both pages.
BLUE = "#4878a8"


class Markup(str):
    """HTML that is written as it is, where other text is escaped."""

    __slots__ = ()


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    caption: str = "",
) -> str:
    """A table, whose colours and lines are the page's own.

    Args:
        head: The titles of the columns; no head where there are none.
        rows: The cells, each of them text or `Markup`.
        right: The numbers of the columns that are right-aligned.
        caption: A line above the table.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag} style='text-align:{'right' if column in right else 'left'}'>"
            f"{_escaped(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )

    top = f"<caption>{_escaped(caption)}</caption>" if caption else ""
    names = f"<thead><tr>{line(head, 'th')}</tr></thead>" if head else ""
    body = "".join(f"<tr>{line(cells, 'td')}</tr>" for cells in rows)
    return f"<table>{top}{names}<tbody>{body}</tbody></table>"


def html_bar(share: float, *, colour: str = BLUE, width: float = 12.0) -> Markup:
    """A bar of this share, from 0 to 1, of a width in em."""
    return Markup(
        f"<div style='background:{colour};height:0.8em;width:{width * share:.2f}em'></div>"
    )


def html_picture(pixels: NDArray[np.uint8], about: str) -> Markup:
    """A picture in the page itself.

    Args:
        pixels: uint8 (H, W, 3).
        about: Text in its place where pictures are not shown.
    """
    data = base64.b64encode(png(pixels)).decode()
    label = html.escape(about, quote=True)
    return Markup(f"<img alt='{label}' title='{label}' src='data:image/png;base64,{data}'/>")


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of pixels (H, W, 3), which Pillow need not be there for."""
    height, width, _ = pixels.shape
    # Each row begins with its filter: none.
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)
