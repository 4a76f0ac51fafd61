"""The machine that a benchmark runs on."""

from __future__ import annotations

import contextlib
import platform


def processor() -> str:
    """The processor's name, as the system gives it."""
    return _of_processor("model name") or platform.machine()


def instructions() -> str:
    """The widest vector instructions of an x86-64 processor."""
    flags = _of_processor("flags").split()
    return "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"


def _of_processor(name: str) -> str:
    """A field of Linux's /proc/cpuinfo; empty where there is none."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            field, _, value = line.partition(":")
            if field.strip() == name:
                return value.strip()
    return ""
