"""Parts that are of a class of `torch.nn` too, since PyTorch and its users look for these classes.

`torch.optim.swa_utils.update_bn` and loops such as `if isinstance(m, nn.BatchNorm2d): m.eval()`
would find nothing otherwise, and say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from cnnzoo._arguments import shown
from cnnzoo.errors import ArgumentError
from cnnzoo.torch.parts import Part


class Typed(Part):
    """A part with the attributes of a layer of PyTorch, which are numbers of the graph and stay so.

    Args:
        path: As for `Part`.
        op: As for `Part`.
        about: As for `Part`.
        numbers: The attributes.
    """

    def __init__(self, path: str, op: str, about: str, numbers: Mapping[str, object]) -> None:
        super().__init__(path, op, about)
        vars(self).update(numbers, _numbers=dict(numbers))

    def __setattr__(self, name: str, value: Any) -> None:
        numbers = vars(self).get("_numbers", {})
        if name in numbers and value != numbers[name]:
            raise ArgumentError(
                f"`{name}` of {self._title}: expected {numbers[name]}, that of the graph, which "
                f"runs as a whole, got {shown(value)}"
            )
        super().__setattr__(name, value)


class Norm(Typed, nn.BatchNorm2d):
    """A batch norm."""

    def __init__(
        self, path: str, op: str, about: str, fields: Mapping[str, Any], channels: int
    ) -> None:
        numbers = {
            "num_features": channels,
            "eps": fields["eps"],
            "momentum": fields["momentum"],
            "affine": fields["scale"],
            "track_running_stats": True,
        }
        super().__init__(path, op, about, numbers)
        # PyTorch's code reads it, also where only a bias is learned.
        self._parameters["weight"] = None


class Drop(Typed, nn.Dropout):
    """A dropout."""

    def __init__(self, path: str, op: str, about: str, fields: Mapping[str, Any]) -> None:
        super().__init__(path, op, about, {"p": fields["rate"], "inplace": False})
