"""Progress on a terminal."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from cnnzoo._text import Out


class Progress:
    """A progress line on a terminal; nothing elsewhere."""

    def __init__(self, name: str, whole: int | None, start: int) -> None:
        self.out = Out(sys.stderr)
        self.name = name
        self.whole = whole
        self.start = start
        self.began = self.shown = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.out.is_terminal:
            self.out.status("")

    def show(self, done: int) -> None:
        now = time.monotonic()
        last = done == self.whole
        if not self.out.is_terminal or (now - self.shown < 0.1 and not last):  # noqa: PLR2004
            return
        self.shown = now
        speed = megabytes((done - self.start) / max(now - self.began, 1e-3))
        if self.whole:
            text = f"{done / self.whole:4.0%}  {megabytes(done)} of {megabytes(self.whole)} MB"
        else:
            text = f"{megabytes(done)} MB"
        self._status(f"{self.name}  {text}  {speed} MB/s")

    def _status(self, text: str) -> None:
        columns = self.out.columns or len(text)
        # The numbers that change are at the end.
        self.out.status(text if len(text) < columns else text[len(text) - columns + 1 :])


@contextlib.contextmanager
def line(text: str) -> Iterator[None]:
    """A line that the terminal shows until the block ends."""
    out = Out(sys.stderr)
    if not out.is_terminal:
        yield
        return
    out.status(text)
    try:
        yield
    finally:
        out.status("")


def megabytes(count: float) -> str:
    """The number of megabytes, with one decimal."""
    return f"{count / 1e6:.1f}"
