"""Runs as MLflow and Weights & Biases keep them, read back by their own readers."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pytest
import wandb
from PIL import Image
from wandb.proto import wandb_internal_pb2

import cnnzoo as cz
import examples
from cnnzoo.callbacks import Callback, MLflow, WandB
from cnnzoo.training._figures import of_epoch
from train.small_run import loaders, trainer

STEPS = 7

# Both libraries' own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Address of an empty store of MLflow."""
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for wandb, which neither asks nor sends."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield tmp_path
    if wandb.run is not None:
        wandb.finish()


def client(store: str) -> Any:
    return mlflow.MlflowClient(store, registry_uri=store)


def is_best(file: Path, one: cz.Trainer, validation: Any) -> bool:
    """Whether a model file is of the best epoch."""
    found = cz.metrics.evaluate(cz.load(file), validation)
    return found.top1 == max(row.val_top1 or 0 for row in one.history)


def test_mlflow_has_settings_figures_pictures_and_the_best_model(
    store: str, tmp_path: Path
) -> None:
    one, (train, validation) = trainer(), loaders()
    report = MLflow(tracking_uri=store, experiment="flowers", run_name="first", every=3)
    history = one.fit(train, validation, epochs=2, progress=False, callbacks=[report])
    reader = client(store)
    run = reader.get_run(report.run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "first"
    assert reader.get_experiment(run.info.experiment_id).name == "flowers"
    params = run.data.params
    assert params["optimizer"] == "SGD" and float(params["optimizer.lr"]) == 0.05
    assert params["schedule"] == "Cosine" and float(params["schedule.warmup"]) == 1.0
    assert params["model.options.drop_rate"] == "0.2" and params["fit.epochs"] == "2"
    expected: dict[str, list[Any]] = {
        "train/loss": [row.train_loss for row in history],
        "val/top1": [row.val_top1 for row in history],
        "own/loss": [row.own_val_loss for row in history],
    }
    for name, values in expected.items():
        found = reader.get_metric_history(report.run_id, name)
        assert [(metric.step, metric.value) for metric in found] == list(
            zip([STEPS, 2 * STEPS], values, strict=True)
        )
    steps = [metric.step for metric in reader.get_metric_history(report.run_id, "step/loss")]
    assert steps == [3, 6, 9, 12]
    folder = Path(reader.download_artifacts(report.run_id, "", str(tmp_path)))
    assert is_best(folder / "best.safetensors", one, validation)
    assert json.loads((folder / "settings" / "from-epoch-1.json").read_text()) == one.config
    for name in ("curves", "confusion"):
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 100


def test_a_resumed_and_a_further_fit_continue_the_run_of_mlflow(store: str, tmp_path: Path) -> None:
    saved = tmp_path / "run.safetensors"

    class Saves(Callback):
        def on_epoch(self, trainer: cz.Trainer, row: cz.EpochRow) -> None:
            if row.epoch == 2:
                trainer.save(saved)
                raise KeyboardInterrupt

    def report() -> MLflow:
        return MLflow(tracking_uri=store, pictures=False)

    one = trainer()
    first, second, third = report(), report(), report()
    with pytest.raises(KeyboardInterrupt):
        one.fit(*loaders(), epochs=3, progress=False, callbacks=[first, Saves()])
    assert client(store).get_run(first.run_id).info.status == "KILLED"
    resumed = cz.Trainer.resume(saved, *loaders(), progress=False, callbacks=[second])
    resumed.optimizer.lr = 0.01
    resumed.fit(*loaders(), epochs=1, progress=False, callbacks=[third])
    assert first.run_id == second.run_id == third.run_id
    found = client(store).get_metric_history(first.run_id, "train/loss")
    assert [metric.step for metric in found] == [STEPS * epoch for epoch in (1, 2, 3, 4)]
    run = client(store).get_run(first.run_id)
    assert run.info.status == "FINISHED" and float(run.data.params["optimizer.lr"]) == 0.05
    names = [file.path for file in client(store).list_artifacts(first.run_id, "settings")]
    assert sorted(names) == ["settings/from-epoch-1.json", "settings/from-epoch-4.json"]


def test_an_active_run_of_mlflow_is_left_open(store: str) -> None:
    mlflow.set_tracking_uri(store)
    mlflow.set_registry_uri(store)
    try:
        with mlflow.start_run(run_name="outer") as outer:
            report = MLflow(pictures=False, best_model=False)
            trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[report])
            assert report.run_id == outer.info.run_id
            assert client(store).get_run(report.run_id).info.status == "RUNNING"
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


# A log of wandb is one of LevelDB, after seven bytes: records in blocks, cut where a block ends.
BLOCK, HEADER, WHOLE, LAST = 32768, 7, 1, 4


def records(folder: Path) -> list[Any]:
    """The records of wandb's only run in a folder."""
    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data, at, found, text = file.read_bytes(), HEADER, [], b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        text += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in {WHOLE, LAST}:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(text)
            found.append(record)
            text = b""
    return found


def items(several: Any) -> dict[str, Any]:
    """The values of a record by their names."""
    return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in several}


