"""The evaluation that keeps every prediction beside the truth."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import whole
from cnnzoo._progress import Count
from cnnzoo.analysis._images import BATCH, LabelledBatches, check_classifier
from cnnzoo.analysis.examples import COLUMNS, UNDECIDED, Examples
from cnnzoo.analysis.pictures import Pictures
from cnnzoo.data import Dataset, Loader
from cnnzoo.errors import ShapeError
from cnnzoo.model import InferencePrecision, Model
from cnnzoo.prediction import log_softmax
from cnnzoo.training.metrics import ranks_of


def evaluate_examples(
    model: Model,
    data: Loader | Dataset | Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    batch_size: int = BATCH,
    precision: InferencePrecision = "float32",
    progress: bool | None = None,
) -> Examples:
    """Predict the class of each labelled image, and keep every prediction beside the truth.

        found = evaluate_examples(model, validation)
        found.most_confident_errors().gallery()
        found.calibration().plot()

    Args:
        model: The model, which runs in inference mode.
        data: A loader, whose first epoch is taken, and which stays where it is; a data set, whose
            photographs are prepared by `model.preprocess`; or batches of images (N, C, H, W) and
            classes (N,). Where the data set names its classes, they are matched to the model's
            `labels` by name. Photographs that cannot be read are treated as the loader's `on_error`
            says.
        batch_size: The size of a data set's batches.
        precision: Compute precision, as for `Model.__call__`.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        The predictions, in the order of the data.

    Raises:
        ArgumentError: The data are none of these, have no image, have other targets than classes,
            or classes that the model does not have; or the model has no classifier, or predicts
            any number of labels (`task`).
        DataError: A photograph cannot be read, and `on_error` is `raise`.
    """
    check_classifier(model, "evaluation")
    batch_size = whole("`batch_size`", batch_size, least=1)
    batches = LabelledBatches(model, data, at="evaluation", batch_size=batch_size)
    parts: list[tuple[NDArray[Any], ...]] = []
    with Count(batches.images, "images", shown=progress is not False) as count:
        for batch in batches:
            logits = model(batch.x, precision=precision)
            parts.append((batch.index, batch.y, *_judged(logits, batch.y)))
            count.advance(len(batch.y))
    columns = map(np.concatenate, zip(*parts, strict=True))
    source = data if isinstance(data, Sequence) else batches.dataset
    return Examples(
        labels=model.labels,
        **dict(zip(COLUMNS, columns, strict=True)),
        bad_samples=tuple(batches.bad),
        pictures=Pictures(source, model.preprocess.mean, model.preprocess.std),
    )


def _judged(logits: NDArray[np.float32], true: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Predicted class, its probability, that of the true class, loss and rank of each image."""
    if len(logits) != len(true):
        raise ShapeError(f"expected logits of {len(true)} images, got {len(logits)}")
    unknown = np.isnan(logits).any(1)
    logs = log_softmax(logits)
    rows = np.arange(len(true))
    largest = np.where(unknown, 0, logits.argmax(1))
    predicted = np.where(unknown, UNDECIDED, largest)
    probability = np.where(unknown, np.nan, np.exp(logs[rows, largest]))
    own = np.exp(logs[rows, true])
    ranks = np.where(unknown, logits.shape[1], ranks_of(logits, true))
    return predicted, probability, own, -logs[rows, true], ranks
