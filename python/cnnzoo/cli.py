"""Another path to `cnnzoo.command`."""

from __future__ import annotations

from cnnzoo.command import main, run

__all__ = ["main", "run"]
