"""Images with any number of labels: their figures by definition, and a run from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from cnnzoo.metrics import MultiLabelMetrics, evaluate
from tolerance import ROUNDING
from train.chosen import cut, images, network

LABELS = 4


def average_precision(scores: NDArray[Any], truth: NDArray[np.bool_]) -> float:
    """The precision where all of at least its score are taken, of each image that has the label."""
    of_each = [truth[scores >= score].mean() for score in scores[truth]]
    return float(np.mean(of_each)) if of_each else float("nan")


def drawn(count: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Logits, many of them equal, and labels, of which nobody has the last."""
    generator = np.random.default_rng(seed)
    truth = generator.random((count, LABELS)) < (0.5, 0.2, 0.8, 0.0)
    logits = np.round(generator.normal(size=truth.shape) + truth, 1)
    return logits.astype(np.float32), truth.astype(np.float32)


@pytest.mark.parametrize("threshold", [0.5, 0.7])
@pytest.mark.parametrize("size", [60, 7, 1])
def test_figures_follow_their_definitions(size: int, threshold: float) -> None:
    logits, truth = drawn(60, seed=1)
    found = evaluate(
        network(LABELS),
        cut(images(logits), truth, size),
        loss=cz.BinaryCrossEntropy(),
        threshold=threshold,
    )
    assert isinstance(found, MultiLabelMetrics)
    loss = functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits).double(), torch.from_numpy(truth).double()
    )
    assert found.loss == pytest.approx(loss.item(), rel=1e-12)
    assert (found.count, found.threshold) == (60, threshold)
    taken = torch.sigmoid(torch.from_numpy(logits)).numpy() >= threshold
    shown = truth > 0
    for index, figures in enumerate(found.per_label):
        hits = int((taken & shown)[:, index].sum())
        all_taken, all_shown = int(taken[:, index].sum()), int(shown[:, index].sum())
        assert figures.count == all_shown
        assert figures.average_precision == pytest.approx(
            average_precision(logits[:, index], shown[:, index]), nan_ok=True
        )
        assert figures.precision == pytest.approx(hits / all_taken)
        assert figures.f1 == pytest.approx(2 * hits / (all_taken + all_shown))
        assert figures.accuracy == pytest.approx((taken == shown)[:, index].mean())
        if all_shown:
            assert figures.recall == pytest.approx(hits / all_shown)
    assert np.isnan(found.per_label[3].recall)
    assert np.isnan(found.per_label[3].average_precision)
    of_each = [f.average_precision for f in found.per_label[:3]]
    assert found.mean_average_precision == pytest.approx(np.mean(of_each))
    assert found.f1 == pytest.approx(np.mean([f.f1 for f in found.per_label]))
    assert found.accuracy == pytest.approx((taken == shown).mean())


def test_figures_are_those_of_scikit_learn() -> None:
    """Results of `average_precision_score` and `f1_score` of version 1.9, written down."""
    logits = np.array([[2, -1, 0.5], [-1, 0.5, 0.5], [0.3, 0.5, -2], [0.1, -3, 1]], np.float32)
    truth = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1]])
    found = evaluate(network(3), [(images(logits), truth)], loss=cz.BinaryCrossEntropy())
    assert isinstance(found, MultiLabelMetrics)
    of_each = [f.average_precision for f in found.per_label]
    assert of_each == pytest.approx([1.0, 0.5, 0.8333333333333333])
    assert [f.f1 for f in found.per_label] == pytest.approx([0.8, 0.5, 0.8])
    assert found.labels == ("class 0", "class 1", "class 2")


def test_nan_is_the_wrong_answer() -> None:
    """The image that has the label comes last, and those that do not come first."""
    truth = np.array([[1], [1], [0], [0]])
    logits = np.array([[3.0], [np.nan], [-3.0], [np.nan]])
    found = evaluate(network(1), [(images(logits), truth)], loss=cz.BinaryCrossEntropy())
    assert isinstance(found, MultiLabelMetrics)
    (figures,) = found.per_label
    assert (figures.precision, figures.recall, figures.accuracy) == (0.5, 0.5, 0.5)
    # After the negative NaN the first hit, after the other negative the second.
    assert figures.average_precision == pytest.approx((1 / 2 + 2 / 4) / 2)


def data(count: int) -> list[tuple[NDArray[np.float32], NDArray[Any]]]:
    """Batches whose labels are easy to tell."""
    generator = np.random.default_rng(3)
    truth = generator.random((count, 6, LABELS)) < 0.4
    noise = generator.normal(0, 0.1, truth.shape)
    return [(images(x), y) for x, y in zip(truth + noise, truth.astype(int), strict=True)]


