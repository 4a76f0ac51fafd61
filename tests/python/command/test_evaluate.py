"""`cnnzoo evaluate`: figures equal to scikit-learn's on torchvision's way of reading a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)

import cnnzoo as cz
from cnnzoo.command._transfer import classifier_of
from command_line import CLASSES, Command, write_classes
from tolerance import FUSED

NAME = "mobilenet_v1_025"
TRAINED = "tf_efficientnet_lite0"
# More classes than the folder has, in another order than that of its sorted folders.
LABELS = ("zebra", "coffee", "astronaut", "sloth", "chelsea", "heron", "newt")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("pictures"), 8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows a little: mean features of each class, and a liking for some classes."""
    model = cz.create_model(
        TRAINED, weights="default", num_classes=len(LABELS), image_size=64, seed=2
    )
    model.labels = LABELS
    folder = write_classes(tmp_path_factory.mktemp("others"), 3, seed=7)
    dataset = cz.data.ImageFolder(folder)
    x = np.concatenate([model.preprocess(dataset.photo(index)) for index in range(len(dataset))])
    features, labels = model.embed(x), [dataset.classes[label] for label in dataset.labels]
    weight, bias = classifier_of(model)
    state, centred = model.state_dict(), features - features.mean(0)
    rows = np.zeros((len(LABELS), features.shape[1]), np.float32)
    for row, label in enumerate(LABELS):
        known = [at for at, name in enumerate(labels) if name == label]
        if known:
            mean = centred[known].mean(0)
            rows[row] = 6 * mean / np.square(mean).sum()
    state[weight] = rows.reshape(state[weight].shape)
    liked = np.random.default_rng(1).normal(0, 4, len(LABELS)).astype(np.float32)
    state[bias] = liked - rows @ features.mean(0)
    model.load_state_dict(state)
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model.save(path)
    return path


def independent(file: Path, pictures: Path) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """True classes and probabilities by torchvision's folder, transform, and PyTorch's softmax."""
    model = cz.load(file)
    way = model.preprocess
    transform = torchvision.transforms.Compose(
        [
            torchvision.transforms.Resize(
                way.resize,
                interpolation=torchvision.transforms.InterpolationMode(way.interpolation),
            ),
            torchvision.transforms.CenterCrop(way.crop),
            torchvision.transforms.ToTensor(),
            torchvision.transforms.Normalize(way.mean, way.std),
        ]
    )
    folder = torchvision.datasets.ImageFolder(str(pictures), transform)
    x = torch.stack([folder[index][0] for index in range(len(folder))])
    true = np.array([LABELS.index(folder.classes[label]) for label in folder.targets])
    logits = torch.from_numpy(np.array(model(x.numpy(), exact=True)))
    return true, torch.softmax(logits.double(), 1).numpy()


def test_figures_are_those_of_scikit_learn(run: Command, file: Path, pictures: Path) -> None:
    true, shares = independent(file, pictures)
    found = run.json("evaluate", "--model", file, pictures, "--batch-size", 5)
    every = np.arange(len(LABELS))
    predicted = shares.argmax(1)
    assert found["images"] == len(true) == 24
    assert 0.3 < found["top1"] < 1
    assert found["top1"] == accuracy_score(true, predicted)
    assert found["top5"] == top_k_accuracy_score(true, shares, k=5, labels=every)
    assert found["loss"] == pytest.approx(log_loss(true, shares, labels=every), rel=FUSED)
    figures = precision_recall_fscore_support(true, predicted, labels=every, zero_division=np.nan)
    per_class = {one["label"]: one for one in found["per_class"]}
    for label, precision, recall, f1, count in zip(LABELS, *figures, strict=True):
        if count:
            one = per_class[label]
            assert one["count"] == count and one["recall"] == pytest.approx(recall)
            if not np.isnan(precision):
                assert one["precision"] == pytest.approx(precision)
                assert one["f1"] == pytest.approx(f1)
    matrix = np.zeros((len(LABELS),) * 2, int)
    for one in found["confusion"]:
        matrix[LABELS.index(one["true"]), LABELS.index(one["predicted"])] = one["images"]
    expected = confusion_matrix(true, predicted, labels=every)
    np.fill_diagonal(expected, 0)
    np.testing.assert_array_equal(matrix, expected)


def test_the_calibration_error_is_that_of_its_definition(
    run: Command, file: Path, pictures: Path
) -> None:
    true, shares = independent(file, pictures)
    confidence, right = shares.max(1), shares.argmax(1) == true
    bins = np.ceil(confidence * 15)
    error = sum(
        abs(confidence[bins == one].mean() - right[bins == one].mean()) * np.mean(bins == one)
        for one in np.unique(bins)
    )
    found = run.json("evaluate", "--model", file, pictures)
    assert found["calibration"]["error"] == pytest.approx(error, rel=FUSED)


