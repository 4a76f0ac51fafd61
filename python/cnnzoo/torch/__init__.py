"""PyTorch: a network as a `torch.nn.Module` over its own parameters."""

from __future__ import annotations

import cnnzoo.torch._extension  # noqa: F401  # first, since it says what is missing
from cnnzoo.torch.module import Module
from cnnzoo.torch.parts import Part

__all__ = ["Module", "Part"]
