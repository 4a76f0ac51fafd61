"""Text for terminals: units, tables, and characters that every stream can show."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Collection, Sequence
from typing import TextIO

# Replacements for streams that cannot encode these characters.
PLAIN = str.maketrans({"×": "x", "…": "...", "·": "-", "–": "-", "█": "#", "─": "-"})


class Out:
    """An output stream that takes any text: characters that it cannot encode are escaped."""

    def __init__(self, stream: TextIO | None) -> None:
        # Python's stream is None where the shell closed it: `cnnzoo list >&-`.
        self._stream = stream = io.StringIO() if stream is None else stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self.is_terminal = stream.isatty()
        self.plain = not _can_write("█▉×…", self._encoding)

    @property
    def columns(self) -> int | None:
        """The width of the terminal in characters; none where lines have no limit, as in a file."""
        if self.is_terminal or os.environ.get("COLUMNS"):
            import shutil

            return shutil.get_terminal_size().columns
        return None

    def print(self, text: str, *, cut: bool = True) -> None:
        """Write lines, cut to the width of the terminal unless they may wrap around."""
        lines = [self.shown(line) for line in text.split("\n")]
        if cut and self.columns is not None:
            lines = [shorten(line, self.columns, self.plain) for line in lines]
        self._stream.write("\n".join(lines) + "\n")

    def status(self, text: str) -> None:
        """Overwrite the last line of a terminal; the next status overwrites it again."""
        self._stream.write(f"\r\x1b[K{self.shown(text)}")
        self._stream.flush()

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()

    def shown(self, text: str) -> str:
        """One line as this stream shows it; control characters, as in file names, are escaped."""
        text = one_line(text)
        if self.plain:
            text = text.translate(PLAIN)
        return text.encode(self._encoding, "backslashreplace").decode(self._encoding)


def one_line(text: str) -> str:
    """The text with line breaks and control characters, which file names may have, escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _can_write(text: str, encoding: str) -> bool:
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def quoted(path: str | os.PathLike[str]) -> str:
    """A path as a shell takes it, in a command to be copied."""
    import shlex

    return shlex.quote(os.fspath(path))


def counted(count: int, thing: str, things: str = "") -> str:
    """A number of things: "1 thread", "2 threads"; `things` where the plural is another word."""
    return f"{count} {thing}" if count == 1 else f"{count} {things or thing + 's'}"


def human(number: float) -> str:
    """A number with three digits and a unit: 25557032 is `25.6M`."""
    for unit in ("", "K", "M", "G", "T"):
        # 999.5 would round to four digits.
        if abs(number) < 999.5 or unit == "T":  # noqa: PLR2004
            break
        number /= 1000
    if not unit:
        return f"{number:g}"
    digits = 2 if abs(number) < 9.995 else 1 if abs(number) < 99.95 else 0  # noqa: PLR2004
    return f"{number:.{digits}f}{unit}"


def shorten(text: str, width: int, plain: bool = False) -> str:
    """A text of at most `width` characters, cut with an ellipsis if it is longer."""
    if len(text) <= width:
        return text
    mark = "..." if plain else "…"
    return text[: max(0, width - len(mark))] + mark[: max(0, width)]


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """A table with an underlined head; the columns numbered in `right` are right-aligned.

    A row is one line: line breaks and control characters, as in names of classes, are escaped.
    """
    everything = [[one_line(cell) for cell in cells] for cells in (head, *rows)]
    widths = [max(len(cells[column]) for cells in everything) for column in range(len(head))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in everything
    ]
    return "\n".join([lines[0], "─" * len(lines[0]), *lines[1:]])


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal; empty for NaN."""
    return "" if math.isnan(share) else f"{share:.1%}"
