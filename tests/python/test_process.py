"""The end of the interpreter while models run, and forks after they ran."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
from reference import images

SECONDS = 60


def child(program: str) -> subprocess.CompletedProcess[str]:
    """A process that runs a program to the interpreter's end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.parametrize("work", ["model(x)", "model.train_step(x, y, optimizer)"])
def test_daemon_threads_in_runs_end_with_the_interpreter(work: str) -> None:
    """Their runs are waited for, and begin no more."""
    done = child(f"""
        import threading, time
        import numpy as np
        import cnnzoo as cz
        model = cz.create_model("resnet18", num_classes=4)
        optimizer = cz.SGD(model, lr=0.1)
        x, y = np.zeros((4, 3, 96, 96), np.float32), np.zeros(4, int)
        begun = threading.Event()
        def run():
            while True:
                {work}
                begun.set()
        for _ in range(2):
            threading.Thread(target=run, daemon=True).start()
        begun.wait()
        time.sleep(0.05)
    """)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_registered_for_the_end_still_runs_models() -> None:
    """That of before the import comes after our wait, in the thread that ends the interpreter."""
    done = child("""
        import atexit, threading
        @atexit.register
        def last():
            print(model(x).shape)
            thread.join()
        import numpy as np
        import cnnzoo as cz
        model = cz.create_model("resnet18", num_classes=4, stem="small")
        x = np.zeros((1, 3, 32, 32), np.float32)
        begun = threading.Event()
        def run():
            while True:
                model(x)
                begun.set()
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        begun.wait()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 4)\n", "")


def in_a_fork(work: Callable[[], Any]) -> bytes:
    """The result of the work in a forked child, as bytes; a child that hangs is killed."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forks beside threads, which is what is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        try:
            os.write(writing, np.asarray(work()).tobytes())
        finally:
            os._exit(0)
    os.close(writing)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG)[0]:
            with os.fdopen(reading, "rb") as file:
                return file.read()
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(reading)
    raise AssertionError("the child hung")


def gradients(model: cz.Model, x: np.ndarray[Any, Any]) -> Any:
    """The first gradient of a batch."""
    _, found = model.vjp(x, np.ones((len(x), model.num_classes), np.float32))
    return next(iter(found.values()))


def trained(model: cz.Model, x: np.ndarray[Any, Any]) -> Any:
    """A copy's logits after a step."""
    twin = model.copy()
    twin.train_step(x, np.zeros(len(x), int), cz.SGD(twin, lr=0.1))
    return twin(x)


WORK: dict[str, Callable[[cz.Model, Any], Any]] = {
    "a run": lambda model, x: model(x),
    "a gradient": gradients,
    "a step": trained,
    "a new model": lambda _, x: cz.create_model("resnet18", num_classes=3, seed=5)(x),
    "a copy of the parameters": lambda model, _: next(iter(model.state_dict().values())),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("work", WORK)
def test_forked_children_compute_as_their_parent_does(work: str, threads: int) -> None:
    """Also on several threads, of which libtorch's pool has none left in the child."""
    import torch

    model, x = cz.create_model("resnet18", num_classes=4), images((64, 64), 4)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        expected = np.asarray(WORK[work](model, x)).tobytes()
        assert in_a_fork(lambda: WORK[work](model, x)) == expected
    finally:
        torch.set_num_threads(before)
