"""Pictures of confusion matrices, and the most frequent confusions."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import cnnzoo as cz
from cnnzoo.metrics import Confusion, Metrics


def metrics(
    true: NDArray[np.int64], predicted: NDArray[np.int64], *, classes: int, undecided: int = 0
) -> Metrics:
    matrix = np.zeros((classes, classes), np.int64)
    for pair in zip(true, predicted, strict=True):
        matrix[pair] += 1
    without = np.zeros(classes, np.int64)
    without[0] = undecided
    return Metrics(
        loss=0.0,
        top1=0.0,
        top5=None,
        count=len(true) + undecided,
        confusion=matrix,
        undecided=without,
        labels=tuple(f"kind {index}" for index in range(classes)),
    )


def drawn_pairs(classes: int, images: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return random.integers(0, classes, (2, images))


def new() -> Axes:
    return Figure(figsize=(6, 6)).subplots()


def shares(image: Any) -> Any:
    return image.get_array()


def names(ax: Axes) -> tuple[list[str], list[str]]:
    rows, columns = ax.get_yticklabels(), ax.get_xticklabels()
    return [one.get_text() for one in rows], [one.get_text() for one in columns]


def test_cells_are_the_images_and_their_shares_of_a_row() -> None:
    true, predicted = drawn_pairs(4, 60)
    ax = metrics(true, predicted, classes=4).plot_confusion(ax=new())
    pairs, shown = Counter(zip(true, predicted, strict=True)), Counter(true)
    written = {
        (round(text.get_position()[1]), round(text.get_position()[0])): int(text.get_text())
        for text in ax.texts
    }
    assert written == {(int(t), int(p)): count for (t, p), count in pairs.items()}
    right, wrong = (np.ma.filled(shares(image), np.nan) for image in ax.images)
    for (t, p), count in pairs.items():
        mine, other = (right, wrong) if t == p else (wrong, right)
        assert mine[t, p] == count / shown[t]
        assert np.isnan(other[t, p])
    assert names(ax) == ([f"kind {i}" for i in range(4)],) * 2
    assert ax.get_title() == "4 classes, 60 images"


def test_of_many_classes_the_most_confused_are_drawn() -> None:
    true, predicted = drawn_pairs(60, 3000)
    # The most frequent confusions of all.
    true = np.append(true, [7] * 30 + [50] * 20)
    predicted = np.append(predicted, [41] * 30 + [8] * 20)
    found = metrics(true, predicted, classes=60)
    ax = found.plot_confusion(most_classes=4, ax=new())
    rows, columns = names(ax)
    assert rows == ["kind 7", "kind 8", "kind 41", "kind 50"]
    assert columns == [*rows, "others"]
    written = {
        (round(text.get_position()[1]), round(text.get_position()[0])): int(text.get_text())
        for text in ax.texts
    }
    shown = Counter(true)
    for row, label in enumerate((7, 8, 41, 50)):
        cells = [count for (at, _), count in written.items() if at == row]
        assert sum(cells) == shown[label]
    assert ax.get_title() == "the 4 most confused of 60 classes, 3050 images"
    # Without any confusion there are as many, and no numbers in small cells.
    ax = metrics(true, true, classes=60).plot_confusion(most_classes=50, ax=new())
    assert len(names(ax)[0]) == 50 and not ax.texts


def test_images_without_a_prediction_have_a_column() -> None:
    true, predicted = drawn_pairs(3, 10)
    ax = metrics(true, predicted, classes=3, undecided=2).plot_confusion(ax=new())
    assert names(ax)[1][-1] == "none"
    assert [t.get_text() for t in ax.texts if round(t.get_position()[0]) == 3] == ["2"]


def test_the_most_frequent_confusions_come_first() -> None:
    true, predicted = drawn_pairs(5, 400)
    found = metrics(true, predicted, classes=5, undecided=3)
    pairs = Counter(zip(true.tolist(), predicted.tolist(), strict=True))
    wrong = sorted((-count, t, p) for (t, p), count in pairs.items() if t != p)
    shown = Counter(true.tolist())
    shown[0] += 3
    assert found.most_confused(3) == [
        Confusion(f"kind {t}", f"kind {p}", -count, -count / shown[t]) for count, t, p in wrong[:3]
    ]
    assert len(found.most_confused(1000)) == len(wrong)
    assert found.most_confused(0) == []
    assert metrics(true, true, classes=5).most_confused() == []


def test_names_that_would_be_formulas_are_drawn_as_they_are() -> None:
    true, predicted = drawn_pairs(2, 10)
    found = metrics(true, predicted, classes=2)
    object.__setattr__(found, "labels", ("$x^$", "a name that is\nmuch too long for a cell"))
    ax = found.plot_confusion(ax=new())
    figure: Any = ax.figure
    figure.draw_without_rendering()
    assert names(ax)[0] == ["$x^$", "a name that is\\nmuch to…"]


def test_an_evaluation_draws_itself_on_axes_of_its_own() -> None:
    from matplotlib import pyplot

    model = cz.create_model("resnet20", num_classes=4)
    x = np.random.default_rng(0).normal(size=(12, 3, 32, 32)).astype(np.float32)
    found = cz.metrics.evaluate(model, [(x, np.arange(12) % 4)])
    assert isinstance(found, Metrics)
    ax = found.plot_confusion()
    assert sum(int(text.get_text()) for text in ax.texts) == 12
    pyplot.close(ax.figure)  # type: ignore[arg-type]


def test_what_cannot_be_drawn_is_refused() -> None:
    found = metrics(*drawn_pairs(3, 5), classes=3)
    for most in (1, 0, -3, 201, 2.0, True, "4"):
        with pytest.raises(cz.ArgumentError, match="`most_classes`"):
            found.plot_confusion(most_classes=most, ax=new())  # type: ignore[arg-type]
    for count in (-1, 1.0, None):
        with pytest.raises(cz.ArgumentError, match="`count`"):
            found.most_confused(count)  # type: ignore[arg-type]
