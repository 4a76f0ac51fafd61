"""`cnnzoo quantize`, `cnnzoo info` of a file, and `cnnzoo download`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo.weights import published_weights
from command_line import Command, write_classes

NAME = "mobilenet_v1_025"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classes(tmp_path_factory.mktemp("pictures"), 8)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    model = cz.create_model(NAME, num_classes=3, image_size=64, seed=3)
    model.labels = ("one", "two", "three")
    model.save(path)
    return path


# ---- quantize


def test_a_quantized_file_is_that_of_the_model(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "small.safetensors"
    given = ["quantize", "--model", file, pictures, "-o", output, "--max-error", 0.5]
    found = run.json(*given)
    assert (found["images"], found["notices"]) == (24, [])
    assert found["bytes"] == output.stat().st_size < 0.5 * file.stat().st_size
    model, paths = cz.load(file), sorted(pictures.rglob("*.png"))
    report = model.quantize(paths, most_error=0.5, progress=False)
    assert [of["is_int8"] for of in found["layers"]] == [of.is_int8 for of in report.layers]
    assert found["error"] == report.error
    small, x = cz.load(output), model.preprocess(paths)
    np.testing.assert_array_equal(small(x, precision="int8"), model(x, precision="int8"))
    out, _ = run(*given, "--weights-as", "float32")
    assert repr(cz.load(output).quantization) in out
    np.testing.assert_array_equal(cz.load(output)(x), model(x))


def test_few_photographs_are_told(run: Command, file: Path, pictures: Path, tmp_path: Path) -> None:
    given = ["quantize", "--model", file, pictures, "-o", tmp_path / "a.safetensors"]
    _, err = run(*given, "--images", 5)
    assert "expected at least 16 images, got 5; the ranges of all values are measured" in err
    assert len(run.json(*given, "--images", 15)["notices"]) == 1
    _, err = run(*given, "--images", 16)
    assert err == ""


def test_photographs_come_from_all_classes(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    """The ranges of three photographs are those of the first, the middle and the last one."""
    output = tmp_path / "a.safetensors"
    run("quantize", "--model", file, pictures, "-o", output, "--images", 3)
    paths = sorted(pictures.rglob("*.png"))
    model = cz.load(file)
    with pytest.warns(cz.Notice, match="got 3"):
        expected = model.quantize([paths[0], paths[12], paths[23]], progress=False).ranges
    found = cz.load(output).quantization
    assert found is not None and found.ranges == expected


def test_photographs_that_cannot_be_read_are_left_out(
    run: Command, file: Path, tmp_path: Path
) -> None:
    pictures = write_classes(tmp_path / "pictures", 6)
    broken = pictures / "coffee" / "00.png"
    broken.write_bytes(b"no photograph")
    output = tmp_path / "a.safetensors"
    out, err = run("quantize", "--model", file, pictures, "-o", output, "--json", status=1)
    assert json.loads(out)["images"] == 17
    assert err.startswith(f"cnnzoo: {broken}: ")
    for path in pictures.rglob("*.png"):
        path.write_bytes(b"no photograph")
    out, err = run("quantize", "--model", file, pictures, "-o", output, status=1)
    assert "expected a photograph that can be read, got none among 18 files" in err


def test_mistakes_in_quantizing(run: Command, file: Path, pictures: Path, tmp_path: Path) -> None:
    given = ["quantize", "--model", file]
    assert "ends in .safetensors" in run.error(*given, pictures, "-o", tmp_path / "a.pth")
    assert "got a folder" in run.error(*given, pictures, "-o", tmp_path)
    output = tmp_path / "b" / "a.safetensors"
    assert str(output) in run.error(*given, pictures, "-o", output)
    run("quantize", pictures, "-o", output, status=2)


# ---- info


def test_info_of_a_model_file(run: Command, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Lines are cut to the width of the terminal.
    monkeypatch.setenv("COLUMNS", "200")
    facts, model = run.json("info", file), cz.load(file)
    assert (facts["name"], facts["source"]) == (model.name, model.source)
    assert facts["labels"] == list(model.labels)
    assert facts["preprocess"]["crop"] == model.preprocess.crop == 64
    assert facts["params"] == model.summary().params
    assert facts["bytes"] == file.stat().st_size
    assert sum(facts["arrays"].values()) == len(model.state_dict())
    assert facts["quantization"] is None
    out, _ = run("info", file, "--parts", "--layers")
    assert "classes     3: one, two, three" in out
    assert "int8        not quantized" in out
    assert model.summary().tree(depth=2) in out and repr(model.summary()) in out
    assert len(run.json("info", file, "--layers")["layers"]) == len(model.summary())


def test_info_of_a_quantized_file_and_of_weights(run: Command, file: Path, tmp_path: Path) -> None:
    model = cz.load(file)
    x = np.random.default_rng(0).standard_normal((16, 3, 64, 64)).astype(np.float32)
    report = model.quantize(x, most_error=1.0, progress=False)
    model.save(tmp_path / "small.safetensors", precision="int8")
    facts = run.json("info", tmp_path / "small.safetensors")
    assert facts["quantization"]["in_int8"] == sum(of.is_int8 for of in report.layers)
    assert facts["quantization"]["images"] == 16
    assert facts["arrays"]["int8"] > 0
    import torch

    torch.save({"weight": torch.zeros(3, 2)}, tmp_path / "alone.pth")
    assert "weights alone" in run("info", tmp_path / "alone.pth")[0]
    assert run.json("info", tmp_path / "alone.pth")["arrays"] == {"float32": 1}


def test_info_of_files_that_are_none(run: Command, file: Path, tmp_path: Path) -> None:
    assert "nothing.safetensors" in run.error("info", tmp_path / "nothing.safetensors")
    assert "got a folder" in run.error("info", tmp_path)
    (tmp_path / "text.safetensors").write_text("no file of arrays")
    assert "text.safetensors" in run.error("info", tmp_path / "text.safetensors")
    assert "expected none with a file" in run.error("info", file, "--source", "timm")


# ---- download


def test_weights_that_are_installed_are_checked(run: Command) -> None:
    [one] = run.json("download", "tf_efficientnet_lite0")
    assert one["was_here"] and one["weights"] == cz.model_info("tf_efficientnet_lite0").weights[0]
    algorithm, _, digest = one["hash"].partition(":")
    assert hashlib.new(algorithm, Path(one["path"]).read_bytes()).hexdigest() == digest
    out, err = run("download", "tf_efficientnet_lite0")
    assert err == "" and "sha256 checked" in out and one["path"] in out


def test_without_a_network_it_says_what_is_missing_and_goes_on(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNZOO_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    given = ["download", "resnet50", "tf_efficientnet_lite0", "resnett50"]
    out, err = run(*given, status=1)
    missing, unknown = err.splitlines()
    assert "CNNZOO_OFFLINE forbids downloading" in missing and str(tmp_path) in missing
    assert "the closest are resnet50" in unknown
    assert out.startswith("tf_efficientnet_lite0  ")
    found = run.json(*given, status=1)
    assert ["error" in one for one in found] == [True, False, True]
    assert "the closest tags are" in run.error("download", "resnet50", "--weights", "IMAGENET1K_V9")


def test_a_cached_file_is_here_and_a_damaged_one_is_refused(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("sys.modules", {**__import__("sys").modules, "torch.hub": None})
    weights = published_weights("resnet18")[0]
    assert not weights.is_here
    path = tmp_path / "hub" / "checkpoints" / weights.address.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"damaged")
    assert weights.is_here
    assert "delete it to download it again" in run.error("download", "resnet18")


def test_the_model_itself_is_not_replaced_by_its_quantized_file(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    before = file.read_bytes()
    link = tmp_path / "link.safetensors"
    link.symlink_to(file)
    for output in (file, link):
        found = run.error("quantize", "--model", file, pictures, "-o", output)
        assert "expected another file than the model's own" in found
    assert file.read_bytes() == before


def test_the_next_command_quotes_a_path_with_spaces(
    run: Command, file: Path, pictures: Path, tmp_path: Path
) -> None:
    output = tmp_path / "my model.safetensors"
    out, _ = run("quantize", "--model", file, pictures, "-o", output)
    assert f"cnnzoo predict --model '{output}' --precision int8 PHOTO" in out
