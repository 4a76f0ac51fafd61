"""Losses beside PyTorch's: as sums over any batches, and as functions of one's own."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from cnnzoo.losses import as_loss
from reference import images
from tolerance import ROUNDING, difference
from train import chosen

CLASSES = 4
WEIGHTS = [1.0, 5.0, 0.5, 2.0]

# Two heads, dropout and group norm: what a step has to keep in order around a loss.
GRAPH = """graph two heads
input = input() height=8 width=8
conv = conv(input) out=6 kernel=3 bias=true
norm = group_norm(conv) groups=2
act = activation(norm) function=tanh
flat = flatten(act)
drop = dropout(flat) rate=0.2
aux = linear(flat) out=4
fc = linear(drop) out=4
output fc
auxiliary aux weight=0.4
"""


def two_heads() -> cz.Model:
    return cz.Model.from_graph(cz.Graph.parse(GRAPH), seed=1)


def softmax_cross_entropy(
    logits: NDArray[np.float32], targets: NDArray[Any]
) -> tuple[float, NDArray[np.float64]]:
    """Written out, with its gradient, for classes and for shares."""
    if targets.ndim == 1:
        targets = np.eye(logits.shape[1])[targets]
    shifted = logits - logits.max(1, keepdims=True).astype(np.float64)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    count = len(logits)
    return -float((targets * logs).sum()) / count, (np.exp(logs) - targets) / count


def steps(loss: Any, **options: Any) -> tuple[list[cz.StepResult], dict[str, NDArray[Any]]]:
    model = two_heads()
    optimizer = cz.SGD(model, lr=0.1, momentum=0.9)
    results = [
        model.train_step(
            images((8, 8), 6, seed=seed), np.arange(6) % 4, optimizer, loss=loss, **options
        )
        for seed in range(4)
    ]
    return results, model.state_dict()


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 2, "clip_norm": 0.5}, {"precision": "bfloat16"}],
    ids=["plain", "accumulated and cut", "bfloat16"],
)
@pytest.mark.parametrize(
    "own",
    [
        softmax_cross_entropy,
        torch.nn.CrossEntropyLoss(),
        functional.cross_entropy,
        functools.partial(functional.cross_entropy, reduction="mean"),
        cz.TorchLoss(lambda logits, y: -logits.log_softmax(1)[torch.arange(6), y].mean()),
        cz.FunctionLoss(softmax_cross_entropy),
    ],
    ids=["arrays", "module", "torch's function", "partial", "TorchLoss", "FunctionLoss"],
)
def test_a_loss_of_ones_own_takes_the_steps_of_the_librarys(
    own: Any, options: dict[str, Any]
) -> None:
    found, moved = steps(own, **options)
    expected, reference = steps(cz.CrossEntropy(), **options)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.loss == pytest.approx(theirs.loss, rel=ROUNDING)
        if theirs.grad_norm is None:
            assert ours.grad_norm is None
        else:
            assert ours.grad_norm == pytest.approx(theirs.grad_norm, rel=10 * ROUNDING)
        assert (ours.correct, ours.count, ours.weight) == (theirs.correct, 6, 6)
    for name, value in moved.items():
        assert difference(value, reference[name]) <= ROUNDING, name


@pytest.mark.parametrize(
    "own", [softmax_cross_entropy, torch.nn.CrossEntropyLoss()], ids=["function", "module"]
)
def test_a_fit_with_a_loss_of_ones_own_is_one_with_the_librarys(own: Any) -> None:
    def fitted(loss: Any) -> cz.Trainer:
        model = two_heads()
        one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.05), loss=loss, mixup=0.4, ema=0.5)
        data = [(images((8, 8), 5, seed=seed), np.arange(5) % 4) for seed in range(5)]
        one.fit(data[:3], data[3:], epochs=2, progress=False)
        return one

    found, expected = fitted(own), fitted(cz.CrossEntropy())
    for ours, theirs in zip(found.history, expected.history, strict=True):
        for column in ("train_loss", "train_top1", "val_loss", "val_top1"):
            assert getattr(ours, column) == pytest.approx(getattr(theirs, column), rel=ROUNDING)
    reference = expected.model.state_dict()
    for name, value in found.model.state_dict().items():
        assert difference(value, reference[name]) <= ROUNDING, name


def test_checkpointing_asks_a_loss_of_ones_own_once() -> None:
    asked = []

    def loss(logits: NDArray[Any], targets: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        asked.append(logits.shape)
        return softmax_cross_entropy(logits, targets)

    found = []
    for own in (loss, cz.CrossEntropy()):
        model = cz.create_model("resnet20", num_classes=4, checkpointing=True, seed=1)
        model.train_step(images((32, 32), 4), np.arange(4), cz.SGD(model, lr=0.1), loss=own)
        found.append(model.state_dict())
    assert asked == [(4, 4)]
    for name, value in found[0].items():
        assert difference(value, found[1][name]) <= ROUNDING, name


@pytest.mark.parametrize("size", [1, 2, 4, 9])
@pytest.mark.parametrize("weights", [WEIGHTS, [0.0, 1.0, 1.0, 0.0]], ids=str)
def test_the_loss_of_an_epoch_does_not_depend_on_its_batches(
    size: int, weights: list[float]
) -> None:
    """In training, in a log and in evaluation, where batches of classes that weigh nothing are."""
    logits = np.random.default_rng(0).normal(size=(9, CLASSES)).astype(np.float32)
    shown = np.array([0, 1, 2, 3, 0, 1, 2, 3, 0])
    model = chosen.network(CLASSES)
    one = cz.Trainer(
        model,
        optimizer=cz.SGD(model, lr=0.0),
        loss=cz.CrossEntropy(class_weights=weights),
    )
    data = chosen.cut(chosen.images(logits), shown, size)
    (row,) = one.fit(data, data, epochs=1, progress=False)
    theirs = functional.cross_entropy(
        torch.from_numpy(logits), torch.from_numpy(shown), torch.tensor(weights)
    ).item()
    assert row.train_loss == pytest.approx(theirs, rel=ROUNDING)
    assert row.val_loss == pytest.approx(theirs, rel=ROUNDING)


def test_a_batch_that_weighs_nothing_teaches_nothing() -> None:
    model = two_heads()
    before = model.state_dict()
    optimizer = cz.SGD(model, lr=0.1, momentum=0.9)
    loss = cz.CrossEntropy(class_weights=[0, 1, 1, 1])
    step = model.train_step(images((8, 8), 3), np.zeros(3, int), optimizer, loss=loss)
    assert (step.loss, step.weight, step.count, step.grad_norm) == (0, 0, 3, 0)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_batch_counts_as_its_classes_weigh() -> None:
    model = chosen.network(CLASSES)
    optimizer = cz.SGD(model, lr=0.0)
    x, shown = chosen.images(np.eye(CLASSES)), np.array([0, 1, 1, 3])
    weighted = cz.CrossEntropy(class_weights=WEIGHTS)
    assert model.train_step(x, shown, optimizer, loss=weighted).weight == 1 + 5 + 5 + 2
    # PyTorch's mean over shares is one over images.
    assert model.train_step(x, np.eye(4)[shown], optimizer, loss=weighted).weight == 4
    assert model.train_step(x, shown, optimizer, loss=cz.BinaryCrossEntropy()).weight == 4
    own = cz.FunctionLoss(lambda logits, _: (1.0, np.zeros_like(logits), 2.5))
    assert model.train_step(x, shown, optimizer, loss=own).weight == 2.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"class_weights": [-1, 1, 1]}, "`class_weights`: expected .*at least 0, got -1"),
        ({"class_weights": [math.nan, 1, 1]}, "`class_weights`: expected finite.*got NaN"),
        ({"class_weights": [1, math.inf, 1]}, "`class_weights`: expected finite.*got inf"),
        ({"class_weights": [1, 1e300, 1]}, "`class_weights`: expected finite.*got inf"),
        ({"class_weights": [0, 0, 0]}, "`class_weights`: expected .*above 0, got none"),
        ({"class_weights": []}, "`class_weights`: expected .*above 0, got none"),
        ({"class_weights": 3}, "`class_weights`: expected a number for each class, .*got 3"),
        ({"class_weights": "abc"}, "`class_weights`: expected a number for each class"),
        ({"class_weights": {0: 1.0, 1: 2.0}}, "in the order of the model's labels, in a list"),
        ({"class_weights": {1.0, 2.0}}, "in the order of the model's labels, in a list"),
        ({"positive_weights": {"a": 1.0}}, "in the order of the model's labels, in a list"),
        ({"class_weights": ["a"]}, "`class_weights`: expected a number, got 'a'"),
        ({"class_weights": np.ones((2, 2))}, "`class_weights`: expected a number, got ndarray"),
        ({"positive_weights": [-1.0]}, "`positive_weights`: expected .*at least 0, got -1"),
        ({"label_smoothing": 1.5}, "`label_smoothing`: expected a number of 0 to 1, got 1.5"),
        ({"label_smoothing": "much"}, "`label_smoothing`: expected a number, got 'much'"),
        ({"label_smoothing": math.nan}, "`label_smoothing`: expected .*got NaN"),
        ({"auxiliary": -0.1}, "`auxiliary`: expected a finite number of at least 0, got -0.1"),
        ({"auxiliary": math.inf}, "`auxiliary`: expected a finite number"),
    ],
    ids=str,
)
def test_numbers_that_make_no_sense_are_refused(given: dict[str, Any], message: str) -> None:
    kind: Any = cz.BinaryCrossEntropy if "positive_weights" in given else cz.CrossEntropy
    with pytest.raises(cz.ArgumentError, match=message):
        kind(**given)


@pytest.mark.parametrize("kind", ["class_weights", "positive_weights"])
def test_weights_of_another_number_of_classes_are_refused_before_anything_runs(kind: str) -> None:
    loss: Any = cz.CrossEntropy if kind == "class_weights" else cz.BinaryCrossEntropy
    loss = loss(**{kind: [1, 2]})
    model = two_heads()
    before = model.state_dict()
    optimizer = cz.SGD(model, lr=0.1)
    x, y = images((8, 8), 3), np.arange(3)
    for call in (
        lambda: cz.Trainer(model, optimizer=optimizer, loss=loss),
        lambda: model.train_step(x, y, optimizer, loss=loss),
        lambda: cz.metrics.evaluate(model, [(x, y)], loss=loss),
    ):
        with pytest.raises(cz.ArgumentError, match=f"`{kind}`: .* each of 4 classes, got 2"):
            call()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


def test_weights_come_as_any_numbers() -> None:
    expected = cz.CrossEntropy(class_weights=(1.0, 2.0))
    for given in ([1, 2], np.array([1, 2]), torch.tensor([1.0, 2.0]), iter([1.0, 2.0])):
        loss: Any = cz.CrossEntropy(class_weights=given)  # type: ignore[arg-type]
        assert loss == expected
        assert hash(loss) == hash(expected)


@pytest.mark.parametrize(
    "given",
    ["cross_entropy", 3, torch.nn.CrossEntropyLoss, cz.CrossEntropy, torch.ones(2)],
    ids=str,
)
def test_what_is_no_loss_is_refused(given: Any) -> None:
    model = two_heads()
    with pytest.raises(cz.ArgumentError, match=r"`loss`: expected CrossEntropy, .*, got "):
        cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=given)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda logits, y: 1.0, cz.ArgumentError, r"expected \(loss, its gradient.* got 1.0; .*To"),
        (
            lambda logits, y: (1.0, logits.T),
            cz.ShapeError,
            r"expected numbers \(6, 4\), got .*4, 6",
        ),
        (lambda logits, y: (1.0, None), cz.ShapeError, "its gradient: expected numbers"),
        (lambda logits, y: (None, logits), cz.ArgumentError, "expected a number, got None"),
        (lambda logits, y: (1.0, logits, -1), cz.ArgumentError, "its weight: .* got -1"),
        (cz.TorchLoss(lambda logits, y: logits), cz.ArgumentError, r"one number, got .*\(6, 4\)"),
        (cz.TorchLoss(lambda logits, y: 1.0), cz.ArgumentError, "tensor of one number, got 1.0"),
        (cz.TorchLoss(lambda logits, y: torch.ones(())), cz.ArgumentError, "depends on the log"),
        (
            cz.TorchLoss(lambda logits, y: torch.ones((), requires_grad=True) * 2),
            cz.ArgumentError,
            "depends on the logits",
        ),
    ],
)
def test_what_a_loss_of_ones_own_may_not_say(
    function: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        steps(function)


def test_what_a_loss_of_ones_own_raises_is_raised_and_nothing_moves() -> None:
    model = two_heads()
    before = model.state_dict()
    optimizer = cz.SGD(model, lr=0.1)

    def fails(logits: NDArray[Any], targets: NDArray[Any]) -> Any:
        raise ZeroDivisionError("mine")

    x, y = images((8, 8), 3), np.arange(3)
    with pytest.raises(ZeroDivisionError, match="mine"):
        model.train_step(x, y, optimizer, loss=fails)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert model.train_step(x, y, optimizer).count == 3


def test_a_loss_that_runs_its_own_model_is_refused_instead_of_waiting_for_itself() -> None:
    model, other = two_heads(), two_heads()
    optimizer = cz.SGD(model, lr=0.1)
    x, y = images((8, 8), 3), np.arange(3)

    def asking(of: cz.Model) -> Callable[..., tuple[float, NDArray[Any]]]:
        return lambda logits, _: (0.0, logits - of(x))

    with pytest.raises(cz.ArgumentError, match=r"in a training step: .*uses the model itself"):
        model.train_step(x, y, optimizer, loss=asking(model))
    # A teacher's logits are another matter, and so are the model's own afterwards.
    assert model.train_step(x, y, optimizer, loss=asking(other)).count == 3
    assert model(x).shape == (3, 4)


def test_a_run_with_a_loss_of_ones_own_is_resumed_with_it(tmp_path: Path) -> None:
    data = [(images((8, 8), 5, seed=seed), np.arange(5) % 4) for seed in range(3)]
    model = two_heads()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=softmax_cross_entropy)
    one.fit(data, epochs=1, progress=False, checkpoint=tmp_path)
    with pytest.raises(cz.CheckpointError, match="expected `loss=`"):
        cz.Trainer.resume(tmp_path, data, progress=False)
    again = cz.Trainer.resume(tmp_path, data, progress=False, loss=softmax_cross_entropy)
    assert again.history.rows == one.history.rows


def test_torch_is_imported_for_losses_of_torch_alone() -> None:
    """`as_loss` looks at where a function is defined, and imports nothing."""
    program = (
        "import sys, cnnzoo as cz; from cnnzoo.losses import as_loss; "
        "print(type(as_loss(lambda a, b: 0)).__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"FunctionLoss", b"False"]
    assert isinstance(as_loss(torch.nn.MSELoss()), cz.TorchLoss)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        (
            [[1, 1, 0, 0]],
            ".*sum to 1 for CrossEntropy; BinaryCrossEntropy takes .*, got a sum of 2",
        ),
        ([[0, 0, 0, 0]], ".*sum to 1 .*, got a sum of 0"),
        ([[2, -1, 0, 0]], "probabilities of 0 to 1, got 2"),
        ([[1.5, -0.5, 0, 0]], "probabilities of 0 to 1, got 1.5"),
        ([[math.nan, 1, 0, 0]], "probabilities of 0 to 1, got NaN"),
    ],
)
def test_cross_entropy_is_one_of_shares_that_sum_to_one(
    shares: list[list[float]], message: str
) -> None:
    model = two_heads()
    optimizer = cz.SGD(model, lr=0.1)
    before = model.state_dict()
    with pytest.raises(cz.ArgumentError, match=f"the targets of two heads: expected {message}"):
        model.train_step(images((8, 8), 1), np.array(shares), optimizer)
    np.testing.assert_array_equal(model.state_dict()["fc.weight"], before["fc.weight"])
    # A third in bfloat16 is not quite one.
    thirds = torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0]], dtype=torch.bfloat16)
    assert model.train_step(images((8, 8), 1), thirds, optimizer).count == 1
    binary = cz.BinaryCrossEntropy()
    assert model.train_step(images((8, 8), 1), np.ones((1, 4)), optimizer, loss=binary).count == 1
    with pytest.raises(cz.ArgumentError, match=r"probabilities of 0 to 1, got 1\.5"):
        model.train_step(images((8, 8), 1), np.full((1, 4), 1.5), optimizer, loss=binary)


def test_cross_entropy_of_one_class_teaches_nothing() -> None:
    model = chosen.network(1)
    x, zero = chosen.images(np.zeros((2, 1))), np.zeros(2, int)
    optimizer = cz.SGD(model, lr=0.1)
    message = r"expected two classes or more for CrossEntropy, or BinaryCrossEntropy .*\(N, 1\)"
    with pytest.raises(cz.ArgumentError, match=message):
        model.train_step(x, zero, optimizer)
    with pytest.raises(cz.ArgumentError, match=message):
        cz.metrics.evaluate(model, [(x, zero)])
    binary = cz.BinaryCrossEntropy()
    assert model.train_step(x, zero[:, None], optimizer, loss=binary).count == 2
