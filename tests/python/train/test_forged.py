"""A run checkpoint is data: whatever it says, it is gone on with or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
from forged import arrays_of, described, forge, mutations
from small_network import BATCHES, TINY, tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run checkpoint of a finished run, with something of everything that one may hold."""
    folder = tmp_path_factory.mktemp("run")
    model = tiny().freeze("conv1")
    optimizer = cz.SGD(
        model, lr=0.01, momentum=0.9, groups=[cz.ParameterGroup("fc", weight_decay=0.5)]
    )
    trainer = cz.Trainer(
        model,
        optimizer=optimizer,
        schedule=cz.MultiStep(at=[1, 2]),
        loss=cz.CrossEntropy(class_weights=[1, 2, 3]),
        ema=0.5,
        clip_norm=1.0,
    )
    trainer.fit(BATCHES, BATCHES, epochs=1, progress=False, checkpoint=folder)
    return folder / "last.safetensors"


def outcome(path: Path) -> str | None:
    """The message with which resuming refuses the run checkpoint; it may raise nothing else."""
    try:
        cz.Trainer.resume(path, BATCHES, BATCHES, progress=False)
    except cz.CheckpointError as error:
        return str(error)
    return None


def test_the_checkpoint_itself_is_taken(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "same.safetensors"
    forge(path, json.dumps(described(saved, "cnnzoo-run")), arrays_of(saved), run=True)
    assert outcome(path) is None


@pytest.mark.parametrize("part", ["model", "trained", "optimizer", "trainer", "state", "history"])
def test_every_changed_value_is_taken_or_refused(saved: Path, tmp_path: Path, part: str) -> None:
    whole, arrays = described(saved, "cnnzoo-run"), arrays_of(saved)
    path = tmp_path / "forged.safetensors"
    refused = 0
    for place, other in mutations({part: whole[part]}):
        forge(path, json.dumps({**whole, **other}), arrays, run=True)
        try:
            said = outcome(path)
        except Exception as error:
            raise AssertionError(f"{place}: {error!r}") from error
        if said is not None:
            refused += 1
            assert str(path) in said, place
    assert refused > 10


def changed(whole: dict[str, Any], *path: str, to: Any) -> str:
    *way, last = path
    copy: dict[str, Any] = json.loads(json.dumps(whole))
    at = copy
    for key in way:
        at = at[key]
    at[last] = to
    return json.dumps(copy)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("model", "options"), {"weights": "default"}, "weights"),
        (("model", "graph"), TINY.replace("out=3", "out=1048576"), "(1048576, 4), got (3, 4)"),
        (("optimizer", "class"), "Trainer", "`run.optimizer.class`: expected SGD or Adam"),
        (("optimizer", "arguments"), {"lr": "fast", "groups": []}, "lr"),
        (("trainer", "schedule"), {"class": ["Step"], "fields": {}}, "run.trainer.schedule.class"),
        (("trainer", "loss", "fields"), {"class_weights": [1, "a"]}, "class_weights"),
        (("state", "epochs"), 1.5, "`run.state.epochs`: expected a whole number"),
        (("state", "batch"), 3, "expected at most 2 batches that were taken, got 3"),
        (("history",), [5], "`run.history.0`: expected an object, got 5"),
        (("format",), 2, "a newer cnnzoo wrote it"),
    ],
)
def test_what_is_no_run_is_named(
    saved: Path, tmp_path: Path, place: tuple[str, ...], value: Any, says: str
) -> None:
    path = tmp_path / "forged.safetensors"
    whole = described(saved, "cnnzoo-run")
    forge(path, changed(whole, *place, to=value), arrays_of(saved), run=True)
    said = outcome(path)
    assert said is not None and says in said


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("steps/fc.weight", np.array(-1)),
        ("steps/fc.weight", np.zeros(2, np.int64)),
        ("steps/fc.weight", np.array(1.5)),
        ("averages/momentum_buffer/fc.weight", np.zeros((3, 4), np.int32)),
        ("averages/momentum_buffer/fc.weight", np.zeros((4, 3), np.float32)),
        ("model/fc.weight", np.zeros((3, 4), np.int64)),
        ("model/fc.weight", np.zeros(3, np.float32)),
        ("average/bn1.num_batches_tracked", np.zeros(3, np.float32)),
        ("average/bn1.num_batches_tracked", np.array(1.0)),
    ],
)
def test_other_arrays_are_refused_by_their_names(
    saved: Path, tmp_path: Path, name: str, array: Any
) -> None:
    path = tmp_path / "forged.safetensors"
    arrays = arrays_of(saved)
    assert name in arrays
    text = json.dumps(described(saved, "cnnzoo-run"))
    forge(path, text, {**arrays, name: array}, run=True)
    said = outcome(path)
    assert said is not None and f"`{name}`" in said
    del arrays[name]
    forge(path, text, arrays, run=True)
    if not name.startswith("steps"):
        assert name in (outcome(path) or "")
