"""Running averages of a model are PyTorch's, step by step, and a copy is a model of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import cnnzoo as cz
from reference import images

CLASSES = 5
SIZE = 32
COUNT = "num_batches_tracked"


def trained(model: cz.Model) -> cz.Model:
    """After a step that changes every parameter and statistic."""
    optimizer = cz.SGD(model, lr=0.1)
    model.train_step(images((SIZE, SIZE), 4, seed=1), np.arange(4) % CLASSES, optimizer)
    return model


def same(a: dict[str, NDArray[Any]], b: dict[str, NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("average_buffers", [True, False])
@pytest.mark.parametrize("decay", [0.9, 0.3])
def test_an_average_is_pytorchs(decay: float, average_buffers: bool) -> None:
    model = cz.mobilenet_v2(num_classes=CLASSES, drop_rate=0.0)
    average = model.copy()
    module = as_module(model)
    theirs = AveragedModel(
        module, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=average_buffers
    )
    theirs.update_parameters(module)  # which copies, the first time
    optimizer = cz.SGD(model, lr=0.1, momentum=0.9)
    for step in range(5):
        model.train_step(images((SIZE, SIZE), 4, seed=step), np.arange(4), optimizer)
        average._for_training().average_from(model._for_training(), decay, average_buffers)
        fill(module, model)
        theirs.update_parameters(module)
        own, found = model.state_dict(), average.state_dict()
        for name, value in theirs.module.state_dict().items():
            # PyTorch averages whole numbers too, and cuts off what is behind the point.
            expected = own[name] if name.endswith(COUNT) else value.numpy()
            np.testing.assert_array_equal(found[name], expected, err_msg=f"{name}, step {step}")
    moved = {name for name in own if not np.array_equal(own[name], found[name])}
    kept = {name for name in own if name.endswith(("running_mean", "running_var"))}
    assert bool(moved & kept) is average_buffers
    assert moved - kept == {name for name, _, is_trained in model.graph.parameters() if is_trained}


def as_module(model: cz.Model) -> torch.nn.Module:
    module: torch.nn.Module = torchvision.models.mobilenet_v2(num_classes=CLASSES)
    fill(module, model)
    return module


def fill(module: torch.nn.Module, model: cz.Model) -> None:
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    module.load_state_dict(state)


def test_decays_of_zero_and_one_are_the_other_model_and_the_same() -> None:
    model = cz.mobilenet_v2(num_classes=CLASSES)
    average, before = model.copy(), model.state_dict()
    trained(model)
    average._for_training().average_from(model._for_training(), 1.0, True)
    counts = {name: value for name, value in before.items() if not name.endswith(COUNT)}
    assert same(counts, {name: average.state_dict()[name] for name in counts})
    average._for_training().average_from(model._for_training(), 0.0, True)
    assert same(average.state_dict(), model.state_dict())
    model._for_training().average_from(model._for_training(), 0.5, True)
    assert same(average.state_dict(), model.state_dict())


def test_what_cannot_be_averaged_is_refused_and_changes_nothing() -> None:
    model = trained(cz.resnet18(num_classes=CLASSES))
    average = cz.resnet18(num_classes=CLASSES)
    before = average.state_dict()
    refusals: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (
            cz.ArgumentError,
            "`decay`: expected a number of 0 to 1, got 1.5",
            lambda: average._for_training().average_from(model._for_training(), 1.5, True),
        ),
        (
            cz.ArgumentError,
            "`decay`: .*got NaN",
            lambda: average._for_training().average_from(model._for_training(), float("nan"), True),
        ),
        (
            cz.ArgumentError,
            "the model to average with: expected `conv1.weight`, got `features.0.weight`",
            lambda: average._for_training().average_from(cz.alexnet()._for_training(), 0.5, True),
        ),
        (
            cz.ShapeError,
            r"`fc.weight`: expected \(5, 512\), got \(6, 512\)",
            lambda: average._for_training().average_from(
                cz.resnet18(num_classes=CLASSES + 1)._for_training(), 0.5, True
            ),
        ),
        (
            cz.ArgumentError,
            "expected 120 arrays, got 122",
            lambda: (
                cz.resnet18(num_classes=0)
                ._for_training()
                .average_from(model._for_training(), 0.5, True)
            ),
        ),
        (
            cz.DeviceError,
            "meta",
            lambda: average._for_training().average_from(
                cz.resnet18(num_classes=CLASSES, meta=True)._for_training(), 0.5, True
            ),
        ),
    ]
    for error, message, call in refusals:
        with pytest.raises(error, match=message):
            call()
    assert same(average.state_dict(), before)


def test_models_that_average_each_other_do_not_wait_forever() -> None:
    models = [cz.mobilenet_v3_small(num_classes=CLASSES, seed=seed) for seed in range(3)]
    x = images((SIZE, SIZE), 1)

    def average(index: int) -> None:
        for _ in range(30):
            own, other = (
                models[index % 3]._for_training(),
                models[(index + 1 + index // 3) % 3]._for_training(),
            )
            own.average_from(other, 0.5, True)
            models[index % 3](x)

    threads = [threading.Thread(target=average, args=(i,), daemon=True) for i in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(timeout=max(deadline - time.monotonic(), 0))
    assert not any(thread.is_alive() for thread in threads), "two models wait for each other"
    states = [model.state_dict() for model in models]
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-3, atol=1e-4)


def test_a_copy_is_a_model_of_its_own() -> None:
    model = cz.mobilenet_v2(num_classes=CLASSES, drop_rate=0.0, checkpointing=True)
    trained(model).freeze("features.0")
    model.labels = ["a", "b", "c", "d", "e"]
    twin = model.copy()
    x = images((SIZE, SIZE), 2)
    np.testing.assert_array_equal(twin(x), model(x))
    assert same(twin.state_dict(), model.state_dict())
    assert (repr(twin), twin.graph, twin.labels) == (repr(model), model.graph, model.labels)
    assert (twin.options, twin.preprocess) == (model.options, model.preprocess)
    assert twin.trained == model.trained
    assert len(twin.trained) < len(model.unfreeze().trained)
    before = model.state_dict()
    trained(twin)
    assert same(model.state_dict(), before)
    assert not same(twin.state_dict(), before)
    assert "features.0.0.weight" not in twin.trained
    after = twin.state_dict()
    twin.reset_classifier(num_classes=2)
    np.testing.assert_array_equal(
        twin.state_dict()["features.0.0.weight"], after["features.0.0.weight"]
    )
    assert model.num_classes == CLASSES
    meta = cz.mobilenet_v2(meta=True).copy()
    assert meta.device == "meta"
    graph = cz.Model.from_graph(cz.mobilenet_v2(meta=True).graph).copy()
    assert graph.source is None
