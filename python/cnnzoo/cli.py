"""Another path to `cnnzoo.command`, and to the whole command."""

from __future__ import annotations

from cnnzoo.command import run
from cnnzoo_command import main

__all__ = ["main", "run"]
