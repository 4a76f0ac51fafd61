"""The examples of the README do what it says."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


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


def test_the_examples_of_the_readme(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run one after the other in a folder that has some photographs."""
    (tmp_path / "photos").symlink_to(ROOT / "photos")
    write_pictures(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    for example in examples:
        test = doctest.DocTestParser().get_doctest(example, names, "README.md", "README.md", 0)
        assert len(test.examples) > 8
        complaints: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=complaints.append, clear_globs=False)
        assert not complaints, "".join(complaints)
        names = test.globs
    assert len(examples) == 2


def test_the_table_of_families_is_the_registry() -> None:
    check = [sys.executable, str(ROOT / "tools" / "readme.py"), "--check"]
    subprocess.run(check, check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "page",
    [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))],
    ids=lambda page: page.name,
)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
