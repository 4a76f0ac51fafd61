"""A browser, and a server for the site that `make site` built."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.site.browser import Browser

ROOT = Path(__file__).parents[2]
SITE = ROOT / "target" / "site"
# Neither the tools nor these tests are an installed package.
sys.path.append(str(ROOT))
IN_CI = os.environ.get("CI") == "true"


def absent(reason: str) -> None:
    """Something that the tests need is not there: an error in CI, elsewhere a reason to skip."""
    if IN_CI:
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def site() -> Path:
    if not (SITE / "index.html").exists():
        absent("the site was not built: `make site` does")
    return SITE


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a failed request is an error in the browser's log."""


@pytest.fixture(scope="session")
def served(site: Path) -> Iterator[str]:
    """The address of the site."""
    yield from serve(site)


@pytest.fixture
def folder_served(tmp_path: Path) -> Iterator[str]:
    """The address of the test's own folder."""
    yield from serve(tmp_path)


def serve(folder: Path) -> Iterator[str]:
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        absent("there is no chromium: `make browser` installs it as root")
        return
    from tests.site.browser import Browser

    with Browser(chromium, driver) as opened:
        yield opened
