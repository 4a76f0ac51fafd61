"""The old path of two classes of `cnnzoo.transforms`, under which old pickles look for them."""

from __future__ import annotations

from cnnzoo.transforms import Compose, Preview

__all__ = ["Compose", "Preview"]
