"""Processes that differ, fail or end: the others say so, and none of them waits for ever."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TypeAlias

import pytest

from several_processes import launch

PROGRAM = Path(__file__).with_name("distributed_trouble.py")

Found: TypeAlias = tuple[list[dict[str, list[str]]], list[int]]

# What differs, as every process says it; the last one is the other one.
DIFFERENT = {
    "batches": "training batches: 4 in process 0, 3 in process 1",
    "images": "training images: 16 in process 0, 15 in process 1",
    "batch size": "training batch_size: 4 in process 0, 8 in process 1",
    "epochs": "got `epochs`: 3 in process 0, 2 in process 1",
    "options": "optimizer lr: 0.1 in process 0, 1.1 in process 1; `clip_norm`: None in process 0, "
    "1.0 in process 1",
    "statistics": "got `sync_batch_norm`: False in process 0, True in process 1",
    "parameters": "got parameter conv1.weight: (4, 3, 3, 3) in process 0, (8, 3, 3, 3) in process "
    "1; parameter conv1.bias: (4,) in process 0",
    "frozen": "got training of conv1.weight: True in process 0, False in process 1",
    "classes": "got training class 2: 'c' in process 0, 'd' in process 1",
    "validation": "got validation batches: 4 in process 0, nothing in process 1",
    "sizes": "got training images: [4, 4] in process 0, [4, 2] in process 1",
    "lazy sizes": "got images in batch 2: 4 in process 0, 2 in process 1",
    "evaluation": "got evaluation batches: 3 in process 0, 2 in process 1",
}

# What the last process fails with, and the others hear.
FAILED = {
    "more": ("ArgumentError", "length says in a distributed run, 2, got more"),
    "fewer": ("ArgumentError", "length says in a distributed run, 2, got 1"),
    "bad option": ("ArgumentError", "`epochs`: expected a whole number of 1"),
    "raised": ("FileNotFoundError", "no disk"),
}

# Calls of all processes, in a callback that only the first one calls.
ALONE = {
    "alone evaluate": "AtFirst: expected nothing that all processes do together",
    "alone fit": "expected no fit that runs",
    "alone construct": "AtFirst: expected nothing that all processes do together",
}

# Calls of all processes that the first one makes, in callbacks that all call, by the callback.
UNEQUAL = {
    "unequal step": "At.on_step",
    "unequal epoch": "AtEpoch.on_epoch",
    "unequal end": "AtEnd.on_end",
    "unequal lists": "AtEpoch.on_epoch",
}

# Exchanges that fail in the middle of a step.
BROKEN = ["forward", "backward"]


def find(folder: Path, cases: list[str], processes: int) -> Found:
    """The error of each process in each case, and how each process ended."""
    folder.mkdir(exist_ok=True)
    ends = launch(PROGRAM, [str(folder), ",".join(cases)], processes)
    files = [folder / f"{place}.json" for place in range(processes)]
    assert all(file.exists() for file in files), ends
    return [json.loads(file.read_text()) for file in files], [status for status, _ in ends]


def test_no_process_waits_for_one_that_differs_or_fails(tmp_path: Path) -> None:
    well = ["limited", "stopped", "alone local", "together", "equal", "well"]
    cases = [*DIFFERENT, *FAILED, *ALONE, *UNEQUAL, "failed", *BROKEN, *well, "killed"]
    (first, last), ends = find(tmp_path, cases, 2)
    for case, text in DIFFERENT.items():
        assert first[case] == last[case], "all say the same"
        kind, message = first[case]
        assert kind == "ArgumentError", case
        assert text in message, case
    for case, (kind, text) in FAILED.items():
        assert last[case][0] == kind, case
        assert text in last[case][1], case
        assert first[case][0] == "ProcessError", case
        assert f"process 1 has ended with {kind}: " in first[case][1], case
        assert text in first[case][1], case
    for case, text in ALONE.items():
        assert first[case][0] == "ArgumentError", case
        assert text in first[case][1], case
        assert last[case][0] == "ProcessError", case
        assert text in last[case][1], case
    for case, name in UNEQUAL.items():
        assert first[case][0] == last[case][0] == "ArgumentError", case
        expected = "expected every process to take part in what all do together"
        assert first[case][1].startswith(f"{name}: {expected}"), case
        assert "got 1 of 2 without it; call it in all of them" in first[case][1], case
        assert f"callbacks: {expected}" in last[case][1], case
        assert "got it in 1 of 2 processes, and none in this one, process 1" in last[case][1], case
    assert last["failed"][0] == "ArgumentError"
    assert "since this one has failed with FileNotFoundError: no disk" in last["failed"][1]
    assert first["failed"][0] == "ArgumentError"
    assert "since this one has failed with ProcessError: " in first["failed"][1]
    assert "process 1 has ended with ArgumentError: AtEnd" in first["failed"][1]
    for case in BROKEN:
        assert first[case][0] == last[case][0] == "ProcessError", case
        assert "got one that has ended" in first[case][1], case
        assert "the cable is broken" in last[case][1], case
    for case in well:
        assert first[case] == last[case] == ["", ""], case
    assert ends == [0, -signal.SIGKILL]
    assert first["killed"][0] == "ProcessError"
    # gloo says that the connection was closed, or reset.
    assert "got one that has ended; its own error says why" in first["killed"][1]


def test_the_end_of_one_of_four_reaches_all(tmp_path: Path) -> None:
    found, ends = find(tmp_path, ["raised", "well", "killed"], 4)
    assert [one["raised"][0] for one in found] == ["ProcessError"] * 3 + ["FileNotFoundError"]
    assert all("process 3 has ended with FileN" in one["raised"][1] for one in found[:3])
    assert all(one["well"] == ["", ""] for one in found), "the next fit is a new one"
    assert [one["killed"][0] for one in found[:3]] == ["ProcessError"] * 3
    assert ends == [0, 0, 0, -signal.SIGKILL]


@pytest.mark.slow
def test_one_that_stands_still_runs_into_the_time_limit(tmp_path: Path) -> None:
    (first, last), _ = find(tmp_path, ["stuck"], 2)
    assert "got no answer from another one" in first["stuck"][1]
    assert "init_process_group(timeout=...)" in first["stuck"][1]
    assert last["stuck"][0] == "ProcessError"
