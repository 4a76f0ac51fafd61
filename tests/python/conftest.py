"""Shared fixtures: a record of how far our networks are from their sources."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest


class Differences:
    """The largest difference seen of each edition and kind of comparison."""

    def __init__(self) -> None:
        self.largest: dict[str, dict[str, float]] = {}

    def add(self, edition: str, kind: str, difference: float) -> None:
        kinds = self.largest.setdefault(edition, {})
        kinds[kind] = max(difference, kinds.get(kind, 0.0))

    def write(self, file: Path) -> None:
        """Into a file, with what it knows from other runs, each of which may be a part of all."""
        known = json.loads(file.read_text()) if file.exists() else {}
        for edition, kinds in known.items():
            for kind, difference in kinds.items():
                self.add(edition, kind, difference)
        file.write_text(json.dumps(self.largest, indent=1))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--differences", metavar="FILE", type=Path, help="where test_parity writes what it saw"
    )
    parser.addoption(
        "--notebooks", metavar="FOLDER", type=Path, help="where test_notebooks keeps what ran"
    )


@pytest.fixture(scope="session")
def differences(request: pytest.FixtureRequest) -> Iterator[Differences]:
    """A record that is written to the file of `--differences`."""
    record = Differences()
    yield record
    file: Path | None = request.config.getoption("--differences")
    if file is not None:
        record.write(file)
