"""Another path to `cnnzoo.training.history`."""

from __future__ import annotations

from cnnzoo.training.history import (
    EpochRow,
    History,
)

__all__ = [
    "EpochRow",
    "History",
]
