"""Pages of the repository, copied into the site with links that lead to their new places."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Text or image, target, and the anchor behind it. The text of a link may be an image, which comes
# first. Code has no such brackets.
LINK = re.compile(r"(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
# Pictures of cnnzoo for either page carry this rule, after which the colours of dark pages come.
DARK = "@media (prefers-color-scheme:dark){"
# Fenced blocks, and code in a line.
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)


def moved(text: str, old: Path, new: str, places: Mapping[Path, str], pages: Path) -> str:
    """The text of a page whose links lead to places of the site.

    Args:
        text: Markdown.
        old: The page's file in the repository, from which its links start.
        new: The page's path in the site.
        places: The path in the site of each file that is in it. Links to other files of the
            repository become their text alone, since the site does not hold the sources.
        pages: The folder of the site's pages, where the pictures are already.
    """

    def place_of(target: str) -> str | None:
        file = (old.parent / target).resolve()
        if file not in places and not file.exists():
            raise SystemExit(f"{old}: the link to {target} leads nowhere")
        return os.path.relpath(places[file], Path(new).parent) if file in places else None

    def one(match: re.Match[str]) -> str:
        mark, words, target, anchor = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        place = place_of(target)
        if place is None:
            return str(words)
        place += anchor or ""
        inner = match if mark else LINK.fullmatch(words)
        picture = place_of(inner[3]) if inner and inner[1] else None
        if inner is None or picture is None:
            return f"[{words}]({place})"
        file = pages / os.path.normpath(Path(new).parent / picture)
        if file.with_suffix(".light.svg").exists():
            return in_both_themes(inner[2], picture, link=None if mark else place)
        image = f"![{inner[2]}]({picture})"
        return image if mark else f"[{image}]({place})"

    return LINK.sub(one, text)


def unbroken(text: str) -> str:
    """The text of a page, in which no line ends between a number and its per cent sign."""
    parts = CODE.split(text)
    parts[::2] = [re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", part) for part in parts[::2]]
    return "".join(parts)


def in_both_themes(words: str, place: str, *, link: str | None = None) -> str:
    """Markdown of a picture that follows the site's switch, not the setting of the system.

    A click shows the picture alone in its own size, or follows the link.
    """
    stem, _ = os.path.splitext(place)
    return " ".join(
        f"[![{words}]({stem}.{theme}.svg#only-{theme})]({link or f'{stem}.{theme}.svg'})"
        for theme in ("light", "dark")
    )


def write_picture(svg: str, path: Path) -> None:
    """Write a picture; one that follows the reader's setting becomes two, `.light` and `.dark`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if DARK not in svg:
        path.write_text(svg, encoding="utf-8")
        return
    for theme, condition in (("light", "not all"), ("dark", "all")):
        themed = svg.replace(DARK, f"@media {condition}{{")
        path.with_suffix(f".{theme}.svg").write_text(themed, encoding="utf-8")
