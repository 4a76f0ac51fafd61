"""The code of the README, of the first page and of every how-to guide does what it says."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pytest

import cnnzoo as cz
import examples
from examples import ROOT

GUIDES = sorted(ROOT.glob("docs/how-to/*.md"))
# Their examples are commands, which other tests run: command/test_page.py and test_serving.py.
COMMANDS = {"command_line", "serving"}
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md"]
PAGES += [guide for guide in GUIDES if guide.stem not in COMMANDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a folder that has some photographs; the number of threads is the page's own."""
    mpl.use("agg")
    examples.prepare(tmp_path)
    monkeypatch.chdir(tmp_path)
    threads = cz.get_num_threads()
    try:
        assert examples.run(page) > 0
    finally:
        cz.set_num_threads(threads)


def test_a_wrong_example_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="line 4"):
        examples.run(page)
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        examples.run(page)
    page.write_text("<!-- not run: it needs a GPU -->\n```python\n1 / 0\n```\n")
    assert examples.run(page) == 0
