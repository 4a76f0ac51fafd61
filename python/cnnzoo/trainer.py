"""Another path to `cnnzoo.training.trainer`."""

from __future__ import annotations

from cnnzoo.training.state import State
from cnnzoo.training.trainer import (
    Trainer,
)

__all__ = [
    "State",
    "Trainer",
]
