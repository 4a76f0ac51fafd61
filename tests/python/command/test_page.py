"""The page docs/how-to/command_line.md does what it says, line by line in a shell."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import cnnzoo as cz
from command_line import write_classes

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "how-to" / "command_line.md"


def sessions() -> list[tuple[str, str]]:
    """The commands of the page, each with what it prints."""
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = []
    for block in blocks:
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, printed = part.partition("\n")
            found.append((command, printed))
    return found


def test_every_line_of_the_page(tmp_path: Path) -> None:
    write_classes(tmp_path / "flowers", 15)
    program = tmp_path / "bin" / "cnnzoo"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m cnnzoo "$@"\n')
    program.chmod(0o755)
    variables = {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        # Where this test has the package from, which may be relative to its own folder.
        "PYTHONPATH": str(Path(cz.__file__).resolve().parents[1]),
        "PYTHONIOENCODING": "utf-8",
    }
    checker, form = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    commands = sessions()
    assert len(commands) >= 9
    for command, expected in commands:
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        got = done.stdout
        assert checker.check_output(expected, got, form), f"{command}\n{got}\nexpected:\n{expected}"
