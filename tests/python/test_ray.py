"""Predictions on a Ray of this machine, one of whose workers is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
import ray
import ray.data
from PIL import Image
from pyarrow import parquet

import cnnzoo as cz
import examples
import pictures
from small_network import tiny

PREPROCESS = cz.Preprocess(
    resize=32, crop=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
)

# Ray's own.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """A Ray with two CPUs."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100_000_000,
        log_to_driver=False,
        logging_level="ERROR",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("photographs"), classes=2, each=6)


@pytest.fixture(scope="module")
def model() -> cz.Model:
    made = cz.create_model("resnet20", num_classes=3, seed=1)
    made.preprocess = PREPROCESS
    made.labels = ("ant", "bee", "fly")
    return made


def rows_of(output: Path) -> list[dict[str, Any]]:
    """The rows of an output, as pyarrow reads them."""
    tables = [parquet.read_table(file) for file in sorted(output.glob("*.parquet"))]
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def are_predictions(rows: list[dict[str, Any]], model: cz.Model, paths: list[str]) -> None:
    """Assert that there is one right row for each photograph."""
    assert sorted(row["path"] for row in rows) == sorted(paths)
    for row in rows:
        expected = model.predict(row["path"])
        assert row["error"] is None
        assert row["labels"] == [guess.label for guess in expected]
        assert row["label"] == expected[0].label
        np.testing.assert_allclose(
            row["probabilities"], [guess.probability for guess in expected], rtol=1e-4
        )
        assert row["probability"] == row["probabilities"][0]


