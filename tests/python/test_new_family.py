"""The tool that begins a family of architectures.

`cargo test` compiles its template as a module of the crate, and draws the template's networks.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAMILIES = Path("src") / "families"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the families."""
    shutil.copytree(ROOT / FAMILIES, tmp_path / FAMILIES)
    return tmp_path


def run(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "new_family.py"), *arguments]
    return subprocess.run(
        [*command, "--root", str(tree)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("name", "source"), [("shufflenet", "torchvision"), ("a1", "paper")])
def test_a_family_is_the_template_with_its_own_names(tree: Path, name: str, source: str) -> None:
    done = run(tree, name, "--title", "Some Net", "--source", source)
    assert (done.returncode, done.stderr) == (0, "")
    text = (tree / FAMILIES / f"{name}.rs").read_text()
    assert text.startswith("//! Some Net: ")
    assert f'    Row {{ name: "{name}", ' in text
    assert f"Source::{source.capitalize()}," in text
    assert "emplate" not in text
    assert "TEMPLATE" not in text
    assert text.count(name) == 3


def test_the_list_of_families_gains_two_lines(tree: Path) -> None:
    before = (tree / FAMILIES / "mod.rs").read_text().splitlines()
    assert run(tree, "shufflenet").returncode == 0
    after = (tree / FAMILIES / "mod.rs").read_text().splitlines()
    added = ["mod shufflenet;", "        .chain(shufflenet::variants())"]
    assert [line for line in after if line not in before] == added
    assert after.index("mod shufflenet;") == after.index("mod squeezenet;") - 1
    assert after[after.index(added[1]) + 1] == "        .collect()"


@pytest.mark.skipif(shutil.which("rustfmt") is None, reason="Rust is not installed")
def test_what_is_written_is_formatted(tree: Path) -> None:
    assert run(tree, "deep_layer_aggregation", "--source", "timm").returncode == 0
    files = [tree / FAMILIES / name for name in ("deep_layer_aggregation.rs", "mod.rs")]
    for file in files:
        text = file.read_text()
        check = ["rustfmt", "--edition", "2024", "--config-path", str(ROOT), "--emit", "stdout"]
        written = subprocess.run(check, input=text, capture_output=True, text=True, check=True)
        assert written.stdout == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet"], "name: expected one that is free, got resnet"),
        (["squeezenet"], "name: expected one that is free, got squeezenet"),
        (["ShuffleNet"], "name: expected lower-case letters, digits and _, got ShuffleNet"),
        (["../shufflenet"], "name: expected lower-case letters"),
        (["self"], "name: expected one that is no keyword of Rust, got self"),
        (["shufflenet", "--title", 'Shuffle"Net'], "--title: expected words, got 'Shuffle\"Net'"),
        (["shufflenet", "--source", "jax"], "invalid choice: 'jax'"),
    ],
)
def test_what_would_not_compile_is_refused(tree: Path, arguments: list[str], message: str) -> None:
    before = sorted((tree / FAMILIES).rglob("*"))
    done = run(tree, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert sorted((tree / FAMILIES).rglob("*")) == before
