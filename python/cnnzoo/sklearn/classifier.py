"""A classifier of photographs, as an estimator of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_array, check_is_fitted

from cnnzoo._arguments import whole
from cnnzoo._arrays import Device
from cnnzoo.prediction import softmax
from cnnzoo.preprocess import Preprocess
from cnnzoo.sklearn._estimator import Estimator
from cnnzoo.sklearn._head import Head, is_linear, need_linear
from cnnzoo.sklearn._photographs import Photographs

if TYPE_CHECKING:
    import os

    from cnnzoo.training import History
    from cnnzoo.transforms import Transform

FEWEST_CLASSES = 2
# The largest weight of a photograph; sums over many of them are float32.
MOST_WEIGHT = 1e30


class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Classifies photographs: a network whose classifier, or the whole of it, is trained by `fit`.

    First a new linear classifier is fitted to the embeddings of the photographs by logistic
    regression, while the network is frozen. With `epochs`, all parameters are then fine-tuned by
    AdamW with a cosine schedule.

        classifier = cz.sklearn.Classifier("tf_efficientnet_lite0").fit(paths, labels)
        classifier.predict(["photo.jpg"])

    X is as for `Embedder`: an array of photographs, a list of paths or Pillow images, or a table of
    pixels with `shape`. y is a class of any type for each: text, numbers.

    Args:
        name: The name of a network, as for `create_model`.
        weights: Its weights, as for `create_model`; the best published ones by default. With None,
            the network begins with random parameters, so it needs `epochs`.
        source: Source of the network's definition, as for `create_model`.
        options: Further options of `create_model`, such as `{"image_size": 64, "drop_rate": 0.2}`.
        preprocess: Preprocessing in place of that of the network's weights.
        shape: (H, W) or (H, W, C) of the photographs whose pixels are the rows of a table.
        value_range: The numbers of black and of white in arrays that are not of bytes, as for
            `Embedder`.
        C: Inverse strength of the penalty on the linear classifier, as in scikit-learn's
            `LogisticRegression`, on embeddings that are standardised.
        max_iter: Iterations of the logistic regression, at most.
        class_weight: Weights of the classes, `"balanced"`, a mapping, or None, as there.
        epochs: Passes over the photographs that fine-tune all parameters; 0 for none.
        lr: The largest learning rate of fine-tuning.
        weight_decay: Weight decay of fine-tuning.
        augment: Whether fine-tuning augments as `Model.train_transform()` does; or a transform.
        batch_size: Number of photographs that run through the network together.
        random_state: Seed of parameters that are not loaded and of fine-tuning, or a `RandomState`.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.

    Attributes:
        classes_: The classes, sorted.
        model_: The network, a `cnnzoo.Model`, whose labels are the classes as text.
        n_iter_: Iterations of the logistic regression.
        history_: The history of fine-tuning; None without.
        brightness_: The range of numbers that became bytes; None where X was of bytes.
        n_features_in_: Number of columns of a table; not set for photographs.
    """

    classes_: NDArray[Any]
    history_: History | None

    def __init__(
        self,
        name: str,
        *,
        weights: str | os.PathLike[str] | None = "default",
        source: str | None = None,
        options: Mapping[str, Any] | None = None,
        preprocess: Preprocess | None = None,
        shape: tuple[int, ...] | None = None,
        value_range: tuple[float, float] | None = None,
        C: float = 1.0,  # noqa: N803  # scikit-learn's name
        max_iter: int = 1000,
        class_weight: Mapping[Any, float] | str | None = None,
        epochs: int = 0,
        lr: float = 1e-4,
        weight_decay: float = 0.01,
        augment: bool | Transform = True,
        batch_size: int = 32,
        random_state: Any = 0,
        device: Device = "cpu",
    ) -> None:
        self.name = name
        self.weights = weights
        self.source = source
        self.options = options
        self.preprocess = preprocess
        self.shape = shape
        self.value_range = value_range
        self.C = C
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.epochs = epochs
        self.lr = lr
        self.weight_decay = weight_decay
        self.augment = augment
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Classifier:  # noqa: N803
        """Train the classifier; and with `epochs`, the network.

        Args:
            X: Photographs, as the class describes.
            y: The class of each, (N,).
            sample_weight: Weights of the photographs in the loss, (N,). Those of 0 are left out.

        Raises:
            ArgumentError: X or an option is invalid; or the classifier of the network is no linear
                layer, and `epochs` is 0.
            DataError: A photograph cannot be read; the message has its path.
            DivergenceError: The loss or a value becomes infinite or NaN.
            ShapeError: An array has another shape.
            UnknownModelError: There is no such network.
            ValueError: y is no class for each photograph, or has fewer than two classes.
            WeightsError: The network has no such weights.
        """
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y "
                "is None."
            )
        epochs = whole("`epochs`", self.epochs)
        photographs = self._photographs(X, fitting=True)
        y = self._classes_of(y)
        check_consistent_length(photographs, y)
        weights = self._weights_of(sample_weight, y)
        if weights is not None and (kept := np.flatnonzero(weights)).size < len(y):
            photographs = (
                photographs[kept]
                if isinstance(photographs, np.ndarray)
                else [photographs[at] for at in kept.tolist()]
            )
            y, weights = y[kept], weights[kept]
        self.classes_, classes = np.unique(y, return_inverse=True)
        if len(self.classes_) < FEWEST_CLASSES:
            raise ValueError(
                f"y: expected at least 2 classes, got one class with weight: {self.classes_}"
            )
        self._train(photographs, classes, weights, epochs)
        return self

    def _train(
        self,
        photographs: Photographs,
        classes: NDArray[np.int64],
        weights: NDArray[Any] | None,
        epochs: int,
    ) -> None:
        # A `RandomState` draws the seeds one after the other.
        self.model_ = model = self._build(num_classes=len(self.classes_))
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if epochs == 0:
            need_linear(model)
        if is_linear(model):
            embeddings = np.concatenate(list(self._outputs(photographs, embedding=True)))
            options = {"C": self.C, "max_iter": self.max_iter}
            head = Head.fitted(embeddings.astype(np.float64), classes, weights, **options)
            head.write_to(model)
            self.n_iter_ = head.iterations
        model.labels = [str(name) for name in self.classes_]
        self.history_ = None
        if epochs > 0:
            # With the first use, since it loads libtorch.
            from cnnzoo.sklearn._training import fine_tune

            self.history_ = fine_tune(
                model,
                photographs,
                classes,
                weights,
                epochs=epochs,
                lr=self.lr,
                weight_decay=self.weight_decay,
                batch_size=self._batch_size(),
                augment=self.augment,
                seed=seed,
            )

    def _classes_of(self, y: Any) -> NDArray[Any]:
        y = column_or_1d(y, warn=True)
        if y.dtype.kind == "f":
            check_array(y, ensure_2d=False, dtype=None, input_name="y")
        for at, of in enumerate(y.tolist() if y.dtype.kind == "O" else ()):
            # NaN is a float that differs from itself; pandas's NA has no truth value.
            if of is None or type(of).__name__ == "NAType" or of != of:  # noqa: PLR0124
                raise ValueError(f"y[{at}]: expected a class, got {of!r}, which is NaN or missing")
        check_classification_targets(y)
        return np.asarray(y)

    def _weights_of(self, given: Any, y: NDArray[Any]) -> NDArray[np.float64] | None:
        """The weights of the photographs in the loss, if there are any.

        Raises:
            ValueError: They are not a number for each, of at least 0 and at most `MOST_WEIGHT`.
        """
        if given is None and self.class_weight is None:
            return None
        weights = np.ones(len(y))
        if given is not None:
            weights = check_array(
                given, ensure_2d=False, dtype=np.float64, input_name="sample_weight"
            )
            if weights.shape != y.shape:
                raise ValueError(
                    f"`sample_weight`: expected shape {y.shape}, got {weights.shape}: "
                    "sample_weight.ndim and length are those of y"
                )
            if (weights < 0).any() or not weights.any():
                raise ValueError(
                    "`sample_weight`: expected a weight of at least 0 for each photograph, and "
                    "one above zero"
                )
        if self.class_weight is not None:
            weights = weights * compute_sample_weight(self.class_weight, y)
        if not weights.max() <= MOST_WEIGHT:
            raise ValueError(
                "`sample_weight`: expected weights, times those of their classes, of at most "
                f"{MOST_WEIGHT:g}, since sums of losses are float32, got {weights.max():g}"
            )
        return weights

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The probabilities (N, K) of the classes, in the order of `classes_`.

        Args:
            X: Photographs, as the class describes.

        Raises:
            ArgumentError: X is none of these.
            DataError: A photograph cannot be read; the message has its path.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        photographs = self._photographs(X, fitting=False)
        return softmax(np.concatenate(list(self._outputs(photographs, embedding=False))))

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most probable class of each photograph, (N,).

        Args:
            X: Photographs, as the class describes.

        Raises:
            ArgumentError: X is none of these.
            DataError: A photograph cannot be read; the message has its path.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        found = self.predict_proba(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[found]
        return chosen
