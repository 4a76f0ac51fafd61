"""A type checker knows every model of the package by name, and no other name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import cnnzoo as cz

SNIPPET = """
import cnnzoo as cz
reveal_type(cz.resnet50(num_classes=3))
reveal_type(cz.MobileNetV3Small())
reveal_type(cz.create_model("resnet50").predict("photo.jpg"))
reveal_type(cz.resnet18().predict(b"photo"))
reveal_type(cz.resnet18().predict(["photo.jpg"], on_error="keep"))
reveal_type(cz.resnet18().predict(["photo.jpg"], stream=True))
cz.creat_model("resnet50")
cz.resnet51()
from cnnzoo import resnett50
"""


def test_names_are_known_and_misspelt_ones_are_errors(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET)
    # Alone, since mypy refuses a folder of installed packages as a place of sources.
    (tmp_path / "cnnzoo").symlink_to(Path(cz.__file__).parent)
    # Without NumPy's own types, which take most of the time and are not what is asked for.
    options = ["--no-site-packages", "--ignore-missing-imports", "--follow-imports=silent"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "--cache-dir", tmp_path / "cache", "snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    told = re.findall(r'Revealed type is "(?:[\w.]+\.)?([^"]+)"', done.stdout)
    short = [re.sub(r"[\w.]+\.(\w+)", r"\1", text) for text in told]
    assert short == [
        "Model",
        "Model",
        "Prediction",
        "Prediction",
        "list[Prediction | FailedPrediction]",
        "Iterator[Prediction]",
    ], done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    for error, name in zip(errors, ("creat_model", "resnet51", "resnett50"), strict=True):
        assert f'has no attribute "{name}"' in error


def test_every_model_function_is_in_the_stub() -> None:
    listed = re.findall(
        r"^(\w+): Constructor$", Path(cz.__file__).with_name("_constructors.pyi").read_text(), re.M
    )
    assert listed == sorted(name for name in cz.registry.accepted_names() if name.isidentifier()), (
        "run `make docs`"
    )


def test_a_misspelt_name_is_told_the_nearest() -> None:
    with pytest.raises(AttributeError, match="no attribute 'creat_model'") as caught:
        cz.creat_model  # type: ignore[attr-defined]  # noqa: B018
    # Python's own traceback looks for the nearest with these.
    assert (caught.value.name, caught.value.obj) == ("creat_model", cz)
