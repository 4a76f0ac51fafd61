"""The rules for text that a machine can check; CONTRIBUTING.md has all of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for folder in ("python", "tools", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*.py*"))
    if path.suffix in {".py", ".pyi"}
]

# A clause in place of a noun, at the beginning of a docstring, of a paragraph or of an entry.
CLAUSE = re.compile(r"(?:\A|\n\n|\n +\w+: )(What|Of|How|Who|Whose|Which)\b")
# Names in code and the arguments that entries describe, such as `checkpoint`, are no prose.
CODE = re.compile(r"`[^`]*`|^ *\w+:", re.M)
CHECKPOINT = re.compile(r"(?<!\brun )(?<!\brun's )(?<!\bactivation )\bcheckpoint(?:s|ing)?\b", re.I)


def complaints(text: str) -> Iterator[str]:
    """The rules that a docstring breaks."""
    for clause in CLAUSE.findall(text):
        yield f"opens with {clause!r} in place of a noun"
    prose = re.sub(r"\s+", " ", CODE.sub("", text))
    if CHECKPOINT.search(prose):
        yield "says 'checkpoint' alone: CONTRIBUTING.md has the word for each kind"
    if not re.search(r"[.:!?]\Z", text.partition("\n\n")[0]):
        yield "has no full stop after the first paragraph"


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every docstring of a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "lineno", 1), text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_keep_the_rules_for_text(path: Path) -> None:
    assert [
        f"{path.name}:{line}: {complaint}"
        for line, text in docstrings(path)
        for complaint in complaints(text)
    ] == []


def test_comments_of_rust_open_with_a_noun() -> None:
    """Only the first line of a block of `///` or `//!` counts."""
    opening = re.compile(r"(?m)(?:\A|^(?! *//[/!]).*\n) *//[/!] (?:What|Of|How)\b.*")
    assert [
        f"{path.relative_to(ROOT)}: {found.strip().splitlines()[-1]}"
        for folder in ("src", "tests")
        for path in sorted((ROOT / folder).rglob("*.rs"))
        for found in opening.findall(path.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("What training makes small.", 1),
        ("Loss functions.\n\nOf a batch, the mean.", 1),
        ("Loss functions.\n\nArgs:\n    ema: How much stays.\n    lr: The rate.", 1),
        ("Write a checkpoint.", 1),
        ("Write a run\ncheckpoint to `checkpoint`, with activation checkpointing.", 0),
        ("Loss functions", 1),
        ("Whether a row holds what was asked for.", 0),
    ],
)
def test_the_rules_are_checked(text: str, count: int) -> None:
    assert len(list(complaints(text))) == count
