"""The pictures of the gallery, drawn by the code that it shows."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.pages.links import ROOT, write_picture

GALLERY = ROOT / "docs" / "gallery.md"


def draw(folder: Path) -> None:
    """Run the gallery's code, and keep its pictures in `folder`."""
    import matplotlib as mpl

    mpl.use("agg")
    code = "\n".join(re.findall(r"```python\n(.*?)```", GALLERY.read_text("utf-8"), re.DOTALL))
    names: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "photos").symlink_to(ROOT / "photos")
        with inside(scratch):
            exec(compile(code, GALLERY, "exec"), names)
        drawn = sorted(path for path in Path(scratch).iterdir() if path.is_file())
        folder.mkdir(parents=True, exist_ok=True)
        for path in drawn:
            if path.suffix == ".svg":
                write_picture(path.read_text("utf-8"), folder / path.name)
            else:
                shutil.copy(path, folder)


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Work in a folder."""
    old = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(old)
