"""Progress bars of training, and handling of Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from cnnzoo._progress import new_bar


class Bar:
    """A progress bar for each epoch on a terminal or in a notebook, a line for each elsewhere."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._bar: Any = None
        self._title = ""

    def begin(self, title: str, *, batches: int, done: int) -> None:
        """Start the bar of an epoch of `batches` batches, of which `done` are done."""
        self._title = title
        if self._shown:
            self._bar = new_bar(total=batches, initial=done, desc=title, unit="batch", leave=True)

    def say(self, text: str) -> None:
        """Print a line before the first epoch."""
        if self._shown:
            print(text, file=sys.stderr, flush=True)

    def advance(self, text: str) -> None:
        """Advance the bar by a batch."""
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            self._bar.update()

    def note(self, text: str) -> None:
        """Show a text beside the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar off its line while others write there; it is drawn again where they end."""
        if self._bar is None:
            yield
            return
        with self._bar.external_write_mode(file=sys.stderr):
            yield

    def end(self, text: str | None) -> None:
        """End the bar of an epoch, with its result, or None where the epoch was interrupted."""
        if self._bar is not None:
            if text is not None:
                self._bar.set_postfix_str(text, refresh=False)
                self._fit()
                self._bar.refresh()
            self._bar.close()
            self._bar = None
        elif self._shown and text is not None:
            print(f"{self._title}: {text}", file=sys.stderr, flush=True)

    def _fit(self) -> None:
        """Leave out the counts and the rate of a bar where the terminal would cut the result."""
        shown = self._bar.format_dict
        whole = self._bar.format_meter(**shown | {"ncols": None, "bar_format": "{l_bar}{r_bar}"})
        # Widgets of notebooks have other widths, such as "100%".
        if isinstance(shown["ncols"], int) and len(whole) > shown["ncols"]:
            self._bar.bar_format = "{desc}: {percentage:3.0f}%{postfix}"


class Interrupted(Exception):  # noqa: N818  # no error, and never seen
    """Ctrl-C was pressed while a batch was running."""


class Interrupts:
    """Defers Ctrl-C (SIGINT) to the end of a batch; a second Ctrl-C interrupts at once.

    It leaves another handler in place, and does nothing outside the main thread.

    Attributes:
        pressed: Whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.pressed = False
        self._installed = False

    def __enter__(self) -> Interrupts:
        main = threading.current_thread() is threading.main_thread()
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._press)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def check(self) -> None:
        """Raise Interrupted, if Ctrl-C was pressed."""
        if self.pressed:
            raise Interrupted

    def _press(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
