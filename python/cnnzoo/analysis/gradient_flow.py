"""Gradient flow: the gradient of each layer's weights, from the first layer to the last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import instance, seed_of, some_classes
from cnnzoo._arrays import as_array
from cnnzoo._html import html_table
from cnnzoo._plots import GREY, SERIES, axes_for, calm, literal
from cnnzoo._rows import Rows
from cnnzoo._text import counted, table
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.model import Model
from cnnzoo.prediction import log_softmax, probabilities

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The number of dimensions of targets that are classes, and of soft targets.
CLASSES, SHARES = 1, 2


@dataclass(frozen=True, kw_only=True)
class LayerGradient:
    """The gradient of the weights of one layer.

    Attributes:
        parameter: The name of the weights.
        shape: Their shape.
        norm: The Euclidean norm of their gradient.
        weight_norm: The Euclidean norm of the weights.
    """

    parameter: str
    shape: tuple[int, ...]
    norm: float
    weight_norm: float

    @property
    def layer(self) -> str:
        """The name of the layer."""
        return self.parameter.removesuffix("weight").rstrip("._")

    @property
    def relative(self) -> float:
        """The gradient's norm, relative to that of the weights; NaN where these are 0."""
        return self.norm / self.weight_norm if self.weight_norm else float("nan")


@dataclass(frozen=True, kw_only=True, repr=False)
class GradientFlow(Rows[LayerGradient]):
    """The gradients of a network's weights for one batch, a row for each layer.

    `flow["conv1"]` and `flow[0]` are layers; `to_dict` and `to_pandas` have their numbers.

    Attributes:
        name: The name of the network.
        loss: The batch's mean cross-entropy; binary where the model's task is `"multi_label"`.
        layers: The layers with weights that are trained, in the order of the graph.
    """

    name: str
    loss: float
    layers: tuple[LayerGradient, ...]

    _rows_are = "layers"
    _found_by = "layer"
    _further_columns = ("layer", "relative")

    def plot(
        self, *, relative: bool = False, label: str | None = None, ax: Axes | None = None
    ) -> Axes:
        """Draw the norm of each layer's gradient, from the first layer to the last.

        Drawn on the axes of another network, it is a second line there:

            residual.plot(ax=plain.plot())

        Args:
            relative: Draw norms relative to those of the weights.
            label: The name in the legend; the network's if not given.
            ax: Matplotlib axes to draw on; new ones if not given.

        Returns:
            The axes.

        Raises:
            MissingPackageError: matplotlib is not installed.
            TypeError: `ax` is something else.
        """
        ax = axes_for(ax, "gradient flow", (6.4, 3.2))
        values = [layer.relative if relative else layer.norm for layer in self.layers]
        # A logarithmic axis has no place for 0, and none for what is not finite.
        y = [value if 0 < value < float("inf") else float("nan") for value in values]
        ax.plot(
            range(1, len(y) + 1),
            y,
            "o-",
            color=SERIES[len(ax.lines) % len(SERIES)],
            markersize=3,
            linewidth=1.2,
            label=literal(label or self.name),
        )
        ax.set_yscale("log")
        ax.set_xlabel("layer with weights")
        ax.set_ylabel("gradient norm, of the weights' norm" if relative else "gradient norm")
        locator: Any = ax.xaxis.get_major_locator()
        locator.set_params(integer=True)
        calm(ax, grid="y")
        ax.legend(frameon=False, fontsize=8, labelcolor=GREY)
        return ax

    def table(self) -> str:
        """A table of the layers, as text."""
        return table(HEAD, self._rows(), right=(1, 2, 3))

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                layer.layer,
                "×".join(map(str, layer.shape)),
                f"{layer.norm:.3g}",
                f"{layer.relative:.3g}",
            )
            for layer in self.layers
        ]

    def __repr__(self) -> str:
        if not self.layers:
            return f"<GradientFlow of {self.name}: no trained weights>"
        first, last = self.layers[0].norm, self.layers[-1].norm
        return (
            f"<GradientFlow of {self.name}: {counted(len(self.layers), 'layer')}, norms from "
            f"{first:.3g} in the first to {last:.3g} in the last>"
        )

    def _repr_html_(self) -> str:
        return html_table(HEAD, self._rows(), right=(1, 2, 3), caption=repr(self)[1:-1])


HEAD = ("layer", "weights", "gradient norm", "relative")


