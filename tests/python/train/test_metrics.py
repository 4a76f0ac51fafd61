"""What an evaluation counts, beside Keras's metrics and PyTorch's losses."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch.nn import functional

import cnnzoo as cz
from cnnzoo.metrics import Metrics, evaluate
from tolerance import ROUNDING

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras

CLASSES = 8


@pytest.fixture(scope="module")
def model() -> cz.Model:
    model = cz.create_model("resnet20", num_classes=CLASSES, seed=1)
    model.labels = [f"kind {index}" for index in range(CLASSES)]
    return model


@pytest.fixture(scope="module")
def batches() -> list[tuple[np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [
        (
            generator.normal(size=(size, 3, 32, 32)).astype(np.float32),
            # One of the classes is never shown.
            generator.integers(0, CLASSES - 1, size),
        )
        for size in (24, 24, 7)
    ]


def test_figures_are_those_of_keras_and_pytorch(
    model: cz.Model, batches: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    loss = cz.CrossEntropy(label_smoothing=0.2)
    found = evaluate(model, batches, loss=loss)
    logits = np.concatenate([model(x) for x, _ in batches])
    shown = np.concatenate([y for _, y in batches])
    mean = functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(shown), label_smoothing=0.2
    )
    assert found.loss == pytest.approx(mean.item(), rel=ROUNDING)
    assert found.count == 55
    for top, value in ((1, found.top1), (5, found.top5)):
        theirs = keras.metrics.SparseTopKCategoricalAccuracy(k=top)
        theirs.update_state(shown, logits)
        assert value == pytest.approx(float(theirs.result()), rel=1e-6)
    one_hot, taken = np.eye(CLASSES)[shown], np.eye(CLASSES)[logits.argmax(1)]
    for index, figures in enumerate(found.per_class):
        assert figures.label == f"kind {index}"
        assert figures.count == (shown == index).sum()
        for kind, value in (
            (keras.metrics.Precision, figures.precision),
            (keras.metrics.Recall, figures.recall),
        ):
            theirs = kind(class_id=index)
            theirs.update_state(one_hot, taken)
            # Keras says 0 where there is nothing to divide by.
            assert np.nan_to_num(value) == pytest.approx(float(theirs.result()), abs=1e-6)
    assert np.isnan(found.per_class[-1].recall)
    assert found.confusion.sum() == 55
    assert found.confusion[3, 5] == ((shown == 3) & (logits.argmax(1) == 5)).sum()


def test_nan_is_never_right(model: cz.Model) -> None:
    x = np.full((2, 3, 32, 32), np.nan, np.float32)
    found = evaluate(model, [(x, np.array([1, 2]))])
    assert found.top1 == 0
    assert found.top5 == 0


def test_a_table_for_people() -> None:
    metrics = Metrics(
        loss=1.0,
        top1=0.75,
        top5=1.0,
        count=4,
        confusion=np.array([[2, 1], [0, 1]]),
        labels=("cat", "dog"),
    )
    assert repr(metrics) == "Metrics(loss=1.0000, top1=75.00%, top5=100.00%, 4 images)"
    lines = metrics.table().splitlines()
    assert lines[0].split() == ["class", "images", "precision", "recall", "f1"]
    assert lines[2].split() == ["cat", "3", "100.0%", "66.7%", "80.0%"]
    assert lines[3].split() == ["dog", "1", "50.0%", "100.0%", "66.7%"]


def test_what_cannot_be_evaluated(model: cz.Model) -> None:
    x = np.zeros((2, 3, 32, 32), np.float32)
    with pytest.raises(cz.ArgumentError, match="at least one batch"):
        evaluate(model, [])
    with pytest.raises(cz.ArgumentError, match=r"integer classes \(N,\), got float"):
        evaluate(model, [(x, np.zeros((2, CLASSES)))])
    with pytest.raises(cz.ArgumentError, match="classes of 0 to 7"):
        evaluate(model, [(x, np.array([0, CLASSES]))])
    with pytest.raises(cz.ShapeError):
        evaluate(model, [(x, np.zeros(3, int))])
