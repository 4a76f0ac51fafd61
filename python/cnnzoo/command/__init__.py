"""The command `cnnzoo`, given its parsed arguments; `cnnzoo_command` parses them."""

from __future__ import annotations

from cnnzoo.command._run import run

__all__ = ["run"]
