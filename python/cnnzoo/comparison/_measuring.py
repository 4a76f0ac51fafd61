"""The time of a network on this machine, in a process of its own."""

from __future__ import annotations

import tempfile

import numpy as np

from cnnzoo.comparison.row import ComparedModel
from cnnzoo.errors import DeviceError, OutOfMemoryError
from cnnzoo.model import Model
from cnnzoo.racing import ENGINES, Entry, race

ENGINE = "cnnzoo"


def measured(row: ComparedModel, *, batch: int, threads: int, rounds: int) -> tuple[float, int]:
    """The median seconds of a batch, and the peak memory of the process in bytes.

    Raises:
        OutOfMemoryError: There is too little free memory.
        DeviceError: The process ended, or took minutes for a run.
    """
    model = Model.from_graph(row.graph, seed=0)
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, *row.graph.input_shape), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/network.safetensors"
        model.save(file)
        entry = Entry(ENGINES[ENGINE], file)
        # There is no other answer to compare with.
        outcome = race({ENGINE: entry}, x, np.ones(1, np.float32), threads=threads, rounds=rounds)
    figures = outcome.figures.get(ENGINE)
    if figures is None:
        reason = outcome.missing[ENGINE]
        kind = OutOfMemoryError if "free memory" in reason else DeviceError
        raise kind(f"measuring {row.name}: {reason}")
    return figures.seconds, figures.bytes