def test_a_run_learns_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, validation = data(8), data(3)
    model = network(LABELS)
    log = cz.callbacks.JsonLines(tmp_path / "log.jsonl")
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=2.0), loss=cz.BinaryCrossEntropy(), ema=0.5)
    stop = cz.callbacks.EarlyStopping(monitor="val_map", patience=5)
    history = one.fit(train, validation, epochs=6, checkpoint=tmp_path, callbacks=[log, stop])
    assert history[-1].val_map == 1.0
    assert history[-1].val_accuracy == 1.0
    assert (history[-1].train_top1, history[-1].val_top1, history[-1].val_top5) == (None,) * 3
    found = one.evaluate(validation)
    assert isinstance(found, MultiLabelMetrics)
    assert (found.mean_average_precision, found.f1) == (history[-1].val_map, history[-1].val_f1)
    assert "val mAP 100.00%, val f1 100.00%" in capsys.readouterr().err
    head = repr(history).splitlines()[0]
    assert ["mAP" in head, "f1" in head, "top1" in head, "top5" in head] == [
        True,
        True,
        False,
        False,
    ]
    logged = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert logged["val_map"] == 1.0
    assert logged["val_top1"] is None
    # The task goes where the model goes.
    best = cz.load(tmp_path / "best.safetensors")
    assert [m.task for m in (model, one.averaged, best, model.copy())] == ["multi_label"] * 4  # type: ignore[union-attr]
    again = cz.Trainer.resume(tmp_path, train, validation, progress=False)
    assert again.history.rows == history.rows
    assert again.model.task == "multi_label"
    assert model.reset_classifier(num_classes=2).task == "multi_class"


def test_a_file_gives_its_task_to_a_network_with_its_classifier(tmp_path: Path) -> None:
    model = cz.create_model("resnet20", num_classes=4)
    model.task = "multi_label"
    model.save(tmp_path / "model.safetensors")
    for classes, task in ((4, "multi_label"), (None, "multi_label"), (5, "multi_class")):
        other = cz.create_model(
            "resnet20", num_classes=classes, weights=tmp_path / "model.safetensors"
        )
        assert other.task == task


@pytest.mark.parametrize("binary", [True, False])
def test_without_validation_the_targets_say_the_task(binary: bool) -> None:
    model = network(LABELS)
    loss = cz.BinaryCrossEntropy() if binary else cz.CrossEntropy()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=loss, mixup=0.2)
    one.fit(
        [(x, y if binary else np.full(y.shape, 1 / LABELS)) for x, y in data(2)],
        epochs=1,
        progress=False,
    )
    assert model.task == ("multi_label" if binary else "multi_class")
    # Mixed classes are shares, but not labels.
    one.fit([(x, np.arange(6) % 4) for x, _ in data(2)], epochs=1, progress=False)
    assert model.task == "multi_class"
    assert one.history[-1].train_top1 is not None


def test_classes_with_a_binary_loss_are_evaluated_as_classes() -> None:
    found = evaluate(network(3), [(images(np.eye(3)), np.arange(3))], loss=cz.BinaryCrossEntropy())
    assert isinstance(found, cz.Metrics)
    assert found.top1 == 1.0


@pytest.mark.parametrize(
    ("validation", "loss", "message"),
    [
        (np.full((6, 4), 0.5), cz.BinaryCrossEntropy(), r"0 or 1 for each label \(N, K\), got 0.5"),
        (np.full((6, 4), np.nan), cz.BinaryCrossEntropy(), "got nan"),
        (np.ones((6, 3)), cz.BinaryCrossEntropy(), r"expected \(6, 4\), got \(6, 3\)"),
        (np.ones((6, 4)), cz.CrossEntropy(), r"integer classes \(N,\), got float64 \(6, 4\)"),
        (np.full(6, 4), cz.CrossEntropy(), "classes of 0 to 3, got 4"),
        (np.full(6, "cat"), cz.CrossEntropy(), r"integer classes \(N,\), got <U3"),
        (np.zeros(5, int), cz.CrossEntropy(), r"expected \(6,\), got \(5,\)"),
        (np.full(6, 0.5), cz.BinaryCrossEntropy(), "expected integer classes .* or a 0 or 1"),
    ],
    ids=str,
)
def test_validation_is_checked_before_the_first_step(
    validation: NDArray[Any], loss: Any, message: str, tmp_path: Path
) -> None:
    model = network(LABELS)
    before = model.state_dict()
    optimizer = cz.SGD(model, lr=0.1)
    one = cz.Trainer(model, optimizer=optimizer, loss=loss)
    for of_validation in ([(data(1)[0][0], validation)], []):
        expected = message if of_validation else "expected at least one batch"
        with pytest.raises((cz.ArgumentError, cz.ShapeError), match=expected):
            one.fit(data(3), of_validation, epochs=1, progress=False, checkpoint=tmp_path / "run")
    assert (one.step, len(one.history), list(tmp_path.iterdir())) == (0, 0, [])
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("monitor", "validation"), [("val_top1", True), ("val_top5", False), ("val_map", False)]
)
def test_a_monitor_that_the_run_does_not_have_is_refused_at_once(
    monitor: str, *, validation: bool
) -> None:
    """`val_top1` of labels; `val_top5` of four classes, and their mean average precision."""
    batches: Any = data(2) if validation else [(x, np.arange(6) % 4) for x, _ in data(2)]
    model = network(LABELS)
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=cz.BinaryCrossEntropy())
    with pytest.raises(cz.ArgumentError, match=f"this run has, train_loss.*, got {monitor}"):
        one.fit(batches, batches, epochs=1, progress=False, monitor=monitor)
    assert one.step == 0


