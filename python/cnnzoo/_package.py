"""The package that this is: cnnzoo, or cnnzoo-lite, which has no libtorch and so no training."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from cnnzoo.errors import MissingPackageError

# The wheel of cnnzoo-lite has no extension that is linked to libtorch.
LITE = importlib.util.find_spec("cnnzoo._torch") is None
# The name to install extras of.
NAME = "cnnzoo-lite" if LITE else "cnnzoo"


def refuse_both() -> None:
    """Refuse an environment with both packages, which overwrite each other's files.

    Raises:
        ImportError: Both are installed.
    """
    folder = Path(__file__).parents[1]
    ending = ".dist-info"
    installed = {name.partition("-")[0] for name in os.listdir(folder) if name.endswith(ending)}
    if {"cnnzoo", "cnnzoo_lite"} <= installed:
        raise ImportError(
            f"cnnzoo and cnnzoo-lite are both installed in {folder}, where each overwrites files "
            "of the other: run `pip uninstall cnnzoo cnnzoo-lite`, then install one of them"
        )


def need_libtorch(what: str) -> None:
    """Load libtorch and the extension that is linked to it, unless they are loaded.

    Raises:
        MissingPackageError: This is cnnzoo-lite, or torch is missing or of another version.
    """
    if LITE:
        raise MissingPackageError(
            f"{what} needs libtorch, which cnnzoo-lite does not have: run `pip uninstall "
            "cnnzoo-lite`, then `pip install cnnzoo`"
        )
    from cnnzoo import _libtorch

    _libtorch.load(what)
