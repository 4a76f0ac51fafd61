"""The build backend of pip: maturin, after cargo has built the extension that links libtorch.

maturin puts one library of its own into a wheel, the extension without libtorch, and this one as a
file that is there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import maturin
from maturin import (
    build_sdist,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """The variables by which torch-sys and pyo3 find this interpreter.

    Otherwise they take the Python that comes first, which need not be that of the pip that runs.
    """
    found = dict(os.environ)
    found["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), found.get("PATH", "")])
    found["PYO3_PYTHON"] = sys.executable
    found.pop("VIRTUAL_ENV", None)
    if sys.prefix != sys.base_prefix:
        found["VIRTUAL_ENV"] = sys.prefix
    return found


def build_extension() -> None:
    """Build the extension that links libtorch, and put it among the package's files."""
    features = ["--features", "torch,pyo3/extension-module"]
    command = ["cargo", "build", "--release", "--locked", "--lib", *features]
    subprocess.run([*command, "--target-dir", "target"], cwd=ROOT, env=environment(), check=True)
    extension = "python/cnnzoo/_torch.abi3.so"
    subprocess.run(["strip", "-o", extension, "target/release/libcnnzoo.so"], cwd=ROOT, check=True)


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Build the wheel, and return the name of its file."""
    build_extension()
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


if __name__ == "__main__":
    build_extension()
