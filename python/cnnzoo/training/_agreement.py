"""Agreement of processes that train together: whatever decides their steps is equal in all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cnnzoo._arguments import cut
from cnnzoo._text import counted
from cnnzoo.data import Loader
from cnnzoo.errors import ArgumentError
from cnnzoo.training import _batches, _checkpoint
from cnnzoo.training._batches import Batches
from cnnzoo.training._fit import Fit
from cnnzoo.training._processes import Processes
from cnnzoo.training._run import Run
from cnnzoo_command.status import __version__

# The most differences that a message lists.
MOST_DIFFERENCES = 5

# Where an object is, in the `repr` of a function: no two processes have it at the same address.
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def agree_on_fit(run: Run, fit: Fit, **options: Any) -> None:
    """Check that all processes are about to make the same steps, before the first one.

    Args:
        run: The run.
        fit: Its fit.
        options: Further options of the call.

    Raises:
        ArgumentError: They differ; the message, the same in every process, says in what.
    """
    processes = run._processes
    if processes is not None:
        agree(processes, dict(_settings(run, fit, processes, options)))
        fit.callbacks.agree()


def agree_on_data(processes: Processes, what: str, data: Batches) -> None:
    """Check that all processes have the same batches.

    Raises:
        ArgumentError: They do not.
    """
    agree(processes, dict(_data(what, data)))


def agree(processes: Processes, own: Mapping[str, Any]) -> None:
    """Check that values by name are the same in all processes.

    Raises:
        ArgumentError: They differ; the message is the same in every process.
    """
    plain = {name: ADDRESS.sub("", repr(value)) for name, value in own.items()}
    text = "\n".join(f"{name}\t{value}" for name, value in plain.items())
    digests = processes.every(hashlib.sha256(text.encode()).hexdigest())
    if len(set(digests)) == 1:
        return
    several = processes.every(plain)
    names = dict.fromkeys(name for one in several for name in one)
    apart = [name for name in names if len({one.get(name) for one in several}) > 1]
    told = "; ".join(
        f"{name}: {_by_value([one.get(name) for one in several])}"
        for name in apart[:MOST_DIFFERENCES]
    )
    more = len(apart) - MOST_DIFFERENCES
    rest = f"; and {counted(more, 'further difference')}" if more > 0 else ""
    raise ArgumentError(
        "distributed training: expected the same in every process, since they wait for each other "
        f"at each step, got {told}{rest}"
    )


def _by_value(values: list[str | None]) -> str:
    """The values, each with the processes that have it."""
    found = []
    for value in dict.fromkeys(values):
        places = [str(place) for place, other in enumerate(values) if other == value]
        what = "nothing" if value is None else cut(value)
        found.append(f"{what} in process{'es' * (len(places) > 1)} {', '.join(places)}")
    return ", ".join(found)


def _settings(
    run: Run, fit: Fit, processes: Processes, options: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Whatever decides the steps of a fit, by the names that a message gives it."""
    yield from ((f"`{name}`", value) for name, value in options.items())
    yield from _data("training", fit.train)
    if fit.validation is not None:
        yield from _data("validation", fit.validation)
    yield "`metrics`", sorted(fit.metrics or ())
    yield "`sync_batch_norm`", processes.norms
    for name, value in _checkpoint.config(run).items():
        fields = value if isinstance(value, dict) else {}
        yield from ((f"{name} {field}", of) for field, of in fields.items())
        if not fields:
            yield f"`{name}`", value
    model, state = run.model, run._state
    for name, shape, _ in model.graph.parameters():
        yield f"parameter {name}", tuple(shape)
    for name, op, inputs, of in model.graph.operations():
        yield f"node {name}", (op, tuple(inputs), json.loads(of))
    trained = set(model.trained)
    for name, _, is_trained in model.graph.parameters():
        if is_trained:
            yield f"training of {name}", name in trained
    yield from _each("class of the model", model.labels)
    yield from ((f"the run's {name}", getattr(state, name)) for name in ("run", "epoch", "step"))
    yield "cnnzoo", __version__


def _data(what: str, data: Batches) -> Iterator[tuple[str, Any]]:
    yield f"{what} batches", len(data)
    if isinstance(data, Loader):
        yield f"{what} images", len(data.dataset)
    elif isinstance(data, list | tuple):
        yield f"{what} images", [len(x) for x, _ in _batches.pairs(what, data)]
    classes = getattr(getattr(data, "dataset", None), "classes", ())
    yield from _each(f"{what} class", classes if isinstance(classes, list | tuple) else ())
    for name, value in _batches.identity(data).items():
        if name != "batches":
            yield f"{what} {name}", value


def _each(what: str, values: Any) -> Iterator[tuple[str, Any]]:
    yield from ((f"{what} {place}", value) for place, value in enumerate(values))
