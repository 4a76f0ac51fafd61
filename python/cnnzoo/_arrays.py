"""Conversion of other libraries' arrays and devices; the one module that knows torch's types.

Torch itself is not imported here: whoever has a tensor has imported it.
"""

from __future__ import annotations

import sys
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


def is_on_gpu(value: object, device: str) -> bool:
    """Whether a value is a tensor of floating-point numbers on this device, which is a GPU."""
    if not is_tensor(value) or device == "cpu" or _odd_kind(value):
        return False
    tensor: Any = value
    return str(tensor.device) == device and tensor.is_floating_point()


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
    which is converted to float32 without loss. Other arrays that only DLPack describes, as those of
    other libraries, share their memory where it is on the CPU.

    Raises:
        TypeError: It is a tensor without plain numbers in memory.
    """
    if is_tensor(value):
        if kind := _odd_kind(value):
            raise TypeError(
                f"a torch tensor: expected a dense one of plain numbers in memory, got one that is "
                f"{kind}"
            )
        value = value.detach().cpu().resolve_conj().resolve_neg()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value.numpy())
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return _of_dlpack(value)
    return np.asarray(value)


def as_given(array: NDArray[np.float32], given: object) -> Any:
    """The array for whoever gave a value: where that was a torch tensor, a tensor on its device.

    On the CPU it has the memory of the array.
    """
    if not is_tensor(given):
        return array
    tensor = sys.modules["torch"].from_numpy(array)
    return tensor.to(getattr(given, "device", "cpu"))


def _odd_kind(tensor: Any) -> str | None:
    """Why a tensor has no plain numbers in memory, in a word; None if it has."""
    if tensor.is_nested:
        return "nested"
    if tensor.is_quantized:
        return "quantized"
    if str(tensor.layout) != "torch.strided":
        return f"of the layout {tensor.layout}"
    return "on the device `meta`" if tensor.is_meta else None


def _of_dlpack(value: Any) -> NDArray[Any]:
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, ValueError) as error:
        raise TypeError(
            f"an array of {type(value).__module__}: expected one on the CPU of a type that NumPy "
            f"has, got one that NumPy cannot read: {error}"
        ) from error
