"""`cnnzoo train`: the files of a run, its recipe, interruptions, and errors in one line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import cnnzoo as cz
from cnnzoo.command._settings import Settings
from cnnzoo.command._transfer import best_epoch, classifier_of
from cnnzoo.training import EpochRow, History
from command_line import CLASSES, Command, start, write_classes
from several_processes import torchrun
from tolerance import STATISTICAL

SMALL = "mobilenet_v1_025"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("pictures"), 10)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the small network, as if they were trained on something else."""
    path = tmp_path_factory.mktemp("weights") / "trained.safetensors"
    cz.create_model(SMALL, num_classes=7, image_size=32, seed=5).save(path)
    return path


def arguments(trained: Path, output: Path, *, epochs: int = 6) -> list[object]:
    given = ["--model", SMALL, "--image-size", 32, "--weights", trained, "--epochs", epochs]
    return [*given, "--batch-size", 8, "--threads", 1, "-o", output]


@pytest.fixture(scope="module")
def finished(
    pictures: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """A finished run in a process of its own, and what it printed."""
    output = tmp_path_factory.mktemp("finished") / "run"
    with start("train", pictures, *arguments(trained, output), "--json") as running:
        out, err = running.communicate()
    assert running.returncode == 0, err
    return output, json.loads(out)


# ---- a whole run


def test_a_run_leaves_its_files_and_predicts_in_the_next_line(
    run: Command, finished: tuple[Path, dict[str, Any]], pictures: Path
) -> None:
    output, summary = finished
    names = {"best", "head", "last"}
    assert {path.name for path in output.iterdir() if not path.name.startswith(".")} == {
        *(f"{name}.safetensors" for name in names),
        *("settings.json", "summary.json", "summary.png", "log.jsonl"),
    }
    assert json.loads((output / "summary.json").read_text()) == summary
    with Image.open(output / "summary.png") as picture:
        assert picture.size[0] > 1000
    log = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["val_top1"] for line in log] == [row["val_top1"] for row in summary["epochs"]]
    [answer] = run.json(
        "predict", "--model", output / "best.safetensors", pictures / "coffee/01.png"
    )
    assert {guess["label"] for guess in answer["predictions"]} == set(CLASSES)


def test_the_figures_are_those_of_the_model_that_was_kept(
    finished: tuple[Path, dict[str, Any]], pictures: Path
) -> None:
    output, summary = finished
    model = cz.load(output / "best.safetensors")
    assert list(model.labels) == summary["classes"] == list(CLASSES)
    assert model.preprocess.crop == 32
    _, validation = cz.data.ImageFolder(pictures).split(0.8, seed=0)
    assert len(validation) == summary["validation"]["images"] == 6
    right = [
        model.predict(validation.photo(index))[0].index == label
        for index, label in enumerate(validation.labels)
    ]
    assert summary["validation"]["top1"] == summary["best"]["val_top1"] == np.mean(right)


def test_the_classifier_is_trained_first_and_alone(
    finished: tuple[Path, dict[str, Any]], trained: Path
) -> None:
    output, summary = finished
    assert summary["settings"]["head_epochs"] == 2
    before, after = cz.load(trained).state_dict(), cz.load(output / "head.safetensors").state_dict()
    changed = {
        name
        for name in before
        if before[name].shape != after[name].shape or not np.array_equal(before[name], after[name])
    }
    assert changed == set(classifier_of(cz.load(trained)))
    tuned = cz.load(output / "best.safetensors").state_dict()
    convolutions = [name for name, array in before.items() if array.ndim == 4]
    assert summary["best"]["epoch"] > 2 and len(convolutions) > 20
    for name in convolutions:
        assert tuned[name].shape != before[name].shape or (tuned[name] != before[name]).any()
    rates = [row["lr"] for row in summary["epochs"]]
    assert rates[0] > rates[1] and rates[2] > rates[3] > rates[4] > rates[5]


def test_every_network_has_a_classifier_that_is_its_last_layer() -> None:
    for name in ("resnet18", "alexnet", "vit_b_16", "squeezenet1_0", "inception_v3"):
        model = cz.create_model(name, num_classes=3, meta=True)
        sizes = {array: shape for array, shape, _ in model.graph.parameters()}
        assert all(sizes[array][0] == 3 for array in classifier_of(model))
        assert len(classifier_of(model)) >= 2


