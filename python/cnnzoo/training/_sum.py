"""A sum over processes as a function of PyTorch's autograd. Importing it imports PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as group


class _Sum(torch.autograd.Function):
    """The sum of all processes' tensors. Each one's share in it is 1, so gradients add up too."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, exchange: Callable[..., None]) -> torch.Tensor:
        ctx.exchange = exchange
        total = tensor.clone()
        exchange(group.all_reduce, total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradient.contiguous().clone()
        ctx.exchange(group.all_reduce, total)
        return total, None


def sum_of(tensor: torch.Tensor, exchange: Callable[..., None]) -> torch.Tensor:
    """The sum of a tensor over all processes; `exchange` calls a function in their group."""
    found: torch.Tensor = _Sum.apply(tensor, exchange)  # type: ignore[no-untyped-call]
    return found
