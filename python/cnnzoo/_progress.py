"""Progress bars on terminals and in notebooks."""

from __future__ import annotations

import sys
import time
import warnings
from typing import Any

# The seconds before a count is shown: what ends sooner needs no bar.
DELAY = 0.5


def new_bar(**options: Any) -> Any:
    """A bar of tqdm on stderr; None where that is neither a terminal nor in a notebook."""
    notebook = in_notebook()
    if not notebook and (sys.stderr is None or not sys.stderr.isatty()):
        return None
    from tqdm import TqdmWarning, tqdm

    if not notebook:
        return tqdm(dynamic_ncols=True, **options)
    with warnings.catch_warnings():
        # Without ipywidgets, tqdm draws a text bar and warns.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm as fitting

        return fitting(**options)


def in_notebook() -> bool:
    """Whether the code runs in a notebook, whose kernel is IPython's."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class Count:
    """A bar that counts, with the rate and the time left, once the work takes longer."""

    def __init__(
        self, total: int | None, unit: str, *, shown: bool = True, leave: bool = True
    ) -> None:
        self._options = {"total": total, "unit": f" {unit}", "leave": leave, "delay": DELAY}
        self._shown = shown
        self._bar: Any = None
        self._hidden = False

    def __enter__(self) -> Count:
        self._bar = new_bar(**self._options) if self._shown else None
        self._seen_from = time.monotonic() + DELAY
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Count one more, or several."""
        if self._bar is not None:
            self._bar.update(count)
            if self._hidden:
                self._bar.refresh()
                self._hidden = False

    def hide(self) -> None:
        """Clear the line until the next count, for text that is written now."""
        if self._bar is not None and time.monotonic() > self._seen_from:
            self._bar.clear()
            self._hidden = True
