"""The command `cnnzoo`, once its arguments are known; `cnnzoo_command` reads these."""

from __future__ import annotations

from cnnzoo.command._run import run

__all__ = ["run"]
