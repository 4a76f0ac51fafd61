"""Data sets: which samples they have, in which order, and what they refuse."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import itertools
import os
import pickle
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import datasets

import cnnzoo as cz
import pictures
from cnnzoo import _native
from cnnzoo.data import fetch, known
from pictures import idx

# ---- folders


def listing(root: Path, **options: Any) -> tuple[list[str], list[tuple[str, int]]]:
    dataset = cz.data.ImageFolder(root, **options)
    samples = [(dataset.name(index), int(label)) for index, label in enumerate(dataset.labels)]
    return dataset.classes, samples


def test_classes_and_files_are_torchvisions(tmp_path: Path) -> None:
    """With names whose order depends on what is compared: whole paths, by code point."""
    for name in [
        "b/1.png",
        "b/10.jpg",
        "b/2.JPEG",
        "b/sub/3.webp",
        "b/sub-x/4.Png",
        "b/sub/deeper/5.bmp",
        "b/sub.d/6.tif",
        "b/ä.jpg",
        "b/Z.jpg",
        "b/notes.txt",
        "b/noending",
        "b/jpg",
        "B/7.ppm",
        "a b/8.pgm",
        "Ä/1.jpg",
        "beside.jpg",
        "elsewhere-5/x.jpg",
    ]:
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    outside = tmp_path / "outside"
    (outside / "more").mkdir(parents=True)
    (outside / "more" / "o.jpg").write_bytes(b"")
    (tmp_path / "root" / "linked").symlink_to(outside)
    (tmp_path / "root" / "b" / "link").symlink_to(outside)
    (tmp_path / "root" / "b" / "broken.jpg").symlink_to(outside / "missing")
    (tmp_path / "root" / "b" / "folder.jpg").mkdir()
    (tmp_path / "root" / "b" / "folder.jpg" / "inside.png").write_bytes(b"")
    theirs = datasets.ImageFolder(str(tmp_path / "root"))
    assert listing(tmp_path / "root") == (theirs.classes, theirs.samples)


def test_an_empty_class_is_refused_unless_allowed(tmp_path: Path) -> None:
    pictures.save(tmp_path / "b" / "1.png", 0)
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    with pytest.raises(cz.DataError, match="in the folder of every class, got none in a, c"):
        cz.data.ImageFolder(tmp_path)
    theirs = datasets.ImageFolder(str(tmp_path), allow_empty=True)
    assert listing(tmp_path, allow_empty=True) == (theirs.classes, theirs.samples)


def test_a_class_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    """Replaced characters would make two classes of one name."""
    for name in (b"caf\xe9", b"caf\xe8"):
        pictures.save(tmp_path / os.fsdecode(name) / "1.png", 0)
        with pytest.raises(cz.DataError, match=r"expected a folder whose name, .* is UTF-8, got"):
            cz.data.ImageFolder(tmp_path)
    with pytest.raises(cz.DataError, match=r'got "caf\\xe8"'):
        cz.data.ImageFolder(tmp_path)


def test_what_is_no_folder_of_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(cz.DataError, match="expected a folder for each class, got none"):
        cz.data.ImageFolder(tmp_path)
    with pytest.raises(FileNotFoundError, match="missing: No such file"):
        cz.data.ImageFolder(tmp_path / "missing")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(cz.DataError, match="file: Not a directory"):
        cz.data.ImageFolder(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    pictures.save(tmp_path / "a" / "b" / "1.png", 0)
    (tmp_path / "a" / "b").chmod(0)
    try:
        with pytest.raises(cz.errors.PhotoFileError, match="b: Permission denied"):
            cz.data.ImageFolder(tmp_path)
        photos, unreadable = _native.list_photos(tmp_path)
        assert photos == []
        assert [str(error) for error in unreadable] == [f"{tmp_path}/a/b: Permission denied"]
    finally:
        (tmp_path / "a" / "b").chmod(0o700)


def test_samples_are_pictures_with_labels(tmp_path: Path) -> None:
    pictures.folder(tmp_path)
    dataset = cz.data.ImageFolder(tmp_path)
    theirs = datasets.ImageFolder(str(tmp_path))
    assert len(dataset) == len(theirs) == 21
    for index in (0, 9, -1):
        photo, label = dataset[index]
        picture, theirs_label = theirs[index % 21]
        np.testing.assert_array_equal(photo, np.asarray(picture))
        assert label == theirs_label
    for index in (21, -22):
        with pytest.raises(IndexError, match="expected an index below 21"):
            dataset[index]
    assert [label for _, label in dataset] == dataset.labels.tolist()
    assert repr(dataset) == f"21 pictures of 3 classes in {tmp_path}"


# ---- arrays


def test_arrays_are_what_they_were(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
    for x in (pixels, np.asfortranarray(pixels), pixels[:, ::-1][:, ::-1]):
        dataset = cz.data.Arrays(x, [0, 2, 1, 0, 2])
        np.testing.assert_array_equal(np.stack([photo for photo, _ in dataset]), pixels)
    assert dataset.labels.tolist() == [0, 2, 1, 0, 2] and dataset.classes == ["0", "1", "2"]
    assert dataset.name(3) == "arrays[3]"
    grey = pixels[..., 0]
    for x in (grey, grey[..., np.newaxis]):
        dataset = cz.data.Arrays(x, np.zeros(5, np.uint8), classes=["a", "b"])
        photos = np.stack([photo for photo, _ in dataset])
        np.testing.assert_array_equal(photos, grey[..., np.newaxis])
        assert dataset.num_classes == 2


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (np.zeros((2, 4, 4)), [0, 1], TypeError, "expected x of uint8, got float64"),
        (np.zeros((2, 4), np.uint8), [0, 1], cz.ShapeError, r"got \(2, 4\)"),
        (np.zeros((2, 4, 4, 2), np.uint8), [0, 1], cz.ShapeError, r"got \(2, 4, 4, 2\)"),
        (np.zeros((2, 0, 4), np.uint8), [0, 1], cz.ShapeError, "at least one pixel"),
        (np.zeros((0, 4, 4), np.uint8), np.zeros(0, int), cz.ShapeError, "got none"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1, 2], cz.ShapeError, r"y of shape \(2,\)"),
        (np.zeros((2, 4, 4), np.uint8), [0.0, 1.0], TypeError, "whole numbers, got float64"),
        (np.zeros((2, 4, 4), np.uint8), [0, -1], cz.ArgumentError, "of 0 and more, got -1"),
        (np.zeros((2, 4, 4), np.uint8), [0, 3], cz.ArgumentError, "below 3 classes, got 3"),
    ],
)
def test_other_arrays_are_refused(x: Any, y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cz.data.Arrays(x, y, classes=["a", "b", "c"])


# ---- parts


def labelled(counts: list[int]) -> cz.data.Arrays:
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.arange(len(y) * 16, dtype=np.uint16).astype(np.uint8).reshape(-1, 4, 4)
    return cz.data.Arrays(x, y)


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.123])
@pytest.mark.parametrize("counts", [[100, 50, 10], [7, 7, 7], [1, 1, 98, 3]])
def test_a_split_has_the_same_share_of_every_class(counts: list[int], fraction: float) -> None:
    whole = labelled(counts)
    first, second = whole.split(fraction, seed=3)
    assert len(first) == round(fraction * len(whole)) and len(first) + len(second) == len(whole)
    for label, count in enumerate(counts):
        assert abs((first.labels == label).sum() - fraction * count) < 1
    names = [[part.name(index) for index in range(len(part))] for part in (first, second)]
    everything = [whole.name(index) for index in range(len(whole))]
    assert sorted(names[0] + names[1]) == sorted(everything)
    for part in names:
        assert part == sorted(part, key=everything.index)
    assert first.classes == second.classes == whole.classes


def test_a_split_follows_from_its_seed() -> None:
    whole = labelled([50, 50])
    prints = [whole.split(0.5, seed=seed)[0].fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    for fraction in (0.0, 1.0, -1.0, 0.001):
        with pytest.raises(cz.ArgumentError, match="samples of 100 on both sides"):
            whole.split(fraction)
    wrong: list[Any] = [float("nan"), "0.5", True]
    for fraction in wrong:
        with pytest.raises(cz.ArgumentError, match="split: expected a finite number, got"):
            whole.split(fraction)


@pytest.mark.parametrize("photos", [False, True])
def test_a_mask_is_no_list_of_numbers(photos: bool, tmp_path: Path) -> None:
    whole: Any = cz.data.Arrays(np.zeros((4, 2, 2, 3), np.uint8), np.arange(4))
    if photos:
        for seed in range(4):
            pictures.save(tmp_path / f"{seed}.png", seed)
        whole = cz.data.Photos(tmp_path)
    masks: list[Any] = [[True, False], np.array([True] * 4), torch.ones(4, dtype=torch.bool)]
    for mask in masks:
        with pytest.raises(
            TypeError, match=r"expected a whole number, got True; for a mask, use numpy"
        ):
            whole.subset(mask)
    others: list[Any] = [[0.5], np.array([1.0]), ["1"], [None], 3, "12", slice(2)]
    for wrong in others:
        with pytest.raises(TypeError, match=r"expected .*whole number"):
            whole.subset(wrong)
    with pytest.raises(TypeError, match=r"got slice.*`subset` takes several"):
        whole[:2]
    chosen: list[Any] = [np.array([2, 1]), torch.tensor([2, 1]), (np.int64(2), torch.tensor(1))]
    for numbers in chosen:
        assert [whole.subset(numbers).name(n) for n in (0, 1)] == [whole.name(2), whole.name(1)]


def test_a_subset_keeps_samples_and_classes() -> None:
    whole = labelled([5, 5])
    part = whole.subset([7, -1, 7])
    assert [part.name(index) for index in range(3)] == ["arrays[7]", "arrays[9]", "arrays[7]"]
    assert part.labels.tolist() == whole.labels[[7, 9, 7]].tolist()
    np.testing.assert_array_equal(part[1][0], whole[9][0])
    assert part.subset([1]).name(0) == "arrays[9]"
    with pytest.raises(cz.ArgumentError, match="at least one index"):
        whole.subset([])
    with pytest.raises(IndexError):
        whole.subset([10])


def test_a_fingerprint_tells_data_sets_apart(tmp_path: Path) -> None:
    x = np.arange(4 * 30, dtype=np.uint8).reshape(4, 5, 6)
    y = np.array([0, 1, 0, 1])
    changed = x.copy()
    changed[3, 4, 5] ^= 1
    prints = [
        cz.data.Arrays(x, y).fingerprint,
        cz.data.Arrays(changed, y).fingerprint,
        cz.data.Arrays(x, 1 - y).fingerprint,
        cz.data.Arrays(x, y, classes=["a", "b"]).fingerprint,
        cz.data.Arrays(x.reshape(4, 6, 5), y).fingerprint,
        cz.data.Arrays(x, y).subset([0, 1, 2, 3]).fingerprint,
        cz.data.Arrays(x, y).subset([0, 1, 3, 2]).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert cz.data.Arrays(x, y).fingerprint == prints[0]
    pictures.folder(tmp_path / "one", each=2)
    before = cz.data.ImageFolder(tmp_path / "one").fingerprint
    (tmp_path / "one").rename(tmp_path / "other")
    assert cz.data.ImageFolder(tmp_path / "other").fingerprint == before
    (tmp_path / "other" / "class0" / "000.png").rename(tmp_path / "other" / "class0" / "999.png")
    assert cz.data.ImageFolder(tmp_path / "other").fingerprint != before


# ---- IDX


@pytest.fixture
def digits() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, 28, 27), dtype=np.uint8)
    return images, (np.arange(12) % 10).astype(np.uint8)


def test_idx_is_read_as_torchvision_reads_it(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    """Photographs of one channel, as torchvision's of Pillow's mode `L`."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for part, name in itertools.product(("train", "t10k"), ("images-idx3", "labels-idx1")):
        array = digits[name.startswith("labels")]
        (raw / f"{part}-{name}-ubyte").write_bytes(idx(array))
    theirs = datasets.FashionMNIST(str(tmp_path))
    labels = tmp_path / "labels.gz"
    labels.write_bytes(gzip.compress(idx(digits[1])))
    images = raw / "train-images-idx3-ubyte"
    for dataset in (cz.data.fashion_mnist(tmp_path), cz.data.idx(images, labels)):
        for (photo, label), (image, target) in zip(dataset, theirs, strict=True):
            assert (image.mode, photo.shape) == ("L", (28, 27, 1))
            np.testing.assert_array_equal(photo[..., 0], np.asarray(image))
            assert label == target
        assert dataset.name(5) == f"{images}[5]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda body: body[:-1], r"expected 9072 bytes of shape \(12, 28, 27\), got 9071"),
        (lambda body: body + b"x", "expected 9072 bytes .*, got more"),
        (lambda body: body[:9], "expected a complete IDX file"),
        (lambda body: b"", "expected a complete IDX file"),
        (lambda body: b"\0\0\x0b\3" + body[4:], r"an IDX file of bytes with 3 axes.*, got \[0"),
        (lambda body: b"\0\0\x08\1" + body[4:], "an IDX file of bytes with 3 axes"),
        (lambda body: body[:12] + bytes(4), "expected images of at least one pixel, got 28×0"),
        (lambda body: body[:4] + b"\xff" * 12 + body[16:], "at most 17179869184 bytes"),
        (
            lambda body: gzip.compress(body)[:-20],
            "expected a complete IDX file, got a truncated file",
        ),
        (lambda body: gzip.compress(body) + b"junk" * 9, "expected an undamaged gzip file"),
        (lambda body: gzip.compress(body + b"x"), "got more"),
        (lambda body: gzip.compress(body)[:-8] + bytes(8), "expected an undamaged gzip file"),
    ],
)
def test_a_damaged_idx_file_is_refused(
    tmp_path: Path,
    digits: tuple[np.ndarray, np.ndarray],
    change: Callable[[bytes], bytes],
    message: str,
) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(change(idx(digits[0])))
    labels.write_bytes(idx(digits[1]))
    with pytest.raises(cz.DataError, match=message) as caught:
        cz.data.idx(images, labels)
    assert str(caught.value).startswith(str(images))


