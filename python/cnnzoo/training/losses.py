"""Loss functions: cnnzoo's own, torch's, and custom functions."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import in_order, shown
from cnnzoo._arrays import as_array
from cnnzoo._copying import Value
from cnnzoo.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from cnnzoo import _training

# The mean loss of a batch, the weight of the batch among others, and the gradient of the loss with
# respect to the logits, float32 (N, K).
LossResult: TypeAlias = tuple[float, float, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Value):
    """Softmax cross-entropy, the mean over the batch, as in `torch.nn.CrossEntropyLoss`.

    Targets are classes (N,), or soft targets, a share for each class (N, K), as from mixup.

    Attributes:
        label_smoothing: Label smoothing s: targets y become (1 - s) * y + s / K.
        class_weights: Class weights, which make the mean a weighted one, also over the batches of
            an epoch or an evaluation. As in PyTorch, the mean for soft targets is over images.
        auxiliary: Weight of the loss of each auxiliary classifier; that of the network's graph if
            not given: 0.3 in GoogLeNet, as in its paper, 0.4 in Inception v3.

    Raises:
        ArgumentError: An invalid number, such as weights that are negative, not finite or all 0.
    """

    label_smoothing: float = 0.0
    class_weights: Sequence[float] | None = None
    auxiliary: float | None = None

    def __post_init__(self) -> None:
        _settle(self, "label_smoothing", "auxiliary", sequence="class_weights")
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _training.Loss:
        from cnnzoo import _training

        return _training.Loss(
            binary=False,
            label_smoothing=self.label_smoothing,
            class_weights=None if self.class_weights is None else list(self.class_weights),
            auxiliary=self.auxiliary,
        )

    def _objective(self, targets: ArrayLike) -> _training.Loss:
        return self._engine


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Value):
    """Binary (sigmoid) cross-entropy of each class, the mean over images and classes.

    As in `torch.nn.BCEWithLogitsLoss`. Targets are classes (N,), which become one-hot, or numbers
    of 0 to 1 for each class (N, K). With the latter, training is multi-label: evaluation returns
    metrics of each label, and the model's `task` is `"multi_label"`.

    Attributes:
        label_smoothing: Label smoothing s: targets y become (1 - s) * y + s / K.
        positive_weights: Weight of the positive targets of each class (PyTorch's `pos_weight`).
        auxiliary: Weight of the loss of each auxiliary classifier, as in `CrossEntropy`.

    Raises:
        ArgumentError: An invalid number, such as weights that are negative, not finite or all 0.
    """

    label_smoothing: float = 0.0
    positive_weights: Sequence[float] | None = None
    auxiliary: float | None = None

    def __post_init__(self) -> None:
        _settle(self, "label_smoothing", "auxiliary", sequence="positive_weights")
        _ = self._engine  # which checks the values

    @functools.cached_property
    def _engine(self) -> _training.Loss:
        from cnnzoo import _training

        return _training.Loss(
            binary=True,
            label_smoothing=self.label_smoothing,
            class_weights=None if self.positive_weights is None else list(self.positive_weights),
            auxiliary=self.auxiliary,
        )

    def _objective(self, targets: ArrayLike) -> _training.Loss:
        return self._engine


@dataclass(frozen=True)
class FunctionLoss:
    """A custom loss: a function of NumPy arrays that returns the loss and its gradient.

    Wherever a loss is expected, the function itself can be given. It is called for the output and
    for each auxiliary classifier, whose loss has the weight of the network's graph.

    Attributes:
        function: Function of logits, float32 (N, K), and targets, int64 (N,) or float32 (N, K). It
            returns the batch's mean loss and its gradient with respect to the logits (N, K); and
            the weight of the batch in a mean over batches, if not its number of images.
    """

    function: Callable[[NDArray[np.float32], NDArray[Any]], Any]

    def _objective(self, targets: ArrayLike) -> Callable[[NDArray[np.float32]], LossResult]:
        return functools.partial(self._judge, _settled(targets))

    def _judge(self, targets: NDArray[Any], logits: NDArray[np.float32]) -> LossResult:
        at = f"`loss`, {_name(self.function)}"
        shape = logits.shape
        answer = self.function(logits, targets)
        if not isinstance(answer, tuple) or len(answer) not in (2, 3):
            raise ArgumentError(
                f"{at}: expected (loss, its gradient with respect to the logits), got "
                f"{_told(answer)}; a function of torch tensors is given as "
                "cnnzoo.TorchLoss(function)"
            )
        value, given, *rest = answer
        gradient = np.asarray(given)
        if gradient.dtype.kind not in "fiu" or gradient.shape != shape:
            raise ShapeError(
                f"{at}, its gradient: expected numbers {shape}, got {gradient.dtype} "
                f"{gradient.shape}"
            )
        weight = _number(f"{at}, its weight", rest[0]) if rest else float(len(gradient))
        if not 0 <= weight < math.inf:
            raise ArgumentError(
                f"{at}, its weight: expected a finite number of at least 0, got {weight}"
            )
        return _number(at, value), weight, np.ascontiguousarray(gradient, np.float32)


@dataclass(frozen=True)
class TorchLoss:
    """A loss function of torch tensors, differentiated by torch's autograd.

    A `torch.nn.Module` and torch's own functions are recognised, and can be given wherever a loss
    is expected; a custom function is given as `TorchLoss(function)`. torch is imported at the
    first call of the function. Parameters of a module are not trained.

    Attributes:
        function: Function of logits, float32 (N, K), and targets, int64 (N,) or float32 (N, K),
            both on the CPU. It returns the batch's mean loss, a tensor of one number.

    Raises:
        ArgumentError: It is a torch loss of log-probabilities or probabilities, not of logits.
    """

    function: Callable[[Any, Any], Any]

    def __post_init__(self) -> None:
        if (instead := _instead(self.function)) is not None:
            raise ArgumentError(
                f"`loss`: expected a loss of logits, such as {instead}, got "
                f"{_name(self.function)}, which takes the output of a softmax or sigmoid"
            )

    def _objective(self, targets: ArrayLike) -> Callable[[NDArray[np.float32]], LossResult]:
        return functools.partial(self._judge, _settled(targets))

    def _judge(self, targets: NDArray[Any], logits: NDArray[np.float32]) -> LossResult:
        import torch

        at = f"`loss`, {_name(self.function)}"
        # Also where an evaluation calls it, in a mode of the caller.
        with torch.inference_mode(False), torch.enable_grad():
            leaf = torch.from_numpy(logits).requires_grad_()
            loss = self.function(leaf, torch.from_numpy(targets))
            if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
                raise ArgumentError(f"{at}: expected a tensor of one number, got {_told(loss)}")
            gradient = None
            if loss.requires_grad:
                (gradient,) = torch.autograd.grad(loss.sum(), [leaf], allow_unused=True)
        if gradient is None:
            raise ArgumentError(
                f"{at}: expected a loss that depends on the logits, got one that does not"
            )
        found = np.ascontiguousarray(gradient.numpy(), np.float32)
        return float(loss.detach()), float(len(found)), found


Loss: TypeAlias = CrossEntropy | BinaryCrossEntropy | FunctionLoss | TorchLoss

# Arguments accepted as a loss, with functions that become one.
LossLike: TypeAlias = Loss | Callable[[Any, Any], Any]

# A function of logits (N, K) and targets, of NumPy arrays or, as with losses, of torch tensors.
Metric: TypeAlias = Callable[[Any, Any], Any]


def as_loss(given: LossLike | None) -> Loss:
    """A loss function of the given argument; `CrossEntropy()` for None.

    Raises:
        ArgumentError: It is neither a loss nor a function.
    """
    if given is None:
        return CrossEntropy()
    if isinstance(given, CrossEntropy | BinaryCrossEntropy | FunctionLoss | TorchLoss):
        return given
    if isinstance(given, type) or not callable(given):
        hint = f"; did you mean {given.__name__}()?" if isinstance(given, type) else ""
        raise ArgumentError(
            "`loss`: expected CrossEntropy, BinaryCrossEntropy, a torch.nn.Module, a TorchLoss, or "
            f"a function of (logits, targets), got {_told(given)}{hint}"
        )
    return TorchLoss(given) if _takes_tensors(given) else FunctionLoss(given)


def fits(loss: Loss, num_classes: int) -> None:
    """Check that the loss fits the number of classes.

    Raises:
        ArgumentError: It has weights for another number of classes.
    """
    if isinstance(loss, CrossEntropy | BinaryCrossEntropy):
        loss._engine.fits(num_classes)


def measured(name: str, metric: Metric, logits: NDArray[Any], targets: NDArray[Any]) -> float:
    """The value of a metric that is a function of (logits, targets).

    Raises:
        ArgumentError: It is not a function, or does not return a number.
    """
    at = f"`metrics`, {name}"
    if not callable(metric) or isinstance(metric, type):
        raise ArgumentError(f"{at}: expected a function of (logits, targets), got {_told(metric)}")
    logits, targets = logits.copy(), targets.copy()
    if not _takes_tensors(metric):
        return _number(at, metric(logits, targets))
    import torch

    with torch.no_grad():
        return _number(at, metric(torch.from_numpy(logits), torch.from_numpy(targets)))


def _settled(targets: ArrayLike) -> NDArray[Any]:
    """Targets in the types for custom functions; other code has checked their shape."""
    array = as_array(targets)
    return array.astype(np.int64 if array.ndim == 1 else np.float32)


def _takes_tensors(function: object) -> bool:
    """Whether torch defines the function, or a base of its class, or a library built on torch."""
    while isinstance(function, functools.partial):
        function = function.func
    owner = getattr(function, "__self__", None)
    homes = [getattr(function, "__module__", None)]
    homes += [base.__module__ for base in type(function).__mro__]
    homes += [base.__module__ for base in type(owner).__mro__]
    return any(str(home).partition(".")[0].startswith("torch") for home in homes)


# Torch's losses of (log-)probabilities, and the same losses of logits.
OF_LOGITS = {
    "NLLLoss": "torch.nn.CrossEntropyLoss",
    "nll_loss": "torch.nn.functional.cross_entropy",
    "BCELoss": "torch.nn.BCEWithLogitsLoss",
    "binary_cross_entropy": "torch.nn.functional.binary_cross_entropy_with_logits",
}


def _instead(function: object) -> str | None:
    """The replacement for a torch loss that does not take logits; None if it does."""
    while isinstance(function, functools.partial):
        function = function.func
    names = [
        getattr(one, "__name__", "")
        for one in (function, *type(function).__mro__)
        if str(getattr(one, "__module__", "")).startswith("torch.nn")
    ]
    return next((OF_LOGITS[name] for name in names if name in OF_LOGITS), None)


def _settle(loss: Any, *numbers: str, sequence: str) -> None:
    """Convert the fields of a loss to plain floats."""
    for name in numbers:
        value = getattr(loss, name)
        if value is not None or name != "auxiliary":
            object.__setattr__(loss, name, _number(f"`{name}`", value))
    values = getattr(loss, sequence)
    if values is None:
        return
    expected = "a number for each class, in the order of the model's labels,"
    given = in_order(f"`{sequence}`", values, expected)
    settled = tuple(_number(f"`{sequence}`", value) for value in given)
    object.__setattr__(loss, sequence, settled)


def _number(at: str, value: Any) -> float:
    try:
        if isinstance(value, str | bytes | bytearray | bool | np.complexfloating):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{at}: expected a number, got {_told(value)}") from None


def _name(function: object) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


def _told(value: object) -> str:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} {tuple(shape)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    text = shown(value)
    return text if len(text) <= MOST_TOLD else type(value).__name__


# The most characters of a value that a message shows.
MOST_TOLD = 40
