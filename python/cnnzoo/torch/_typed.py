"""Parts that are of a class of `torch.nn` too, since PyTorch and its users look for these classes.

`torch.optim.swa_utils.update_bn` and loops such as `if isinstance(m, nn.BatchNorm2d): m.eval()`
would find nothing otherwise, and say nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
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
        if name in numbers and value != numbers[name] and not self._may_be(name, value):
            raise ArgumentError(
                f"`{name}` of {self._title}: expected {numbers[name]}, that of the graph, which "
                f"runs as a whole, got {shown(value)}"
            )
        super().__setattr__(name, value)

    def _may_be(self, name: str, value: Any) -> bool:
        """Whether an attribute may have another value than the graph's."""
        return False


class Norm(Typed, nn.BatchNorm2d):
    """A batch norm, whose running statistics are the mean over all batches if `momentum` is None.

    `torch.optim.swa_utils.update_bn` sets that.
    """

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

    def _may_be(self, name: str, value: Any) -> bool:
        return name == "momentum" and value is None and self._numbers["momentum"] > 0

    def _statistics(self) -> list[torch.Tensor]:
        return [self._buffers[name] for name in ("running_mean", "running_var")]  # type: ignore[misc]


@contextmanager
def averaging(norms: Sequence[Norm]) -> Iterator[None]:
    """Make the running statistics of norms the mean over their batches, of which a run is one.

    The run, whose momentum is the graph's, begins with zeros, so it leaves a share of the batch's
    own statistics. After an error the statistics are as they were.
    """
    with torch.no_grad():
        before = [[of.clone() for of in norm._statistics()] for norm in norms]
        for norm in norms:
            for now in norm._statistics():
                now.zero_()
    done = False
    try:
        yield
        done = True
    finally:
        with torch.no_grad():
            for norm, olds in zip(norms, before, strict=True):
                share = 1 / max(1, int(norm.get_buffer("num_batches_tracked")))
                for now, old in zip(norm._statistics(), olds, strict=True):
                    batch = now / norm._numbers["momentum"]
                    # Past autograd, which keeps them for the backward pass but does not read them.
                    now.data.copy_(old * (1 - share) + batch * share if done else old)


class Drop(Typed, nn.Dropout):
    """A dropout."""

    def __init__(self, path: str, op: str, about: str, fields: Mapping[str, Any]) -> None:
        super().__init__(path, op, about, {"p": fields["rate"], "inplace": False})
