"""The smallest network that has a convolution, a norm and a classifier, and batches to train it."""

from __future__ import annotations

import numpy as np

import cnnzoo as cz

TINY = """
graph tiny
input = input() channels=3 height=16 width=16
conv1 = conv(input) out=4 kernel=3 stride=2
bn1 = batch_norm(conv1)
act1 = activation(bn1) function=relu
pool = adaptive_pool(act1)
flat = flatten(pool)
fc = linear(flat) out=3
output fc
"""
BATCHES = [(np.zeros((4, 3, 16, 16), np.float32), np.arange(4) % 3)] * 2


def tiny(seed: int = 1) -> cz.Model:
    """The network with fresh parameters."""
    return cz.Model.from_graph(cz.Graph.parse(TINY), seed=seed)
