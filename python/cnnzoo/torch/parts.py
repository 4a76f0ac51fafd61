"""The parts of a module: its nodes and the paths before them, by the names of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import nn

from cnnzoo._arguments import shown
from cnnzoo.errors import ArgumentError
from cnnzoo.torch._sharding import replaces


class Mirror(nn.Module):
    """A module whose own submodules, parameters and buffers are those of a graph, and stay so."""

    def __init__(self) -> None:
        # Whatever other class of PyTorch a part is of, it makes no arrays of its own.
        nn.Module.__init__(self)
        # Names that a user cannot give to anything else.
        self._mirrored: frozenset[str] = frozenset()

    if TYPE_CHECKING:
        # What the names below it are depends on the graph.
        def __getattr__(self, name: str) -> Any: ...

    def _seal(self) -> None:
        self._mirrored = frozenset({*self._modules, *self._parameters, *self._buffers})

    def _stays(self, name: str, value: object = None) -> None:
        """Refuse to replace something of the graph.

        Raises:
            ArgumentError: The name is that of a part, a parameter or a buffer of the graph.
        """
        if name not in self.__dict__.get("_mirrored", ()):
            return
        known: Any = {**self._modules, **self._parameters, **self._buffers}.get(name)
        if (value is None or value is not known) and not replaces(known, value):
            raise ArgumentError(
                f"`{name}` of {self._title}: expected what the graph has there, which runs as a "
                "whole, got something else; `model.reset_classifier(num_classes=...)` replaces a "
                "classifier, `copy_` under torch.no_grad() the values of a parameter, and "
                "`forward_nodes` gives the input of a layer of your own; FSDP divides a whole "
                "module by `fully_shard`"
            )

    @property
    def _title(self) -> str:
        return "a Module"

    def __setattr__(self, name: str, value: Any) -> None:
        self._stays(name, value)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        self._stays(name)
        super().__delattr__(name)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a submodule under a name that the graph does not have."""
        self._stays(name, module)
        super().add_module(name, module)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter under a name that the graph does not have."""
        self._stays(name, param)
        super().register_parameter(name, param)

    def register_buffer(
        self, name: str, tensor: torch.Tensor | None, persistent: bool = True
    ) -> None:
        """Add a buffer under a name that the graph does not have."""
        self._stays(name, tensor)
        super().register_buffer(name, tensor, persistent)


class Part(Mirror):
    """A node of the graph, or the path before some of them: `layer1[0].conv1`, `layer1`.

    It holds the node's parameters and buffers, its mode (`eval()`, `train()`) and forward hooks; a
    path's value is that of the last node below it. The graph runs as a whole, so a part cannot be
    called, and hooks that would have to change what goes into it are refused.

    Attributes:
        path: Its name in the network.
        op: The operation of a node, empty for a path.
    """

    def __init__(self, path: str, op: str, about: str) -> None:
        super().__init__()
        self.path = path
        self.op = op
        self._about = about

    @property
    def _title(self) -> str:
        return f"the part `{self.path}`"

    def forward(self, *_: Any) -> NoReturn:
        """Refuse to run alone.

        Raises:
            ArgumentError: Always.
        """
        raise ArgumentError(
            f"{self._title}: expected a call of the whole module, whose graph runs at once, got "
            "one of the part; `forward_nodes` computes the values of parts"
        )

    def _unsupported(self, what: str, instead: str) -> NoReturn:
        raise ArgumentError(f"{what} of {self._title}: expected a forward hook, {instead}")

    def register_forward_pre_hook(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a hook before the part, since the graph runs as a whole.

        Raises:
            ArgumentError: Always.
        """
        self._unsupported("a forward pre-hook", "which sees the inputs too, or one of the module")

    def register_full_backward_hook(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse a backward hook, since the graph runs as a whole.

        Raises:
            ArgumentError: Always.
        """
        self._unsupported("a backward hook", "which may call `output.register_hook(...)`")

    register_full_backward_pre_hook = register_full_backward_hook
    register_backward_hook = register_full_backward_hook

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Part:
        """Apply what changes neither device nor type, such as `share_memory`."""
        for tensor in (*self._parameters.values(), *self._buffers.values()):
            if tensor is not None:
                unchanged(fn, tensor, self._title)
        for child in self.children() if recurse else ():
            child._apply(fn)
        return self

    def _shown(self, answers: tuple[torch.Tensor, ...], value: torch.Tensor) -> Any:
        """Call the forward hooks, and return another value if one of them did; None if not."""
        found: Any = None
        with_kwargs = self._forward_hooks_with_kwargs
        for key, hook in tuple(self._forward_hooks.items()):
            given: tuple[Any, ...] = (answers, {}) if key in with_kwargs else (answers,)
            answer = hook(self, *given, value)
            if answer is not None:
                found = value = answer
        return found

    def __getitem__(self, index: int) -> Part:
        """The part of a number below this one."""
        if not isinstance(index, int) or isinstance(index, bool):
            raise ArgumentError(
                f"{self._title}: expected the number of a part below it, got {shown(index)}; "
                "`forward_nodes` computes values in the middle of the network"
            )
        # Numbers may be missing, since layers that do nothing are no nodes.
        numbers = [int(name) for name in self._modules if name.isdecimal()]
        number = index if index >= 0 else max(numbers, default=-1) + 1 + index
        part = self._modules.get(str(number))
        if not isinstance(part, Part):
            raise IndexError(f"{self._title}: expected one of {numbers}, got {index}")
        return part

    def __len__(self) -> int:
        return sum(name.isdecimal() for name in self._modules)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter([child for name, child in self.named_children() if name.isdecimal()])

    def __bool__(self) -> bool:
        return True

    def _get_name(self) -> str:
        return self.op or "Part"

    def extra_repr(self) -> str:
        """The fields of the operation."""
        return self._about


def unchanged(
    fn: Callable[[torch.Tensor], torch.Tensor], tensor: torch.Tensor, title: str
) -> torch.Tensor:
    """The tensor that a conversion makes, which is to be of the same type and device.

    Raises:
        ArgumentError: It is of another one.
    """
    moved = fn(tensor)
    if (moved.dtype, moved.device) != (tensor.dtype, tensor.device):
        raise ArgumentError(
            f"{title}: expected a conversion of the whole module, got one of a part, from "
            f"{tensor.dtype} on {tensor.device} to {moved.dtype} on {moved.device}"
        )
    return moved
