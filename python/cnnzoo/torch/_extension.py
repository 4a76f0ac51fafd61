"""The extension that is linked to libtorch, as PyTorch's half uses it."""

from __future__ import annotations

from cnnzoo._package import need_libtorch

need_libtorch("cnnzoo.torch")

from cnnzoo._torch import Segments, adopt, forward, generation, share

__all__ = ["Segments", "adopt", "forward", "generation", "share"]
