"""Whatever people hold a photograph in, as what the decoder takes."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arrays import as_array, is_tensor
from cnnzoo.errors import DataError, PhotoFileError

# No photograph's file is larger; the decoder says so of files that it opens itself.
MOST_BYTES = 1 << 30
CHUNK = 1 << 20


@runtime_checkable
class PillowImage(Protocol):
    """What is used of `PIL.Image.Image`, so that Pillow need not be there."""

    def convert(self, mode: str) -> Any:
        """The same image in another mode."""


class OpenFile(Protocol):
    """A file that was opened for reading bytes, or anything that reads like one."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most so many; none at the end."""


class Contents(NamedTuple):
    """The bytes of a file, and what messages call it."""

    data: bytes
    name: str


Photo: TypeAlias = (
    str
    | os.PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | OpenFile
    | NDArray[np.uint8]
    | PillowImage
)


def is_photo(value: object) -> bool:
    """Whether it is meant as one photograph, and not as several."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Contents, np.ndarray, PillowImage)
    return isinstance(value, kinds) or is_tensor(value) or _reads(value)


def path_of(photo: object) -> str | None:
    """Where a photograph comes from, if it says so: its path, or the name of its file."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, Contents):
        return photo.name
    if isinstance(photo, PillowImage) or _reads(photo):
        names = (getattr(photo, attribute, None) for attribute in ("filename", "name"))
        return next((os.fsdecode(n) for n in names if n and isinstance(n, str | os.PathLike)), None)
    return None


def held(photo: Any) -> Any:
    """The photograph itself, or what an open file holds from where it stands.

    Files are read here, one after the other, since many of an archive share one position.

    Raises:
        DataError: It cannot be read, is too large or was opened as text.
    """
    if _reads(photo):
        name = path_of(photo) or "<file>"
        return Contents(read_bytes(photo, name), name)
    return photo


def source(photo: Any) -> str | bytes | Contents | NDArray[np.uint8]:
    """What the decoder takes: a path, bytes or an array.

    Raises:
        DataError: An open file or a Pillow image cannot be read.
        TypeError: It is no photograph.
    """
    photo = held(photo)
    if isinstance(photo, bytes | Contents | np.ndarray):
        return photo
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, bytearray | memoryview):
        return bytes(photo)
    if is_tensor(photo):
        return as_array(photo)
    if isinstance(photo, PillowImage):
        try:
            return np.asarray(photo.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            where = path_of(photo) or "a Pillow image"
            raise DataError(f"{where}: expected a sound picture, got: {error}") from error
    raise TypeError(
        "a photograph: expected a path, bytes, an open file, a uint8 array (H, W, 3) or a Pillow "
        f"image, got {type(photo).__name__}"
    )


def _reads(value: object) -> bool:
    # Wrappers such as those of temporary files hand `read` on, which no protocol sees.
    return callable(getattr(value, "read", None))


def read_bytes(file: OpenFile, name: str) -> bytes:
    """Everything from where a file stands to its end.

    Raises:
        DataError: It cannot be read, is too large or was opened as text.
    """
    chunks, size = [], 0
    try:
        while chunk := file.read(CHUNK):
            if not isinstance(chunk, bytes | bytearray | memoryview):
                raise TypeError(f"got {type(chunk).__name__}")
            chunks.append(bytes(chunk))
            size += len(chunk)
            if size > MOST_BYTES:
                raise DataError(f"{name}: expected at most {MOST_BYTES} bytes, got more")
    except (TypeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{name}: expected a file opened for bytes, as by open(path, 'rb'), got text: {error}"
        ) from error
    except DataError:
        raise
    except (OSError, ValueError) as error:
        raise PhotoFileError(f"{name}: {getattr(error, 'strerror', None) or error}") from error
    return b"".join(chunks)
