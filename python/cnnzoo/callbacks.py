"""Another path to `cnnzoo.training.callbacks`."""

from __future__ import annotations

from cnnzoo.training.callbacks import (
    Callback,
    Callbacks,
    EarlyStopping,
    JsonLines,
    TensorBoard,
)
from cnnzoo.training.live import LiveCurves

__all__ = [
    "Callback",
    "Callbacks",
    "EarlyStopping",
    "JsonLines",
    "LiveCurves",
    "TensorBoard",
]
