"""Predictions beside the truth, against PyTorch's cross-entropy and plain loops."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

import cnnzoo as cz
import pictures
from cnnzoo.analysis import Example, Examples, evaluate_examples
from cnnzoo.metrics import Metrics
from tolerance import ROUNDING
from train.chosen import cut, images, network

CLASSES = 6


def new() -> Axes:
    return Figure(figsize=(6, 6)).subplots()


def said(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def chosen(count: int = 50, seed: int = 0) -> tuple[Any, Any]:
    """Logits and classes."""
    random = np.random.default_rng(seed)
    logits = 3 * random.normal(size=(count, CLASSES)).astype(np.float32)
    return logits, random.integers(0, CLASSES, count)


def found(logits: Any, y: Any, *, size: int = 8) -> Examples:
    return evaluate_examples(network(logits.shape[1]), cut(images(logits), y, size))


def test_metrics_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_fscore_support, top_k_accuracy_score

    logits, y = chosen(seed=3)
    logits[4] = np.nan
    examples = found(logits, y)
    known = np.delete(np.arange(50), 4)
    share = len(known) / 50
    for count in (1, 2, 5):
        expected = top_k_accuracy_score(y[known], logits[known], k=count, labels=range(CLASSES))
        assert examples.top(count) == pytest.approx(share * expected)
    metrics = examples.metrics
    assert (metrics.top1, metrics.top5) == (examples.top(1), examples.top(5))
    predicted = np.where(np.arange(50) == 4, -1, np.nan_to_num(logits).argmax(1))
    _, recall, _, counts = precision_recall_fscore_support(
        y, predicted, labels=range(CLASSES), zero_division=0
    )
    for one, theirs, images_of_it in zip(metrics.per_class, recall, counts, strict=True):
        assert one.recall == pytest.approx(theirs) and one.count == images_of_it
    assert metrics.undecided.sum() == 1 and np.isnan(metrics.loss)
    with pytest.raises(cz.ArgumentError, match="`count`"):
        examples.top(0)


def test_columns_are_those_of_pytorch() -> None:
    logits, y = chosen()
    examples = found(logits, y)
    tensor, target = torch.from_numpy(logits).double(), torch.from_numpy(y)
    softmax = torch.softmax(tensor, 1)
    losses = torch.nn.functional.cross_entropy(tensor, target, reduction="none")
    np.testing.assert_allclose(examples.losses, losses.numpy(), rtol=ROUNDING)
    np.testing.assert_array_equal(examples.predicted_classes, softmax.argmax(1).numpy())
    np.testing.assert_allclose(examples.probabilities, softmax.max(1).values, rtol=ROUNDING)
    own = softmax[torch.arange(len(y)), target]
    np.testing.assert_allclose(examples.true_probabilities, own.numpy(), rtol=ROUNDING)
    np.testing.assert_array_equal(examples.indices, np.arange(50))
    assert examples.accuracy == float((softmax.argmax(1) == target).double().mean())
    assert [one.correct for one in examples] == (softmax.argmax(1) == target).tolist()
    first = examples[0]
    assert first.true_class == y[0] and first.true == f"class {y[0]}" and first.name == "image 0"
    assert examples[3:5][1] == examples[4] and len(examples[3:5]) == 2


def test_it_agrees_with_the_evaluation_of_training() -> None:
    logits, y = chosen()
    model, batches = network(CLASSES), cut(images(logits), y, 8)
    examples, metrics = evaluate_examples(model, batches), cz.metrics.evaluate(model, batches)
    assert isinstance(metrics, Metrics)
    np.testing.assert_array_equal(examples.confusion, metrics.confusion)
    assert examples.most_confused() == metrics.most_confused()
    assert examples.accuracy == pytest.approx(metrics.top1)
    assert examples.losses.mean() == pytest.approx(metrics.loss, rel=ROUNDING)
    cells = [t.get_text() for t in examples.plot_confusion(ax=new()).texts]
    assert sum(map(int, cells)) == 50


def test_errors_are_ordered_by_confidence_and_losses_by_size() -> None:
    logits, y = chosen()
    examples = found(logits, y)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wrong = [i for i in range(50) if logits[i].argmax() != y[i]]
    assert examples.errors.indices.tolist() == wrong
    by_confidence = sorted(wrong, key=lambda i: -softmax[i].max())
    assert examples.most_confident_errors(5).indices.tolist() == by_confidence[:5]
    assert len(examples.most_confident_errors(1000)) == len(wrong)
    by_loss = sorted(range(50), key=lambda i: softmax[i, y[i]])
    assert examples.top_losses(7).indices.tolist() == by_loss[:7]
    assert examples.top_losses(0).indices.tolist() == []
    assert np.isnan(examples.top_losses(0).accuracy)
    right = found(np.eye(CLASSES, dtype=np.float32), np.arange(CLASSES))
    assert len(right.errors) == len(right.most_confident_errors()) == 0
    assert "none" in repr(right.errors)


def test_logits_that_are_no_numbers_are_errors_without_a_class() -> None:
    logits, y = chosen(10)
    logits[3], logits[7] = np.nan, np.inf
    examples = found(logits, y)
    assert examples.predicted_classes[3] == -1
    assert examples[3].predicted is None and examples[3].predicted_class is None
    assert np.isnan(examples[3].probability) and np.isnan(examples[3].loss)
    assert not examples[3].correct and not examples.correct[3]
    errors = examples.most_confident_errors(100)
    assert set(errors.indices.tolist()[-2:]) >= {3}
    undecided = int((examples.predicted_classes == -1).sum())
    assert examples.calibration().undecided == undecided
    assert examples.confusion.sum() == 10 - undecided
    assert "no class" in said(errors.gallery(ax=new()))
    assert "none" in examples._repr_html_()


def folder(tmp_path: Path) -> Path:
    return pictures.folder(tmp_path / "folder", classes=3, each=4)


def model() -> cz.Model:
    made = cz.create_model("resnet20", num_classes=3, image_size=32, seed=1)
    made.labels = ["class2", "class0", "class1"]
    return made


def test_a_loader_stays_where_it_is_and_classes_are_matched_by_name(tmp_path: Path) -> None:
    network, data = model(), cz.data.ImageFolder(folder(tmp_path))
    loader = cz.data.Loader(data, batch_size=5, transform=network.preprocess, seed=3)
    iterator = iter(loader)
    next(iterator)
    at = loader.state()
    examples = evaluate_examples(network, loader)
    assert loader.state() == at
    twin = copy.copy(loader)
    twin.set_epoch(0)
    assert examples.indices.tolist() == twin.order(0).tolist()
    for place, index in enumerate(twin.order(0)):
        one, logits = examples[place], network(network.preprocess(data.photo(int(index))))[0]
        assert one.name == data.name(int(index)) and Path(one.name).is_file()
        # The folder's class 0 is the network's class 1.
        assert one.true == data.classes[data.labels[index]] == Path(one.name).parent.name
        assert one.predicted == network.labels[int(logits.argmax())]
    # Of a data set itself, in its own order.
    same = evaluate_examples(network, data, batch_size=5)
    assert same.indices.tolist() == list(range(12))
    order = np.argsort(examples.indices)
    np.testing.assert_array_equal(same.predicted_classes, examples.predicted_classes[order])


@pytest.mark.parametrize("on_error", ["raise", "skip", "replace"])
def test_photographs_that_cannot_be_read_follow_the_loader(tmp_path: Path, on_error: Any) -> None:
    network, data = model(), cz.data.ImageFolder(folder(tmp_path))
    broken = [2, 7]
    for index in broken:
        path = Path(data.name(index))
        path.write_bytes(path.read_bytes()[:60])
    options: dict[str, Any] = {"batch_size": 5, "seed": 3, "on_error": on_error}
    loader = cz.data.Loader(data, transform=network.preprocess, **options)
    if on_error == "raise":
        with pytest.raises(cz.DataError, match=r"\.png"):
            evaluate_examples(network, loader)
        return
    with pytest.warns(cz.data.DataWarning):
        examples = evaluate_examples(network, loader)
    assert sorted(bad.index for bad in examples.bad_samples) == broken
    instead = {bad.index: bad.replacement for bad in examples.bad_samples}
    expected = [instead.get(i, i) for i in loader.order(0).tolist()]
    assert examples.indices.tolist() == [i for i in expected if i is not None]
    assert len(examples) == (10 if on_error == "skip" else 12)
    # Each has the prediction of its own photograph.
    for one in examples:
        logits = network(network.preprocess(data.photo(one.index)))[0]
        assert one.predicted_class == int(logits.argmax())
        assert one.true == data.classes[data.labels[one.index]]


def test_a_gallery_has_the_photographs_with_what_was_said_and_what_is_true(tmp_path: Path) -> None:
    network, data = model(), cz.data.ImageFolder(folder(tmp_path))
    examples = evaluate_examples(network, data)
    ax = examples.gallery(count=5, ax=new())
    lines = []
    for one, image in zip(examples[:5], ax.images, strict=True):
        pixels = np.asarray(Image.open(one.name).convert("RGB"))
        np.testing.assert_array_equal(np.asarray(image.get_array()), pixels)
        lines.append(f"{one.probability:.0%} {one.predicted}")
        if not one.correct:
            lines.append(f"{one.true_probability:.0%} {one.true}")
    assert said(ax) == lines
    assert any(not one.correct for one in examples[:5])


def test_large_photographs_are_reduced_and_grey_ones_are_grey(tmp_path: Path) -> None:
    pictures.save(tmp_path / "a" / "large.png", 0, width=1200, height=700)
    network = cz.create_model("resnet20", num_classes=1, image_size=32)
    examples = evaluate_examples(network, cz.data.ImageFolder(tmp_path))
    (image,) = examples.gallery(ax=new()).images
    drawn = np.asarray(image.get_array())
    expected = Image.open(tmp_path / "a" / "large.png").resize(
        (512, 299), Image.Resampling.BILINEAR
    )
    np.testing.assert_array_equal(drawn, np.asarray(expected))
    grey = np.random.default_rng(0).integers(0, 255, (2, 32, 32), np.uint8)
    one = cz.create_model("resnet20", num_classes=2, in_channels=1)
    examples = evaluate_examples(one, cz.data.Arrays(grey, [0, 1]))
    first, _ = examples.gallery(ax=new()).images
    np.testing.assert_array_equal(np.asarray(first.get_array()), grey[0])


def test_images_of_batches_are_drawn_without_their_normalisation() -> None:
    one = cz.create_model("resnet20", num_classes=3)
    mean, std = (
        np.array(v, np.float32)[:, None, None] for v in (one.preprocess.mean, one.preprocess.std)
    )
    pixels = np.random.default_rng(0).random((7, 3, 32, 32)).astype(np.float32)
    x, y = (pixels - mean) / std, np.arange(7) % 3
    examples = evaluate_examples(one, cut(x, y, 3))
    ax = examples.top_losses(7).gallery(ax=new())
    for index, image in zip(examples.top_losses(7).indices, ax.images, strict=True):
        np.testing.assert_allclose(
            np.asarray(image.get_array()), pixels[index].transpose(1, 2, 0), atol=1e-6
        )
    gone = evaluate_examples(one, iter(cut(x, y, 3)))
    np.testing.assert_array_equal(gone.losses, examples.losses)
    with pytest.raises(cz.ArgumentError, match="which are gone"):
        gone.gallery(ax=new())


def test_classes_of_the_same_name_are_told_apart() -> None:
    """ImageNet has two classes called crane."""
    one = network(3)
    one.labels = ["crane", "crane", "owl"]
    logits = np.array([[0, 5, 0], [5, 0, 0]], np.float32)
    examples = evaluate_examples(one, [(images(logits), np.array([0, 0]))])
    assert [example.correct for example in examples] == [False, True]
    assert len(examples.errors) == 1


def test_it_prints_and_shows_a_table_in_notebooks() -> None:
    logits, y = chosen()
    examples = found(logits, y)
    wrong = len(examples.errors)
    assert repr(examples) == f"<Examples: 50 images, {1 - wrong / 50:.1%} right, {wrong} errors>"
    page = examples._repr_html_()
    assert page.count("<tr>") == 21 and "the first 20" in page
    assert isinstance(examples[0], Example)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "expected a Loader"),
        (None, "expected a Loader"),
        ("batches", "expected a Loader"),
        (np.zeros((2, 6, 1, 1), np.float32), "expected a Loader"),
        ([], "at least one image"),
        ([(np.zeros((2, 6, 1, 1), np.float32), [0.5, 0.5])], "integer classes"),
        ([(np.zeros((2, 6, 1, 1), np.float32), np.eye(2, 6))], "integer classes"),
        ([(np.zeros((2, 6, 1, 1), np.float32), [0, 6])], "classes of 0 to 5"),
        ([(np.zeros((2, 6, 1, 1), np.float32), [0, -1])], "classes of 0 to 5"),
        ([(np.zeros((2, 6, 1, 1), np.float32), [0])], "label for each"),
        ([np.zeros((2, 6, 1, 1), np.float32)], "pair"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(data: Any, said: str) -> None:
    with pytest.raises((cz.ArgumentError, cz.ShapeError), match=said):
        evaluate_examples(network(CLASSES), data)


def test_photographs_without_labels_and_networks_without_classes_are_refused(
    tmp_path: Path,
) -> None:
    photos = cz.data.Photos(folder(tmp_path))
    with pytest.raises(cz.ArgumentError, match="data with labels"):
        evaluate_examples(model(), photos)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="without"):
        evaluate_examples(model(), cz.data.Loader(photos))  # type: ignore[arg-type]
    headless = cz.create_model("resnet20", num_classes=0)
    with pytest.raises(cz.ArgumentError, match="no classifier"):
        evaluate_examples(headless, [(np.zeros((1, 3, 32, 32), np.float32), [0])])
    with pytest.raises(cz.ArgumentError, match=r"`model`: expected a cnnzoo\.Model, got None"):
        evaluate_examples(None, [(np.zeros((1, 3, 32, 32), np.float32), [0])])  # type: ignore[arg-type]
    # The probabilities of labels are no softmax, and none of them is the largest.
    several = network(CLASSES)
    several.task = "multi_label"
    with pytest.raises(cz.ArgumentError, match="one whose `task` is multi_label"):
        evaluate_examples(several, [(np.zeros((2, 6, 1, 1), np.float32), [0, 1])])
    logits, y = chosen()
    examples = found(logits, y)
    for count in (0, -1, 2.0, True, 401):
        with pytest.raises(cz.ArgumentError, match="`count`"):
            examples.gallery(count=count, ax=new())  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="at least one image"):
        examples[:0].gallery(ax=new())
    for size in (0, 1.5):
        with pytest.raises(cz.ArgumentError, match="`batch_size`"):
            evaluate_examples(network(CLASSES), [], batch_size=size)  # type: ignore[arg-type]
