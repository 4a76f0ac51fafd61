"""The code of the README, of the first page and of every how-to guide does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest

import cnnzoo as cz
import examples
from examples import ROOT

GUIDES = sorted(ROOT.glob("docs/how-to/*.md"))
# Those of which other tests run the code, since it needs a server, a cluster or a shell.
ELSEWHERE = {
    "command_line": "command/test_page.py",
    "hugging-face": "weights/test_repository.py",
    "many-photographs": "test_ray.py",
    "serving": "test_serving.py",
    "track-runs": "train/test_trackers.py",
}
PAGES = [ROOT / "README.md", ROOT / "docs" / "index.md"]
PAGES += [guide for guide in GUIDES if guide.stem not in ELSEWHERE]
# Languages of blocks. `text` is what programs print.
LANGUAGES = {"python", "console", "sh", "text"}


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


def test_the_code_of_each_guide_is_run_or_says_why_not() -> None:
    for guide in GUIDES:
        text = guide.read_text(encoding="utf-8")
        assert set(re.findall(r"(?m)^```(\S+)", text)) <= LANGUAGES, guide
        for block in re.findall(r"(?ms)^```text\n(.*?)^```", text):
            assert not re.search(r"(?m)^(import|class|def) |\bcz\.\w+\(", block), block
        if guide.stem in ELSEWHERE:
            test = Path(__file__).parent / ELSEWHERE[guide.stem]
            assert guide.name in test.read_text(encoding="utf-8"), test
        reasons = [one.skipped for one in examples.examples(guide) if one.skipped is not None]
        for reason in reasons:
            named = re.search(r"\S+\.py", reason)
            assert named is None or (Path(__file__).parent / named[0]).exists(), reason


def test_a_wrong_example_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Text.\n\n```python\n>>> 1 + 1\n3\n```\n")
    with pytest.raises(AssertionError, match="line 4"):
        examples.run(page)
    page.write_text("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n")
    with pytest.raises(AssertionError):
        examples.run(page)
    excepted = "<!-- not run: it needs a GPU -->\n```python\n1 / 0\n```\n"
    page.write_text(f"{excepted}\n```python\nx = 1\n```\n\n{excepted}")
    assert examples.run(page) == 1
