"""A network whose logits are the numbers of its images, for tests that choose the logits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import cnnzoo as cz

GRAPH = """graph chosen
input = input() channels={classes} height=1 width=1
flat = flatten(input)
fc = linear(flat) out={classes}
output fc
"""


def network(classes: int) -> cz.Model:
    """Its logits are what `images` was given; where one is NaN, all of its image are."""
    model = cz.Model.from_graph(cz.Graph.parse(GRAPH.format(classes=classes)))
    bias = np.zeros(classes, np.float32)
    model.load_state_dict({"fc.weight": np.eye(classes, dtype=np.float32), "fc.bias": bias})
    return model


def images(logits: NDArray[np.floating]) -> NDArray[np.float32]:
    """Images with these logits (N, K)."""
    return logits.astype(np.float32)[:, :, None, None]


def cut(
    x: NDArray[np.float32], y: NDArray[np.generic], size: int
) -> list[tuple[NDArray[np.float32], NDArray[np.generic]]]:
    """Batches of so many images, the last with what is left."""
    return [(x[begin : begin + size], y[begin : begin + size]) for begin in range(0, len(x), size)]
