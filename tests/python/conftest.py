"""Shared options and fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from differences import Differences


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