def test_it_prints_and_draws(run: Command, file: Path, pictures: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "drawn.png"
    out, err = run("evaluate", "--model", file, pictures, "--save", drawn)
    assert err == ""
    found = run.json("evaluate", "--model", file, pictures)
    first = out.splitlines()[0]
    assert f"top-1 {found['top1']:.1%}, top-5 {found['top5']:.1%}" in first
    assert all(f"\n{name}" in out for name in CLASSES) and "\nzebra" not in out
    with Image.open(drawn) as picture:
        assert picture.size[0] > 1000
    assert "expected a name that ends in" in run.error(
        "evaluate", "--model", file, pictures, "--save", tmp_path / "drawn.txt"
    )


def test_classes_are_matched_by_name_and_never_by_place(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    message = run.error("evaluate", "--model", "tf_efficientnet_lite0", pictures)
    assert "named as labels of tf_efficientnet_lite0, got astronaut, chelsea, coffee" in message
    (tmp_path / "others" / "dog").mkdir(parents=True)
    (tmp_path / "others" / "dog" / "a.png").symlink_to(next(pictures.rglob("*.png")))
    message = run.error("evaluate", "--model", file, tmp_path / "others")
    assert message.endswith(f"got dog; its labels are {', '.join(LABELS)}")
    # As many classes as there are folders, without names.
    unnamed = tmp_path / "unnamed.safetensors"
    cz.create_model(NAME, num_classes=3, image_size=64).save(unnamed)
    assert "got astronaut, chelsea" in run.error("evaluate", "--model", unnamed, pictures)
    close = write_classes(tmp_path / "close", 1)
    (close / "coffee").rename(close / "Coffee")
    message = run.error("evaluate", "--model", file, close)
    assert "got Coffee; the closest of its labels to 'Coffee' are coffee" in message


def test_a_photograph_that_cannot_be_read_is_told_and_the_others_count(
    run: Command, file: Path, tmp_path: Path
) -> None:
    pictures = write_classes(tmp_path / "pictures", 2)
    broken = pictures / "coffee" / "00.png"
    broken.write_bytes(b"no photograph")
    out, err = run("evaluate", "--model", file, pictures, "--json", status=1)
    found = json.loads(out)
    assert found["images"] == 5
    assert [one["path"] for one in found["unreadable"]] == [str(broken)]
    assert err.startswith(f"cnnzoo: {broken}: ") and err.count("\n") == 1
    given = ["evaluate", "--model", file, pictures, "--on-error", "raise"]
    assert str(broken) in run.error(*given)


def test_folders_that_are_none(run: Command, file: Path, tmp_path: Path) -> None:
    assert str(tmp_path) in run.error("evaluate", "--model", file, tmp_path)
    assert "nowhere" in run.error("evaluate", "--model", file, tmp_path / "nowhere")
    given = ["evaluate", "--model", "nothing.safetensors", write_classes(tmp_path / "pictures", 1)]
    assert "nothing.safetensors" in run.error(*given)
    run("evaluate", "--model", file, status=2)


def test_int8_is_evaluated_in_int8(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small.safetensors"
    run("quantize", "--model", file, pictures, "-o", small, "--max-error", 10)
    found = run.json("evaluate", "--model", small, pictures, "--precision", "int8")
    dataset = cz.data.ImageFolder(pictures)
    model = cz.load(small)
    right = [
        model.predict(dataset.photo(at), precision="int8")[0].label == dataset.classes[label]
        for at, label in enumerate(dataset.labels)
    ]
    assert found["top1"] == np.mean(right)


def test_a_class_whose_name_has_a_line_break_is_one_row(run: Command, tmp_path: Path) -> None:
    names = ("two\nlines", "\x1b[31mred")
    pictures = write_classes(tmp_path / "pictures", 2, classes=CLASSES[:2])
    for old, new in zip(CLASSES, names, strict=False):
        (pictures / old).rename(pictures / new)
    model = cz.create_model(NAME, num_classes=2, image_size=64, seed=0)
    model.labels = names
    file = tmp_path / "model.safetensors"
    model.save(file)
    photograph = next(pictures.rglob("*.png"))
    for argv in (["evaluate", pictures], ["predict", photograph], ["info"]):
        where = ["--model", file] if len(argv) > 1 else [file]
        out, _ = run(argv[0], *where, *argv[1:])
        assert r"two\nlines" in out and r"\x1b[31mred" in out
    assert len(repr(model.predict(photograph)).splitlines()) == len(names)
