"""HTML for notebooks: tables and bars, legible on a light and on a dark page."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence

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


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)
