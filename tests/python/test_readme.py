"""The README fits the registry and the repository; `test_docs_pages.py` runs its examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_the_table_of_families_is_the_registry() -> None:
    check = [sys.executable, str(ROOT / "tools" / "readme.py"), "--check"]
    subprocess.run(check, check=True, cwd=ROOT)


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """The site's links are checked where it is built."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
