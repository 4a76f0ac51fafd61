"""Reads files that a user names, regular ones only, and writes files as a whole."""

from __future__ import annotations

import contextlib
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


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file that appears whole or not at all; where that fails, an old one is as it was.

    A link stays, and the file behind it is replaced. A pipe or a device is written to.

    Raises:
        OSError: It cannot be written; `filename` is the path.
    """
    place = os.path.realpath(path)
    try:
        if os.path.exists(place) and not os.path.isfile(place):
            _write(place, content, os.O_WRONLY)
            return
        folder, name = os.path.split(place)
        beside = os.path.join(folder, f".{name[:100]}.{os.getpid()}.tmp")
        try:
            _write(beside, content, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            if os.path.exists(place):
                os.chmod(beside, stat.S_IMODE(os.stat(place).st_mode))
            os.replace(beside, place)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(beside)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _write(place: str, content: bytes, flags: int) -> None:
    with os.fdopen(os.open(place, flags | os.O_CLOEXEC, 0o666), "wb") as file:
        file.write(content)


def _check(mode: int, path: str | os.PathLike[str]) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for name, is_one in KINDS.items():
        if is_one(mode):
            message = f"expected a regular file, got {name}"
            raise OSError(errno.EINVAL, message, os.fspath(path))
