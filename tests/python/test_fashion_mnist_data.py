"""`make data`: where the tests' data come from (tools/fashion_mnist.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "fashion_mnist.py"
FILES = [
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
]

# Stands in for apt-get on a machine without lists of packages.
APT = """#!/bin/sh
case "$*" in
*Dir::State::Lists=*" update") ;;
*Dir::State::Lists=*" download dataset-fashion-mnist") touch dataset-fashion-mnist.deb;;
*) exit 100;;
esac
"""
DPKG = """#!/bin/sh
mkdir -p "$3/usr/share/datasets/fashion-mnist"
cd "$3/usr/share/datasets/fashion-mnist" && touch FILES
""".replace("FILES", " ".join(FILES))


def fetch(
    root: Path, commands: Path, *, data: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": str(commands),
        "XDG_CACHE_HOME": str(root / "none"),
        "CNNZOO_DATA": str(data or root / "none"),
        "CNNZOO_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    return subprocess.run(
        [sys.executable, TOOL, root / "data"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def commands(folder: Path, **scripts: str) -> Path:
    folder.mkdir()
    for name in ("sh", "mkdir", "touch"):
        there = shutil.which(name)
        assert there is not None
        (folder / name).symlink_to(there)
    for name, script in scripts.items():
        file = folder / name.replace("_", "-")
        file.write_text(script)
        file.chmod(0o755)
    return folder


def test_files_that_are_there_are_linked(tmp_path: Path) -> None:
    there = tmp_path / "mine" / "fashion-mnist"
    there.mkdir(parents=True)
    for name in FILES:
        (there / name).write_text("x")
    ran = fetch(tmp_path, commands(tmp_path / "bin"), data=tmp_path / "mine")
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert (tmp_path / "data" / "fashion-mnist").resolve() == there


def test_the_package_is_unpacked_with_lists_of_its_own(tmp_path: Path) -> None:
    stale = tmp_path / "data" / "fashion-mnist"
    stale.parent.mkdir()
    stale.symlink_to(tmp_path / "gone")
    ran = fetch(tmp_path, commands(tmp_path / "bin", apt_get=APT, dpkg_deb=DPKG))
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert sorted(path.name for path in stale.iterdir()) == FILES
    assert [path.name for path in stale.parent.iterdir()] == ["fashion-mnist"]


def test_without_apt_and_web_the_message_says_what_to_do(tmp_path: Path) -> None:
    ran = fetch(tmp_path, commands(tmp_path / "bin"))
    assert ran.returncode == 1
    assert "from_apt: [Errno 2] No such file or directory: 'apt-get'" in ran.stderr
    assert "from_the_web: " in ran.stderr and "CNNZOO_OFFLINE forbids it" in ran.stderr
    assert "Install Debian's package dataset-fashion-mnist" in ran.stderr
