"""Metrics of an evaluation, beside Keras's metrics and PyTorch's losses."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from torch.nn import functional

import cnnzoo as cz
from cnnzoo.losses import Metric
from cnnzoo.metrics import Metrics, evaluate
from tolerance import ROUNDING
from train.chosen import cut, images, network

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
    found = evaluate(model, [(x, np.array([0, 1]))])
    assert (found.top1, found.top5, found.count) == (0, 0, 2)
    assert found.confusion.sum() == 0
    assert found.undecided.tolist() == [1, 1] + [0] * 6
    assert [f.count for f in found.per_class] == found.undecided.tolist()
    assert [f.recall for f in found.per_class[:2]] == [0, 0]
    assert np.isnan([f.precision for f in found.per_class]).all()


def test_one_nan_among_the_logits_leaves_the_others_as_they_are() -> None:
    """Five of six images are recognised; the sixth is missed, and nothing is taken for it."""
    logits = np.eye(6)
    logits[0, 0] = np.nan
    shown = np.arange(6)
    found = evaluate(network(6), cut(images(logits), shown, 4))
    assert found.top1 == pytest.approx(5 / 6)
    assert found.top5 == pytest.approx(5 / 6)
    np.testing.assert_array_equal(found.confusion, np.diag([0, 1, 1, 1, 1, 1]))
    assert [f.recall for f in found.per_class] == [0, 1, 1, 1, 1, 1]
    assert [f.precision for f in found.per_class[1:]] == [1] * 5


def test_a_step_counts_no_image_whose_logits_hold_a_nan() -> None:
    """Not even where PyTorch's argmax, which puts NaN first, would hit."""
    model = network(4)
    x, y = images(np.eye(4)), np.arange(4)
    optimizer = cz.SGD(model, lr=0.0)
    assert model.train_step(x, y, optimizer).correct == 4
    model.load_state_dict(
        {**model.state_dict(), "fc.bias": np.array([0, np.nan, 0, 0], np.float32)}
    )
    assert model.train_step(x, y, optimizer).correct == 0
    assert model.train_step(x, np.eye(4), optimizer).correct == 0


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize("weights", [None, [1.0, 5.0, 9.0], [0.0, 1.0, 1.0]], ids=str)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_does_not_depend_on_the_batches(
    size: int, weights: list[float] | None, smoothing: float
) -> None:
    logits = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    shown = np.arange(9) % 3
    loss = cz.CrossEntropy(class_weights=weights, label_smoothing=smoothing)
    found = evaluate(network(3), cut(images(logits), shown, size), loss=loss)
    theirs = functional.cross_entropy(
        torch.from_numpy(logits).double(),
        torch.from_numpy(shown),
        None if weights is None else torch.tensor(weights).double(),
        label_smoothing=smoothing,
    )
    # The same logits to the last bit, and sums in float64.
    assert found.loss == pytest.approx(theirs.item(), rel=1e-12)


def test_there_is_no_mean_of_images_that_all_weigh_nothing() -> None:
    found = evaluate(
        network(3),
        [(images(np.eye(3)), np.zeros(3, int))],
        loss=cz.CrossEntropy(class_weights=[0, 1, 1]),
    )
    assert np.isnan(found.loss)
    assert found.top1 == pytest.approx(1 / 3)


@pytest.mark.parametrize(("classes", "there"), [(2, False), (5, False), (6, True)])
def test_top5_is_left_out_where_it_is_always_right(classes: int, there: bool) -> None:
    found = evaluate(network(classes), [(images(np.eye(classes)), np.arange(classes))])
    assert found.top5 == (1.0 if there else None)
    assert ("top5=" in repr(found)) == there


