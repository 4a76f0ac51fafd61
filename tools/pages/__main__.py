"""Writes the pages of the site into target/docs, and builds them into target/site.

    python -m tools.pages [--pages-only]

Texts are those of `docs` and of the repository; the rest is taken from docstrings, the registry,
graphs, notebooks, and the tables of the benchmarks.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Any

import yaml
from tools.pages import families, notebooks, pictures, reference
from tools.pages.links import ROOT, moved, unbroken, write_picture

PAGES = ROOT / "target" / "docs"
SETTINGS = ROOT / "target" / "mkdocs.yml"
# Texts outside of `docs`, and their places.
BESIDE = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
}
# Guides that come before the others.
FIRST = (
    "predict",
    "fine-tune",
    "preprocessing",
    "explain",
    "convert-weights",
    "fast",
    "training-fails",
)
# A page without a title of its own, or a title with a page, or with pages below it.
Entry = str | dict[str, Any]


def title(text: str) -> str:
    """The first heading of a page."""
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))


def entry(path: str) -> Entry:
    """An entry of the navigation, which has no markup: the page's title and path."""
    return {title((PAGES / path).read_text("utf-8")).replace("`", ""): path}


def write(path: str, text: str) -> None:
    """Write a page."""
    file = PAGES / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(unbroken(text), encoding="utf-8")


def copy_texts() -> None:
    """Copy what is written by hand, with its pictures, once the pages that it links to are there.

    The texts of families are parts of their pages.
    """
    docs = ROOT / "docs"
    files = [path for path in sorted(docs.rglob("*")) if path.is_file()]
    places = {path: str(path.relative_to(docs)) for path in files}
    written = [str(path.relative_to(PAGES)) for path in PAGES.rglob("*") if path.is_file()]
    # A picture in both themes is linked to by its name without them.
    written += [name.replace(".light.svg", ".svg") for name in written]
    places |= {docs / name: name for name in [*written, "how-to/index.md"]}
    places |= {ROOT / name: place for name, place in BESIDE.items()}
    for path in files:
        if path.suffix == ".svg":
            write_picture(path.read_text("utf-8"), PAGES / places[path])
        elif path.suffix != ".md":
            (PAGES / places[path]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, PAGES / places[path])
    pages = [path for path in files if path.suffix == ".md" and path.parent != families.TEXTS]
    pages += [ROOT / name for name, place in BESIDE.items() if place != "index.md"]
    for path in pages:
        text = moved(path.read_text("utf-8"), path, places[path], places, PAGES)
        if path.parent.name == "how-to" or path.name in {"glossary.md", "gallery.md"}:
            text = reference.linked(text)
        if path.name == "parity.md":
            # Its table has every name, and would come first in every search.
            text = f"---\nsearch: {{ boost: 0.2 }}\n---\n\n{text}"
        write(places[path], text)


def listed(folder: str, heading: str, about: str, names: list[str]) -> list[Entry]:
    """The pages of a folder, and one that lists them."""
    titles = {name: title((PAGES / folder / f"{name}.md").read_text("utf-8")) for name in names}
    lines = [f"- [{words}]({name}.md)" for name, words in titles.items()]
    write(f"{folder}/index.md", "\n".join([f"# {heading}\n", f"{about}\n", *lines, ""]))
    return [f"{folder}/index.md", *(entry(f"{folder}/{name}.md") for name in names)]


def how_to() -> list[Entry]:
    """The guides, and a page that lists them."""
    names = [path.stem for path in sorted((PAGES / "how-to").glob("*.md"))]
    names.sort(key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    return listed("how-to", "How-to guides", "The code of each guide runs in a test.", names)


def networks() -> list[Entry]:
    """The pages of families, and the table of them."""
    for page in families.PAGES:
        text = reference.linked(families.written(page, PAGES / "families"))
        write(f"families/{page.name}.md", text)
    write("families/index.md", families.index())
    names = [entry(f"families/{page.name}.md") for page in families.PAGES]
    return ["families/index.md", *names, {"The modules": "modules.md"}]


def read_notebooks() -> list[Entry]:
    """The pages of the notebooks."""
    found = notebooks.found()
    for path in found:
        text = reference.linked(notebooks.written(path, PAGES / "notebooks"))
        write(f"notebooks/{path.stem}.md", text)
    about = "A question each, answered by an experiment on real data."
    return listed("notebooks", "Notebooks", about, [path.stem for path in found])


def describe() -> list[Entry]:
    """The pages of the reference."""
    pages = reference.pages()
    for page in pages:
        write(f"reference/{page.name}.md", reference.text(page))
    write("reference/command-line.md", reference.command_line())
    names = [*(page.name for page in pages), "command-line"]
    return [entry(f"reference/{name}.md") for name in names]


def navigation() -> list[Entry]:
    """Write all pages; the navigation between them."""
    pictures.draw(PAGES / "pictures")
    pages = {"Networks": networks(), "Notebooks": read_notebooks(), "Reference": describe()}
    copy_texts()
    background = ["glossary.md", "benchmarks.md", "parity.md", "architecture.md"]
    background += ["contributing.md", "slow-tests.md", "security.md", "changelog.md"]
    return [
        {"Home": "index.md"},
        {"How-to": how_to()},
        {"Networks": pages["Networks"]},
        {"Notebooks": pages["Notebooks"]},
        {"Gallery": "gallery.md"},
        {"Reference": pages["Reference"]},
        {"Background": [entry(page) for page in background]},
    ]


def main() -> int:
    """Write the pages, and build the site; warnings are errors."""
    shutil.rmtree(PAGES, ignore_errors=True)
    settings = {
        "INHERIT": "../mkdocs.yml",
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": navigation(),
    }
    SETTINGS.write_text(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False), "utf-8")
    if "--pages-only" in sys.argv:
        return 0
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", str(SETTINGS)]
    # Material would advertise its successor.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(build, check=False, env=environment).returncode


if __name__ == "__main__":
    raise SystemExit(main())
