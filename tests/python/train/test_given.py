"""Arguments of a trainer are checked at once; settings and logs are plain values."""

from __future__ import annotations

import errno
import fcntl
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import cnnzoo as cz
from cnnzoo.callbacks import Callback, EarlyStopping, JsonLines

X = np.random.default_rng(0).normal(size=(6, 3, 32, 32)).astype(np.float32)
Y = np.arange(6) % 3


def trainer(**options: Any) -> cz.Trainer:
    model = cz.create_model("resnet20", num_classes=3)
    return cz.Trainer(model, optimizer=cz.SGD(model, lr=1e-3), **options)


def fit(**options: Any) -> cz.History:
    data = options.pop("data", [(X, Y)])
    return trainer().fit(data, **{"epochs": 1, "progress": False, **options})


def fit_with(loss: Any) -> None:
    trainer(loss=loss)


class KerasLike(Callback):
    def on_epoch_end(self, trainer: cz.Trainer) -> None:
        """Nobody would call it."""


def sgd(**options: Any) -> cz.SGD:
    return cz.SGD(cz.create_model("resnet20", num_classes=3), **{"lr": 0.1, **options})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "seed of letters": (lambda: trainer(seed="a"), "`seed`: expected a whole number, got 'a'"),
    "seed below zero": (lambda: trainer(seed=-1), "`seed`: expected a whole number of 0 to"),
    "schedule by name": (lambda: trainer(schedule="cosine"), "`schedule`: expected a schedule"),
    "class of schedules": (lambda: trainer(schedule=cz.Cosine), "got the class Cosine itself"),
    "loss by name": (lambda: trainer(loss="cross"), "`loss`: expected"),
    "ema of 1": (lambda: trainer(ema=1), "`ema`: expected a number of at least 0 and below"),
    "ema by name": (lambda: trainer(ema="yes"), "`ema`: .* got 'yes'"),
    "clip below zero": (lambda: trainer(clip_norm=-1), "`clip_norm`: .* above 0, got -1"),
    "clip of nan": (lambda: trainer(clip_value=float("nan")), "`clip_value`: .* got nan"),
    "both clips": (lambda: trainer(clip_norm=1, clip_value=1), "got both"),
    "half a batch": (lambda: trainer(accumulate=1.5), "`accumulate`: expected a whole number"),
    "precision": (lambda: trainer(precision="half"), "`precision`: expected float32 or bfloat16"),
    "precision as a list": (lambda: trainer(precision=[]), "`precision`: expected float32"),
    "mixup by name": (lambda: trainer(mixup="a"), "`mixup`: expected a number of at least 0"),
    "half an epoch": (lambda: fit(epochs=1.5), "`epochs`: expected a whole number, got 1.5"),
    "no epoch": (lambda: fit(epochs=0), "`epochs`: expected a whole number of 1 to"),
    "epochs as a truth": (lambda: fit(epochs=True), "`epochs`: expected a whole number, got True"),
    "half a checkpoint": (
        lambda: fit(checkpoint_every=0.5),
        "`checkpoint_every`: expected a whole",
    ),
    "checkpoints to nowhere": (
        lambda: fit(checkpoint_every=2),
        "`checkpoint_every`: expected a folder, `checkpoint`",
    ),
    "a hook of others": (
        lambda: fit(callbacks=[KerasLike()]),
        r"`callbacks\[0\]`: expected .*on_epoch, on_end, got on_epoch_end of KerasLike",
    ),
    "losses of probabilities": (
        lambda: fit_with(torch.nn.NLLLoss()),
        r"`loss`: expected a loss of logits, such as torch\.nn\.CrossEntropyLoss, got NLLLoss",
    ),
    "a loss of probabilities as TorchLoss": (
        lambda: fit_with(cz.TorchLoss(torch.nn.BCELoss())),
        "such as torch.nn.BCEWithLogitsLoss, got BCELoss",
    ),
    "a function of log-probabilities": (
        lambda: fit_with(functools.partial(torch.nn.functional.nll_loss, reduction="mean")),
        "functional.cross_entropy, got partial",
    ),
    "a size in words": (
        lambda: cz.list_models(max_params=cast("Any", "30M")),
        "`max_params`: .* got '30M'",
    ),
    "no name": (
        lambda: cz.create_model(cast("Any", None)),
        "`name`: expected the name of a model, got None",
    ),
    "a name for nothing": (
        lambda: cz.model_info(cast("Any", 3)),
        "`name`: expected the name of a model, got 3",
    ),
    "checkpoint as a number": (lambda: fit(checkpoint=5), "`checkpoint`: expected a path, got 5"),
    "a function to call": (lambda: fit(callbacks=[print]), r"`callbacks\[0\]`: expected a cnnzoo"),
    "a class to call": (lambda: fit(callbacks=[EarlyStopping]), "the class EarlyStopping itself"),
    "one to call": (lambda: fit(callbacks=EarlyStopping()), "`callbacks`: expected a list of"),
    "arrays as data": (
        lambda: fit(data=(X, Y)),
        r"got arrays themselves; one batch is \[\(x, y\)\]",
    ),
    "an array as data": (lambda: fit(data=X), "training: expected a Loader.* got an array"),
    "a data set": (
        lambda: fit(data=cz.data.Arrays(np.zeros((2, 8, 8, 3), np.uint8), [0, 1])),
        r"got a data set; use Loader\(dataset",
    ),
    "triples as data": (lambda: fit(data=[(X, Y, Y)]), "training, batch 1: .* got .*tuple of 3"),
    "triples to validate": (
        lambda: trainer().evaluate([(X, Y, Y)]),  # type: ignore[list-item]
        "validation, batch 1: .* got .*tuple of 3",
    ),
    "monitor as a list": (lambda: fit(monitor=["val_top1"]), "`monitor`: expected one of"),
    "optimizer by name": (
        lambda: cz.Trainer(cz.create_model("resnet20"), optimizer="sgd"),  # type: ignore[arg-type]
        "`optimizer`: expected one of this model.* got 'sgd'",
    ),
    "model by name": (
        lambda: cz.Trainer("resnet20", optimizer=sgd()),  # type: ignore[arg-type]
        "`model`: expected a model.* got 'resnet20'",
    ),
    "patience": (
        lambda: EarlyStopping(patience=cast(Any, 1.5)),
        "`patience`: expected a whole number",
    ),
    "lr by name": (
        lambda: sgd(lr="fast"),
        "`lr`: expected a number of at least 0, got 'fast'",
    ),
    "momentum by name": (lambda: sgd(momentum="a"), "`momentum`: expected a finite number"),
    "decay of none": (lambda: sgd(weight_decay=None), "`weight_decay`: expected a finite number"),
    "groups of text": (lambda: sgd(groups=["fc"]), r"`groups\[0\]`: expected a .*ParameterGroup"),
    "optimizer of a name": (lambda: cz.SGD("resnet20", lr=1.0), "`model`: expected a model"),  # type: ignore[arg-type]
    "pattern of a number": (lambda: cz.ParameterGroup(5), "parameter group: expected patterns"),  # type: ignore[arg-type]
    "scale by name": (
        lambda: cz.ParameterGroup("fc", lr_scale=cast(Any, "a")),
        "`lr_scale`: expected a finite",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused_in_a_sentence(name: str) -> None:
    build, message = REFUSED[name]
    with pytest.raises(cz.ArgumentError, match=message):
        build()


def test_a_loss_of_torch_trains() -> None:
    ours, theirs = trainer(), trainer(loss=torch.nn.CrossEntropyLoss())
    rows = [t.fit([(X, Y)] * 2, epochs=1, progress=False)[0] for t in (ours, theirs)]
    assert rows[0].train_loss == pytest.approx(rows[1].train_loss, rel=1e-6)


def test_settings_are_plain_values() -> None:
    model = cz.create_model("resnet20", num_classes=3, drop_rate=0.1)
    group = cz.ParameterGroup("fc", lr_scale=np.float32(2.0))
    one = cz.Trainer(
        model,
        optimizer=cz.AdamW(model, lr=np.float64(0.01), groups=[group]),
        schedule=cz.Cosine(warmup=1),
        loss=cz.CrossEntropy(class_weights=cast(Any, np.ones(3))),
        ema=0.99,
        seed=np.int64(4),
    )
    config = one.config
    assert json.loads(json.dumps(config, allow_nan=False)) == config
    assert config["model"]["name"] == "resnet20"
    assert config["model"]["options"]["drop_rate"] == 0.1
    assert config["optimizer"]["class"] == "AdamW"
    assert config["optimizer"]["groups"] == [
        {"patterns": ["fc"], "lr_scale": 2.0, "weight_decay": None}
    ]
    assert config["schedule"] == {
        "class": "Cosine",
        "fields": {**cz.Cosine(warmup=1).__dict__},
    }
    assert config["loss"]["fields"]["class_weights"] == [1.0, 1.0, 1.0]
    assert (config["ema"], config["seed"], config["precision"]) == (0.99, 4, "float32")


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"not JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


def test_logs_and_checkpoints_are_json_where_numbers_are_not_finite(tmp_path: Path) -> None:
    bad = X.copy()
    bad[0] = np.nan
    one = trainer()
    log = JsonLines(tmp_path / "log.jsonl", every=1)
    folder = tmp_path / "run"
    one.fit([(X, Y)], [(bad, Y)], epochs=1, progress=False, callbacks=[log], checkpoint=folder)
    assert np.isnan(one.history[0].val_loss or 0.0)
    lines = [strict(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[-1]["val_loss"] is None
    assert lines[-1]["val_top1"] == one.history[0].val_top1
    from safetensors import safe_open

    with safe_open(str(folder / "last.safetensors"), "numpy") as file:
        strict(file.metadata()["cnnzoo-run"])
    again = cz.Trainer.resume(folder, [(X, Y)], [(bad, Y)], progress=False)
    assert repr(again.history.rows) == repr(one.history.rows)


class Raising(Callback):
    """Notes that training ends, and fails then."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name, self.told = name, told

    def on_end(self, trainer: cz.Trainer) -> None:
        self.told.append(self.name)
        raise RuntimeError(self.name)


def test_every_callback_hears_of_the_end() -> None:
    told: list[str] = []
    callbacks = [Raising(name, told) for name in "abc"]
    with pytest.raises(RuntimeError):
        fit(callbacks=callbacks)
    assert told == ["a", "b", "c"]


class Again(Callback):
    """Begins a fit in a fit."""

    def on_epoch(self, trainer: cz.Trainer, row: cz.EpochRow) -> None:
        trainer.fit([(X, Y)], epochs=1, progress=False)


def test_a_fit_in_a_fit_is_refused_and_the_next_one_is_not() -> None:
    one = trainer()
    with pytest.raises(cz.ArgumentError, match="expected no fit that runs, got one"):
        one.fit([(X, Y)], epochs=1, progress=False, callbacks=[Again()])
    assert len(one.fit([(X, Y)], epochs=1, progress=False)) == 2


class Full(Callback):
    """The disk fills up under a log."""

    def __init__(self, log: JsonLines) -> None:
        self.log = log

    def on_start(self, trainer: cz.Trainer) -> None:
        if self.log._out is not None:
            self.log._out.close()
        self.log._out = Path("/dev/full").open("a", encoding="utf-8")  # noqa: SIM115 (it closes it)


def test_a_full_disk_names_the_log(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "log.jsonl")
    with pytest.raises(cz.LogError, match=r"log\.jsonl: No space left on device"):
        fit(callbacks=[log, Full(log)])


HOLDING = """
import sys, numpy as np, cnnzoo as cz
model = cz.create_model("resnet20", num_classes=3)
class Wait(cz.callbacks.Callback):
    def on_step(self, trainer, result):
        print("training", flush=True)
        sys.stdin.readline()
cz.Trainer(model, optimizer=cz.SGD(model, lr=1e-3)).fit(
    [(np.zeros((4, 3, 32, 32), np.float32), np.arange(4) % 3)],
    epochs=1, progress=False, callbacks=[Wait()], checkpoint=sys.argv[1],
)
"""


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ)
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"training\n"
        message = "expected a folder in which no run is training, got one in which another is"
        with pytest.raises(cz.CheckpointError, match=message):
            fit(checkpoint=tmp_path)
        with pytest.raises(cz.CheckpointError, match=message):
            cz.Trainer.resume(tmp_path, [(X, Y)], progress=False)
        process.kill()
    # What held it is dead: its run goes on from the checkpoint of its start.
    again = cz.Trainer.resume(tmp_path, [(X, Y)], progress=False)
    assert len(again.history) == 1


def test_two_runs_of_one_process_do_not_share_a_folder(tmp_path: Path) -> None:
    class Second(Callback):
        def on_start(self, trainer: cz.Trainer) -> None:
            with pytest.raises(cz.CheckpointError, match="in which no run is training"):
                fit(checkpoint=tmp_path)

    fit(checkpoint=tmp_path, callbacks=[Second()])


@pytest.mark.parametrize("code", [errno.ENOTSUP, errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(cz.Notice, match="its file system has no locks") as told:
        fit(checkpoint=tmp_path)
    assert str(tmp_path) in str(told[0].message)
    assert told[0].filename == __file__
    assert (tmp_path / "last.safetensors").exists()


def test_a_lock_that_fails_otherwise_is_an_error_with_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(cz.CheckpointError, match="Input/output error") as caught:
        fit(checkpoint=tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ")


def test_a_file_that_a_dead_process_of_this_number_left_is_in_nobodys_way(tmp_path: Path) -> None:
    model = cz.create_model("resnet20", num_classes=3)
    left = [tmp_path / f".m.safetensors.{os.getpid()}-{count}.tmp" for count in range(2000)]
    for file in left:
        file.write_bytes(b"unfinished")
    model.save(tmp_path / "m.safetensors")
    assert cz.load(tmp_path / "m.safetensors").num_classes == 3
    assert all(file.read_bytes() == b"unfinished" for file in left)


def test_a_fit_that_moves_nothing_or_whose_rate_rises_is_noticed() -> None:
    model = cz.create_model("resnet20", num_classes=3).freeze()
    before = model.state_dict()
    with pytest.warns(cz.Notice, match="resnet20: all parameters are frozen, so the fit"):
        cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1)).fit([(X, Y)], epochs=1, progress=False)
    np.testing.assert_array_equal(model.state_dict()["fc.weight"], before["fc.weight"])
    rising = trainer(schedule=cz.Cosine(min_lr=0.01))
    with pytest.warns(
        cz.Notice, match="the learning rate rises from 0.001 to the schedule's `min_lr`, 0.01"
    ):
        rising.fit([(X, Y)], epochs=1, progress=False)
    falling = trainer(schedule=cz.Cosine(min_lr=1e-3))
    falling.fit([(X, Y)], epochs=1, progress=False)
