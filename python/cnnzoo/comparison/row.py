"""One model of a comparison, and its costs, which are computed from its graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cnnzoo._native import Graph
from cnnzoo._text import counted

# Bytes of a float32.
FLOAT = 4
# Operations whose output may take the place of their input, if nothing else reads that.
IN_PLACE = {"activation", "dropout", "drop_path", "flatten"}


@dataclass(frozen=True, kw_only=True)
class ComparedModel:
    """One model of a comparison: its facts, and its time if it was measured.

    All numbers are of one network at one image size: that of its weights, if it has some.

    Attributes:
        name: The model's name in cnnzoo.
        source: The library or paper whose definition it is; empty if it was built from a graph.
        family: The architecture that it is a variant of; empty if it was built from a graph.
        year: The year of the architecture's paper, not of the weights; none for other graphs.
        weights: The tag of published weights, as `create_model` takes it; empty if there are none.
        top1: Top-1 accuracy of these weights in percent on ImageNet's validation set, as their
            publisher states it; none if it states none.
        top5: Top-5 accuracy, likewise.
        data: Training data of these weights beyond ImageNet-1k; empty if there is none.
        input_size: Height and width of the image in pixels.
        params: Number of trainable parameters.
        macs: Multiply-adds (MACs) of convolutions, linear layers and attention for one image.
        activations: Output values of convolutions and linear layers for one image.
        weight_bytes: Bytes of parameters and running statistics in float32.
        value_bytes: The most bytes of values that are needed at once, for one image in float32, if
            nodes run one by one and activation functions overwrite their input. What an operation
            needs inside, such as the scores of attention, is not counted.
        milliseconds: The measured time of a batch, a median; none before `Comparison.measure`.
        batch: Number of images of that batch.
        threads: Number of threads of that measurement.
        process_bytes: The measured peak memory of the process, its interpreter included.
        graph: The architecture.
    """

    name: str
    source: str = ""
    family: str = ""
    year: int | None = None
    weights: str = ""
    top1: float | None = None
    top5: float | None = None
    data: str = ""
    input_size: int
    params: int
    macs: int
    activations: int
    weight_bytes: int
    value_bytes: int
    milliseconds: float | None = None
    batch: int | None = None
    threads: int | None = None
    process_bytes: int | None = None
    graph: Graph = field(repr=False, hash=False)

    @property
    def memory(self) -> int:
        """Bytes that inference on one image needs at least: `weight_bytes` and `value_bytes`.

        It is an estimate: an engine that fuses operations needs less for values, and one that packs
        weights for its algorithms more for weights.
        """
        return self.weight_bytes + self.value_bytes

    @property
    def images_per_second(self) -> float | None:
        """Images per second in the measurement; none before it."""
        if self.milliseconds is None or self.batch is None:
            return None
        return 1e3 * self.batch / self.milliseconds


Rows: TypeAlias = Sequence[ComparedModel]


def measurement(rows: Rows) -> list[str]:
    """The settings of the measured rows, in words: `1 image on 2 threads`."""
    settings = {(row.batch, row.threads) for row in rows if row.batch and row.threads}
    return [
        f"{counted(batch, 'image')} on {counted(threads, 'thread')}"
        for batch, threads in sorted(settings)
    ]


def costs(graph: Graph) -> dict[str, Any]:
    """The fields of a row that follow from its graph."""
    _, height, width = graph.input_shape
    rows = graph.rows(height, width)
    values = [math.prod(shape) for _, op, _, shape, *_ in rows if op in {"conv", "linear"}]
    return {
        "input_size": height,
        "params": sum(row[4] for row in rows),
        "macs": sum(row[5] for row in rows),
        "activations": sum(values),
        "weight_bytes": FLOAT * sum(math.prod(shape) for _, shape, _ in graph.parameters()),
        "value_bytes": peak([(row[0], row[1], row[2], row[6]) for row in rows]),
        "graph": graph,
    }


def peak(nodes: Sequence[tuple[str, str, Sequence[str], int]]) -> int:
    """The most bytes of values that are needed at once, of nodes that run one by one.

    Args:
        nodes: Name, operation, inputs and bytes of the output of each, in the order of the run.
    """
    last = {name: at for at, (_, _, inputs, _) in enumerate(nodes) for name in inputs}
    held: dict[str, int] = {}
    most = now = 0
    for at, (name, op, inputs, size) in enumerate(nodes):
        done = [one for one in dict.fromkeys(inputs) if last[one] == at]
        if op in IN_PLACE and inputs[:1] == done[:1] and done:
            now -= held.pop(done.pop(0))
        held[name] = size
        now += size
        most = max(most, now)
        now -= sum(held.pop(one) for one in done)
    return most
