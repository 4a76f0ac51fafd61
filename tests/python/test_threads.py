"""One model in many threads."""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import cnnzoo as cz
from reference import images

THREADS = 8


def test_eight_threads_on_one_model_agree_with_one() -> None:
    model = cz.create_model("tf_efficientnet_lite0", num_classes=10)
    batches = [images((64 + i, 64), 1 + i % 3, seed=i) for i in range(THREADS)]
    expected = [model(x) for x in batches]
    start = threading.Barrier(THREADS)

    def run(index: int) -> None:
        start.wait()
        for _ in range(4):
            np.testing.assert_array_equal(model(batches[index]), expected[index])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


def test_the_gil_is_released_while_a_model_runs() -> None:
    """Python code goes on during a run that takes much longer than a switch between threads."""
    model = cz.create_model("resnet50")
    x = images((224, 224), 8)
    progress: list[float] = []
    running = threading.Event()
    done = threading.Event()

    def count() -> None:
        running.wait()
        while not done.is_set():
            progress.append(time.perf_counter())
            time.sleep(0.001)

    counter = threading.Thread(target=count)
    counter.start()
    interval = sys.getswitchinterval()
    begin = time.perf_counter()
    running.set()
    model(x)
    end = time.perf_counter()
    done.set()
    counter.join()
    inside = [tick for tick in progress if begin < tick < end]
    assert end - begin > 10 * interval, "too quick to tell"
    assert len(inside) >= 5, "the interpreter stood still"


def test_loading_while_others_run_is_all_or_nothing() -> None:
    """Every run sees the parameters of one load, never a mixture."""
    model = cz.create_model("resnet18", num_classes=4)
    other = cz.create_model("resnet18", num_classes=4, seed=1)
    states = [model.state_dict(), other.state_dict()]
    x = images((33, 33), 1)
    expected = [model(x), other(x)]
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            for state in states:
                model.load_state_dict(state)

    loader = threading.Thread(target=load)
    loader.start()
    try:
        for _ in range(60):
            logits = model(x)
            assert any(np.array_equal(logits, known) for known in expected)
    finally:
        stop.set()
        loader.join()


def test_a_prediction_names_the_classes_of_the_classifier_that_made_it() -> None:
    """Another thread gives the model other classes meanwhile, more or fewer, and their names."""
    model = cz.create_model("resnet20", num_classes=2)
    names = {2: ("left", "right"), 7: tuple("abcdefg")}
    unnamed = {count: tuple(f"class {n}" for n in range(count)) for count in names}
    photo = np.zeros((32, 32, 3), np.uint8)
    stop, changes = threading.Event(), 0

    def change() -> None:
        nonlocal changes
        while not stop.is_set():
            for count, labels in names.items():
                model.reset_classifier(num_classes=count)
                model.labels = labels
                changes += 1

    changer = threading.Thread(target=change)
    changer.start()
    seen: set[tuple[str, ...]] = set()
    try:
        deadline = time.monotonic() + 60
        while len(seen) < 3 or changes < 200:
            assert time.monotonic() < deadline, "the model hardly changes"
            seen.update(
                tuple(sorted(p.label for p in one)) for one in model.predict([photo] * 2, top=9)
            )
    finally:
        stop.set()
        changer.join()
    assert seen <= {*names.values(), *unnamed.values()}
