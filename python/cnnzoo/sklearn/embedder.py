"""Photographs to features, as a transformer of scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from cnnzoo._arrays import Device
from cnnzoo.preprocess import Preprocess
from cnnzoo.sklearn._estimator import Estimator

if TYPE_CHECKING:
    import os

    from sklearn.utils import Tags


class Embedder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):  # type: ignore[misc]
    """Turns photographs into the pooled features of a network, for any estimator of scikit-learn.

        pipeline = make_pipeline(cz.sklearn.Embedder("tf_efficientnet_lite0"), LogisticRegression())
        pipeline.fit(paths, labels)

    X is an array of photographs (N, H, W, C) or (N, H, W) of uint8, or a list, array or column of
    paths, Pillow images or arrays of any sizes. With `shape`, it is also a table (N, F) of pixels.
    Numbers of other types become bytes: `value_range` says how.

    Args:
        name: The name of a network, as for `create_model`.
        weights: Its weights, as for `create_model`; the best published ones by default.
        source: Source of the network's definition, as for `create_model`.
        options: Further options of `create_model`, such as `{"image_size": 64, "stem": "small"}`.
        preprocess: Preprocessing in place of that of the network's weights.
        shape: (H, W) or (H, W, C) of the photographs whose pixels are the rows of a table.
        value_range: The numbers of black and of white in arrays that are not of bytes. If not
            given, the lowest and the highest of those that `fit` gets. Numbers beyond are clipped,
            and the range is divided into 256 steps.
        batch_size: Number of photographs that run through the network together.
        random_state: Seed of parameters that are not loaded, or a `RandomState`.
        device: `cpu`, `cuda`, `cuda:N` or a `torch.device`.

    Attributes:
        model_: The network, a `cnnzoo.Model`.
        brightness_: The range of numbers that became bytes; None where X was of bytes.
        n_features_in_: Number of columns of a table; not set for photographs.
    """

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
        self.batch_size = batch_size
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None) -> Embedder:  # noqa: N803  # scikit-learn's name
        """Build the network, and note the range of values of X.

        Args:
            X: Photographs, as the class describes.
            y: Ignored.

        Raises:
            ArgumentError: X is none of these, or an option is invalid.
            ShapeError: An array has another shape.
            UnknownModelError: There is no such network.
            WeightsError: It has no such weights.
        """
        self._photographs(X, fitting=True)
        self.model_ = self._build(num_classes=None)
        rows = {row.name: row for row in self.model_.summary().rows}
        self._n_features_out = rows[self.model_._engine.embedding].shape[0]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Compute the features.

        Args:
            X: Photographs, as the class describes.

        Returns:
            float32 (N, D).

        Raises:
            ArgumentError: X is none of these.
            DataError: A photograph cannot be read; the message has its path.
            DivergenceError: A feature is infinite or NaN.
            sklearn.exceptions.NotFittedError: `fit` was not called.
        """
        check_is_fitted(self)
        return np.concatenate(
            list(self._outputs(self._photographs(X, fitting=False), embedding=True))
        )

    def __sklearn_tags__(self) -> Tags:
        """The tags of scikit-learn: features are float32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []
        return tags