def test_without_trained_weights_it_says_so_and_trains_all_of_it(
    run: Command, pictures: Path, tmp_path: Path
) -> None:
    given = ["--model", SMALL, "--image-size", 32, "--epochs", 1, "--batch-size", 8]
    out, err = run("train", pictures, *given, "-o", tmp_path / "run", "--augment", "strong")
    assert f"{SMALL} with random parameters" in err
    assert f"cnnzoo download {SMALL}" in err
    assert "24 photographs of 3 classes to train on, 6 to validate on" in err
    assert f"cnnzoo predict --model {tmp_path / 'run' / 'best.safetensors'} PHOTO" in out
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert (settings["weights"], settings["head_epochs"], settings["ema"]) == ("none", 0, 0.999)


def test_installed_weights_are_found() -> None:
    settings = Settings(folder="photos", model="tf_efficientnet_lite0").settled()
    assert settings.weights == cz.model_info("tf_efficientnet_lite0").weights[0]
    assert (settings.head_epochs, settings.ema) == (3, 0.0)
    assert Settings(folder="photos", model="resnet18", weights="none").settled().head_epochs == 0
    tagged = Settings(folder="photos", model="resnet18.a1_in1k").settled()
    assert (tagged.model, tagged.source, tagged.weights) == ("resnet18", "timm", "timm/a1_in1k")


def test_a_folder_of_its_own_is_validated_on(
    run: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    other = write_classes(tmp_path / "other", 2, seed=9, classes=CLASSES[1:])
    given = arguments(trained, tmp_path / "run", epochs=1)
    summary = run.json("train", pictures, *given, "--validation", other, "--no-flip")
    assert summary["validation"]["images"] == 4
    assert [one["label"] for one in summary["validation"]["per_class"] if one["count"]] == [
        *CLASSES[1:]
    ]


def history(values: list[float]) -> History:
    return History(
        [
            EpochRow(
                epoch=at + 1, step=at, lr=0.1, train_loss=1.0, val_loss=1 - value, val_top1=value,
                seconds=1.0, images_per_second=1.0,
            )
            for at, value in enumerate(values)
        ]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([0.5, 0.6, 0.7], 3),
        ([0.9, 0.6, 0.7], 1),
        ([0.9, 0.9, 0.9], 2),
        ([0.9, float("nan"), 0.3], 1),
    ],
)
@pytest.mark.parametrize("monitor", ["val_top1", "val_loss"])
def test_the_best_epoch(values: list[float], best: int, monitor: Any) -> None:
    settings = Settings(folder="", model=SMALL, epochs=3, head_epochs=1, monitor=monitor)
    assert best_epoch(history(values), settings) == best


# ---- interruptions


def state(path: Path) -> dict[str, NDArray[Any]]:
    return cz.load(path).state_dict()


@pytest.mark.parametrize("epochs", [1, 3])
def test_after_ctrl_c_a_run_ends_with_the_same_bits(
    epochs: int,
    finished: tuple[Path, dict[str, Any]],
    pictures: Path,
    trained: Path,
    tmp_path: Path,
    run: Command,
) -> None:
    """Interrupted after the first epoch, of the classifier, and after the third, of all."""
    output = tmp_path / "run"
    with start("train", pictures, *arguments(trained, output), "--json") as running:
        log = output / "log.jsonl"
        while running.poll() is None and not (
            log.exists() and log.read_text().count("\n") >= epochs
        ):
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate()
    if running.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert (running.returncode, out) == (130, b"")
    message = err.decode().splitlines()[-1]
    assert message.startswith("cnnzoo: interrupted")
    assert message.endswith(f"`cnnzoo train --resume {output}` continues from there")
    summary = run.json("train", "--resume", output, "--threads", 1)
    whole, expected = finished[0], finished[1]
    for name in ("best.safetensors", "head.safetensors"):
        for array, value in state(whole / name).items():
            np.testing.assert_array_equal(state(output / name)[array], value)
    for ours, theirs in zip(summary["epochs"], expected["epochs"], strict=True):
        same = ("train_loss", "val_loss", "val_top1", "lr", "step")
        assert [ours[key] for key in same] == [theirs[key] for key in same]


