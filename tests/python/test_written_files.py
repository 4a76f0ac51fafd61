"""Pictures and diagrams are written whole or not at all, also where the disk is full."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import cnnzoo as cz
from cnnzoo._files import write_whole
from cnnzoo.picture import save

WAYS: dict[str, Callable[[Path], object]] = {
    "diagram": lambda path: cz.resnet18(meta=True).diagram().save(path.with_suffix(".svg")),
    "figure": lambda path: cz.compare(["alexnet", "resnet18"]).save(path),
    "picture": lambda path: save(Image.fromarray(np.zeros((9, 9, 3), np.uint8)), path),
}


class Full:
    """A disk that has no room after so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.fdopen

        def opened(*given: Any, **options: Any) -> Any:
            file = real(*given, **options)
            file.write(b"a beginning")
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr("cnnzoo._files.os.fdopen", opened)


@pytest.mark.parametrize("way", WAYS)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "it.png"
    WAYS[way](file)
    (written,) = tmp_path.iterdir()
    before = written.read_bytes()
    Full(monkeypatch)
    with pytest.raises(OSError, match=r"it\.(png|svg)"):
        WAYS[way](file)
    assert list(tmp_path.iterdir()) == [written]
    assert written.read_bytes() == before


def test_modes_links_and_pipes_stay(tmp_path: Path) -> None:
    file, link, pipe = (tmp_path / name for name in ("file", "link", "pipe"))
    before = os.umask(0o027)
    try:
        write_whole(file, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    file.chmod(0o604)
    link.symlink_to("file")
    write_whole(link, b"two")
    assert link.is_symlink() and file.read_bytes() == b"two"
    assert stat.S_IMODE(file.stat().st_mode) == 0o604
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"three")
    reader.join()
    assert read == [b"three"]
    with pytest.raises(IsADirectoryError) as folder:
        write_whole(tmp_path, b"four")
    with pytest.raises(FileNotFoundError) as missing:
        write_whole(tmp_path / "none" / "file", b"five")
    names = [os.fspath(tmp_path), os.fspath(tmp_path / "none" / "file")]
    assert [folder.value.filename, missing.value.filename] == names
