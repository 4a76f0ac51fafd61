"""Models: built by `create_model` or `load`, run, trained, copied and saved."""

from __future__ import annotations

from cnnzoo.model._build import create_model, load
from cnnzoo.model._network import InferencePrecision, Precision
from cnnzoo.model.model import Model, StepResult

__all__ = [
    "InferencePrecision",
    "Model",
    "Precision",
    "StepResult",
    "create_model",
    "load",
]
