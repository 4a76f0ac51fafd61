"""Weights: published ones, files of other libraries, and what loading reports."""

from __future__ import annotations

from cnnzoo.weights.published import Published, published_weights
from cnnzoo.weights.report import LoadReport, Mismatch

__all__ = ["LoadReport", "Mismatch", "Published", "published_weights"]
