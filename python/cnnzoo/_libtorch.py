"""Loads libtorch from the installed torch package, without importing torch."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from pathlib import Path

# The extension's torch version; libtorch's C++ interface differs between minor versions.
REQUIRED = "2.13"


def load() -> None:
    """Load libtorch into the process.

    Raises:
        ImportError: torch is missing, or another version than the extension was built against.
    """
    folder = _torch_folder()
    version = _version(folder)
    if not version.startswith(f"{REQUIRED}."):
        raise ImportError(
            f"cnnzoo needs torch {REQUIRED}.*, which it was built against, but found torch "
            f"{version} in {folder}; install it with: pip install 'torch=={REQUIRED}.*'"
        )
    library = folder / "lib" / "libtorch.so"
    try:
        # libtorch.so, not libtorch_cpu.so: it brings CUDA, and a later `import torch` relies on it.
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ImportError(f"cnnzoo needs {library}, which cannot be loaded: {error}") from error


def _torch_folder() -> Path:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(
            f"cnnzoo needs torch {REQUIRED}.*, which is not installed; "
            f"install it with: pip install 'torch=={REQUIRED}.*'"
        )
    return Path(spec.origin).parent


def _version(folder: Path) -> str:
    text = (folder / "version.py").read_text() if (folder / "version.py").exists() else ""
    match = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return match.group(1) if match else "of an unknown version"
