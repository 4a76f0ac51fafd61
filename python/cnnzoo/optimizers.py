"""Another path to `cnnzoo.training.optimizers`."""

from __future__ import annotations

from cnnzoo.training.optimizers import (
    LAMB,
    SGD,
    Adam,
    AdamW,
    Optimizer,
    ParameterGroup,
    RMSprop,
)

__all__ = [
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "ParameterGroup",
    "RMSprop",
]
