"""Arrays and devices of other libraries as ours: the one place that knows torch's.

Torch itself is not imported.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import shown
from cnnzoo.errors import ArgumentError


class TorchDevice(Protocol):
    """What is used of a `torch.device`."""

    @property
    def type(self) -> str:
        """`cpu` or `cuda`."""

    @property
    def index(self) -> int:
        """Which of them."""


Device: TypeAlias = "str | TorchDevice"


def is_tensor(value: object) -> bool:
    """Whether it is a `torch.Tensor`, of a subclass too."""
    return _is_torchs(value, "Tensor")


def device_name(device: object) -> str:
    """The name of a device, as of a `torch.device`.

    Raises:
        ArgumentError: It is none of both.
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
    """The values as `numpy.asarray` has them.

    A torch tensor may require gradients, be on another device, conjugated or of bfloat16, which
    becomes float32 without a change of value.
    """
    if is_tensor(value):
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value.numpy())
    return np.asarray(value)
