"""Races of inference engines: each in a process of its own, timed in turns, answers compared."""

from __future__ import annotations

from cnnzoo.racing.contestant import Task
from cnnzoo.racing.race import (
    ENGINES,
    GEMM,
    WRONG,
    Engine,
    Entry,
    Figures,
    Outcome,
    gemm_entry,
    gemm_speed,
    gflops,
    race,
)

__all__ = [
    "ENGINES",
    "GEMM",
    "WRONG",
    "Engine",
    "Entry",
    "Figures",
    "Outcome",
    "Task",
    "gemm_entry",
    "gemm_speed",
    "gflops",
    "race",
]
