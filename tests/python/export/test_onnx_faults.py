"""Failures of `cz.onnx.export`: what it refuses, and what is left on the disk after an error."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import cnnzoo as cz
from export.onnx_files import checked, images, run
from tolerance import ONNX, difference


class Bytes:
    """A path as bytes."""

    def __fspath__(self) -> bytes:
        return b"m.onnx"


BAD: list[tuple[dict[str, Any], str]] = [
    ({"opset": 16}, r"`opset`: expected a version of ONNX's operators of 17 to 28, got 16"),
    ({"opset": 29}, "`opset`: expected a version"),
    ({"opset": "20"}, "`opset`: expected a whole number"),
    ({"batch": 0}, "`batch`: expected a whole number of 1"),
    ({"batch": "any"}, "`batch`: expected one of dynamic"),
    ({"batch": True}, "`batch`: expected a whole number"),
    ({"image": "any"}, "`image`: expected one of dynamic"),
    ({"image": (64,)}, "`image`: expected None"),
    ({"image": (64, 64, 64)}, "`image`: expected None"),
    ({"image": 0}, "`image`: expected a whole number of 1"),
    ({"image": 64.0}, "`image`: expected a whole number"),
    ({"preprocess": 1}, "`preprocess`: expected True or False"),
    ({"fold": None}, "`fold`: expected True or False"),
    ({"external": "yes"}, "`external`: expected True, False or None"),
    ({"precision": "float16"}, "`precision` of an ONNX file: expected one of"),
    ({"input_name": ""}, "`input_name`: expected a name"),
    ({"input_name": "a\0"}, "`input_name`: expected a name, not empty and without NUL"),
    ({"input_name": "a/b"}, "`input_name`: expected a name without `/`"),
    ({"output_name": "images"}, "`output_name`: expected a name of its own"),
    ({"input_name": "fc.weight"}, "names that no parameter has, got `fc.weight`"),
    ({"output_name": 3}, "`output_name`: expected text"),
    ({"metadata": {"cnnzoo.task": "mine"}}, "`metadata`: expected keys that do not begin"),
    ({"metadata": {"a": 1}}, "`metadata`: 'a': expected text"),
    ({"metadata": ["a"]}, "`metadata`: expected a mapping"),
    ({"progress": "no"}, "`progress`: expected True, False or None"),
]


@pytest.mark.parametrize(("options", "message"), BAD, ids=lambda of: str(of)[:30])
def test_bad_options(
    options: dict[str, Any], message: str, model: cz.Model, tmp_path: Path
) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.onnx.export(model, tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_bad_files(model: cz.Model, tmp_path: Path) -> None:
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    with pytest.raises(cz.WeightsError, match=r"folder\.onnx: is a directory"):
        cz.onnx.export(model, folder)
    with pytest.raises(cz.WeightsError, match="No such file or directory"):
        cz.onnx.export(model, tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(cz.ArgumentError, match=r"`file`: expected a name that ends in \.onnx"):
        cz.onnx.export(model, tmp_path / "m.pb")
    for name in (None, "\ud800.onnx", Bytes()):
        with pytest.raises(cz.ArgumentError, match="`file`: expected a path, got"):
            cz.onnx.export(model, name)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`model`: expected a Model, got"):
        cz.onnx.export("resnet18", tmp_path / "m.onnx")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == [folder]


def test_arrays_do_not_go_behind_a_link(model: cz.Model, tmp_path: Path) -> None:
    """Where onnx's checker and onnxruntime refuse to read them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"old")
    (tmp_path / "m.onnx.data").symlink_to(elsewhere)
    with pytest.raises(cz.WeightsError, match=r"m\.onnx\.data: expected a regular file"):
        cz.onnx.export(model, tmp_path / "m.onnx", external=True)
    assert elsewhere.read_bytes() == b"old"
    assert not (tmp_path / "m.onnx").exists()
    # And that the model file itself is a link harms none, as long as it is opened by it.
    (tmp_path / "far").mkdir()
    (tmp_path / "link.onnx").symlink_to(tmp_path / "far" / "real.onnx")
    checked(cz.onnx.export(model, tmp_path / "link.onnx", external=True).files[0])
    x = images(1)
    assert difference(run(tmp_path / "link.onnx", x), model(x, exact=True)) <= ONNX


INTERRUPTED = """
import os, signal, sys, threading
import cnnzoo as cz
# A shell ignores it for what runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
model = cz.create_model("resnet50", image_size=64)
file, external = sys.argv[1], sys.argv[2] == "external"
folder = os.path.dirname(file)
before = set(os.listdir(folder))

def watch():
    # Ctrl-C as soon as bytes are on the disk.
    while set(os.listdir(folder)) == before:
        pass
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=watch, daemon=True).start()
try:
    cz.onnx.export(model, file, external=external)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("where", ["inside", "external"])
def test_ctrl_c_leaves_the_old_file(where: str, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"old")
    command = [sys.executable, "-c", INTERRUPTED, str(file), where]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout == "interrupted\n"
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_bad_models(tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    with pytest.raises(cz.DeviceError, match="with parameters, got one that was built with meta"):
        cz.onnx.export(cz.create_model("resnet18", meta=True), file)
    vit = cz.create_model("vit_b_32", image_size=64)
    with pytest.raises(cz.ArgumentError, match=r"position embeddings of 2×2 patches"):
        cz.onnx.export(vit, file, image="dynamic")
    with pytest.raises(cz.ShapeError, match="an image of 64×64, which its positions are for"):
        cz.onnx.export(vit, file, image=96)
    small = cz.create_model("alexnet")
    with pytest.raises(cz.ShapeError, match="at least as large as the window"):
        cz.onnx.export(small, file, image=16)
    many = cz.create_model("resnet18", in_channels=5)
    with pytest.raises(cz.ShapeError, match="1 or 3 channels"):
        cz.onnx.export(many, file, preprocess=True)
    assert not list(tmp_path.iterdir())


FULL = """
import resource, sys
import cnnzoo as cz
model = cz.create_model("resnet18", image_size=64)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    cz.onnx.export(model, sys.argv[1], external=sys.argv[2] == "external")
except cz.WeightsError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("where", ["inside", "external"])
def test_no_room_leaves_the_old_file(where: str, model: cz.Model, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    file.write_bytes(b"old")
    command = [sys.executable, "-c", FULL, str(file), where]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.startswith("WeightsFileError")
    assert "File too large" in found.stdout
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_on_the_way_leaves_the_old_files(
    model: cz.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cz.onnx.export(model, tmp_path / "m.onnx", external=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls = 0

    def stop(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 9:
            raise KeyboardInterrupt

    monkeypatch.setattr("cnnzoo._progress.Count.advance", stop)
    other = copy.deepcopy(model)
    other.reset_classifier(num_classes=9)
    for external in (True, False):
        calls = 0
        with pytest.raises(KeyboardInterrupt):
            cz.onnx.export(other, tmp_path / "m.onnx", external=external)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_link_stays(model: cz.Model, tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    cz.onnx.export(model, tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    checked(tmp_path / "real.onnx")
