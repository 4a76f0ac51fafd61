"""The pages in a browser: on a phone and a desk, light and dark. Screenshots are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.site.browser import Browser

PAGES = {
    "home": "index.html",
    "guide": "how-to/explain.html",
    "family": "families/inception.html",
    "notebook": "notebooks/01_first_photograph.html",
    "gallery": "gallery.html",
    "reference": "reference/explain.html",
    "benchmarks": "benchmarks.html",
}
SIZES, SCHEMES = ("phone", "desktop"), ("light", "dark")
# WCAG 2, level AA: of text, and of large text.
TEXT, LARGE = 4.5, 3.0
# What is read on every page that has it.
READ = {
    ".md-content h1": LARGE,
    ".md-content p": TEXT,
    ".md-content p a": TEXT,
    ".md-content pre code": TEXT,
    ".md-content td": TEXT,
    ".md-header__title": LARGE,
    ".md-footer-meta": TEXT,
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_page(browser: Browser, served: str, name: str, size: str, scheme: str) -> None:
    browser.open(f"{served}/{PAGES[name]}", size=size, scheme=scheme)
    browser.wait(lambda: browser.run("return document.body.hasAttribute('data-md-color-scheme')"))
    shown = browser.run("return document.body.getAttribute('data-md-color-scheme')")
    assert shown == {"light": "default", "dark": "slate"}[scheme]
    assert browser.broken_images() == []
    assert browser.overflow() == 0
    browser.screenshot(f"{name}-{size}-{scheme}", whole=True)
    for selector, least in READ.items():
        if browser.run("return document.querySelector(arguments[0]) !== null", selector):
            assert browser.contrast(selector) >= least, selector
    assert browser.complaints() == []


@pytest.mark.parametrize("page", ["families/efficientnet.html", "benchmarks.html", "parity.html"])
def test_a_phone_scrolls_tables_instead_of_breaking_their_cells(
    browser: Browser, served: str, page: str
) -> None:
    """Short cells have one line each, however many columns there are."""
    browser.open(f"{served}/{page}", size="phone", scheme="light")
    broken = browser.run(
        "const cells = document.querySelectorAll('.md-content table:has(th:nth-child(4)) td');"
        "return [...cells].filter((one) => {"
        "  const lines = new Set([...one.childNodes].flatMap((node) => {"
        "    const range = document.createRange();"
        "    range.selectNodeContents(node);"
        "    return [...range.getClientRects()].map((line) => Math.round(line.bottom / 8));"
        "  }));"
        "  return one.innerText.length < 24 && lines.size > 1;"
        "}).map((one) => one.innerText)"
    )
    assert broken == []
    assert browser.overflow() == 0


def test_a_phone_shows_texts_in_two_columns_without_scrolling(
    browser: Browser, served: str
) -> None:
    browser.open(f"{served}/glossary.html", size="phone", scheme="light")
    wide = browser.run(
        "return [...document.querySelectorAll('.md-typeset__table')].map((one) => one.scrollWidth)"
    )
    assert len(wide) > 3
    assert max(wide) <= browser.width


def test_the_navigation_shows_no_markup(browser: Browser, served: str) -> None:
    browser.open(f"{served}/reference/onnx.html", size="desktop", scheme="light")
    titles = browser.run(
        "return [...document.querySelectorAll('.md-nav__link')].map((one) => one.textContent)"
    )
    assert any("cnnzoo.onnx" in one for one in titles)
    assert not [one for one in titles if "`" in one]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_of_both_pictures_of_a_diagram_is_shown(
    browser: Browser, served: str, scheme: str
) -> None:
    browser.open(f"{served}/families/inception.html", size="desktop", scheme=scheme)
    shown = "return [...document.images].filter((one) => one.offsetParent).map((one) => one.src)"
    sources = [source for source in browser.run(shown) if "svg" in source]
    assert sources
    assert all(f".{scheme}.svg" in source for source in sources)


def test_the_switch_changes_the_colours(browser: Browser, served: str) -> None:
    browser.open(f"{served}/index.html", size="desktop", scheme="light")
    paper = "return getComputedStyle(document.body).backgroundColor"
    seen = {browser.run(paper)}
    for _ in range(3):
        browser.run(
            "[...document.querySelectorAll('[data-md-component=palette] label')]"
            ".find((one) => one.offsetParent).click()"
        )
        seen.add(browser.run(paper))
    assert len(seen) == 2


@pytest.mark.parametrize("words", ["Inception", "grad_cam", "efficientnet_b0"])
def test_the_search_finds(browser: Browser, served: str, words: str) -> None:
    browser.open(f"{served}/index.html", size="desktop", scheme="light")
    browser.run("document.querySelector('.md-search__input').focus()")
    browser.command("Input.insertText", text=words)
    browser.run(
        "document.querySelector('.md-search__input')"
        ".dispatchEvent(new Event('keyup', { bubbles: true }))"
    )
    found = browser.wait(
        lambda: browser.run(
            "return [...document.querySelectorAll('.md-search-result__link')]"
            ".map((one) => one.href + ' ' + one.innerText)"
        )
    )
    assert any(re.search(words, one, re.IGNORECASE) for one in found), found
    browser.screenshot(f"search-{words.lower()}")
    assert browser.complaints() == []


def test_the_measures_see_what_they_are_for(
    browser: Browser, folder_served: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.html").write_text(
        "<!doctype html><meta name='viewport' content='width=device-width'><body>"
        "<p style='width:700px;color:#ccc;background:#fff'>wide and pale</p><img src='missing.png'>"
    )
    browser.open(f"{folder_served}/bad.html", size="phone", scheme="light")
    assert browser.overflow() > 300
    assert browser.contrast("p") < 2
    assert [source.rpartition("/")[2] for source in browser.broken_images()] == ["missing.png"]
    assert any("404" in complaint for complaint in browser.complaints())
