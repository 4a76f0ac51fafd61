"""Models side by side: size, cost, published accuracy, memory and measured time."""

from __future__ import annotations

from cnnzoo.comparison.comparison import Comparison
from cnnzoo.comparison.row import ComparedModel
from cnnzoo.comparison.selection import compare

__all__ = ["ComparedModel", "Comparison", "compare"]
