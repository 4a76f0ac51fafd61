"""Loads libtorch from the installed torch package, without importing torch, at its first need.

Loading it takes a quarter of a second and some hundred megabytes.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from pathlib import Path
from threading import Lock
from types import ModuleType

from cnnzoo import _native
from cnnzoo.errors import MissingPackageError

# The extension's torch version; libtorch's C++ interface differs between minor versions.
REQUIRED = "2.13"
# The process that imported the package; others are its forks.
IMPORTED_IN = os.getpid()

_loading = Lock()
# The number of threads that was set last, if any.
_threads: list[int] = []


def load(what: str) -> None:
    """Load libtorch and the extension that is linked to it, unless they are loaded.

    Raises:
        MissingPackageError: torch is missing, or of another version than the extension was built
            against; `what` says what needs it.
    """
    with _loading:
        if loaded() is None:
            _load_library(what)
            from cnnzoo import _torch

            if os.getpid() != IMPORTED_IN:
                # Pools of libtorch may be from before the fork, where torch was imported there.
                _torch._after_fork()
            for threads in _threads:
                _torch.set_num_threads(threads)


def loaded() -> ModuleType | None:
    """The extension that is linked to libtorch; none before it is needed."""
    return sys.modules.get("cnnzoo._torch")


def set_num_threads(threads: int) -> None:
    """Set the number of threads of one run, of our own engine and of libtorch."""
    with _loading:
        _native.set_num_threads(threads)
        _threads[:] = [threads]
        if (torch := loaded()) is not None:
            torch.set_num_threads(threads)


def _load_library(what: str) -> None:
    folder = _torch_folder(what)
    version = _version(folder)
    if not version.startswith(f"{REQUIRED}."):
        raise MissingPackageError(
            f"{what} needs torch {REQUIRED}.*, which cnnzoo was built against, but found torch "
            f"{version} in {folder}; install it with: pip install 'torch=={REQUIRED}.*'"
        )
    library = folder / "lib" / "libtorch.so"
    try:
        # libtorch.so, not libtorch_cpu.so: it brings CUDA, and a later `import torch` relies on it.
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise MissingPackageError(
            f"{what} needs {library}, which cannot be loaded: {error}"
        ) from error


def _torch_folder(what: str) -> Path:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"{what} needs torch {REQUIRED}.*, which is not installed; "
            f"install it with: pip install 'torch=={REQUIRED}.*'"
        )
    return Path(spec.origin).parent


def _version(folder: Path) -> str:
    text = (folder / "version.py").read_text() if (folder / "version.py").exists() else ""
    match = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, re.MULTILINE)
    return match.group(1) if match else "of an unknown version"
