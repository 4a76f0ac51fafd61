"""HTML for notebooks: tables, bars and pictures, legible on a light and on a dark page."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

# It has enough contrast on both pages.
BLUE = "#4878a8"
# The indent of rows within rows, in em.
INDENT = 1.1

# The cells of a row, and the rows within it.
Branch: TypeAlias = "tuple[Sequence[str], list[Branch]]"


class Markup(str):
    """HTML that is written as it is, where other text is escaped."""

    __slots__ = ()


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Collection[int] = (),
    caption: str = "",
) -> Markup:
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
    return Markup(f"<table>{top}{names}<tbody>{body}</tbody></table>")


def html_tree(
    head: Sequence[str],
    root: Branch,
    *,
    right: Collection[int] = (),
    caption: str = "",
) -> str:
    """Rows within rows, which fold: by HTML's own element for that, without a script.

    Args:
        head: The titles of the columns, of which the first is that of the names.
        root: The outermost row, which is unfolded.
        right: The numbers of the columns that are right-aligned.
        caption: A line above.
    """
    rows = [cells for cells, _ in _branches(root)]
    widths = [max(len(cells[column]) for cells in (head, *rows)) for column in range(len(head))]
    rooms = [(width, column in right) for column, width in enumerate(widths)][1:]
    deepest = max(depth for _, depth in _branches(root))
    # Half an em is the width of a letter of a monospaced font, but for a little.
    width = f"{0.6 * sum(room + 2 for room, _ in rooms) + 0.6 * widths[0] + INDENT * deepest:.0f}em"
    top = f"<div style='margin-bottom:0.5em'>{_escaped(caption)}</div>" if caption else ""
    titles = f"<b>{_tree_line(head, rooms)}</b>"
    return (
        f"<div style='overflow-x:auto'>{top}<div style='width:{width};font-family:monospace;"
        f"font-size:0.85em'>{titles}{_branch(root, rooms, is_open=True)}</div></div>"
    )


def _branches(branch: Branch, depth: int = 1) -> Iterator[tuple[Sequence[str], int]]:
    """Every row with its depth."""
    cells, below = branch
    yield cells, depth
    for one in below:
        yield from _branches(one, depth + 1)


def _branch(branch: Branch, rooms: Sequence[tuple[int, bool]], *, is_open: bool = False) -> str:
    cells, below = branch
    line = _tree_line(cells, rooms)
    if not below:
        # As far to the right as names beside the mark at which others unfold.
        return f"<div style='padding-left:{INDENT}em'>{line}</div>"
    inner = "".join(_branch(one, rooms) for one in below)
    start = "<details open=''>" if is_open else "<details>"
    return (
        f"{start}<summary style='cursor:pointer'>{line}</summary>"
        f"<div style='padding-left:{INDENT}em'>{inner}</div></details>"
    )


def _tree_line(cells: Sequence[str], rooms: Sequence[tuple[int, bool]]) -> str:
    """A name at the left, and the other cells at the right edge, however deep the row is."""
    name, *others = cells
    shown = "  ".join(
        cell.rjust(width) if is_right else cell.ljust(width)
        for cell, (width, is_right) in zip(others, rooms, strict=True)
    )
    return f"<span style='float:right;white-space:pre'>  {_escaped(shown)}</span>" + (
        _escaped(name) or "\N{NO-BREAK SPACE}"
    )


def html_bar(share: float, *, colour: str = BLUE, width: float = 12.0) -> Markup:
    """A bar of this share, from 0 to 1, of a width in em."""
    return Markup(
        f"<div style='background:{colour};height:0.8em;width:{width * share:.2f}em'></div>"
    )


def html_facts(title: str, facts: Iterable[tuple[str, str]]) -> Markup:
    """A table of names and values, without the values that are empty.

    Args:
        title: The line above the table.
        facts: Each name with its value, text or `Markup`.
    """
    rows = [(Markup(f"<b>{_escaped(name)}</b>"), value) for name, value in facts if value]
    lines = "".join(
        f"<tr><td style='text-align:left;vertical-align:top;white-space:nowrap'>{name}</td>"
        f"<td style='text-align:left;max-width:50em'>{_escaped(value)}</td></tr>"
        for name, value in rows
    )
    head = f"<caption style='text-align:left'><b>{_escaped(title)}</b></caption>"
    return Markup(f"<table>{head}<tbody>{lines}</tbody></table>")


def html_title(text: str) -> Markup:
    """A bold line."""
    return Markup(f"<div><b>{_escaped(text)}</b></div>")


def html_scroll(content: str, *, height: float = 24.0) -> Markup:
    """HTML in a box of at most this height in em, which scrolls."""
    return Markup(f"<div style='max-height:{height}em;overflow:auto'>{content}</div>")


def html_fold(summary: str, content: str) -> Markup:
    """HTML that a click on its summary shows."""
    return Markup(f"<details><summary>{_escaped(summary)}</summary>{content}</details>")


def html_picture(pixels: NDArray[np.uint8], about: str) -> Markup:
    """A picture in the page itself.

    Args:
        pixels: uint8 (H, W, 3).
        about: Text in its place where pictures are not shown.
    """
    from base64 import b64encode

    data = b64encode(png(pixels)).decode()
    label = _escaped(about)
    return Markup(f"<img alt='{label}' title='{label}' src='data:image/png;base64,{data}'/>")


def png(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes of a PNG file of pixels (H, W, 3), which Pillow need not be there for."""
    import zlib

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
    # With the first use: it imports the names of all characters.
    from html import escape

    return text if isinstance(text, Markup) else escape(text)
