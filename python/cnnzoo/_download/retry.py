"""Retries of what was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cnnzoo._download.job import Job, Patience
from cnnzoo._download.progress import line

T = TypeVar("T")

# The bytes that a failed attempt has to gain to count as progress.
PROGRESS = 1 << 20


class Interrupted(Exception):  # noqa: N818 (it is an event of the loop, and never leaves it)
    """A failed attempt that may be retried."""

    def __init__(self, reason: str, *, wait: float | None = None, gained: int = 0) -> None:
        super().__init__(reason)
        self.wait = wait
        self.gained = gained


def persist(job: Job, patience: Patience, attempt: Callable[[], T]) -> T:
    """Retry an interrupted attempt, with exponential backoff.

    Raises:
        WeightsError: Too many attempts in a row made no progress, or the server asks to wait for
            longer than `patience.longest`.
    """
    failures = 0
    while True:
        try:
            return attempt()
        except Interrupted as error:
            failures = 1 if error.gained >= PROGRESS else failures + 1
            if failures >= patience.attempts:
                tries = f" {failures} times in a row" if failures > 1 else ""
                raise job.failed(
                    f"{error}{tries}",
                    "try again later, which resumes the download, or put the file there "
                    "by other means",
                ) from error
            pause = min(patience.pause * 2 ** (failures - 1), patience.longest)
            if error.wait is not None and error.wait > patience.longest:
                raise job.failed(
                    f"{error}, and the server asks to wait {error.wait:.0f} seconds",
                    "try again after that",
                ) from error
            with line(f"{error}; trying again"):
                time.sleep(pause if error.wait is None else error.wait)
