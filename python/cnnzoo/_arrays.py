"""Conversion of other libraries' arrays and devices; the one module that knows torch's types.

Torch itself is not imported.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import shown
from cnnzoo.errors import ArgumentError


class TorchDevice(Protocol):
    """The attributes of `torch.device` that are used."""

    @property
    def type(self) -> str:
        """`cpu` or `cuda`."""

    @property
    def index(self) -> int:
        """The number of the device among those of its type."""


Device: TypeAlias = "str | TorchDevice"


def is_tensor(value: object) -> bool:
    """Whether a value is a `torch.Tensor`, or of a subclass."""
    return _is_torchs(value, "Tensor")


def device_name(device: object) -> str:
    """The name of a device, which is given as text or as a `torch.device`.

    Raises:
        ArgumentError: It is neither.
    """
    if isinstance(device, str):
        return device
    if _is_torchs(device, "device"):
        return str(device)
    raise ArgumentError(
        f'`device`: expected "cpu", "cuda", "cuda:N" or a torch.device, got {shown(device)}'
    )


def _is_torchs(value: object, name: str) -> bool:
    return any(
        kind.__name__ == name and kind.__module__.partition(".")[0] == "torch"
        for kind in type(value).__mro__
    )


def as_array(value: Any) -> NDArray[Any]:
    """The values as a NumPy array, as `numpy.asarray` converts them.

    A torch tensor may require gradients, be on another device, be conjugated, or be of bfloat16,
    which is converted to float32 without loss.
    """
    if is_tensor(value):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value.numpy())
    return np.asarray(value)
