"""Fixtures of the command's tests."""

from __future__ import annotations

import pytest

from command_line import Command


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)