def test_what_cannot_be_evaluated_as_labels() -> None:
    model, (x, y) = network(LABELS), data(1)[0]
    loss = cz.BinaryCrossEntropy()
    wrong: list[Any] = [-0.1, 1.1, float("nan"), "half", None]
    for threshold in wrong:
        with pytest.raises(cz.ArgumentError, match="`threshold`: expected a number of 0 to 1"):
            evaluate(model, [(x, y)], loss=loss, threshold=threshold)
    with pytest.raises(cz.ArgumentError, match=r"expected labels \(N, K\) as in the batches befo"):
        evaluate(model, [(x, y), (x, np.zeros(6, int))], loss=loss)
    with pytest.raises(cz.ArgumentError, match="task of chosen: expected one of multi_class"):
        model.task = "labels"  # type: ignore[assignment]


def test_a_model_of_labels_is_not_evaluated_on_classes() -> None:
    """Its task says that an image has several labels, so a class of each is a mistake."""
    model, (x, y) = network(LABELS), data(1)[0]
    model.task = "multi_label"
    loss, shown = cz.BinaryCrossEntropy(), np.arange(6) % LABELS
    said = r"a 0 or 1 for each label \(N, 4\), got integer classes \(6,\)"
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=loss)
    with pytest.raises(cz.ArgumentError, match=said):
        evaluate(model, [(x, shown)], loss=loss)
    with pytest.raises(cz.ArgumentError, match=said):
        one.evaluate([(x, shown)])
    for of_classes, got in ((None, "none"), (cz.CrossEntropy(), "CrossEntropy")):
        for targets in (shown, y):
            with pytest.raises(cz.ArgumentError, match=f"BinaryCrossEntropy.*, got {got}"):
                evaluate(model, [(x, targets)], loss=of_classes)
    # A fit sets the task itself, by its targets.
    one.fit([(x, shown)], [(x, shown)], epochs=1, progress=False)
    assert {model.task} == {"multi_class"}
    assert isinstance(one.evaluate([(x, shown)]), cz.Metrics)


def test_a_table_of_labels() -> None:
    found = evaluate(network(2), [(images(np.eye(2)), np.eye(2))], loss=torch.nn.MSELoss())
    assert isinstance(found, MultiLabelMetrics)
    assert found.loss == pytest.approx(0.0, abs=ROUNDING)
    lines = found.table().splitlines()
    assert lines[0].split() == [
        *["label", "images", "average", "precision", "precision", "recall"],
        "f1",
        "accuracy",
    ]
    assert lines[2].split() == ["class", "0", "1", "100.0%", "50.0%", "100.0%", "66.7%", "50.0%"]
    assert repr(found) == (
        "MultiLabelMetrics(loss=0.0000, mAP=100.00%, f1=66.67%, accuracy=50.00%, 2 images)"
    )


def test_predictions_of_labels_are_sigmoids_and_leave_none_out() -> None:
    model = cz.create_model("resnet20", num_classes=7, seed=1)
    model.labels = [f"label {index}" for index in range(7)]
    bias = np.array([3, -1, 2, 0, -4, 1, np.nan], np.float32)
    weight = np.zeros((7, 64), np.float32)
    model.load_state_dict({**model.state_dict(), "fc.weight": weight, "fc.bias": bias})
    photo = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(cz.DivergenceError):
        model.predict(photo, top=2)
    model.task = "multi_label"
    found = model.predict(photo, top=2)
    # Of the four that are taken, and of none that is NaN.
    assert [guess.index for guess in found] == [0, 2, 5, 3]
    expected = torch.sigmoid(torch.tensor([3.0, 2.0, 1.0, 0.0])).tolist()
    assert [guess.probability for guess in found] == pytest.approx(expected)
    assert found.taken() == tuple(found)
    assert [guess.label for guess in found.taken(0.8)] == ["label 0", "label 2"]
    assert [guess.index for guess in model.predict([photo], top=6)[0]] == [0, 2, 5, 3, 1, 4]
    with pytest.raises(cz.ArgumentError, match="`threshold`: expected a number of 0 to 1"):
        found.taken(50)
