"""Opens files that a user names: regular files only, since others may wait for another process."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from typing import BinaryIO

# Kinds of file that are refused, and the test for each.
KINDS: dict[str, Callable[[int], bool]] = {
    "a pipe": stat.S_ISFIFO,
    "a socket": stat.S_ISSOCK,
    "a device": lambda mode: stat.S_ISCHR(mode) or stat.S_ISBLK(mode),
}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading, as the engine's readers do.

    Opening a pipe would wait for its writer, and reading a device may never end. Both the path and
    the open file are checked, so a pipe that is put there in between is refused too.

    Raises:
        OSError: It is a folder, pipe, socket or device, which `strerror` says, or cannot be opened.
    """
    _check(os.stat(path).st_mode, path)
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(os.fstat(file).st_mode, path)
        return os.fdopen(file, "rb")
    except BaseException:
        os.close(file)
        raise


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for name, is_one in KINDS.items():
        if is_one(mode):
            message = f"expected a regular file, got {name}"
            raise OSError(errno.EINVAL, message, os.fspath(path))
