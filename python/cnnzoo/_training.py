"""The part of the extension that computes with libtorch, for training and evaluation.

It is imported where it is used, so that an import of cnnzoo does not need it.
"""

from __future__ import annotations

from cnnzoo._package import need_libtorch

need_libtorch("training or evaluation")

from cnnzoo._native import (
    Loss,
    Mixing,
    Optimizer,
    Run,
    assess,
    not_finite,
    save_run,
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
    "train_step",
]