def gradient_flow(
    model: Model, x: ArrayLike, y: ArrayLike, *, training: bool = True, seed: int = 0
) -> GradientFlow:
    """Compute the gradient of the mean cross-entropy of a batch by the weights of every layer.

    A model whose `task` is `"multi_label"` has the binary cross-entropy, its mean over all labels.
    Weights are those of convolutions, linear layers and attention; norms, biases and embeddings
    are left out, and auxiliary classifiers do not run.

    Args:
        model: The model, which stays as it is: with `training` a copy of it runs. Frozen weights
            have no gradient.
        x: Images (N, C, H, W), as for `Model.__call__`.
        y: Targets: classes (N,), or soft targets, a share for each class (N, K); of a multi-label
            model a 0 or 1 for each label (N, K), or a number between.
        training: Training mode, in which batch norm uses the statistics of the batch, and dropout
            is active.
        seed: Seed of dropout.

    Returns:
        The gradient's norm for each layer; `plot` draws them.

    Raises:
        ArgumentError: A class is not one of the model's, a label is not from 0 to 1, or the model
            has no classifier.
        MissingPackageError: There is no libtorch.
        ShapeError: The targets are not one for each image, or in training mode a batch norm sees a
            single value per channel.
    """
    instance("`model`", model, Model, "a cnnzoo.Model")
    instance("`training`", training, bool, "True or False")
    seed = seed_of(seed)
    several = model.task == "multi_label"
    x, shares = as_array(x), (_labels if several else _shares)(as_array(y), model)
    # Training mode tracks the batch's statistics.
    one = model.copy() if training else model
    nothing = np.zeros(shares.shape, np.float32)
    logits, _ = one.vjp(x, nothing, training=training, seed=seed)
    slopes_of = _binary_cross_entropy if several else _cross_entropy
    losses, slopes = slopes_of(logits.astype(np.float64), shares)
    _, gradients = one.vjp(x, slopes.astype(np.float32), training=training, seed=seed)
    weights = model.state_dict()
    return GradientFlow(
        name=model.name,
        loss=float(losses.mean()),
        layers=tuple(
            LayerGradient(
                parameter=name,
                shape=tuple(shape),
                norm=_norm(gradients[name]),
                weight_norm=_norm(weights[name]),
            )
            for name, shape, _ in model.graph.parameters()
            if name in gradients and name.endswith("weight") and len(shape) > 1
        ),
    )


def _shares(y: NDArray[np.generic], model: Model) -> NDArray[np.float64]:
    """Targets as shares (N, K)."""
    at, classes = f"targets of {model.name}", _classes(model)
    if y.ndim == CLASSES and y.dtype.kind in "iu":
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < classes:
            raise ArgumentError(
                f"{at}: expected classes of 0 to {classes - 1}, got {y.min()} to {y.max()}"
            )
        return np.eye(classes)[y.astype(np.int64)]
    if y.ndim == SHARES and y.shape[1] == classes and y.dtype.kind in "iuf":
        return y.astype(np.float64)
    raise ShapeError(
        f"{at}: expected integer classes (N,), or a share for each class (N, {classes}), got "
        f"{y.dtype} {y.shape}"
    )


def _labels(y: NDArray[np.generic], model: Model) -> NDArray[np.float64]:
    """Targets as a number of 0 to 1 for each label (N, K)."""
    at, labels = f"targets of {model.name}", _classes(model)
    if y.ndim != SHARES or y.shape[1] != labels or y.dtype.kind not in "biuf":
        raise ShapeError(
            f"{at}, whose `task` is multi_label: expected a 0 or 1 for each label (N, {labels}), "
            f"got {y.dtype} {y.shape}"
        )
    found = y.astype(np.float64)
    if not ((found >= 0) & (found <= 1)).all():
        raise ArgumentError(f"{at}: expected labels of 0 to 1, got others")
    return found


def _classes(model: Model) -> int:
    return some_classes(model.name, model.num_classes, "to learn with")


def _cross_entropy(
    logits: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The loss of each image, and the gradient of their mean by the logits."""
    logs = log_softmax(logits)
    slopes = np.exp(logs) * shares.sum(1, keepdims=True) - shares
    return -(shares * logs).sum(1), slopes / len(logits)


def _binary_cross_entropy(
    logits: NDArray[np.float64], labels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same with binary cross-entropy, the mean over the labels of an image."""
    losses = np.logaddexp(0.0, logits) - labels * logits
    return losses.mean(1), (probabilities(logits) - labels) / logits.size


def _norm(values: NDArray[np.generic]) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).sum()))
