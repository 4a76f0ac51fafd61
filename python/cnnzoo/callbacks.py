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
from cnnzoo.training.mlflow import MLflow
from cnnzoo.training.wandb import WandB

__all__ = [
    "Callback",
    "Callbacks",
    "EarlyStopping",
    "JsonLines",
    "LiveCurves",
    "MLflow",
    "TensorBoard",
    "WandB",
]
