"""What training makes small."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from cnnzoo import _native


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Softmax cross-entropy, the mean over the batch, as `torch.nn.CrossEntropyLoss` has it.

    Targets are classes (N,), or shares of each class (N, K) such as mixup makes.

    Attributes:
        label_smoothing: How much of each target goes to all classes alike: (1 - s) * y + s / K.
        class_weights: How much each class counts; the mean is over the weights then.
        auxiliary: How much the loss of each auxiliary classifier counts; as the network's graph
            says if not given: 0.3 in GoogLeNet, as in its paper, 0.4 in Inception v3.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    auxiliary: float | None = None

    def __post_init__(self) -> None:
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _native.Loss:
        weights = None if self.class_weights is None else [float(w) for w in self.class_weights]
        return _native.Loss(
            binary=False,
            label_smoothing=self.label_smoothing,
            class_weights=weights,
            auxiliary=self.auxiliary,
        )


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy of each class on its own, the mean over images and classes.

    As `torch.nn.BCEWithLogitsLoss` has it. Targets are classes (N,), which become a one among
    zeros, or numbers of 0 to 1 for each class (N, K).

    Attributes:
        label_smoothing: How much of each target goes to all classes alike: (1 - s) * y + s / K.
        positive_weights: How much more a one counts than a zero, of each class.
        auxiliary: How much the loss of each auxiliary classifier counts, as `CrossEntropy` has it.
    """

    label_smoothing: float = 0.0
    positive_weights: Sequence[float] | None = None
    auxiliary: float | None = None

    def __post_init__(self) -> None:
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _native.Loss:
        weights = self.positive_weights
        return _native.Loss(
            binary=True,
            label_smoothing=self.label_smoothing,
            class_weights=None if weights is None else [float(w) for w in weights],
            auxiliary=self.auxiliary,
        )


Loss = CrossEntropy | BinaryCrossEntropy
