"""Optimisers and parameter groups."""

from __future__ import annotations

from cnnzoo.training.optimizers.groups import ParameterGroup
from cnnzoo.training.optimizers.optimizer import Optimizer
from cnnzoo.training.optimizers.rules import LAMB, SGD, Adam, AdamW, RMSprop

__all__ = [
    "LAMB",
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "ParameterGroup",
    "RMSprop",
]
