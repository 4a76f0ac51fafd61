"""The command `cnnzoo`, once its arguments are known; `cnnzoo_command` reads these."""

from __future__ import annotations

from cnnzoo.command._run import run
from cnnzoo_command import main

__all__ = ["main", "run"]
