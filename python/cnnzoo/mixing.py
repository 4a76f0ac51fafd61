"""Another path to `cnnzoo.training.mixing`."""

from __future__ import annotations

from cnnzoo.training.mixing import (
    Mix,
    Mixing,
)

__all__ = [
    "Mix",
    "Mixing",
]
