"""The extension that is linked to libtorch, as training and evaluation use it.

Importing this module loads libtorch, so it is imported where it is used.
"""

from __future__ import annotations

from cnnzoo._package import need_libtorch

need_libtorch("training or evaluation")

from cnnzoo._torch import (
    Loss,
    Mixing,
    Optimizer,
    Run,
    assess,
    not_finite,
    save_run,
    share,
    train_step,
)

__all__ = [
    "Loss",
    "Mixing",
    "Optimizer",
    "Run",
    "assess",
    "not_finite",
    "save_run",
    "share",
    "train_step",
]
