"""Another path to `cnnzoo.training.metrics`."""

from __future__ import annotations

from cnnzoo.training.metrics import (
    ClassFigures,
    Confusion,
    LabelFigures,
    Metrics,
    MultiLabelMetrics,
    evaluate,
)

__all__ = [
    "ClassFigures",
    "Confusion",
    "LabelFigures",
    "Metrics",
    "MultiLabelMetrics",
    "evaluate",
]
