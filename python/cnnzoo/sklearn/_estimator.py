"""The part of an estimator that both share: its options, its network, and the photographs in X."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, validate_data

from cnnzoo._arguments import shown, whole
from cnnzoo.errors import ArgumentError, DivergenceError
from cnnzoo.model import Model, create_model
from cnnzoo.preprocess import Preprocess
from cnnzoo.sklearn._photographs import (
    Brightness,
    Photographs,
    batches,
    is_table,
    photographs_of,
    pictures,
    range_of,
    shape_of,
)

if TYPE_CHECKING:
    from sklearn.utils import Tags


class Estimator(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A network with scikit-learn's methods for parameters, copies and checks."""

    # The options, which the constructors of estimators set.
    name: str
    weights: Any
    source: str | None
    options: Mapping[str, Any] | None
    preprocess: Preprocess | None
    shape: tuple[int, ...] | None
    value_range: tuple[float, float] | None
    batch_size: int
    random_state: Any
    device: Any
    # Set by `fit`.
    model_: Model
    brightness_: Brightness | None

    def _photographs(self, x: Any, *, fitting: bool) -> Photographs:
        """The photographs of X; pictures in arrays as bytes.

        Raises:
            ArgumentError: X is neither photographs nor a table with `shape`.
            DataError: Likewise for values: NaN or infinity.
            ShapeError: An array has another shape.
        """
        if fitting:
            self.brightness_ = None
        if is_table(x):
            rows = validate_data(self, x, reset=fitting, dtype="numeric", accept_sparse=False)
            photographs: Photographs = self._drawn(rows)
        else:
            if hasattr(x, "toarray"):
                check_array(x)  # which refuses what is sparse
            photographs = photographs_of(x)
        if isinstance(photographs, np.ndarray):
            return self._bytes(photographs, fitting=fitting)
        return photographs

    def _drawn(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The pictures of a table's rows."""
        if self.shape is None:
            raise ArgumentError(
                f"X: expected photographs (N, H, W, C), or `shape` beside a table of their pixels, "
                f"got an array of shape {rows.shape} and no `shape`"
            )
        found = pictures(rows, shape_of(self.shape))
        return found[..., 0] if found.ndim == 4 and found.shape[3] == 1 else found  # noqa: PLR2004

    def _bytes(self, array: NDArray[Any], *, fitting: bool) -> NDArray[np.uint8]:
        if array.dtype.kind == "f":
            array = check_array(array, allow_nd=True, dtype=None, input_name="X")
        if len(array) == 0:
            raise ArgumentError(f"X: expected photographs, got an array of shape {array.shape}")
        if fitting:
            if self.value_range is not None:
                self.brightness_ = Brightness(*range_of(self.value_range))
            elif array.dtype != np.uint8:
                self.brightness_ = Brightness.of(array)
        if self.brightness_ is not None:
            if array.dtype == np.uint8 and not fitting and self.value_range is None:
                raise ArgumentError(
                    "X: expected numbers that are no bytes, as in `fit`, got uint8; `value_range` "
                    "says which numbers are black and white"
                )
            return self.brightness_(array)
        if array.dtype != np.uint8:
            raise ArgumentError(
                f"X: expected bytes (uint8) as in `fit`, got {array.dtype}; `value_range` says "
                "which numbers are black and white"
            )
        return array

    def _build(self, *, num_classes: int | None) -> Model:
        """The network, with a fresh classifier for so many classes, or without one for 0."""
        options = {} if self.options is None else self.options
        if not isinstance(options, Mapping):
            raise ArgumentError(
                f"`options`: expected a mapping of options of create_model, got {shown(options)}"
            )
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        model = create_model(
            self.name,
            source=self.source,
            weights=self.weights,
            device=self.device,
            **{"seed": seed, **options},
        )
        if self.preprocess is not None:
            model.preprocess = self.preprocess
        if num_classes is not None and num_classes != model.num_classes:
            model.reset_classifier(num_classes=num_classes, seed=seed)
        return model

    def _outputs(
        self, photographs: Photographs, *, embedding: bool
    ) -> Iterator[NDArray[np.float32]]:
        """The embeddings or the logits, batch by batch.

        Raises:
            DivergenceError: Some are infinite or NaN.
        """
        model = self.model_
        for batch in batches(photographs, self._batch_size()):
            x = model.preprocess.to_array(batch)
            values = model.embed(x) if embedding else model(x)
            if not np.isfinite(values).all():
                raise DivergenceError(
                    f"{model.name}: expected finite outputs, got some infinite or NaN: its weights "
                    "are, or its activations overflow"
                )
            yield values

    def _batch_size(self) -> int:
        return whole("`batch_size`", self.batch_size, least=1)

    def __sklearn_tags__(self) -> Tags:
        """The tags of scikit-learn: X may be a table, an array of pictures, or paths."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.input_tags.two_d_array = self.shape is not None
        return tags