def test_wandb_has_settings_figures_pictures_and_the_best_model(offline: Path) -> None:
    one, (train, validation) = trainer(), loaders()
    report = WandB(project="flowers", name="first", mode="offline", folder=offline, every=3)
    history = one.fit(train, validation, epochs=2, progress=False, callbacks=[report])
    assert wandb.run is None
    found = records(offline)
    (opened,) = {record.run.display_name for record in found if record.HasField("run")}
    assert opened == "first"
    config = items(
        update for record in found for update in (*record.config.update, *record.run.config.update)
    )
    assert config["optimizer"] == one.config["optimizer"] and config["ema"] == 0.9
    rows = [items(record.history.item) for record in found if record.HasField("history")]
    top1 = {row["_step"]: row["val/top1"] for row in rows if "val/top1" in row}
    assert top1 == {row.step: row.val_top1 for row in history}
    assert [row["_step"] for row in rows if "step/loss" in row] == [3, 6, 9, 12]
    folder = offline.glob("wandb/offline-run-*/files/media/images/*")
    names = sorted(path.name.partition("_")[0] for path in folder)
    assert names == ["confusion", "curves"]
    (artifact,) = (record.artifact for record in found if record.HasField("artifact"))
    assert artifact.type == "model"
    (entry,) = artifact.manifest.contents
    assert entry.path == "best.safetensors"
    assert is_best(Path(entry.local_path), one, validation)


def test_an_active_run_of_wandb_is_left_open(offline: Path) -> None:
    with wandb.init(mode="offline", dir=offline) as outer:
        settings: Any = outer.config
        report = WandB(pictures=False, best_model=False)
        trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[report])
        assert wandb.run is outer
        assert settings["optimizer"]["class"] == "SGD"


def test_names_that_mlflow_refuses_are_refused_before_training(store: str) -> None:
    known, (train, validation) = client(store), loaders()
    run = known.create_run("0").info.run_id
    names = ("top-1 (%)", "a//b", "../a", "é", "a b:c-d.e_f/g", "")
    for name in names:
        with suppress(mlflow.exceptions.MlflowException):
            known.log_metric(run, f"val/{name}", 1.0)
    taken = known.get_run(run).data.metrics
    assert taken.keys() == {"val/é", "val/a b:c-d.e_f/g"}
    for name in names:
        one = trainer()
        options: dict[str, Any] = {"progress": False, "metrics": {name: lambda *_: 0.5}}
        callback = MLflow(tracking_uri=store, pictures=False, best_model=False)
        if f"val/{name}" in taken:
            one.fit(train, validation, epochs=1, callbacks=[callback], **options)
            continue
        with pytest.raises(cz.ArgumentError, match="`metrics`: expected names that MLflow takes"):
            one.fit(train, validation, epochs=1, callbacks=[callback], **options)
        assert one.step == 0


def test_a_metric_with_the_name_of_ours_hides_none() -> None:
    one, (train, validation) = trainer(), loaders()
    metrics = {"loss": lambda *_: -7.0, "mine": lambda *_: -8.0}
    row = one.fit(train, validation, epochs=1, progress=False, metrics=metrics)[-1]
    found = of_epoch(row)
    assert found["val/loss"] == row.val_loss
    assert found["own metric/loss"] == -7.0
    assert found["val/mine"] == -8.0


def test_multi_label_runs_have_no_confusion(store: str, tmp_path: Path) -> None:
    from small_network import BATCHES, tiny

    model = tiny()
    batches = [(x, [[1.0, 0.0, 1.0]] * len(x)) for x, _ in BATCHES]
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1), loss=cz.BinaryCrossEntropy())
    report = MLflow(tracking_uri=store)
    one.fit(batches, batches, epochs=1, progress=False, callbacks=[report])  # type: ignore[arg-type]
    names = {file.path for file in client(store).list_artifacts(report.run_id)}
    assert names == {"best.safetensors", "curves.png", "settings"}


def test_wrong_arguments_and_stores_are_refused(tmp_path: Path) -> None:
    for kind in (MLflow, WandB):
        with pytest.raises(cz.ArgumentError, match="`every`"):
            kind(every=0)
        with pytest.raises(cz.ArgumentError, match="`pictures`"):
            kind(pictures="yes")  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`mode`"):
        WandB(mode="on")  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`tracking_uri`"):
        MLflow(tracking_uri=3)  # type: ignore[arg-type]
    report = MLflow(tracking_uri="gopher://nowhere")
    with pytest.raises(cz.LogError, match=r"MLflow: .*gopher"):
        trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[report])


def test_the_guide_runs(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/track-runs.md."""
    monkeypatch.chdir(offline)
    # wandb keeps the folder in which the process used it first.
    wandb.teardown()
    assert examples.run(examples.ROOT / "docs" / "how-to" / "track-runs.md") == 4
    known = client("sqlite:///mlflow.db")
    (run,) = known.search_runs([known.get_experiment_by_name("flowers").experiment_id])
    assert {"val/top1", "train/loss"} <= run.data.metrics.keys()
    assert len(list(offline.glob("wandb/offline-run-*"))) == 1
    assert (offline / "run.jsonl").exists()


@pytest.mark.parametrize(("module", "kind"), [("mlflow", "MLflow"), ("wandb", "WandB")])
def test_without_the_tracker_the_error_names_the_extra(module: str, kind: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "import cnnzoo as cz\n"
        f"try:\n    cz.callbacks.{kind}()\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"pip install 'cnnzoo[{module}]'" in done.stdout
