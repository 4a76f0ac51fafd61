"""The linear classifier of a network, fitted to its embeddings by logistic regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model

BINARY = 2


@dataclass(frozen=True)
class Head:
    """Weights (K, D) and biases (K,) of a linear layer, and the iterations that found them."""

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    iterations: int

    @classmethod
    def fitted(
        cls,
        embeddings: NDArray[Any],
        classes: NDArray[np.int64],
        sample_weight: NDArray[Any] | None,
        **options: Any,
    ) -> Head:
        """Fit a multinomial logistic regression with an L2 penalty on standardised embeddings.

        Args:
            embeddings: Features (N, D).
            classes: Indices of classes (N,), each at least once.
            sample_weight: Weights (N,), if they differ.
            options: `C` and `max_iter` of scikit-learn's `LogisticRegression`.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(embeddings, sample_weight=sample_weight)
        regression = LogisticRegression(**options)
        regression.fit(scaler.transform(embeddings), classes, sample_weight=sample_weight)
        weight, bias = regression.coef_, regression.intercept_
        if len(regression.classes_) == BINARY:
            # One logit against zero is the same as two.
            weight, bias = np.stack([0 * weight[0], weight[0]]), np.array([0.0, bias[0]])
        # The scaling becomes a part of the layer.
        weight = weight / scaler.scale_
        return cls(weight, bias - weight @ scaler.mean_, int(regression.n_iter_.max()))

    def write_to(self, model: Model) -> None:
        """Make this the classifier of a network, which has a linear one."""
        arrays = model.state_dict()
        name = model.graph.output
        arrays[f"{name}.weight"] = self.weight.astype(np.float32)
        arrays[f"{name}.bias"] = self.bias.astype(np.float32)
        model.load_state_dict(arrays)


def is_linear(model: Model) -> bool:
    """Whether the logits of a network are a linear layer of its embedding."""
    operations = {name: op for name, op, *_ in model.graph.operations()}
    name = model.graph.output
    arrays = {array for array, *_ in model.graph.parameters()}
    return operations[name] == "linear" and f"{name}.bias" in arrays


def need_linear(model: Model) -> None:
    """Refuse a network whose classifier cannot be fitted to its embeddings.

    Raises:
        ArgumentError: It is one.
    """
    if not is_linear(model):
        raise ArgumentError(
            f"{model.name}: expected a network whose classifier is a linear layer, got one of "
            "another kind; train it as a whole with `epochs=10` or so"
        )
