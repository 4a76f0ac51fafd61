"""Shared by the entry point and the commands: version, exit statuses, closed outputs."""

from __future__ import annotations

import os
from typing import Any

__version__ = "0.1.0"

INTERRUPTED = 130
BROKEN_PIPE = 141


def discard(stream: Any) -> None:
    """Discard a stream's buffered output, so that Python's own flush at exit is silent."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream without a file, as tests have
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
