"""Links of the built pages lead somewhere, nothing comes from the web, no page is missing."""

from __future__ import annotations

import importlib
import json
from html.parser import HTMLParser
from pathlib import Path
from types import FunctionType
from urllib.parse import unquote, urlsplit

import pytest

import cnnzoo as cz

ROOT = Path(__file__).parents[2]
# What a browser loads by itself, and by which attribute.
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}
# Links between pages that are no resources.
RELATIONS = {"canonical", "next", "prev"}


class Links(HTMLParser):
    """The links of a page, its anchors, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.anchors |= {known[name] for name in ("id", "name") if name in known}
        if tag == "a" and "href" in known:
            self.links.add(known["href"])
        target = known.get(LOADED.get(tag, ""), "")
        if target and known.get("rel") not in RELATIONS:
            self.loaded.add(target)


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Links]:
    found = {path: Links(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    assert len(found) > 50
    return found


def dead(page: Path, target: str, pages: dict[Path, Links], site: Path) -> bool:
    """Whether a link within the site leads nowhere."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return False
    start = site if parts.path.startswith("/") else page.parent
    file = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    if file.is_dir():
        file /= "index.html"
    if not file.is_file():
        return True
    fragment = unquote(parts.fragment)
    if not fragment or file not in pages or fragment.startswith("__"):
        return False
    return fragment not in pages[file].anchors


def test_no_link_is_dead(pages: dict[Path, Links], site: Path) -> None:
    found = [
        f"{page.relative_to(site)}: {target}"
        for page, links in pages.items()
        for target in sorted(links.links | links.loaded)
        if dead(page, target, pages, site)
    ]
    assert found == []


def test_a_dead_link_is_found(pages: dict[Path, Links], site: Path) -> None:
    page = site / "index.html"
    assert dead(page, "nowhere.html", pages, site)
    assert dead(page, "glossary.html#nowhere", pages, site)
    assert dead(page, "../site/nowhere.css", pages, site)
    assert not dead(page, "glossary.html#networks", pages, site)
    assert not dead(page, "https://example.org/nowhere", pages, site)


def test_nothing_is_loaded_from_the_web(pages: dict[Path, Links], site: Path) -> None:
    foreign = {target for links in pages.values() for target in links.loaded if "//" in target}
    assert foreign == set()
    for sheet in site.rglob("*.css"):
        assert "url(http" not in sheet.read_text("utf-8"), sheet
        assert "@import" not in sheet.read_text("utf-8"), sheet


def test_the_reference_describes_every_public_name(site: Path) -> None:
    found = (site / "reference").rglob("*.html")
    anchors = {anchor for page in found for anchor in Links(page.read_text("utf-8")).anchors}
    described = {anchor.split(".")[-1] for anchor in anchors if anchor.startswith("cnnzoo.")}
    for module in (
        "",
        ".analysis",
        ".callbacks",
        ".comparison",
        ".data",
        ".diagram",
        ".explain",
        ".training",
        ".transforms",
        ".weights",
    ):
        public = importlib.import_module(f"cnnzoo{module}")
        names = {
            name
            for name in public.__all__
            if isinstance(getattr(public, name), type | FunctionType)
        }
        assert names
        assert names - described == set()


def test_every_network_is_in_the_table_of_its_family(site: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in (site / "families").glob("*.html"))
    assert [name for name in cz.list_models() if f"<code>{name}</code>" not in text] == []


def test_every_guide_and_notebook_has_a_page(site: Path) -> None:
    for folder, pattern in (("how-to", "docs/how-to/*.md"), ("notebooks", "notebooks/*.ipynb")):
        names = {path.stem for path in ROOT.glob(pattern)}
        assert names
        assert {path.stem for path in (site / folder).glob("*.html")} == names | {"index"}


def test_the_search_knows_the_pages(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text("utf-8"))
    places = {entry["location"] for entry in index["docs"]}
    assert {"families/inception.html", "reference/explain.html", "how-to/explain.html"} <= places
