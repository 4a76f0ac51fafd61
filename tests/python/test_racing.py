"""Races of engines: turns, answers that are wrong, processes that die."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cnnzoo.racing import Engine, Entry, Outcome, gflops, race
from cnnzoo.racing.contestant import turn
from cnnzoo.racing.race import ENOUGH, difference

# Engines that double an image's first values, or do not.
FORGED = """
import os, sys, time

def right(task, x, seconds=0.005):
    def run():
        time.sleep(seconds)
        return 2 * x[:, 0, 0]
    return run

def slow(task, x):
    return right(task, x, 0.1)

def threads(task, x):
    assert os.environ["OMP_NUM_THREADS"] == str(task.threads) == "3"
    return right(task, x)

def talks(task, x):
    print("not an answer")
    os.write(1, b"nor this")
    return right(task, x)

def liar(task, x):
    return lambda: 2.1 * x[:, 0, 0]

def nan(task, x):
    return lambda: float("nan") * x[:, 0, 0]

def shapeless(task, x):
    return lambda: x

def raises(task, x):
    raise ValueError("does not read " + task.model)

def dies(task, x):
    os._exit(3)

def dies_later(task, x):
    calls = []
    def run():
        calls.append(1)
        if len(calls) > 1:
            os._exit(4)
        return 2 * x[:, 0, 0]
    return run
"""
# Engines whose errors are what they are calibrated on, or three times as large.
CALIBRATED = """
import numpy as np

def near(task, x, factor=1):
    images = np.load(task.calibration)
    assert task.precision == "int8" and images.shape == (3, 2)
    return lambda: x + factor * images[:1]

def far(task, x):
    return near(task, x, 3)
"""
NAMES = ("right", "slow", "threads", "talks", "liar", "nan", "shapeless")
FAILING = ("raises", "dies", "dies_later", "absent")


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    file = tmp_path_factory.mktemp("engines") / "forged.py"
    file.write_text(FORGED)
    entries = {
        name: Entry(Engine(name, ("numpy",), "", str(file)), "a.model") for name in NAMES + FAILING
    }
    entries["absent"] = Entry(Engine("right", ("no_such_module",), "", str(file)), "")
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5), np.float32)
    return race(entries, x, 2 * x[:, 0, 0], threads=3, rounds=ENOUGH + 1, turn=0.001, pause=0)


def test_engines_take_turns(outcome: Outcome) -> None:
    assert outcome.figures.keys() == set(NAMES)
    right = outcome.figures["right"]
    assert right.version == np.__version__
    assert len(outcome.figures[outcome.best() or ""].turns) == ENOUGH + 1
    assert right.bytes > 1 << 20
    assert min(right.seconds, right.first, right.load) > 0
    assert outcome.figures["threads"].error == outcome.figures["talks"].error == right.error == 0


def test_what_is_far_behind_gets_no_further_turn(outcome: Outcome) -> None:
    slow = outcome.figures["slow"]
    assert len(slow.turns) == ENOUGH
    assert slow.seconds >= 0.1
    assert not slow.wrong


def test_wrong_answers_are_never_the_best(outcome: Outcome) -> None:
    errors = {name: one.error for name, one in outcome.figures.items() if one.wrong}
    assert errors.keys() == {"liar", "nan", "shapeless"}
    assert errors["liar"] == pytest.approx(0.05, rel=1e-3)
    assert math.isnan(errors["nan"])
    assert errors["shapeless"] == math.inf
    assert outcome.best() in {"right", "threads", "talks"}
    assert outcome.best(["liar", "slow"]) == "slow"
    assert outcome.best(["liar"]) is None


def test_engines_that_fail_are_named_with_the_reason(outcome: Outcome) -> None:
    assert outcome.missing == {
        "raises": "ended with status 1: ValueError: does not read a.model",
        "dies": "ended with status 3: no message",
        "dies_later": "ended with status 4: no message",
        "absent": "ended with status 1: ModuleNotFoundError: No module named 'no_such_module'",
    }


def test_races_in_int8_hand_over_images_and_allow_larger_errors(tmp_path: Path) -> None:
    file = tmp_path / "forged.py"
    file.write_text(CALIBRATED)
    entries = {
        name: Entry(Engine(name, ("numpy",), "", str(file)), "a.model") for name in ("near", "far")
    }
    x = np.ones((1, 2), np.float32)
    outcome = race(
        entries, x, x, threads=1, rounds=1, turn=0.001, pause=0, precision="int8",
        calibration=np.full((3, 2), 0.1, np.float32),
    )  # fmt: skip
    assert outcome.figures["near"].error == pytest.approx(0.1)
    assert {name for name, one in outcome.figures.items() if one.wrong} == {"far"}


def test_a_turn_has_a_call_that_is_not_counted_and_at_least_one_that_is() -> None:
    calls = []

    def run() -> NDArray[np.float64]:
        calls.append(1)
        return np.zeros(1)

    assert len(turn(run, 0.0)) == 1
    assert len(calls) == 2


def test_differences_and_speeds() -> None:
    want = np.array([[1.0, -4.0]], np.float32)
    assert difference(np.array([1.5, -4.0], np.float32), want) == 0.125
    assert difference(np.zeros((1, 3), np.float32), want) == math.inf
    assert gflops(10**9, 0.5) == 4.0
