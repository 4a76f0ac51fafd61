"""Locks of open files, which the system releases when their process ends, in whatever way."""

from __future__ import annotations

import errno
import fcntl
from typing import IO

# Errors of file systems without locks, as some network file systems are.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def lock(file: IO[bytes] | IO[str], *, wait: bool = False) -> OSError | None:
    """Lock an open file until it is closed.

    Args:
        file: The file; it is neither read nor changed.
        wait: Wait for whoever holds the lock, in place of an error.

    Returns:
        The error of a file system without locks, where nothing keeps others out; otherwise none.

    Raises:
        BlockingIOError: Another open file holds the lock, in this process or another.
        OSError: It cannot be locked.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return error
        raise
    return None
