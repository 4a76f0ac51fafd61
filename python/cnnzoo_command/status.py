"""What the beginning of the command and its commands share: version, statuses, closed outputs."""

from __future__ import annotations

import os
from typing import Any

__version__ = "0.1.0"

INTERRUPTED = 130
BROKEN_PIPE = 141


def discard(stream: Any) -> None:
    """Let what is still buffered go nowhere, so that Python's own flush at exit is silent."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream without a file, as tests have
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