def test_a_folder_is_predicted_with_errors_as_rows_and_resumed(
    folder: Path, model: cz.Model, tmp_path: Path
) -> None:
    paths = sorted(str(path) for path in folder.rglob("*.png"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"none")
    output = tmp_path / "output"
    found = cz.ray.predict([*paths[:5], str(broken)], model, output=output, rows_per_file=3)
    assert found.count() == 6
    rows = rows_of(output)
    (failed,) = (row for row in rows if row["error"] is not None)
    assert failed["path"] == str(broken) and "broken.png" in failed["error"]
    assert failed["label"] is None and failed["labels"] is None
    are_predictions([row for row in rows if row is not failed], model, paths[:5])
    before = {file: file.stat().st_mtime_ns for file in output.iterdir()}
    assert len(before) == 2
    # What is not whole is no part of the output.
    (output / "_unfinished-x.parquet").write_bytes(b"PAR1")
    again = cz.ray.predict(folder, model, output=output, rows_per_file=100)
    assert again.count() == 13
    (output / "_unfinished-x.parquet").unlink()
    are_predictions([row for row in rows_of(output) if row["error"] is None], model, paths)
    assert before.items() <= {f: f.stat().st_mtime_ns for f in output.iterdir()}.items()
    assert cz.ray.predict(folder, model, output=output).count() == 13


def test_bytes_of_a_parquet_file_and_a_model_file(
    folder: Path, model: cz.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By relative paths, though the workers were started elsewhere."""
    monkeypatch.chdir(tmp_path)
    paths = sorted(str(path) for path in folder.rglob("*.png"))[:4]
    table = {
        "name": [*paths, "missing"],
        "data": [*(Path(path).read_bytes() for path in paths), None],
        "other": range(5),
    }
    parquet.write_table(pa.table(table), tmp_path / "input.parquet")
    model.save(tmp_path / "model.safetensors")
    cz.ray.predict(
        "input.parquet",
        "model.safetensors",
        output="output",
        path_column="name",
        bytes_column="data",
        top=3,
    )
    rows = rows_of(tmp_path / "output")
    (missing,) = (row for row in rows if row["path"] == "missing")
    assert "missing value" in missing["error"]
    are_predictions([row for row in rows if row is not missing], model, paths)
    # A dataset of Ray, of which the rest is done.
    more = ray.data.from_items([{"name": path} for path in [*paths, str(folder / "none.png")]])
    found = cz.ray.predict(more, model, output=tmp_path / "output", path_column="name")
    assert found.count() == 6


def test_a_killed_worker_loses_nothing_and_doubles_nothing(
    folder: Path, model: cz.Model, tmp_path: Path
) -> None:
    paths = sorted(str(path) for path in folder.rglob("*.png")) * 60
    killed: list[int] = []
    over = threading.Event()

    def kill() -> None:
        while not killed and not over.is_set():
            if list(tmp_path.glob("output/part-*")):
                for process in psutil.Process().children(recursive=True):
                    if "Predictor" in " ".join(process.cmdline()):
                        os.kill(process.pid, signal.SIGKILL)
                        killed.append(process.pid)
                        return
            time.sleep(0.01)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        numbered = ray.data.from_items(
            [
                {"path": f"{index} {path}", "bytes": Path(path).read_bytes()}
                for index, path in enumerate(paths)
            ]
        )
        cz.ray.predict(numbered, model, output=tmp_path / "output", rows_per_file=8)
    finally:
        over.set()
        thread.join()
    assert killed
    rows = rows_of(tmp_path / "output")
    assert sorted(row["path"] for row in rows) == sorted(f"{i} {p}" for i, p in enumerate(paths))
    assert all(row["error"] is None for row in rows)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": 3}, "`model`: expected a model"),
        ({"top": 0}, "`top`"),
        ({"actors": 0}, "`actors`"),
        ({"threads": 1.5}, "`threads`"),
        ({"rows_per_file": True}, "`rows_per_file`"),
        ({"resume": "no"}, "`resume`"),
        ({"precision": "float8"}, "`precision`"),
        ({"photographs": 3}, "a folder, paths, a .parquet file or a dataset of Ray"),
        ({"photographs": [3]}, "expected paths"),
        ({"photographs": {"a", "b"}}, "in a list"),
        ({"photographs": []}, "expected at least one, got"),
    ],
)
def test_wrong_arguments_are_refused(
    change: dict[str, Any], said: str, model: cz.Model, tmp_path: Path
) -> None:
    given = {"photographs": [], "model": model, "output": tmp_path / "output", **change}
    with pytest.raises(ValueError, match=said):
        cz.ray.predict(given.pop("photographs"), given.pop("model"), **given)


@pytest.mark.parametrize("listed", [True, False])
def test_a_path_that_is_no_text_is_refused_before_any_work(listed: bool, tmp_path: Path) -> None:
    place = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")
    Path(place).write_bytes(b"a photograph")
    with pytest.raises(cz.DataError, match=r"expected paths in UTF-8.*xff\.png"):
        cz.ray.predict([place] if listed else tmp_path, tiny(), output=tmp_path / "predictions")


def test_another_folder_of_parquet_is_not_taken_for_an_output(
    model: cz.Model, tmp_path: Path
) -> None:
    (tmp_path / "part-0.parquet").write_bytes(b"none")
    with pytest.raises(cz.DataError, match="expected predictions of an earlier call"):
        cz.ray.predict(["a.png"], model, output=tmp_path)
    dataset = ray.data.from_items([{"file": "a.png"}])
    with pytest.raises(cz.ArgumentError, match="expected a column 'path', got columns file"):
        cz.ray.predict(dataset, model, output=tmp_path / "new")


def test_memory_of_a_worker_is_that_of_one_lot(model: cz.Model, tmp_path: Path) -> None:
    """Its photographs are 3 MB each once they are decoded, and 600 MB together."""
    photograph = np.random.default_rng(0).integers(0, 255, (10, 10, 3), np.uint8)
    Image.fromarray(photograph).resize((1000, 1000)).save(tmp_path / "large.png")
    peaks: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            files = len(list(tmp_path.glob("output/part-*")))
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process().children(recursive=True):
                    if files and "Predictor" in " ".join(process.cmdline()):
                        peaks.append(process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        large = [str(tmp_path / "large.png")] * 200
        cz.ray.predict(large, model, output=tmp_path / "output", rows_per_file=10)
    finally:
        over.set()
        thread.join()
    assert len(peaks) > 10
    assert max(peaks) - peaks[0] < 200_000_000


def test_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/how-to/many-photographs.md."""
    examples.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert examples.run(examples.ROOT / "docs" / "how-to" / "many-photographs.md") == 2
    labels = {row["label"] for row in rows_of(tmp_path / "predictions")}
    assert "espresso" in labels


def test_without_ray_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import cnnzoo as cz\n"
        "try:\n    cz.ray\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cnnzoo[ray]'" in done.stdout
