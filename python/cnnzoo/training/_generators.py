"""The generators of random numbers that a whole process shares."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def kept() -> Iterator[None]:
    """Put the generators of Python, NumPy and PyTorch back to where they were, whatever happens.

    A user's loss, transform or batches may draw from them.
    """
    python, numpy = random.getstate(), np.random.get_state()  # the shared one
    # Importing torch takes seconds; who has not imported it has not drawn from it.
    torch = sys.modules.get("torch")
    cpu = None if torch is None else torch.get_rng_state()
    # Asking for the states of GPUs would start CUDA.
    started = torch is not None and torch.cuda.is_initialized()
    gpus = torch.cuda.get_rng_state_all() if torch is not None and started else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch is not None:
            torch.set_rng_state(cpu)
            if gpus:
                torch.cuda.set_rng_state_all(gpus)
