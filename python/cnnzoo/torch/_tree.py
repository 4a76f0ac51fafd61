"""The parts of a network as nested modules."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from cnnzoo._native import Graph
from cnnzoo.torch._typed import Drop, Norm
from cnnzoo.torch.parts import Mirror, Part

# Operations that differ between training and evaluation.
NORM, DROPOUT = "batch_norm", "dropout"
DROPS = {DROPOUT, "drop_path"}


class Tree:
    """The parts below a root module, each of which owns the tensors of its name.

    Attributes:
        parts: Every part, those below another one before it.
        norms: The batch norms among them.
        modal: The place in the graph and the part of each node that has a mode.
        dropping: The places of those that draw random numbers.
        slots: Where each tensor is registered: the dict, the name in it and the tensor.
    """

    def __init__(
        self, root: Mirror, graph: Graph, tensors: list[tuple[str, bool, torch.Tensor]]
    ) -> None:
        self._root = root
        self._nodes = {name: (op, inputs) for name, op, inputs, _ in graph.operations()}
        self._fields = {name: of for name, _, _, of in graph.operations()}
        self._lengths = {name: tensor.numel() for name, _, tensor in tensors}
        self._places = {name: place for place, name in enumerate(graph.nodes())}
        self._graph = graph
        self._about = _fields(graph)
        by_path: dict[str, Part] = {}
        self.modal: list[tuple[int, Part]] = []
        self.dropping: set[int] = set()
        arrays = {name for name, _, _ in tensors}
        for place, (name, op, _, fields) in enumerate(graph.operations()):
            # A learned token has the name of its array.
            if op == "input" or name in arrays:
                continue
            part = self._part(name, by_path)
            if op == NORM or op in DROPS:
                self.modal.append((place, part))
            if op in DROPS and json.loads(fields)["rate"] > 0:
                self.dropping.add(place)
        self.slots: list[tuple[dict[str, Any], str, torch.Tensor]] = []
        for name, is_parameter, tensor in tensors:
            self._register(name, is_parameter, tensor, by_path)
        self.parts = sorted(by_path.values(), key=lambda part: -part.path.count("."))
        self.norms = [part for part in self.parts if isinstance(part, Norm)]
        sealed: list[Mirror] = [*self.parts, root]
        for one in sealed:
            one._seal()

    def _part(self, path: str, known: dict[str, Part]) -> Part:
        """The part of a path, which is made with those above it."""
        if path not in known:
            above, _, last = path.rpartition(".")
            parent: nn.Module = self._part(above, known) if above else self._root
            known[path] = part = self._new(path)
            # Not `add_module`, which refuses names such as `type` that a graph may have.
            parent._modules[last] = part
        return known[path]

    def _new(self, path: str) -> Part:
        op = self._nodes[path][0] if path in self._nodes else ""
        about = self._about.get(path, "")
        if op == NORM:
            channels = self._lengths[f"{path}.running_mean"]
            return Norm(path, op, about, json.loads(self._fields[path]), channels)
        if op == DROPOUT:
            return Drop(path, op, about, json.loads(self._fields[path]))
        return Part(path, op, about)

    def _register(
        self, name: str, is_parameter: bool, tensor: torch.Tensor, known: dict[str, Part]
    ) -> None:
        path, _, last = name.rpartition(".")
        owner: nn.Module = self._part(path, known) if path else self._root
        into: dict[str, Any] = owner._parameters if is_parameter else owner._buffers
        into[last] = tensor
        self.slots.append((into, last, tensor))

    def reads(self, part: Part) -> list[str]:
        """The nodes outside of a part whose values it reads, in order."""
        inside = {name for name in self._nodes if f"{name}.".startswith(f"{part.path}.")}
        inputs = [one for name in self._places if name in inside for one in self._nodes[name][1]]
        return list(dict.fromkeys(one for one in inputs if one not in inside))

    def output(self, part: Part) -> str | None:
        """The node whose value is that of a part; None if there is none."""
        below = [name for name in self._nodes if f"{name}.".startswith(f"{part.path}.")]
        return self._graph.find(part.path) if below else None


def _fields(graph: Graph) -> dict[str, str]:
    """The fields of each node that are not at their defaults, as the graph's text has them."""
    found = {}
    for line in str(graph).splitlines():
        name, equals, rest = line.strip().partition(" = ")
        if equals:
            found[name] = ", ".join(rest.partition(")")[2].split())
    return found
