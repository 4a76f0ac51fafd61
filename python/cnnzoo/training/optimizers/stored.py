"""Optimisers from their description in a run checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnzoo import _record
from cnnzoo._record import Misfit
from cnnzoo.model import Model
from cnnzoo.training.optimizers.groups import ParameterGroup
from cnnzoo.training.optimizers.optimizer import Optimizer
from cnnzoo.training.optimizers.rules import LAMB, SGD, Adam, AdamW, RMSprop


def from_configuration(kind: str, model: Model, configuration: dict[str, Any]) -> Optimizer:
    """The optimiser that `_configuration` described, with fresh state.

    Raises:
        Misfit: The configuration describes no optimiser.
    """
    kinds: dict[str, type[Any]] = {c.__name__: c for c in (SGD, Adam, AdamW, RMSprop, LAMB)}
    if kind not in kinds:
        raise Misfit("run.optimizer.class", " or ".join(kinds), kind)
    others = dict(configuration)
    given = _record.read(tuple[_Group, ...], others.pop("groups", None), "run.optimizer.groups")
    groups = [
        ParameterGroup(*g.patterns, lr_scale=g.lr_scale, weight_decay=g.weight_decay) for g in given
    ]
    beside = {"model": model, "groups": groups}
    at = "run.optimizer.arguments"
    optimizer: Optimizer = kinds[kind](**_record.arguments(kinds[kind], others, at, beside=beside))
    return optimizer


@dataclass(frozen=True, kw_only=True)
class _Group:
    """A `ParameterGroup` as stored in a run checkpoint."""

    patterns: tuple[str, ...]
    lr_scale: float
    weight_decay: float | None
