"""The figures of a run by the names that trackers show them under, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cnnzoo import _json
from cnnzoo.model import StepResult
from cnnzoo.training.history import EpochRow

# The group of a user's metric whose name is taken.
OWN = "own metric"
# Settings that are nested: a schedule with its fields.
CLASS = "class"


def of_step(result: StepResult) -> dict[str, float]:
    """Loss, learning rate and gradient norm of a batch."""
    return _present({"step/loss": result.loss, "step/lr": result.lr, "step/norm": result.grad_norm})


def of_epoch(row: EpochRow) -> dict[str, float]:
    """The values of an epoch's row that there are.

    A metric of the user's that has the name of one of ours, such as `loss`, is `own metric/loss`.
    """
    columns: dict[str, dict[str, float | None]] = {
        "train": {"loss": row.train_loss, "top1": row.train_top1},
        "val": {
            "loss": row.val_loss,
            "top1": row.val_top1,
            "top5": row.val_top5,
            "map": row.val_map,
            "f1": row.val_f1,
            "accuracy": row.val_accuracy,
        },
        "own": {"loss": row.own_val_loss, "top1": row.own_val_top1, "map": row.own_val_map},
    }
    found = _present(
        {
            f"{group}/{name}": value
            for group, values in columns.items()
            for name, value in values.items()
        }
    )
    return found | {
        f"{OWN if f'val/{name}' in found else 'val'}/{name}": value
        for name, value in row.val_metrics.items()
    }


def _present(values: dict[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def flat(settings: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Settings as texts by dotted names: `optimizer.lr`, and `loss` for the class of a loss."""
    for name, value in settings.items():
        at = f"{prefix}{name}"
        if isinstance(value, dict) and value:
            yield from flat(value, f"{at}.")
        else:
            shown = value if isinstance(value, str) else _json.line(value)
            # `schedule.class` and `schedule.fields.warmup` become `schedule` and `schedule.warmup`.
            yield at.removesuffix(f".{CLASS}").replace(".fields.", "."), shown