def test_a_finished_run_resumes_to_itself_where_its_photographs_were_moved(
    run: Command, finished: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    shutil.copytree(pictures, tmp_path / "moved")
    shutil.copytree(finished[0], tmp_path / "run")
    found = run.json("train", tmp_path / "moved", "--resume", tmp_path / "run")
    assert found["epochs"] == finished[1]["epochs"]
    (tmp_path / "moved" / "coffee" / "00.png").unlink()
    message = run.error("train", tmp_path / "moved", "--resume", tmp_path / "run")
    assert "expected the training data of the run" in message


def test_a_run_resumes_where_its_validation_was_moved_and_with_no_other(
    run: Command,
    finished: tuple[Path, dict[str, Any]],
    pictures: Path,
    trained: Path,
    tmp_path: Path,
) -> None:
    for name in ("val", "moved", "other"):
        shutil.copytree(pictures, tmp_path / name)
    next((tmp_path / "other").rglob("*.png")).unlink()
    output = tmp_path / "run"
    validation = ["--validation", tmp_path / "val"]
    begun = run.json("train", pictures, *arguments(trained, output), *validation, "--json")
    shutil.rmtree(tmp_path / "val")
    moved = ["--validation", tmp_path / "moved"]
    assert run.json("train", "--resume", output, *moved)["epochs"] == begun["epochs"]
    other = ["--validation", tmp_path / "other"]
    assert "expected the validation data of the run" in run.error(
        "train", "--resume", output, *other
    )
    message = run.error("train", "--resume", finished[0], *moved)
    assert "--validation: expected none, since the run validates on a part of" in message
    assert f"got {tmp_path / 'moved'}" in message


def test_a_run_without_a_checkpoint_begins_anew(
    run: Command, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(finished[0] / "settings.json", tmp_path / "run")
    _, err = run("train", "--resume", tmp_path / "run", "--threads", 1)
    assert "the run begins anew" in err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["best"]["val_loss"] == finished[1]["best"]["val_loss"]


# ---- errors


def test_folders_that_cannot_be_trained_on(run: Command, tmp_path: Path, pictures: Path) -> None:
    def refused(folder: Path, *more: object) -> str:
        given = ["--model", SMALL, "--weights", "none", "-o", tmp_path / "run", *more]
        message = run.error("train", folder, *given)
        assert not (tmp_path / "run").exists()
        return message

    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty")
    assert "nowhere: " in refused(tmp_path / "nowhere")
    one = write_classes(tmp_path / "one", 2, classes=CLASSES[:1])
    assert "at least 2 classes, got astronaut alone" in refused(one)
    (tmp_path / "bare").mkdir()
    shutil.copytree(pictures, tmp_path / "bare" / "some")
    (tmp_path / "bare" / "none").mkdir()
    assert "none" in refused(tmp_path / "bare")
    parts = tmp_path / "parts"
    for name in ("train", "val"):
        shutil.copytree(pictures, parts / name)
    assert f"`cnnzoo train {parts / 'train'} --validation {parts / 'val'}`" in refused(parts)
    other = write_classes(tmp_path / "other", 1, classes=("rocket",))
    assert "rocket, which it does not have" in refused(pictures, "--validation", other)
    few = write_classes(tmp_path / "few", 1)
    assert "got none of" in refused(few)


def test_training_begins_with_a_model_file(
    run: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    output = tmp_path / "run"
    short = ("--epochs", 1, "--head-epochs", 1, "--head-lr", 1e-9, "--threads", 1, "-o", output)
    summary = run.json("train", pictures, "--model", trained, *short)
    settings = summary["settings"]
    assert (settings["model"], settings["weights"]) == (SMALL, str(trained))
    best = cz.load(output / "best.safetensors")
    assert best.labels == CLASSES
    assert best.graph.input_shape == (3, 32, 32)
    assert best.preprocess == cz.load(trained).preprocess
    first, before = (cz.load(path).state_dict() for path in (output / "best.safetensors", trained))
    assert all(
        np.array_equal(first[name], array)
        for name, array in before.items()
        if name.endswith("conv.weight") and "classifier" not in name
    )
    other = tmp_path / "other"
    refused = ["train", pictures, "-o", other, "--model"]
    assert "holds its own" in run.error(*refused, trained, "--weights", "none")
    assert "names its own" in run.error(*refused, trained, "--source", "timm")
    alone = tmp_path / "alone.safetensors"
    cz._native.write_safetensors(alone, best.state_dict())
    assert f"got weights alone; use --model NAME --weights {alone}" in run.error(*refused, alone)
    cz.Model.from_graph(best.graph).save(tmp_path / "graph.safetensors")
    assert "of a custom graph" in run.error(*refused, tmp_path / "graph.safetensors")
    assert not other.exists()


def test_mistakes_in_the_options(
    run: Command, pictures: Path, tmp_path: Path, trained: Path
) -> None:
    output = tmp_path / "run"
    assert "the closest are resnet18" in run.error(
        "train", pictures, "--model", "resnett18", "-o", output
    )
    missing = run.error("train", pictures, "--weights", "nothing", "-o", output)
    assert "expected a file or a tag, got 'nothing'" in missing
    assert not output.exists()
    for wrong in (
        [],
        [pictures, "--epochs", 0],
        [pictures, "--split", 1],
        [pictures, "--lr", "fast"],
        [pictures, "--ema", 1],
        [pictures, "--epochs", 2, "--head-epochs", 3],
        [pictures, "--validation", pictures, "--split", 0.5],
        ["--resume", output, "--epochs", 5],
    ):
        out, err = run("train", *wrong, status=2)
        assert out == "" and "usage: cnnzoo train" in err


def test_folders_with_something_in_them_are_refused(
    run: Command, finished: tuple[Path, dict[str, Any]], pictures: Path, tmp_path: Path
) -> None:
    old = finished[0]
    assert f"`cnnzoo train --resume {old}`" in run.error("train", pictures, "-o", old)
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "got one with thesis.txt" in run.error("train", pictures, "-o", tmp_path)
    (tmp_path / "file").write_text("")
    assert "file: Not a directory" in run.error("train", pictures, "-o", tmp_path / "file")
    assert "without settings.json" in run.error("train", "--resume", tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(old, broken)
    (broken / "settings.json").write_text('{"format": 1, "epochs": "many"}')
    assert "the settings are damaged" in run.error("train", "--resume", broken)
    (broken / "settings.json").write_text('{"format": 2}')
    assert "a newer cnnzoo wrote it" in run.error("train", "--resume", broken)


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    run: Command, pictures: Path, trained: Path, tmp_path: Path
) -> None:
    """The limit on the size of files is that of the shell: 200 KiB, less than a run checkpoint."""
    output = tmp_path / "run"
    given = " ".join(f"'{one}'" for one in [pictures, *arguments(trained, output, epochs=1)])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 200; exec '{sys.executable}' -m cnnzoo train {given}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"cnnzoo: {output / 'last.safetensors'}") and "File too large" in last
    _, err = run("train", "--resume", output, "--threads", 1)
    assert "the run begins anew" in err


def test_a_broken_photograph_ends_the_run_or_is_left_out(
    run: Command, trained: Path, tmp_path: Path
) -> None:
    pictures = write_classes(tmp_path / "pictures", 5)
    broken = pictures / "coffee" / "00.png"
    broken.write_bytes(broken.read_bytes()[:200])
    given = arguments(trained, tmp_path / "run", epochs=1)
    message = run.error("train", pictures, *given)
    assert f"cnnzoo: {broken}: expected" in message
    assert f"`cnnzoo train --resume {tmp_path / 'run'} --on-error skip` goes on" in message
    _, err = run("train", "--resume", tmp_path / "run", "--on-error", "skip")
    assert f"is skipped: {broken}" in err
    assert (tmp_path / "run" / "summary.png").exists()


def losses(output: Path) -> NDArray[np.float64]:
    rows = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return np.array([row["train_loss"] for row in rows])


def test_torchrun_trains_as_one_process_does(
    pictures: Path, trained: Path, tmp_path: Path, run: Command
) -> None:
    """The same losses, and one set of files."""
    options = [*arguments(trained, tmp_path / "two", epochs=3), "--augment", "none"]
    out = torchrun("-m", "cnnzoo", "train", pictures, *options, "--sync-batch-norm", cwd=tmp_path)
    assert out.count("cnnzoo predict --model") == 1
    alone = [*arguments(trained, tmp_path / "one", epochs=3), "--augment", "none"]
    run("train", pictures, *alone)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    assert {path.name for path in (tmp_path / "two").iterdir()} == names
    found, expected = losses(tmp_path / "two"), losses(tmp_path / "one")
    assert len(found) == 3
    # Rounding grows from update to update.
    np.testing.assert_allclose(found, expected, rtol=STATISTICAL)


def test_one_process_has_no_others_to_synchronise_with(
    pictures: Path, trained: Path, tmp_path: Path, run: Command
) -> None:
    given = [*arguments(trained, tmp_path / "run"), "--sync-batch-norm"]
    assert "expected several processes, got one" in run.error("train", pictures, *given)
