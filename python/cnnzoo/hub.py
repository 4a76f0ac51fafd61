"""Another path to `cnnzoo.weights.hub`."""

from __future__ import annotations

from cnnzoo.weights.hub import Patience, fetch

__all__ = ["Patience", "fetch"]
