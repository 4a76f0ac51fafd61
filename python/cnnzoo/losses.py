"""Another path to `cnnzoo.training.losses`."""

from __future__ import annotations

from cnnzoo.training.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    FunctionLoss,
    Loss,
    LossLike,
    Metric,
    TorchLoss,
    as_loss,
)

__all__ = [
    "BinaryCrossEntropy",
    "CrossEntropy",
    "FunctionLoss",
    "Loss",
    "LossLike",
    "Metric",
    "TorchLoss",
    "as_loss",
]
