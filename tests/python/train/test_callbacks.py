"""Logs and pictures of a run, read by those whom they are for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cnnzoo as cz
from cnnzoo.callbacks import Callback, JsonLines, TensorBoard
from train.small_run import loaders, trainer

STEPS = 7


def test_lines_say_what_the_history_says(tmp_path: Path) -> None:
    one = trainer()
    log = tmp_path / "logs" / "run.jsonl"
    history = one.fit(*loaders(), epochs=2, progress=False, callbacks=[JsonLines(log, every=3)])
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 7, 9, 12, 14]
    rows = [line for line in lines if "epoch" in line]
    assert [row["val_top1"] for row in rows] == [row.val_top1 for row in history]
    assert all(np.isfinite(line["loss"]) for line in lines if "epoch" not in line)


def test_another_run_begins_its_log_anew(tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    log.write_text("something\n")
    trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[JsonLines(log)])
    assert len(log.read_text().splitlines()) == 1


def test_a_log_goes_on_where_the_run_does(tmp_path: Path) -> None:
    """A row of an epoch whose run checkpoint was not written is written again, and once."""
    log, saved = tmp_path / "run.jsonl", tmp_path / "run.safetensors"

    class SavesBeforeTheRow(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            if trainer.step == 2 * STEPS:
                trainer.save(saved)

    logs = [JsonLines(log, every=1)]
    trainer().fit(*loaders(), epochs=3, progress=False, callbacks=[*logs, SavesBeforeTheRow()])

    def steps() -> list[int]:
        return [json.loads(line)["step"] for line in log.read_text().splitlines()]

    whole = steps()
    with log.open("a") as cut:
        cut.write('{"step": 22, "lo')
    cz.Trainer.resume(saved, *loaders(), progress=False, callbacks=logs)
    assert steps() == whole
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


def test_what_is_no_line_of_a_log_is_left_out(tmp_path: Path) -> None:
    log, one = tmp_path / "run.jsonl", trainer()
    one._state.step = STEPS
    whole = b'{"step": 3, "loss": 1.5}\n{"step": 7, "epoch": 0}\n'
    others = [b"\xff\x80", b"[" * 9000, b'{"step": "1"}', b'{"step": 1, "epoch": []}', b"3", b""]
    log.write_bytes(b"\n".join([*others, whole]))
    lines = JsonLines(log)
    lines.on_start(one)
    lines.on_end(one)
    assert log.read_bytes() == whole


def test_a_log_that_is_no_file_is_refused(tmp_path: Path) -> None:
    """A pipe would wait for its writer."""
    log, one = tmp_path / "run.jsonl", trainer()
    one._state.step = STEPS
    os.mkfifo(log)
    with pytest.raises(cz.LogError, match="expected a regular file, got a pipe"):
        JsonLines(log).on_start(one)


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    history = trainer().fit(
        *loaders(), epochs=2, progress=False, callbacks=[TensorBoard(tmp_path, every=2)]
    )
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    val = events.Scalars("val/top1")
    assert [event.step for event in val] == [STEPS, 2 * STEPS]
    assert [event.value for event in val] == pytest.approx([row.val_top1 for row in history])
    assert [event.step for event in events.Scalars("step/lr")] == [2, 4, 6, 8, 10, 12, 14]


def test_without_tensorboard_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(cz.MissingPackageError, match=r"pip install 'cnnzoo\[tensorboard\]'"):
        TensorBoard("anywhere")


def test_callbacks_are_called_in_order_and_once() -> None:
    seen: list[str] = []

    class Notes(Callback):
        def on_start(self, trainer: cz.Trainer) -> None:
            seen.append("start")

        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            seen.append(f"step {trainer.step}")
            if trainer.step == 2:
                trainer.stop()

        def on_epoch(self, trainer: cz.Trainer, row: cz.EpochRow) -> None:
            assert trainer.history[-1] is row
            seen.append(f"epoch {row.epoch}")

        def on_end(self, trainer: cz.Trainer) -> None:
            seen.append("end")

    trainer().fit(*loaders(), epochs=5, progress=False, callbacks=[Notes()])
    steps = [f"step {step}" for step in range(1, STEPS + 1)]
    assert seen == ["start", *steps, "epoch 1", "end"]


def test_an_error_of_a_callback_is_raised_and_the_others_end() -> None:
    ended: list[bool] = []

    class Fails(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            raise ZeroDivisionError

        def on_end(self, trainer: cz.Trainer) -> None:
            ended.append(True)

    with pytest.raises(ZeroDivisionError):
        trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[Fails()])
    assert ended == [True]


def test_a_history_is_drawn_with_its_values() -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    one = trainer()
    history = one.fit(*loaders(), epochs=2, progress=False)
    loss, top1 = history.plot()
    drawn = [list(line.get_ydata()) for line in loss.lines]
    assert drawn == [[row.train_loss for row in history], [row.val_loss for row in history]]
    assert [line.get_label() for line in top1.lines] == ["training", "validation"]
    pyplot.close(loss.figure)


def test_a_tick_of_a_drawn_history_says_where_it_stands() -> None:
    mpl.use("Agg")
    from matplotlib import pyplot

    rows = [
        cz.EpochRow(
            epoch=epoch,
            step=epoch,
            lr=0.1,
            train_loss=1.0,
            train_top1=share,
            seconds=1.0,
            images_per_second=1.0,
        )
        for epoch, share in enumerate([0.25, 0.4], start=1)
    ]
    _, top1 = cz.History(rows).plot()
    top1.figure.canvas.draw()
    told = [float(label.get_text().rstrip("%")) / 100 for label in top1.get_yticklabels()]
    assert told == pytest.approx(list(top1.get_yticks()), abs=1e-9)
    pyplot.close(top1.figure)


def test_a_history_prints_as_a_table() -> None:
    history = trainer().fit(*loaders(), epochs=2, progress=False)
    lines = repr(history).splitlines()
    assert lines[0].split()[:3] == ["epoch", "lr", "loss"]
    assert len(lines) == 4


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(cz.MissingPackageError, match=r"pip install 'cnnzoo\[plots\]'"):
        cz.History().plot()