def test_metrics_of_ones_own_see_all_images_at_once() -> None:
    logits = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32)
    shown = np.arange(9) % 3

    def spread(logits: np.ndarray, targets: np.ndarray) -> float:
        logits -= 1000  # which only it sees
        return float(np.ptp(logits[targets == 1]))

    asked: dict[str, Metric] = {
        "spread": spread,
        "theirs": torch.nn.CrossEntropyLoss(reduction="sum"),
    }
    found = [
        evaluate(network(3), cut(images(logits), shown, size), metrics=asked) for size in (9, 2)
    ]
    assert found[0].extra["spread"] == pytest.approx(np.ptp(logits[shown == 1]), rel=1e-4)
    assert found[0].extra["theirs"] == pytest.approx(9 * found[0].loss, rel=ROUNDING)
    assert found[0].extra == found[1].extra
    wrong: list[tuple[str, object]] = [
        ("expected a number, got None", lambda *_: None),
        (r"expected a number, got ndarray \(9, 3\)", lambda logits, _: logits),
        ("expected a function", 3),
    ]
    for message, metric in wrong:
        with pytest.raises(cz.ArgumentError, match=f"`metrics`, mine: {message}"):
            evaluate(network(3), [(images(logits), shown)], metrics={"mine": metric})  # type: ignore[dict-item]


def test_a_table_for_people() -> None:
    metrics = Metrics(
        loss=1.0,
        top1=0.75,
        top5=1.0,
        count=4,
        confusion=np.array([[2, 1], [0, 1]]),
        undecided=np.array([0, 0]),
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
    with pytest.raises(cz.ArgumentError, match=r"`model`: expected a cnnzoo.Model, got 'resnet18'"):
        evaluate("resnet18", [(x, np.zeros(2, int))])  # type: ignore[call-overload]


def test_what_are_no_batches_is_said() -> None:
    model = cz.create_model("resnet20", num_classes=2)
    x, y = np.zeros((2, 3, 32, 32), np.float32), np.zeros(2, int)
    for wrong in ((x, y), [(x, y, y)], [x]):
        with pytest.raises(cz.ArgumentError, match=r"evaluation, batch 1: .* \(x, y\), got"):
            cz.metrics.evaluate(model, wrong)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="loader: dataset: expected a data set such as"):
        cz.data.Loader([(x, y)])  # type: ignore[call-overload]
    with pytest.raises(cz.ArgumentError, match="`file`: expected a path, got"):
        cz.load(b"model.safetensors")  # type: ignore[arg-type]


def test_of_equal_logits_the_first_are_the_five_largest() -> None:
    classes = 8
    shown = np.arange(classes)
    found = cz.metrics.evaluate(network(classes), [(images(np.zeros((classes, classes))), shown)])
    assert (found.top1, found.top5) == (1 / classes, 5 / classes)
    rounded = np.random.default_rng(0).integers(0, 3, (40, classes)).astype(float)
    shown = np.arange(40) % classes
    found = cz.metrics.evaluate(network(classes), [(images(rounded), shown)])
    five = np.argsort(-rounded, axis=1, kind="stable")[:, :5]
    assert found.top5 == np.mean((five == shown[:, None]).any(1))


def test_without_a_loss_it_is_the_cross_entropy_of_pytorch(
    model: cz.Model, batches: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    found = evaluate(model, batches)
    logits = torch.from_numpy(np.concatenate([model(x) for x, _ in batches])).double()
    shown = torch.from_numpy(np.concatenate([y for _, y in batches]))
    assert found.loss == pytest.approx(functional.cross_entropy(logits, shown).item(), rel=ROUNDING)
    given = evaluate(model, batches, loss=cz.CrossEntropy())
    assert (found.top1, found.top5, found.count) == (given.top1, given.top5, given.count)
    np.testing.assert_array_equal(found.confusion, given.confusion)
    x, y = batches[0]
    with pytest.raises(cz.ArgumentError, match="expected classes of 0 to 7, got 8"):
        evaluate(model, [(x, np.full_like(y, 8))])
    with pytest.raises(cz.ShapeError, match=r"expected \(24,\), got \(23,\)"):
        evaluate(model, [(x, y[1:])])


def test_a_network_without_a_classifier_has_no_accuracy() -> None:
    features = cz.create_model("resnet20", num_classes=0)
    with pytest.raises(cz.ArgumentError, match="got one of num_classes=0"):
        evaluate(features, [(np.zeros((1, 3, 32, 32), np.float32), np.zeros(1, int))])
