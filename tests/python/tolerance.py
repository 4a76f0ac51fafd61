"""Tolerances by name, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# The same operations on the same library, perhaps in another order or with another number of
# threads: float32 has 24 bits, and sums of some thousand terms lose a few of them. Relative to the
# largest value of the array, since what cancels to almost zero keeps the error of its terms.
ROUNDING = 2e-5

# The native engine folds norms into the weights before them, multiplies transformed images for 3×3
# convolutions (Winograd), and adds up in another order than libtorch: each layer rounds a few last
# bits otherwise, and up to some hundred layers pass that on.
FUSED = 1e-4

# A few deep networks amplify that: of timm's mobilenetv4_hybrid_large at 384 pixels, with random
# parameters, PyTorch's own float32 logits are 8e-5 from those in float64, and the native engine's
# 1.3e-4. Beyond `FUSED` the native run may be this many times as far from float64 as the source.
FUSED_TIMES = 3

# onnxruntime, from the files that `cz.onnx.export` writes: float32 as in libtorch, and without
# Winograd, but it folds norms into weights and adds up in an order of its own. Of 18 networks with
# settled norms none was more than 5e-6 from its source. Where a network amplifies rounding,
# onnxruntime may be this many times as far from float64 as the source.
ONNX = ROUNDING
ONNX_TIMES = FUSED_TIMES

# A gradient sums over the batch and the image what the forward pass rounded, through up to 150
# layers whose batch statistics come from a few values.
ROUNDING_OF_GRADIENTS = 2e-4

# The same in Keras, which convolves in another layout and computes batch statistics itself, through
# a step whose norms almost cancel: what the forward pass rounds grows up to a thousand times there.
ROUNDING_IN_ANOTHER_LAYOUT = 2e-3

# What it computes before that, with running statistics or of the batch.
VALUES_IN_ANOTHER_LAYOUT = 5e-5

# There, a gradient this much smaller than what is usual in its network is compared on that scale:
# the shift of a norm whose effect the next norm takes away has none but what rounding leaves.
LEAST_GRADIENT = 0.1

# Where a step of a few images throws small differences about, rounding is no fixed share of the
# loss. It is then so many times what other last bits of images and weights make of the reference:
# operations that add up in another order round in every layer, and a few tries miss the worst.
TIMES_THE_LAST_BIT = 10.0

# What some dozens of training steps make of rounding: another way to about the same loss, as a
# share of the loss at the beginning.
STATISTICAL = 0.05

# The top-1 and top-5 accuracies, in percent, of the same weights as two libraries state them: they
# decode and resize photographs with other programs, and round to a tenth.
EVALUATIONS = 0.4

# What a text tells in words or in one or two digits: "a fiftieth", "nearly three times".
TOLD = 0.05

# Values that are compared at a time.
BLOCK = 1 << 16


def difference(
    ours: NDArray[np.generic], theirs: NDArray[np.generic], *, floor: float = 0.0
) -> float:
    """The largest difference, relative to the largest magnitude of `theirs`, at least `floor`."""
    assert ours.shape == theirs.shape, f"shapes differ: {ours.shape}, {theirs.shape}"
    worst, scale = np.float64(0), np.float64(floor)
    for a, b in _blocks(ours, theirs):
        scale = np.maximum(scale, np.abs(b).max(initial=0))
        worst = np.maximum(worst, np.abs(np.subtract(a, b, dtype=np.float64)).max(initial=0))
    assert np.isfinite(scale), "the reference is not finite"
    return float(worst / scale if scale > 0 else worst)


def _blocks(
    a: NDArray[np.generic], b: NDArray[np.generic]
) -> Iterator[tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """Both in parts that fit into the cache: temporary arrays of whole weights take seconds."""
    a, b = np.atleast_1d(a), np.atleast_1d(b)
    rows = max(1, BLOCK * len(a) // max(1, a.size))
    for row in range(0, len(a), rows):
        yield a[row : row + rows], b[row : row + rows]
