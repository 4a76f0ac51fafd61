"""Another path to `cnnzoo.training.multilabel`."""

from __future__ import annotations

from cnnzoo.training.multilabel import (
    LabelFigures,
    MultiLabelMetrics,
)

__all__ = [
    "LabelFigures",
    "MultiLabelMetrics",
]
