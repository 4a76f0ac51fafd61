"""Another path to `cnnzoo.training.schedules`."""

from __future__ import annotations

from cnnzoo.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    MultiStep,
    OneCycle,
    Polynomial,
    Schedule,
    Step,
)

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "MultiStep",
    "OneCycle",
    "Polynomial",
    "Schedule",
    "Step",
]
