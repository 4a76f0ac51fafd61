"""Tables of a comparison: for terminals, notebooks and Markdown."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cnnzoo._html import Markup, html_table
from cnnzoo._text import human, table
from cnnzoo.comparison.row import ComparedModel, Rows, measurement


class Column(NamedTuple):
    """A column, which is left out where all its cells are empty."""

    title: str
    cell: Callable[[ComparedModel], str]
    value: Callable[[ComparedModel], float | None] | None = None
    """The number that a bar shows in a notebook."""
    right: bool = True


def _without_weights(row: ComparedModel) -> str:
    return f"none of {row.source}" if row.source else ""


COLUMNS = (
    Column("name", lambda row: row.name, right=False),
    Column("family", lambda row: row.family, right=False),
    Column("year", lambda row: str(row.year or "")),
    Column("params", lambda row: human(row.params), lambda row: row.params),
    Column("multiply-adds", lambda row: human(row.macs), lambda row: row.macs),
    Column("activations", lambda row: human(row.activations), lambda row: row.activations),
    Column("image", lambda row: str(row.input_size)),
    Column("memory", lambda row: mebibytes(row.memory), lambda row: row.memory),
    Column(
        "ms",
        lambda row: "" if row.milliseconds is None else three_digits(row.milliseconds),
        lambda row: row.milliseconds,
    ),
    Column("top-1", lambda row: "" if row.top1 is None else f"{row.top1:.2f}%"),
    Column("", lambda row: "+" if row.top1 is not None and row.data else "", right=False),
    Column("weights", lambda row: row.weights or _without_weights(row), right=False),
)


def mebibytes(count: float) -> str:
    """Bytes in MiB or GiB, with three digits: `97.8 MiB`."""
    size, unit = (count / 2**20, "MiB") if count < 1000 * 2**20 else (count / 2**30, "GiB")
    return f"{three_digits(size)} {unit}"


def three_digits(value: float) -> str:
    """A number with at least three digits: `9.81`, `98.1`, `981`."""
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0  # noqa: PLR2004
    return f"{value:.{digits}f}"


def as_text(rows: Rows) -> str:
    """A table with notes below it."""
    columns = _columns(rows)
    cells = [[column.cell(row) for column in columns] for row in rows]
    whole = table([column.title for column in columns], cells, right=_right(columns))
    return "\n\n".join(filter(None, [whole, "\n".join(_notes(rows))]))


def as_html(rows: Rows) -> str:
    """The same, with a bar below each cost."""
    columns = _columns(rows)
    cells = zip(*(_with_bars(column, rows) for column in columns), strict=True)
    titles = [column.title for column in columns]
    page = html_table(titles, list(cells), right=_right(columns))
    return page + "".join(f"<div>{note}</div>" for note in _notes(rows))


def _with_bars(column: Column, rows: Rows) -> list[str]:
    """The cells of a column, those of a cost with a bar relative to the most."""
    texts = [column.cell(row) for row in rows]
    if column.value is None:
        return texts
    values = [column.value(row) or 0 for row in rows]
    most = max(values, default=0) or 1
    return [
        Markup(
            f"{text}<div style='height:3px;background:#4878a8;margin:1px 0 0 auto;"
            f"width:{100 * value / most:.1f}%'></div>"
        )
        if text
        else text
        for text, value in zip(texts, values, strict=True)
    ]


def as_markdown(rows: Rows) -> str:
    """A table in Markdown, with notes below it."""
    columns = _columns(rows)
    lines = [
        [column.title for column in columns],
        ["---:" if column.right else "---" for column in columns],
        *([column.cell(row) for column in columns] for row in rows),
    ]
    whole = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return "\n\n".join([whole, *_notes(rows)])


def _columns(rows: Rows) -> list[Column]:
    """The columns with a cell that is not empty; all but notes and times where there is no row."""
    if not rows:
        return [column for column in COLUMNS if column.title not in {"", "ms"}]
    return [column for column in COLUMNS if any(map(column.cell, rows))]


def _right(columns: list[Column]) -> list[int]:
    return [at for at, column in enumerate(columns) if column.right]


def _notes(rows: Rows) -> list[str]:
    notes = []
    if any(row.top1 is not None for row in rows):
        notes.append("top-1: on ImageNet's validation set, as the publisher of the weights states")
    if any(row.top1 is not None and row.data for row in rows):
        notes.append("+ trained on more data than ImageNet-1k")
    if settings := measurement(rows):
        notes.append(f"ms: {' or '.join(settings)} of this machine")
    return notes
