"""Parameters that FSDP2 (`torch.distributed.fsdp.fully_shard`) has divided among processes.

FSDP replaces each parameter of a module by its shard, and by the whole, which it gathers, while the
module runs. The model's own tensors are empty then, so whatever would read them by another way is
refused instead of seeing old values. For a run they get the memory of what was gathered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from cnnzoo.errors import ArgumentError

# An attribute of the parameters of models: their shape.
MARK = "_of_cnnzoo"

# Where a parameter is registered: the dict, the name in it, and the model's own tensor.
Slot = tuple[dict[str, Any], str, torch.Tensor]


def is_shard(value: object) -> bool:
    """Whether a tensor is divided among processes."""
    # Where nobody has imported it, there are none, and its import takes long.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(value, module.DTensor)


def replaces(known: object, value: object) -> bool:
    """Whether a parameter takes the place of another one by FSDP; the model's own is emptied."""
    if not isinstance(known, torch.Tensor) or not isinstance(value, nn.Parameter):
        return False
    if value.shape != _shape(known) or (_is_own(known) and not is_shard(value)):
        return False
    if _is_own(known):
        _empty(known)
    return True


class Lending:
    """Lends the model's own tensors the memory of parameters that FSDP has gathered, for a run."""

    def __init__(self) -> None:
        # For each of the model's tensors that requires gradients, the parameter that gets them.
        self._wholes: dict[torch.Tensor, nn.Parameter] = {}

    @contextmanager
    def lent(self, slots: Iterable[Slot]) -> Iterator[None]:
        """Lend what is in the place of the model's own tensors, where it is something else."""
        given = _given(slots)
        if not given:
            yield
            return
        try:
            for own, whole in given:
                self._lend(own, whole)
            # Autograd keeps other tensors in the same memory, in place of the model's own.
            with torch.autograd.graph.saved_tensors_hooks(_kept, _same):
                yield
        finally:
            for own, _ in given:
                _empty(own)

    def lends(self, slots: Iterable[Slot]) -> bool:
        """Whether something else is in the place of a tensor of the model's own."""
        return bool(_given(slots))

    def is_whole(self, found: object, own: torch.Tensor) -> bool:
        """Whether a parameter is one that FSDP has gathered in the place of the model's own."""
        return (
            isinstance(found, nn.Parameter)
            and not is_shard(found)
            and not _is_own(found)
            and found.shape == _shape(own)
            and own.numel() == 0
        )

    def _lend(self, own: torch.Tensor, whole: nn.Parameter) -> None:
        if (whole.dtype, whole.device) != (own.dtype, own.device):
            raise ArgumentError(
                f"a Module whose parameters fully_shard divides: expected {own.dtype} on "
                f"{own.device}, got {whole.dtype} on {whole.device}; torch.autocast computes in "
                "half precision, and `module.to(device)` comes before fully_shard"
            )
        own.data = whole.data
        own.requires_grad_(whole.requires_grad)
        if not whole.requires_grad:
            return
        if own not in self._wholes:

            def before(_: torch.Tensor) -> None:
                # A gradient is accumulated in the shape of its tensor.
                own.data = self._wholes[own].data

            own.register_hook(before)
            own.register_post_accumulate_grad_hook(self._hand_over)
        self._wholes[own] = whole

    def _hand_over(self, own: torch.Tensor) -> None:
        """Give a gradient to the parameter that FSDP reduces."""
        whole, gradient = self._wholes[own], own.grad
        own.grad = None
        _empty(own)
        whole.grad = gradient if whole.grad is None or gradient is None else whole.grad + gradient


def _given(slots: Iterable[Slot]) -> list[tuple[torch.Tensor, Any]]:
    """The model's own tensors that something else is in the place of, and that."""
    return [(own, owner[name]) for owner, name, own in slots if owner[name] is not own]


def _is_own(tensor: object) -> bool:
    return hasattr(tensor, MARK)


def _shape(known: torch.Tensor) -> torch.Size:
    """The shape of a parameter, also of one that is emptied."""
    shape = getattr(known, MARK, known.shape)
    return torch.Size(shape)


def _empty(own: torch.Tensor) -> None:
    own.data = torch.empty(0, dtype=own.dtype, device=own.device)


def _kept(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor that autograd keeps until the backward pass."""
    return tensor.detach() if _is_own(tensor) else tensor


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
