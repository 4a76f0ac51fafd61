"""`cnnzoo embed`: vectors in order, errors by policy, and runs that continue."""

from __future__ import annotations

import csv
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

import cnnzoo as cz
from command_line import Command, start, write_classes
from tolerance import FUSED

NAME = "mobilenet_v1_025"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("pictures"), 5)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    cz.create_model(NAME, image_size=64, seed=3).save(path)
    return path


def expected(file: Path, paths: list[Path]) -> np.ndarray:
    """The features before the classifier, operator by operator on libtorch."""
    model = cz.load(file)
    return model.embed(model.preprocess(paths), exact=True)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.parametrize("ending", ["npy", "parquet"])
def test_vectors_are_in_the_order_of_their_paths(
    ending: str, run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"vectors.{ending}"
    found = run.json("embed", "--model", file, pictures, "-o", output, "--batch-size", 4)
    paths = sorted(pictures.rglob("*.png"))
    assert (found["rows"], found["width"], found["unreadable"]) == (15, 256, 0)
    if ending == "npy":
        vectors = np.load(output)
        assert [row["path"] for row in rows(tmp_path / "vectors.csv")] == [*map(str, paths)]
    else:
        table = pyarrow.parquet.read_table(output)
        assert table["path"].to_pylist() == [*map(str, paths)]
        assert table["error"].to_pylist() == [None] * 15
        vectors = np.array(table["vector"].to_pylist(), np.float32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(file, paths), rtol=FUSED, atol=FUSED)
    assert not [path for path in tmp_path.iterdir() if "part" in path.name.split(".")]


@pytest.mark.parametrize("ending", ["npy", "parquet"])
@pytest.mark.parametrize("policy", ["row", "skip"])
def test_photographs_that_cannot_be_read(
    ending: str, policy: str, run: Command, file: Path, tmp_path: Path
) -> None:
    pictures = write_classes(tmp_path / "pictures", 3)
    paths = sorted(pictures.rglob("*.png"))
    # A whole batch, the first of another, and the last.
    bad = [2, 3, 4, 8]
    for at in bad:
        paths[at].write_bytes(paths[at].read_bytes()[:100])
    output = tmp_path / f"vectors.{ending}"
    given = ["embed", "--model", file, pictures, "-o", output, "--batch-size", 2]
    _, err = run(*given, "--on-error", policy, status=1)
    assert [line.split(": ")[1] for line in err.splitlines()] == [str(paths[at]) for at in bad]
    good = [at for at in range(9) if at not in bad]
    if ending == "npy":
        vectors = np.load(output)
        table = rows(tmp_path / "vectors.csv")
        names, errors = [row["path"] for row in table], [row["error"] for row in table]
    else:
        read = pyarrow.parquet.read_table(output)
        names, errors = read["path"].to_pylist(), read["error"].to_pylist()
        vectors = np.array(read["vector"].to_pylist(), np.float32)
    whole = expected(file, [paths[at] for at in good])
    if policy == "skip":
        assert names == [str(paths[at]) for at in good] and not any(errors)
        np.testing.assert_allclose(vectors, whole, rtol=FUSED, atol=FUSED)
    else:
        assert names == [*map(str, paths)]
        assert [bool(error) for error in errors] == [at in bad for at in range(9)]
        assert np.isnan(vectors[bad]).all()
        np.testing.assert_allclose(vectors[good], whole, rtol=FUSED, atol=FUSED)


def test_a_folder_of_which_nothing_can_be_read(run: Command, file: Path, tmp_path: Path) -> None:
    for at in range(3):
        (tmp_path / f"{at}.png").write_bytes(b"no photograph")
    output = tmp_path / "vectors.npy"
    found = run.json("embed", "--model", file, tmp_path, "-o", output, status=1)
    assert (found["rows"], found["unreadable"]) == (3, 3)
    assert np.isnan(np.load(output)).all()


def test_after_ctrl_c_the_same_command_continues(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    many = tmp_path / "many"
    many.mkdir()
    source = sorted(pictures.rglob("*.png"))
    for at in range(3000):
        (many / f"{at:04}.png").symlink_to(source[at % len(source)])
    output = tmp_path / "vectors.npy"
    given = ["embed", "--model", file, many, "-o", output, "--batch-size", 4, "--threads", 1]
    part, lines = tmp_path / "vectors.npy.part", tmp_path / "vectors.npy.part.jsonl"
    with start(*given) as running:
        while running.poll() is None and not (lines.exists() and lines.read_text().count("\n") > 1):
            time.sleep(0.005)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate()
    assert running.returncode == 130
    assert b"of 3000 photographs; the same command continues from there" in err
    done = lines.read_text().count("\n") - 1
    assert 0 < done < 3000 and not output.exists()
    # As after a crash in the middle of a row.
    with part.open("ab") as vectors:
        vectors.write(b"\0" * 10)
    with lines.open("a") as text:
        text.write('["half of')
    message = run.error("embed", "--model", file, pictures, "-o", output)
    assert "expected the rows of an interrupted run with the same photographs" in message
    _, said = run(*given)
    assert f"{done} of 3000 photographs are done" in said
    vectors = np.load(output)
    assert vectors.shape == (3000, 256)
    np.testing.assert_array_equal(vectors[: len(source)], vectors[2985:])
    whole = expected(file, source)
    np.testing.assert_allclose(vectors[: len(source)], whole, rtol=FUSED, atol=FUSED)


def test_mistakes(run: Command, file: Path, pictures: Path, tmp_path: Path) -> None:
    given = ["embed", "--model", file]
    assert ".npy or .parquet" in run.error(*given, pictures, "-o", tmp_path / "a.csv")
    assert "a folder that exists" in run.error(*given, pictures, "-o", tmp_path / "b" / "a.npy")
    (tmp_path / "old.npy").write_bytes(b"")
    assert "got one that exists" in run.error(*given, pictures, "-o", tmp_path / "old.npy")
    (tmp_path / "empty").mkdir()
    assert "got none" in run.error(*given, tmp_path / "empty", "-o", tmp_path / "c.npy")
    nothing = tmp_path / "nothing.png"
    assert f"{nothing}: No such file" in run.error(*given, nothing, "-o", tmp_path / "d.npy")
    assert not (tmp_path / "d.npy").exists()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no photograph")
    message = run.error(*given, broken, "-o", tmp_path / "d.npy", "--on-error", "raise")
    assert str(broken) in message
    run(*given, pictures, status=2)


def test_a_table_that_was_there_is_not_written_over(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "vectors.csv"
    mine.write_text("years of work")
    given = ["embed", "--model", file, pictures, "-o", tmp_path / "vectors.npy"]
    assert "vectors.csv: expected no such file" in run.error(*given)
    assert mine.read_text() == "years of work"
    assert sorted(tmp_path.iterdir()) == [mine]
    run(*given[:-1], tmp_path / "vectors.parquet")
    assert mine.read_text() == "years of work"
