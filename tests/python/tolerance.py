"""How near is near enough, by name and with the reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The same operations on the same library, perhaps in another order or with another number of
# threads: float32 has 24 bits, and sums of some thousand terms lose a few of them. Relative to the
# largest value of the array, since what cancels to almost zero keeps the error of its terms.
ROUNDING = 2e-5

# A gradient sums over the batch and the image what the forward pass rounded, through up to 150
# layers whose batch statistics come from a few values.
ROUNDING_OF_GRADIENTS = 2e-4

# Where another library rounds otherwise, gradients may move by this many times what rounding of the
# image moves them: both take a few inputs of ReLU across zero, but not the same ones.
SENSITIVITY = 4


def difference(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    """The largest difference, relative to the largest magnitude of `theirs`."""
    assert ours.shape == theirs.shape, f"shapes differ: {ours.shape}, {theirs.shape}"
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    assert np.isfinite(b).all(), "the reference is not finite"
    scale = float(np.abs(b).max(initial=0.0))
    worst = float(np.abs(a - b).max(initial=0.0))
    return worst / scale if scale > 0 else worst


def distance(ours: NDArray[np.generic], theirs: NDArray[np.generic]) -> float:
    """The length of the difference, relative to the length of `theirs`."""
    assert ours.shape == theirs.shape, f"shapes differ: {ours.shape}, {theirs.shape}"
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    assert np.isfinite(b).all(), "the reference is not finite"
    scale = float(np.linalg.norm(b))
    worst = float(np.linalg.norm(a - b))
    return worst / scale if scale > 0 else worst
