"""The two extensions: a model moves to the one that links libtorch, and stays what it is."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo.model._packing import has_libtorch
from reference import images
from small_network import tiny
from tolerance import FUSED, difference


def registered() -> cz.Model:
    model = cz.create_model("resnet18", num_classes=3, seed=4, stem="small", checkpointing=True)
    model.labels = ("a", "b", "c")
    return model


def with_a_new_classifier() -> cz.Model:
    return cz.create_model("mobilenet_v2_035", source="keras").reset_classifier(num_classes=3)


def in_grey() -> cz.Model:
    return cz.create_model("squeezenet1_1", in_channels=1, num_classes=3)


MODELS: dict[str, Callable[[], cz.Model]] = {
    "a registered network": registered,
    "a user's graph": tiny,
    "a new classifier": with_a_new_classifier,
    "another number of channels": in_grey,
}


def moved(model: cz.Model) -> cz.Model:
    """The model after a call that needs libtorch and changes nothing."""
    assert not has_libtorch(model._engine)
    model.unfreeze()
    assert has_libtorch(model._engine)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_moves_stays_what_it_is(kind: str) -> None:
    model, twin = MODELS[kind](), MODELS[kind]()
    x = images((32, 32), 2)[:, : model.graph.input_shape[0]]
    for each in (model, twin):
        each.optimize(x.shape, repeats=1)
        each.accuracy, each.task = "high", "multi_label"
    twin.tuning = model.tuning
    before, plan = twin(x), twin.plan(x.shape)
    moved(twin)
    for attribute in (
        "name", "source", "options", "device", "graph", "num_classes", "preprocess", "labels",
        "task", "accuracy", "tuning", "trained", "load_report",
    ):  # fmt: skip
        assert getattr(twin, attribute) == getattr(model, attribute), attribute
    assert type(twin.graph) is cz.Graph
    state = model.state_dict()
    assert list(twin.state_dict()) == list(state)
    for name, array in twin.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
        assert (array.dtype, array.shape) == (state[name].dtype, state[name].shape)
    np.testing.assert_array_equal(twin(x), before)
    assert twin.plan(x.shape) == plan
    assert difference(twin(x, exact=True), before) <= FUSED


def test_a_model_without_parameters_moves() -> None:
    model = cz.create_model("resnet18", meta=True)
    with pytest.raises(cz.DeviceError, match="meta"):
        model.freeze()
    assert model.device == "meta" and str(model.graph).startswith("graph resnet18")


def test_a_model_that_moved_loads_and_saves_files(tmp_path: Path) -> None:
    model, other = moved(registered()), cz.create_model("resnet18", num_classes=3, stem="small")
    other.save(tmp_path / "other.safetensors")
    model.load_weights(tmp_path / "other.safetensors")
    x = images((32, 32), 1)
    np.testing.assert_array_equal(model(x), other(x))
    model.save(tmp_path / "model.safetensors")
    loaded = cz.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded(x), other(x))
    assert loaded.labels == ("a", "b", "c") and not has_libtorch(loaded._engine)
    with pytest.raises(cz.WeightsError):
        model.load_weights(Path(__file__).parents[1] / "weights" / "tiny.pth")


def test_no_change_is_lost_while_a_model_moves() -> None:
    """Weights that are loaded meanwhile are there before or after the move."""
    wanted = tiny(seed=2).state_dict()
    x = images((16, 16), 1)
    expected = tiny(seed=2)(x)
    for _ in range(100):
        model, start = tiny(seed=1), threading.Barrier(3)

        def move(model: cz.Model = model, start: threading.Barrier = start) -> None:
            start.wait()
            model.unfreeze()

        def load(model: cz.Model = model, start: threading.Barrier = start) -> None:
            start.wait()
            model.load_state_dict(wanted)

        threads = [threading.Thread(target=work) for work in (move, load)]
        for thread in threads:
            thread.start()
        start.wait()
        model(x)
        for thread in threads:
            thread.join()
        assert has_libtorch(model._engine)
        np.testing.assert_array_equal(model(x), expected)


def test_many_threads_that_need_libtorch_get_the_same_engine() -> None:
    model, found = tiny(), []
    threads = [
        threading.Thread(target=lambda: found.append(model._for_training())) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(engine) for engine in found}) == 1 and len(found) == 8


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_threads_that_were_set_before_are_libtorchs_too() -> None:
    assert (
        run(
            "import cnnzoo as cz\n"
            "cz.set_num_threads(3)\n"
            "cz.resnet18(stem='small', num_classes=2).freeze()\n"
            "import torch\n"
            "print(torch.get_num_threads(), cz.get_num_threads())\n"
            "cz.set_num_threads(2)\n"
            "print(torch.get_num_threads())"
        )
        == "3 3\n2\n"
    )


@pytest.mark.parametrize("torch", [False, True])
def test_a_forked_child_loads_libtorch_by_itself(torch: bool) -> None:
    """Also where the parent has computed with torch, whose threads the child lacks."""
    code = f"""
import os, signal, numpy as np, cnnzoo as cz
if {torch}:
    import torch
    torch.set_num_threads(2)
    torch.randn(64, 3, 64, 64).exp().sum(), torch.randn(500, 500) @ torch.randn(500, 500)
model, x = cz.resnet18(num_classes=4), np.ones((4, 3, 64, 64), np.float32)
logits = model(x)
child = os.fork()
if child == 0:
    signal.alarm(60)
    model.train_step(x, np.arange(4), cz.SGD(model, lr=0.1))
    os._exit(0 if np.abs(model(x) - logits).max() > 0 else 1)
_, status = os.waitpid(child, 0)
model.train_step(x, np.arange(4), cz.SGD(model, lr=0.1))
print(status)
"""
    assert run(code) == "0\n"
