"""Readers of pictures and tables survive what is no such file; a minute each under `slow`."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from PIL import Image

import cnnzoo as cz
from fuzz.harness import SECONDS, Reader, check, fuzz, mutant

READERS = ["jpeg", "png", "webp", "gif", "bmp", "tiff", "pnm", "idx", "cifar", "csv", "parquet"]
# A few hundred of each take two seconds; the same ones every time.
FEW = 150


@pytest.mark.parametrize("name", READERS)
def test_a_few_mutants(name: str, tmp_path: Path) -> None:
    assert f"{FEW} cases" in fuzz("fuzz.photographs", name, tmp_path, seconds=60, cases=FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_mutants(name: str, tmp_path: Path) -> None:
    print(name, fuzz("fuzz.photographs", name, tmp_path, seconds=SECONDS))


def test_what_is_not_ours_is_noticed() -> None:
    def read(data: bytes) -> object:
        return Image.open(io.BytesIO(data))

    with pytest.raises(OSError, match="cannot identify"):
        check(Reader(seeds=[b"x"], read=read), b"x")
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "PNG")
    reader = Reader(seeds=[file.getvalue()], read=cz._native.decode_photo)
    assert check(reader, file.getvalue())
    assert not check(reader, b"x")


DYING = """
import os, time
from fuzz.harness import Reader
READERS = {
    "abort": Reader(seeds=[b"x" * 9], read=lambda data: data == b"x" * 9 or os.abort()),
    "raise": Reader(seeds=[b"x" * 9], read=lambda data: data == b"x" * 9 or 1 / 0),
}
"""


@pytest.mark.parametrize(("name", "how"), [("abort", "-6"), ("raise", "1")])
def test_a_child_that_ends_is_noticed(
    name: str, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AssertionError, match=f"{name}: the child ended with {how} at .*case, "):
        fuzz("dying", name, tmp_path, seconds=60, cases=10)


def test_mutants_follow_from_the_seed() -> None:
    seeds = [bytes(range(100)), b"another"]
    twice = [[mutant(seeds, random.Random(7)) for _ in range(5)] for _ in range(2)]
    assert twice[0] == twice[1]
    dice = random.Random(0)
    assert len({mutant(seeds, dice) for _ in range(100)}) > 90
