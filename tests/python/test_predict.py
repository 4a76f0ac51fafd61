"""Many photographs: whatever holds them, what cannot be read, and what remembers its path."""

from __future__ import annotations

import copy
import io
import itertools
import pickle
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import cnnzoo as cz
from cnnzoo.model.predict import AHEAD, BATCH, _prepare

PHOTOGRAPHS: Any = skimage.data  # has no types
# Photographs run in batches of other sizes; the sums inside are then taken in another order.
ROUNDING = 1e-5


@pytest.fixture(scope="module")
def model() -> cz.Model:
    return cz.create_model("mobilenet_v1_025", num_classes=10, image_size=64, seed=3)


@pytest.fixture(scope="module")
def pixels() -> dict[str, np.ndarray]:
    return {"cat": PHOTOGRAPHS.chelsea(), "cup": PHOTOGRAPHS.coffee()}


@pytest.fixture(scope="module")
def folder(pixels: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, array in pixels.items():
        (folder / name).mkdir()
        Image.fromarray(array).save(folder / name / f"{name}.png")
    (folder / "cup" / "cut.png").write_bytes((folder / "cup" / "cup.png").read_bytes()[:9000])
    return folder


@pytest.fixture(scope="module")
def cat(folder: Path) -> Path:
    return folder / "cat" / "cat.png"


@pytest.fixture(scope="module")
def cut(folder: Path) -> Path:
    return folder / "cup" / "cut.png"


def same(one: Any, other: Any) -> None:
    assert [guess[:2] for guess in one] == [guess[:2] for guess in other]
    for mine, theirs in zip(one, other, strict=True):
        assert mine.probability == pytest.approx(theirs.probability, abs=ROUNDING)


def in_memory(data: bytes) -> Any:
    return io.BytesIO(data)


def temporary(data: bytes) -> Any:
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115  # closed with the last reference
    file.write(data)
    file.seek(0)
    return file


def of_a_zip(data: bytes) -> Any:
    inside = io.BytesIO()
    with zipfile.ZipFile(inside, "w") as archive:
        archive.writestr("photo.png", data)
    return zipfile.ZipFile(inside).open("photo.png")


def unbuffered(data: bytes) -> Any:
    class Slow(io.RawIOBase):
        position = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            some = data[self.position : self.position + min(len(buffer), 1000)]
            buffer[: len(some)] = some
            self.position += len(some)
            return len(some)

    return Slow()


@pytest.mark.parametrize(
    "hold",
    [bytes, bytearray, memoryview, in_memory, temporary, of_a_zip, unbuffered],
    ids=lambda hold: hold.__name__,
)
def test_bytes_and_open_files_are_photographs(model: cz.Model, cat: Path, hold: Any) -> None:
    data = cat.read_bytes()
    same(model.predict(hold(data)), model.predict(cat))
    np.testing.assert_array_equal(model.preprocess(hold(data)), model.preprocess(cat))
    resize = cz.transforms.imagenet_eval(64)
    np.testing.assert_array_equal(resize(hold(data)), resize(cat))


def test_a_torch_tensor_is_the_array_that_it_holds(
    model: cz.Model, pixels: dict[str, np.ndarray]
) -> None:
    same(model.predict(torch.from_numpy(pixels["cat"])), model.predict(pixels["cat"]))


def test_members_of_an_archive_share_a_position(model: cz.Model, folder: Path) -> None:
    inside = io.BytesIO()
    names = ["cat/cat.png", "cup/cup.png"] * 4
    with tarfile.open(fileobj=inside, mode="w") as archive:
        for name in names:
            archive.add(folder / name, name)
    inside.seek(0)
    with tarfile.open(fileobj=inside) as archive:
        members: list[Any] = [archive.extractfile(member) for member in archive.getmembers()]
        found = model.predict(members)
    assert len(found) == len(names)
    for name, prediction in zip(names, found, strict=True):
        same(prediction, model.predict(folder / name))


def test_a_prediction_knows_its_path(model: cz.Model, cat: Path) -> None:
    with cat.open("rb") as file, Image.open(cat) as picture:
        array = np.asarray(picture)
        given = [str(cat), cat, file, picture, cat.read_bytes(), array]
        found = model.predict(given)
    assert [prediction.path for prediction in found] == [*[str(cat)] * 4, None, None]
    assert model.predict(cat).path == str(cat)
    for twin in (copy.deepcopy(found[0]), pickle.loads(pickle.dumps(found[0]))):
        assert (twin, twin.path) == (found[0], str(cat))


@pytest.mark.parametrize("wrong", ["nothing there", b"", b"GIF", io.BytesIO(b""), io.StringIO("x")])
def test_what_is_no_photograph_is_said(model: cz.Model, wrong: Any) -> None:
    with pytest.raises(cz.errors.DataError):
        model.predict(wrong)


def test_errors_of_open_files_name_them(model: cz.Model, cut: Path, cat: Path) -> None:
    with cut.open("rb") as file, pytest.raises(cz.DataError, match=r"cut\.png: expected"):
        model.predict(file)
    with cat.open() as text, pytest.raises(cz.DataError, match=r"cat\.png: .*open\(path, 'rb'\)"):
        model.predict(text)
    with cat.open("rb") as file:
        file.close()
        with pytest.raises(cz.errors.PhotoFileError, match=r"cat\.png: .*closed"):
            model.predict(file)


def test_what_cannot_be_read_is_raised_skipped_or_kept(
    model: cz.Model, cat: Path, cut: Path, pixels: dict[str, np.ndarray]
) -> None:
    wrong: list[Any] = [cut, "missing.png", np.zeros((4, 4, 2), np.uint8), None]
    given = [cat, *wrong, pixels["cup"]]
    with pytest.raises(cz.DataError, match=r"cut\.png"):
        model.predict(given)
    alone = [model.predict(cat), model.predict(pixels["cup"])]
    for found in (
        model.predict(given, on_error="skip"),
        list(model.predict(iter(given), stream=True, batch_size=2, on_error="skip")),
    ):
        assert len(found) == 2
        for prediction, expected in zip(found, alone, strict=True):
            same(prediction, expected)
    kept = model.predict(given, on_error="keep", batch_size=4)
    assert [type(entry) for entry in kept] == [
        cz.Prediction,
        *[cz.FailedPrediction] * 4,
        cz.Prediction,
    ]
    failures = [entry for entry in kept if isinstance(entry, cz.FailedPrediction)]
    assert [failure.path for failure in failures] == [str(cut), "missing.png", None, None]
    assert [type(failure.error) for failure in failures] == [
        cz.DataError,
        cz.errors.PhotoNotFoundError,
        cz.ShapeError,
        TypeError,
    ]
    assert "cut.png: " in repr(failures[0])
    assert pickle.loads(pickle.dumps(failures[0])).path == str(cut)
    assert model.predict(wrong, on_error="skip") == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_no_answer(folder: Path, value: float) -> None:
    broken = cz.create_model("mobilenet_v1_025", num_classes=10, image_size=64)
    name = list(broken.state_dict())[-1]
    broken.load_state_dict({**broken.state_dict(), name: np.full(10, value, np.float32)})
    cat = folder / "cat" / "cat.png"
    with pytest.raises(cz.DivergenceError, match=r"cat\.png: expected finite logits, got some"):
        broken.predict(cat)
    assert broken.predict([cat, cat], on_error="skip") == []
    (kept,) = broken.predict([cat], on_error="keep")
    assert isinstance(kept, cz.FailedPrediction)
    assert isinstance(kept.error, cz.DivergenceError)


def test_any_iterable_is_several_photographs(model: cz.Model, folder: Path) -> None:
    expected = model.predict(sorted(folder.glob("*/c?[tp].png"))[:2])
    for given in (
        (path for path in sorted(folder.glob("*/c?[tp].png"))[:2]),
        tuple(sorted(folder.glob("*/c?[tp].png"))[:2]),
        dict.fromkeys(sorted(folder.glob("*/c?[tp].png"))[:2]).keys(),
    ):
        for prediction, other in zip(model.predict(given), expected, strict=True):
            same(prediction, other)
            assert prediction.path == other.path


def test_a_data_set_is_predicted_sample_by_sample(
    model: cz.Model, folder: Path, pixels: dict[str, np.ndarray], cut: Path
) -> None:
    pictures = cz.data.ImageFolder(folder)
    with pytest.raises(cz.DataError, match=r"cut\.png"):
        model.predict(pictures)
    found = model.predict(pictures, on_error="keep")
    assert [entry.path for entry in found] == [
        str(folder / name) for name in ("cat/cat.png", "cup/cup.png", "cup/cut.png")
    ]
    same(found[0], model.predict(pixels["cat"]))
    same(found[1], model.predict(pixels["cup"]))
    assert isinstance(found[2], cz.FailedPrediction)
    in_memory = cz.data.Arrays(PHOTOGRAPHS.chelsea()[None, :64, :64], np.array([0]))
    (prediction,) = model.predict(in_memory)
    same(prediction, model.predict(PHOTOGRAPHS.chelsea()[:64, :64]))


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = cz.get_num_threads()
    yield cz.set_num_threads
    cz.set_num_threads(before)


class Counting:
    """An endless source of photographs, which counts them."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.taken = pixels, 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            self.taken += 1
            yield self.pixels


@pytest.mark.parametrize("number", [1, 3])
def test_a_slow_user_of_a_stream_keeps_memory_bounded(
    model: cz.Model,
    pixels: dict[str, np.ndarray],
    threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    threads(number)
    decoded = itertools.count(1)
    last = [0]

    def prepare(*given: Any) -> Any:
        last.append(next(decoded))
        return _prepare(*given)

    monkeypatch.setattr("cnnzoo.model.predict._prepare", prepare)
    source = Counting(pixels["cat"][:64, :64])
    most = AHEAD * number * BATCH
    for used, _ in enumerate(model.predict(source, stream=True)):
        time.sleep(0.002)
        assert source.taken - used <= most
        assert max(last) - used <= most
        if used == 100:
            break
    assert source.taken > most


def test_a_stream_with_batches_of_1_answers_before_it_takes_more(
    model: cz.Model, pixels: dict[str, np.ndarray]
) -> None:
    source = Counting(pixels["cat"][:64, :64])
    for used, _ in enumerate(model.predict(source, stream=True, batch_size=1), 1):
        assert source.taken == used
        if used == 5:
            break


def test_the_threads_of_a_stream_end_with_it(
    model: cz.Model, pixels: dict[str, np.ndarray]
) -> None:
    def running() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("cnnzoo-predict")]

    found = model.predict(Counting(pixels["cat"][:64, :64]), stream=True)
    next(found)
    assert running()
    found.close()  # type: ignore[attr-defined]  # a generator
    assert not running()


def test_an_answer_has_the_same_bits_in_every_batch_and_number_of_threads(
    model: cz.Model, pixels: dict[str, np.ndarray], threads: Callable[[int], None]
) -> None:
    given = [pixels["cat"][:, at : at + 200] for at in range(0, 220, 20)]
    expected = [model.predict(photo) for photo in given]
    for number, batch_size in itertools.product([1, 2, 5], [1, 2, 3, 11, 32]):
        threads(number)
        assert model.predict(given, batch_size=batch_size) == expected
        assert list(model.predict(iter(given), stream=True, batch_size=batch_size)) == expected


def test_what_comes_before_an_error_is_answered(model: cz.Model, cat: Path, cut: Path) -> None:
    found = model.predict([*[cat] * 10, cut, *[cat] * 50], stream=True)
    for _ in range(10):
        same(next(found), model.predict(cat))
    with pytest.raises(cz.DataError, match=r"cut\.png"):
        next(found)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_ends_with_the_work(
    model: cz.Model, cat: Path, cut: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown(given: Any, **options: Any) -> str:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            found = model.predict(given, **options)
            if options.get("stream"):
                list(found)
        return terminal.getvalue()

    monkeypatch.setattr("cnnzoo._progress.DELAY", 0)
    text = shown([cat, cut, *[cat] * 8], on_error="skip")
    assert "10/10" in text
    assert "photographs/s" in text
    assert text.endswith("\n")
    assert "9/9" in shown([cat] * 9, stream=True, progress=True)
    assert "5 photographs" in shown(iter([cat] * 5))
    for given, options in (
        ([cat] * 9, {"progress": False}),
        ([cat] * 9, {"stream": True}),
        (cat, {}),
        (cat, {"progress": True}),
    ):
        assert shown(given, **options) == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(cz.DataError):
        model.predict([*[cat] * 9, cut])
    assert terminal.getvalue().endswith("\n")
    monkeypatch.setattr("cnnzoo._progress.DELAY", 60)
    assert shown([cat] * 9) == ""
    monkeypatch.setattr(sys, "stderr", None)
    assert len(model.predict([cat] * 9)) == 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "`top`: expected a whole number of 1 to .*, got 0"),
        ({"top": 1.5}, "`top`: expected a whole number, got 1.5"),
        ({"batch_size": 0}, "`batch_size`: expected a whole number"),
        ({"batch_size": "8"}, "`batch_size`: expected a whole number"),
        ({"on_error": "ignore"}, '`on_error`: expected one of "raise", "skip", "keep"'),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_options_are_checked_before_anything_is_read(
    model: cz.Model, options: dict[str, Any], message: str, stream: bool
) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        model.predict(["missing.png"], stream=stream, **options)  # type: ignore[call-overload]


def test_one_photograph_cannot_be_skipped(model: cz.Model, cat: Path) -> None:
    with pytest.raises(cz.ArgumentError, match="for a single photograph"):
        model.predict(cat, on_error="keep")  # type: ignore[call-overload]
