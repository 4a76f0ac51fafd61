"""Readers of weights, runs, graphs and logs survive what is no such file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz import changes
from fuzz.harness import SECONDS, fuzz

# Of each, how many of the same ones every time; each file of Keras is read by a process of its own.
READERS = [
    ("weights", "safetensors", 150),
    ("weights", "save", 60),
    ("weights", "run", 60),
    ("weights", "graph", 150),
    ("weights", "log", 150),
    ("torch_files", "zip", 150),
    ("torch_files", "legacy", 150),
    ("keras_files", "h5", 6),
]


@pytest.mark.parametrize(("module", "name", "few"), READERS)
def test_a_few_mutants(module: str, name: str, few: int, tmp_path: Path) -> None:
    said = fuzz(f"fuzz.{module}", name, tmp_path, seconds=60, cases=few)
    assert f"{few} cases" in said


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name", "few"), READERS)
def test_many_mutants(module: str, name: str, few: int, tmp_path: Path) -> None:
    print(name, fuzz(f"fuzz.{module}", name, tmp_path, seconds=SECONDS))


PLAIN = {"a": [1, 2.5, {"b": "text"}], "c": None}
WORDS = "graph a\ninput = input() channels=3\noutput input"


@pytest.mark.parametrize("kind", ["json", "text"])
def test_changes_follow_from_the_seed_and_differ(kind: str) -> None:
    def changed(seed: int) -> str:
        dice = random.Random(seed)
        return repr(changes.json(PLAIN, dice)) if kind == "json" else changes.text(WORDS, dice)

    before = repr(PLAIN)
    twice = [[changed(seed) for seed in range(40)] for _ in range(2)]
    assert twice[0] == twice[1]
    assert len(set(twice[0])) > 20
    assert repr(PLAIN) == before
