"""Where pickles of before there was the package `cnnzoo.transforms` look for two of its classes."""

from __future__ import annotations

from cnnzoo.transforms import Compose, Preview

__all__ = ["Compose", "Preview"]