def test_idx_files_without_images_are_refused(
    tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx(digits[0][:0]))
    labels.write_bytes(idx(digits[1][:0]))
    with pytest.raises(cz.DataError, match="images: expected at least one image, got none"):
        cz.data.idx(images, labels)


def test_idx_files_belong_together(tmp_path: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx(digits[0]))
    labels.write_bytes(idx(digits[1][:-1]))
    with pytest.raises(cz.DataError, match=r"a label for each of the 12 images of .*, got 11"):
        cz.data.idx(images, labels)
    with pytest.raises(FileNotFoundError, match="missing: No such file"):
        cz.data.idx(tmp_path / "missing", labels)


# ---- CIFAR


def cifar(root: Path, name: str, labels: list[int], count: int) -> np.ndarray:
    """A file of records, whose pixels come back as (N, 32, 32, 3)."""
    pixels = np.random.default_rng(len(name)).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    root.mkdir(exist_ok=True, parents=True)
    head = np.array(labels, np.uint8).reshape(count, -1)
    (root / name).write_bytes(np.hstack([head, pixels.reshape(count, -1)]).tobytes())
    images: np.ndarray = pixels.transpose(0, 2, 3, 1)
    return images


def test_cifar10_equals_torchvisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    binary, python = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar-10-batches-py"
    python.mkdir()
    names = [f"class{number}" for number in range(10)]
    files = [(f"data_batch_{n}", f"data_batch_{n}.bin") for n in range(1, 6)]
    for number, (pickled, name) in enumerate([*files, ("test_batch", "test_batch.bin")]):
        labels = [(number + place) % 10 for place in range(4)]
        pixels = cifar(binary, name, labels, 4)
        data = pixels.transpose(0, 3, 1, 2).reshape(4, -1)
        (python / pickled).write_bytes(pickle.dumps({"data": data, "labels": labels}))
    (binary / "batches.meta.txt").write_text("\n".join(names) + "\n\n")
    (python / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr(datasets.CIFAR10, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    for train in (True, False):
        theirs = datasets.CIFAR10(str(tmp_path), train=train)
        for root in (tmp_path, binary):
            mine = cz.data.cifar10(root, train=train)
            assert mine.classes == theirs.classes
            assert mine.labels.tolist() == theirs.targets
            np.testing.assert_array_equal(np.stack([photo for photo, _ in mine]), theirs.data)


def test_cifar100_has_fine_and_coarse_labels(tmp_path: Path) -> None:
    root = tmp_path / "cifar-100-binary"
    pixels = cifar(root, "train.bin", [1, 7, 0, 3], 2)
    (root / "fine_label_names.txt").write_text("\n".join(f"fine{n}" for n in range(100)))
    (root / "coarse_label_names.txt").write_text("\n".join(f"coarse{n}" for n in range(20)))
    fine, coarse = cz.data.cifar100(tmp_path), cz.data.cifar100(tmp_path, labels="coarse")
    assert (fine.labels.tolist(), fine.num_classes) == ([7, 3], 100)
    assert (coarse.labels.tolist(), coarse.num_classes) == ([1, 0], 20)
    np.testing.assert_array_equal(np.stack([photo for photo, _ in fine]), pixels)
    (root / "train.bin").write_bytes((root / "train.bin").read_bytes()[:-1])
    with pytest.raises(cz.DataError, match="records of 3074 bytes, got 6147 bytes"):
        cz.data.cifar100(tmp_path)
    cifar(root, "train.bin", [1, 100], 1)
    with pytest.raises(cz.DataError, match=r"below the 100 classes of .*, got 100 in record 0"):
        cz.data.cifar100(tmp_path)


# ---- tables


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_a_table_lists_paths_and_labels(tmp_path: Path, ending: str) -> None:
    for seed in range(4):
        pictures.save(tmp_path / "pictures" / f"a, {seed}.png", seed)
    comma = "\t" if ending == ".tsv" else ","
    rows = [f'{label}{comma}"pictures/a, {seed}.png"' for seed, label in enumerate("cabc")]
    table = tmp_path / f"table{ending}"
    table.write_text("\ufeff" + "\n".join([f"kind{comma}file", *rows]) + "\n", encoding="utf-8")
    dataset = cz.data.Table(table, path="file", label="kind")
    assert dataset.classes == ["a", "b", "c"] and dataset.labels.tolist() == [2, 0, 1, 2]
    np.testing.assert_array_equal(dataset[1][0], np.asarray(pictures.picture(1)))
    other = cz.data.Table(table, path="file", label="kind", classes=["c", "b", "a", "z"])
    assert other.labels.tolist() == [0, 2, 1, 0] and other.num_classes == 4
    with pytest.raises(cz.DataError, match="row 0: expected a label of a, b, got c"):
        cz.data.Table(table, path="file", label="kind", classes=["a", "b"])
    with pytest.raises(cz.DataError, match="expected a column `path`, got kind, file"):
        cz.data.Table(table)


def test_a_label_that_two_classes_have(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\na.jpg,cat\nb.jpg,crane\n")
    with pytest.raises(cz.DataError, match="row 1: expected a label of one class, got crane"):
        cz.data.Table(table, classes=["crane", "cat", "crane"])
    assert cz.data.Table(table, classes=["a", "cat", "a", "crane"]).labels.tolist() == [1, 3]


def test_labels_that_are_numbers_stay(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("path,label\n/x/a.jpg,10\nb.jpg,9\n")
    dataset = cz.data.Table(table, root="/root")
    assert dataset.labels.tolist() == [10, 9] and dataset.num_classes == 11
    assert [dataset.name(0), dataset.name(1)] == ["/x/a.jpg", "/root/b.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n", "expected at least one row, got none"),
        ("", "expected a column `path`"),
        ("path,label\na.jpg\n", "line 2: expected a label, got nothing"),
        ('path,label\n"a.jpg,1\n', "unexpected end of data"),
        (b"path,label\n\xff.jpg,1\n", "expected UTF-8"),
        ("path,label\na.jpg,dog\nb.jpg, dog\n", "differ in more than spaces, got ' dog' and 'dog'"),
    ],
)
def test_a_table_without_what_it_needs_is_refused(
    tmp_path: Path, text: str | bytes, message: str
) -> None:
    table = tmp_path / "table.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(cz.DataError, match=message) as caught:
        cz.data.Table(table)
    assert str(table) in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"missing\.csv: No such file"):
        cz.data.Table(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("row", "classes", "message"),
    [
        ("a.jpg,-1", None, r"row 1: expected a label of 0 to 1048575, got -1"),
        ("a.jpg,1048576", None, r"row 1: expected a label of 0 to 1048575, got 1048576"),
        ("a.jpg,9" + "9" * 30, None, r"row 1: expected a label of 0 to 1048575, got 9999"),
        ("a.jpg,2", ["cat", "dog"], "row 1: expected a label of 0 to 1, got 2"),
        ("a.jpg,2", ["1", "0"], "row 1: expected a label of 0 to 1, got 2"),
        ("a, b.jpg,2", None, "line 3: expected 2 columns, got 3"),
    ],
)
def test_a_row_that_means_something_else_is_refused(
    tmp_path: Path, row: str, classes: list[str] | None, message: str
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\na.jpg,1\n{row}\n")
    with pytest.raises(cz.DataError, match=message) as caught:
        cz.data.Table(table, classes=classes)
    assert str(caught.value).startswith(str(table))


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("classes", [None, ["cat", "dog"]])
def test_labels_and_headers_of_many_digits_are_refused_in_a_short_sentence(
    tmp_path: Path, sign: str, classes: list[str] | None
) -> None:
    """Python makes no number of more than 4300 digits."""
    many = sign + "9" * 5000
    table = tmp_path / "table.csv"
    rows = {
        f"path,label\na.jpg,{many}\n": "row 0: expected a label of 0 to",
        f"path,label\na.jpg,0\nb.jpg,{many}\n": "row 1: expected a label of 0 to",
        f"{many},label\na.jpg,0\n": "expected a column `path`, got",
        f"path,label\na.jpg,cat\nb.jpg,{many}\nc.jpg,dog\n": "row 1: expected a label of cat, dog",
    }
    for text, message in list(rows.items())[: 4 if classes else 3]:
        table.write_text(text)
        with pytest.raises(cz.DataError, match=message) as caught:
            cz.data.Table(table, classes=classes)
        assert len(str(caught.value)) < len(str(table)) + 200


def test_classes_without_names_have_an_end(tmp_path: Path) -> None:
    """A number of a record in the place of a label asks for more names than there is memory."""
    most = 1 << 20
    table = tmp_path / "table.csv"
    table.write_text(f"path,label\na.jpg,{most - 1}\n")
    assert cz.data.Table(table).num_classes == most
    with pytest.raises(cz.ArgumentError, match=r"labels below 1048576, or names of .*, got 10000"):
        cz.data.Arrays(np.zeros((1, 2, 2), np.uint8), [10**12])


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns into a Parquet file."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    pq = pytest.importorskip("pyarrow.parquet")

    def write(**columns: Any) -> Path:
        path = tmp_path / "table.parquet"
        pq.write_table(pa.table(columns), path)
        return path

    return write


def test_parquet_is_read_as_csv_is(tmp_path: Path, parquet: Callable[..., Path]) -> None:
    """Names, numbers, truth values, and names that are stored as numbers."""
    import pyarrow as pa

    paths = ["a, 1.png", "b/2.png", "c.png"]
    pictures.save(tmp_path / "b" / "2.png", 2)
    for labels in (
        ["dog", "cat", "dog"],
        [2, 0, 1],
        pa.array([2, 0, 1], pa.uint8()),
        [True, False, True],
        pa.array(["dog", "cat", "dog"]).dictionary_encode(),
        pa.array(["dog", "cat", "dog"], pa.large_string()),
    ):
        mine = cz.data.Table(
            parquet(kind=labels, file=paths, more=paths), path="file", label="kind"
        )
        values = labels if isinstance(labels, list) else labels.to_pylist()
        lines = [f'"{path}",{value}\n' for path, value in zip(paths, values, strict=True)]
        table = tmp_path / "table.csv"
        table.write_text("path,label\n" + "".join(lines))
        theirs = cz.data.Table(table)
        assert (mine.classes, mine.fingerprint) == (theirs.classes, theirs.fingerprint)
        np.testing.assert_array_equal(mine[1][0], np.asarray(pictures.picture(2)))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a"]}, "expected a column `label`, got path"),
        ({"path": ["a", None], "label": [0, 1]}, "row 1: expected a path, as text, got nothing"),
        ({"path": ["a", ""], "label": [0, 1]}, "row 1: expected a path, as text, got nothing"),
        ({"path": [b"a"], "label": [0]}, "row 0: expected a path, as text, got b'a'"),
        ({"path": ["a", "b"], "label": ["x", None]}, "row 1: expected a label, .*, got nothing"),
        ({"path": ["a"], "label": [1.0]}, "row 0: expected a label, as .*number, got 1.0"),
        ({"path": ["a"], "label": [float("nan")]}, "row 0: expected a label, .*, got nan"),
        ({"path": ["a"], "label": [[1]]}, r"row 0: expected a label, .*, got \[1\]"),
        ({"path": ["a"], "label": [-1]}, "row 0: expected a label of 0 to 1048575, got -1"),
        ({"path": ["a"], "label": [2**63 - 1]}, "row 0: expected a label of 0 to"),
        ({"path": np.zeros(0, str), "label": np.zeros(0, int)}, "at least one row, got none"),
    ],
)
def test_parquet_without_what_it_needs_is_refused(
    parquet: Callable[..., Path], columns: dict[str, Any], message: str
) -> None:
    table = parquet(**columns)
    with pytest.raises(cz.DataError, match=message) as caught:
        cz.data.Table(table)
    assert str(caught.value).startswith(str(table))


