"""The number of threads that one run uses."""

from __future__ import annotations

import operator

from cnnzoo import _libtorch, _native


def set_num_threads(threads: int) -> None:
    """Set the number of threads that one run uses, for inference and for training.

    It holds for the whole process. At first it is the variable `OMP_NUM_THREADS`, or else the
    number of cores that the process may use.

    Args:
        threads: From 1 to 4096. A run uses no more threads than it has work for.

    Raises:
        ArgumentError: It is out of this range.
        TypeError: It is not an integer.
    """
    _libtorch.set_num_threads(operator.index(threads))


def get_num_threads() -> int:
    """The number of threads that one run of inference uses."""
    return _native.get_num_threads()
