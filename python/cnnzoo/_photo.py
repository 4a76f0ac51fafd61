"""Converts every accepted form of a photograph to the decoder's input."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _native
from cnnzoo._arrays import as_array, is_tensor
from cnnzoo.errors import ArgumentError, CnnzooError, DataError, Notice, PhotoFileError

# The filters for resizing, as Pillow names them.
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
# The EXIF tag of the orientation.
ORIENTATION = 0x0112
# The largest values of 16-bit and of 8-bit pictures.
MOST_OF_16_BITS = 0xFFFF
MOST_OF_A_BYTE = 0xFF

# The largest file that is read; the decoder has the same limit for files that it opens itself.
MOST_BYTES = 1 << 30
CHUNK = 1 << 20


@runtime_checkable
class PillowImage(Protocol):
    """The part of `PIL.Image.Image` that is used, so that Pillow need not be installed."""

    def convert(self, mode: str) -> Any:
        """The same image in another mode."""


class OpenFile(Protocol):
    """A file opened in binary mode, or any object with the same `read`."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; empty at the end."""


class Contents(NamedTuple):
    """The bytes of a file, and its name in messages."""

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
    | NDArray[np.uint16]
    | PillowImage
)


def is_photo(value: object) -> bool:
    """Whether a value stands for one photograph, not for several."""
    kinds = (str, os.PathLike, bytes, bytearray, memoryview, Contents, np.ndarray, PillowImage)
    return isinstance(value, kinds) or is_tensor(value) or _reads(value)


def path_of(photo: object) -> str | None:
    """The path of a photograph, or the name of its file, if it has one."""
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, Contents):
        return photo.name
    if isinstance(photo, PillowImage) or _reads(photo):
        names = (getattr(photo, attribute, None) for attribute in ("filename", "name"))
        return next((os.fsdecode(n) for n in names if n and isinstance(n, str | os.PathLike)), None)
    return None


def held(photo: Any) -> Any:
    """The photograph itself; for an open file, its bytes from the current position on.

    Open files are read here, one after the other, since members of an archive share one position.

    Raises:
        DataError: It cannot be read, is too large or was opened as text.
    """
    if _reads(photo):
        name = path_of(photo) or "<file>"
        return Contents(read_bytes(photo, name), name)
    return photo


def source(photo: Any, *, orientation: bool) -> str | bytes | Contents | NDArray[Any]:
    """A photograph as the decoder takes it: a path, bytes or an array.

    Pillow images are turned upright by their EXIF orientation if `orientation` is set. Their modes
    I;16 and I are read as 16 bits, of which the high byte is kept, as for files; `convert("RGB")`
    would make nearly all of them white.

    Raises:
        ArgumentError: A Pillow image of mode I has values outside 16 bits, or the mode is F, whose
            values have no known range.
        DataError: An open file or a Pillow image cannot be read.
        TypeError: It is no photograph.
    """
    photo = held(photo)
    if isinstance(photo, bytes | Contents):
        return photo
    if isinstance(photo, np.ndarray):
        return _noticed(photo, "a uint16 array")
    if isinstance(photo, str | os.PathLike):
        return os.fsdecode(photo)
    if isinstance(photo, bytearray | memoryview):
        return bytes(photo)
    if is_tensor(photo):
        return _noticed(as_array(photo), "a uint16 tensor")
    if isinstance(photo, PillowImage):
        try:
            pixels = _pixels(photo)
            return upright(pixels, _orientation(photo)) if orientation else pixels
        except CnnzooError:
            raise
        except (OSError, ValueError, SyntaxError) as error:
            where = path_of(photo) or "a Pillow image"
            raise DataError(f"{where}: expected an undamaged picture, got: {error}") from error
    raise TypeError(
        "a photograph: expected a path, bytes, an open file, a uint8 array (H, W, 3) or a Pillow "
        f"image, got {type(photo).__name__}"
    )


def decoded(photo: Any, *, orientation: bool) -> NDArray[Any]:
    """The pixels of a photograph, whether in a file or in memory.

    Raises:
        DataError: The file does not decode.
        ArgumentError: As for `source`.
        TypeError: Likewise.
    """
    found = source(photo, orientation=orientation)
    if isinstance(found, np.ndarray):
        return found
    return _native.decode_photo(found, orientation=orientation)


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Rotate and mirror pixels (H, W, ...) by an EXIF orientation; only 2 to 8 change them."""
    turns: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
        2: lambda pixels: pixels[:, ::-1],
        3: lambda pixels: pixels[::-1, ::-1],
        4: lambda pixels: pixels[::-1],
        5: lambda pixels: pixels.swapaxes(0, 1),
        6: lambda pixels: np.rot90(pixels, -1),
        7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
        8: lambda pixels: np.rot90(pixels, 1),
    }
    turn = turns.get(orientation)
    return pixels if turn is None else turn(pixels)


def _pixels(photo: PillowImage) -> NDArray[np.uint8]:
    mode = str(getattr(photo, "mode", ""))
    if mode == "F":
        raise ArgumentError(
            "a photograph: expected a Pillow image of whole numbers, got mode F; "
            "scale it to 0 to 255 and convert it to L"
        )
    if mode != "I" and not mode.startswith("I;16"):
        return np.asarray(photo.convert("RGB"))
    values = np.asarray(photo)
    if mode == "I" and not 0 <= values.min() <= values.max() <= MOST_OF_16_BITS:
        raise ArgumentError(
            "a photograph: expected a Pillow image of mode I with values of 0 to "
            f"{MOST_OF_16_BITS}, got {values.min()} to {values.max()}"
        )
    _noticed(values.astype(np.uint16), f"a Pillow image of mode {mode}")
    return (values >> 8).astype(np.uint8)


def _noticed(values: NDArray[Any], what: str) -> NDArray[Any]:
    """The values; with a `Notice` if they are 16-bit but below 256, so that the high byte is 0."""
    if values.dtype == np.uint16 and values.size and 0 < values.max() <= MOST_OF_A_BYTE:
        warnings.warn(
            f"a photograph: expected {what} with values of 0 to {MOST_OF_16_BITS}, got at most "
            f"{values.max()}, which is nearly black; if these are bytes, make it uint8 or mode L",
            Notice,
            stacklevel=2,
        )
    return values


def _orientation(photo: PillowImage) -> int:
    """The EXIF orientation; 1 if there is none, or if Pillow fails on damaged EXIF data."""
    try:
        # Read after the pixels: Pillow turns those of a TIFF file itself, and then drops the tag.
        return int(photo.getexif().get(ORIENTATION, 1))  # type: ignore[attr-defined]
    except Exception:
        return 1


def _reads(value: object) -> bool:
    # Wrappers such as those of temporary files delegate `read`, which a protocol check misses.
    return callable(getattr(value, "read", None))


def read_bytes(file: OpenFile, name: str) -> bytes:
    """All bytes of a file from its current position to its end.

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
