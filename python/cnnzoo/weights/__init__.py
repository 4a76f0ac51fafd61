"""Weights: published weights, weights files of other libraries, and reports of loading."""

from __future__ import annotations

from cnnzoo.weights.published import Published, published_weights
from cnnzoo.weights.report import LoadReport, Mismatch

__all__ = ["LoadReport", "Mismatch", "Published", "published_weights"]