@pytest.mark.parametrize("head", ['"path"x,label', "a" * 200_000, '"path,label'])
def test_a_damaged_header_is_refused(tmp_path: Path, head: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"{head}\na.png,0\n")
    with pytest.raises(cz.DataError, match=r"t\.csv"):
        cz.data.Table(table)


def test_parquet_is_read_without_another_thread(parquet: Callable[..., Path]) -> None:
    """Pyarrow ends the process where it can start none, as where memory is short."""
    table = parquet(path=["a.jpg", "b.jpg"], label=["x", "y"])
    code = (
        "import os, sys, pyarrow.parquet, cnnzoo as cz\n"
        "threads = lambda: len(os.listdir('/proc/self/task'))\n"
        "before = threads()\n"
        "cz.data.Table(sys.argv[1])\n"
        "assert threads() == before, (before, threads())\n"
    )
    subprocess.run([sys.executable, "-c", code, str(table)], check=True)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path, parquet: Callable[..., Path]) -> None:
    whole = parquet(path=[f"{n}.jpg" for n in range(500)], label=range(500)).read_bytes()
    table = tmp_path / "damaged.parquet"
    for body in (b"", b"PAR1", b"a table" * 9, *(whole[: n * len(whole) // 20] for n in range(20))):
        table.write_bytes(body)
        with pytest.raises(cz.DataError, match=r"damaged\.parquet: expected a Parquet file, got"):
            cz.data.Table(table)
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"damaged\.parquet: No such file"):
        cz.data.Table(table)
    table.mkdir()
    with pytest.raises(cz.DataError, match=r"damaged\.parquet: Is a directory"):
        cz.data.Table(table)


def test_parquet_without_pyarrow_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "table.parquet"
    table.write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(cz.MissingPackageError, match=r"pip install 'cnnzoo\[parquet\]'"):
        cz.data.Table(table)


# ---- downloads, from the loopback


@pytest.fixture
def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, bytes], None]]:
    """Serves a file in the place of a known one."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()

    def serve(name: str, body: bytes) -> None:
        (folder / name).write_bytes(body)
        address = f"http://127.0.0.1:{server.server_port}/"
        known_hash = f"md5:{hashlib.md5(body).hexdigest()}"
        monkeypatch.setitem(fetch.SOURCES, name, (address, known_hash))

    for variable in list(os.environ):
        if variable.lower().endswith("_proxy") or variable == "CNNZOO_OFFLINE":
            monkeypatch.delenv(variable)
    monkeypatch.setenv("CNNZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(known, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    yield serve
    server.shutdown()
    server.server_close()
    thread.join()


def test_fashion_mnist_is_downloaded_once_and_checked(
    tmp_path: Path,
    served: Callable[[str, bytes], None],
    digits: tuple[np.ndarray, np.ndarray],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served("t10k-images-idx3-ubyte.gz", gzip.compress(idx(digits[0])))
    served("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(digits[1])))
    dataset = cz.data.fashion_mnist(train=False)
    assert dataset.classes[9] == "Ankle boot" and len(dataset) == 12
    np.testing.assert_array_equal(dataset[3][0][..., 0], digits[0][3])
    folder = tmp_path / "data" / "fashion-mnist"
    assert (
        sorted(os.listdir(folder)) == sorted(fetch.SOURCES)[-4:-2] or len(os.listdir(folder)) == 2
    )
    monkeypatch.setenv("CNNZOO_OFFLINE", "1")
    assert cz.data.fashion_mnist(train=False).fingerprint == dataset.fingerprint
    assert cz.data.fashion_mnist(folder, train=False).fingerprint == dataset.fingerprint
    with pytest.raises(FileNotFoundError, match=r"train-images.*CNNZOO_OFFLINE forbids it"):
        cz.data.fashion_mnist()
    monkeypatch.delenv("CNNZOO_OFFLINE")
    with pytest.raises(FileNotFoundError, match="download=False"):
        cz.data.fashion_mnist(download=False)


def test_a_download_with_another_hash_is_refused(
    tmp_path: Path, served: Callable[[str, bytes], None]
) -> None:
    served("t10k-images-idx3-ubyte.gz", b"whole")
    (tmp_path / "served" / "t10k-images-idx3-ubyte.gz").write_bytes(b"other")
    with pytest.raises(cz.DataError, match=r"expected md5 .*it was deleted") as caught:
        cz.data.fashion_mnist(train=False)
    assert not isinstance(caught.value, cz.WeightsError)
    (tmp_path / "served" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="404"):
        cz.data.fashion_mnist(train=False)


def test_debians_package_serves_where_it_is_installed(
    tmp_path: Path,
    served: Callable[[str, bytes], None],
    digits: tuple[np.ndarray, np.ndarray],
) -> None:
    (tmp_path / "debian").mkdir()
    for name, array in zip(("images-idx3", "labels-idx1"), digits, strict=True):
        packed = gzip.compress(idx(array))
        (tmp_path / "debian" / f"train-{name}-ubyte.gz").write_bytes(packed)
    assert len(cz.data.fashion_mnist()) == 12
    assert not (tmp_path / "data").exists()


def test_cifar_is_unpacked_from_what_is_downloaded(
    tmp_path: Path, served: Callable[[str, bytes], None]
) -> None:
    folder = tmp_path / "made" / "cifar-10-batches-bin"
    cifar(folder, "test_batch.bin", [0, 1], 2)
    (folder / "batches.meta.txt").write_text("a\nb\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, "cifar-10-batches-bin")
        tar.add(folder / "test_batch.bin", "../outside.bin")
    served("cifar-10-binary.tar.gz", packed.getvalue())
    dataset = cz.data.cifar10(train=False)
    assert len(dataset) == 2 and dataset.classes == ["a", "b"]
    assert os.listdir(tmp_path / "data") == ["cifar-10-batches-bin"]
    assert not (tmp_path / "outside.bin").exists()
    assert cz.data.cifar10(train=False, download=False).fingerprint == dataset.fingerprint
    served("cifar-100-binary.tar.gz", b"no archive")
    with pytest.raises(cz.DataError, match="expected a tar file"):
        cz.data.cifar100()


def test_reading_what_is_there_needs_no_downloader(tmp_path: Path) -> None:
    program = """
import sys, cnnzoo as cz
cz.data.ImageFolder(sys.argv[1])
sys.exit(bool({"cnnzoo._download", "cnnzoo.data.fetch", "urllib.request"} & set(sys.modules)))
"""
    pictures.save(tmp_path / "a" / "1.png", 0)
    command = [sys.executable, "-c", program, str(tmp_path)]
    assert subprocess.run(command, check=False).returncode == 0
