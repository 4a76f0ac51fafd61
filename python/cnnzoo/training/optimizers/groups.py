"""Parameter groups."""

from __future__ import annotations

from cnnzoo._arguments import instance, number, optional
from cnnzoo.errors import ArgumentError


class ParameterGroup:
    """A group of parameters with its own learning rate and weight decay.

    The first of an optimiser's groups that matches a parameter counts.

    Args:
        *patterns: Shell patterns of parameter names, where `*` crosses dots, or paths that names
            begin with: `"classifier"`, `"layer1*"`, `"*.bias"`. A parameter has to match one.
        lr_scale: Factor on the optimiser's learning rate.
        weight_decay: Weight decay of the group; as without the group if not given.
    """

    def __init__(
        self, *patterns: str, lr_scale: float = 1.0, weight_decay: float | None = None
    ) -> None:
        if not patterns:
            raise ArgumentError("a parameter group: expected at least one pattern, got none")
        for pattern in patterns:
            instance("a parameter group", pattern, str, "patterns of names")
        self.patterns = patterns
        self.lr_scale = number("`lr_scale`", lr_scale)
        self.weight_decay = optional("`weight_decay`", weight_decay)

    def __repr__(self) -> str:
        patterns = ", ".join(map(repr, self.patterns))
        decay = "" if self.weight_decay is None else f", weight_decay={self.weight_decay}"
        return f"ParameterGroup({patterns}, lr_scale={self.lr_scale}{decay})"
