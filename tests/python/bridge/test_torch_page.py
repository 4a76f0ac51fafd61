"""The code of the how-to pages on PyTorch runs from top to bottom."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[3] / "docs" / "how-to"


@pytest.mark.parametrize("page", ["pytorch.md", "distributed.md"])
def test_the_code_of_the_page_runs(page: str) -> None:
    blocks = re.findall(
        r"```python\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL
    )
    assert len(blocks) > 1
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
