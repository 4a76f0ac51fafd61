"""Runs the command `cnnzoo` for tests, and writes folders of photographs for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

from cnnzoo.cli import main

PHOTOGRAPHS: Any = skimage.data  # has no types
# Parts of these are the pictures of a class.
CLASSES = ("astronaut", "chelsea", "coffee")


class Command:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: object, status: int = 0) -> tuple[str, str]:
        assert main([str(argument) for argument in argv]) == status, self._capsys.readouterr().err
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return out, err

    def json(self, *argv: object, status: int = 0) -> Any:
        return json.loads(self(*argv, "--json", status=status)[0])

    def error(self, *argv: object, status: int = 1) -> str:
        """The last line of a command that fails."""
        out, err = self(*argv, status=status)
        assert out == ""
        line = err.splitlines()[-1]
        assert line.startswith("cnnzoo: ") or status == 2
        return line


def start(*argv: object) -> subprocess.Popen[bytes]:
    """The command in a process of its own, which SIGINT interrupts."""
    # A shell may start tests with SIGINT ignored, which children inherit.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from cnnzoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, argv)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def write_classes(
    folder: Path, each: int, *, seed: int = 0, classes: Sequence[str] = CLASSES, side: int = 64
) -> Path:
    """A folder of parts of a photograph for each class."""
    generator = np.random.default_rng(seed)
    for name in classes:
        pixels = getattr(PHOTOGRAPHS, name)()
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            top, left = (int(generator.integers(0, length - 150)) for length in pixels.shape[:2])
            part = Image.fromarray(pixels[top : top + 150, left : left + 150])
            part.resize((side, side)).save(folder / name / f"{index:02}.png")
    return folder
