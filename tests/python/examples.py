"""Examples of Markdown pages: doctests, or plain code where they have no prompts."""

from __future__ import annotations

import doctest
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
# A block of Python, and the line before it that says why it is not run.
BLOCK = re.compile(r"(?m)^(?:<!-- not run: ([^\n]+) -->\n+)?```python[^\n]*\n(.*?)^```", re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A block of code: its line in the page, and why it is not run, if it is not."""

    line: int
    code: str
    skipped: str | None


def examples(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(text.count("\n", 0, block.start(2)), block[2], block[1])
        for block in BLOCK.finditer(text)
    ]


def write_pictures(folder: Path) -> None:
    """Parts of two photographs, a folder for each."""
    generator = np.random.default_rng(0)
    for name in ("chelsea", "coffee"):
        with Image.open(ROOT / "photos" / f"{name}.png") as photo:
            (folder / name).mkdir(parents=True)
            for index in range(16):
                left, top = (int(generator.integers(0, side - 220)) for side in photo.size)
                part = photo.convert("RGB").crop((left, top, left + 220, top + 220))
                part.save(folder / name / f"{index}.jpg")


def prepare(folder: Path) -> None:
    """The folder in which a page's examples run has `photos`, and `pictures` of two classes."""
    (folder / "photos").symlink_to(ROOT / "photos")
    write_pictures(folder / "pictures")


def run(page: Path) -> int:
    """Run the examples of a page one after the other, each with earlier names; their number."""
    names: dict[str, object] = {"__name__": "__main__"}
    ran = 0
    for example in examples(page):
        if example.skipped is not None:
            continue
        if ">>>" in example.code:
            parser = doctest.DocTestParser()
            test = parser.get_doctest(example.code, names, page.name, str(page), example.line)
            complaints: list[str] = []
            doctest.DocTestRunner(verbose=False).run(test, out=complaints.append, clear_globs=False)
            assert not complaints, "".join(complaints)
            names = test.globs
            ran += len(test.examples)
        else:
            code = "\n" * example.line + example.code
            exec(compile(code, page, "exec"), names)
            ran += 1
    return ran
