"""The file that a download writes: locked, checked, and put in place as a whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from cnnzoo._download.job import Job, Patience
from cnnzoo._download.progress import line
from cnnzoo._download.retry import persist
from cnnzoo._download.transfer import Transfer
from cnnzoo._files import open_regular
from cnnzoo._locks import lock
from cnnzoo.errors import WeightsError

CHUNK = 1 << 20


def download(job: Job, patience: Patience) -> None:
    """Download a file, or wait for another process that does.

    A partial download is kept beside the target as `.partial` if it can be resumed.

    Raises:
        WeightsError: It cannot be downloaded; the message says what to do.
    """
    try:
        job.path.parent.mkdir(parents=True, exist_ok=True)
        with _partial(job.path) as file:
            if file is not None:
                _fill(job, patience, file)
    except OSError as error:
        if isinstance(error, WeightsError):
            raise
        raise job.failed_on_disk(error.strerror or str(error)) from error


def _fill(job: Job, patience: Patience, file: FileIO) -> None:
    partial = Path(os.fsdecode(file.name))
    # Without a hash, nothing tells whether the partial file is of the same file as the rest.
    if not job.hash:
        file.truncate(0)
    resumed = file.seek(0, os.SEEK_END) > 0
    while True:
        transfer = Transfer(job, patience, file)
        persist(job, patience, transfer.attempt)
        got = digest(partial, job.hash)
        if got == job.hash:
            break
        file.truncate(0)
        if not resumed:
            partial.unlink()
            raise job.failed(
                f"expected {job.hash.replace(':', ' ')}, got {got.partition(':')[2]}",
                "it was deleted: try again, and report the address if this persists",
            )
        # An earlier process downloaded part of another file: start over once.
        resumed = False
    os.fsync(file.fileno())
    partial.replace(job.path)


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[FileIO | None]:
    """The partial file, locked; none if another process has completed the download meanwhile.

    The lock is on the partial file itself, so no lock file is left behind.
    """
    partial = path.with_name(path.name + ".partial")
    while True:
        with FileIO(partial, "a") as file:
            _lock(file, path)
            if _is(partial, file):
                try:
                    yield file
                finally:
                    # An empty file has nothing to resume.
                    if os.fstat(file.fileno()).st_size == 0 and _is(partial, file):
                        partial.unlink()
                return
        # The process that held the lock has renamed or removed the file.
        if path.exists():
            yield None
            return


def _lock(file: FileIO, path: Path) -> None:
    try:
        lock(file)
    except BlockingIOError:
        with line(f"{path.name}: waiting for another process that downloads it"):
            lock(file, wait=True)


def _is(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def digest(path: Path, like: str) -> str:
    """The hash of a file, of the same kind and with as many digits as `like`."""
    kind, _, digits = like.partition(":")
    if not kind:
        return ""
    state = hashlib.new(kind, usedforsecurity=False)
    with open_regular(path) as file:
        while chunk := file.read(CHUNK):
            state.update(chunk)
    return f"{kind}:{state.hexdigest()[: len(digits)]}"
