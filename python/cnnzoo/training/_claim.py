"""A lock on a folder of run checkpoints, for one run at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnzoo._locks import lock
from cnnzoo.errors import CheckpointError, CheckpointFileError, Notice

LOCK = ".lock"


@contextmanager
def claimed(folder: Path | None) -> Iterator[None]:
    """Lock a folder for one run, creating the folder if it does not exist.

    The system releases the lock when the process ends, in whatever way. The lock file stays: if it
    were removed, two runs could each lock their own. A file system without locks gives a `Notice`.

    Raises:
        CheckpointError: Another run has locked it, in this process or another.
        CheckpointFileError: The folder cannot be created or written to.
    """
    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise CheckpointFileError(f"{folder}: {error.strerror or error}") from error
    with file:
        try:
            unsupported = lock(file)
        except BlockingIOError:
            raise CheckpointError(
                f"{folder}: expected a folder in which no run is training, got one in which "
                "another is; wait for its end, or name another folder"
            ) from None
        except OSError as error:
            raise CheckpointFileError(f"{folder}: {error.strerror or error}") from error
        if unsupported is not None:
            reason = unsupported.strerror or unsupported
            warnings.warn(
                f"{folder}: its file system has no locks ({reason}), so nothing "
                "keeps a second run from writing there too",
                Notice,
                stacklevel=5,
            )
        yield
