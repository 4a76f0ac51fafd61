"""The colours of diagrams on light and on dark pages, as a style sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Theme: TypeAlias = Literal["auto", "light", "dark"]

# Of each kind of box: fill and outline on a light page, fill and outline on a dark one.
KINDS: Mapping[str, tuple[str, str, str, str]] = {
    "input": ("#e9edf2", "#3d4b5c", "#2b3440", "#c5d0dc"),
    "conv": ("#dceaf8", "#4a7fb5", "#1c3550", "#6ba3d9"),
    "depthwise": ("#d6f1ec", "#2a9484", "#153f3a", "#4cbfae"),
    "linear": ("#e9e2f7", "#7d5fc0", "#33265a", "#a48be0"),
    "norm": ("#eef0f3", "#8d99a8", "#272e37", "#8a98a8"),
    "activation": ("#fdf1d3", "#cf9a26", "#443510", "#dcb04a"),
    "pool": ("#fce2d9", "#cc6440", "#4a261a", "#e58a67"),
    "attention": ("#fbdfec", "#c04a82", "#4a1c34", "#e07baa"),
    "join": ("#ffffff", "#4b5967", "#14181d", "#b9c4d0"),
    "embedding": ("#e4f3d6", "#6a9a3a", "#293d17", "#93c463"),
    "shape": ("#f3f4f6", "#9aa5b1", "#22272e", "#77828f"),
    "scale": ("#f3ecdf", "#a58b5a", "#39301f", "#c2a772"),
    "dropout": ("#f6f6f6", "#b3bbc4", "#1d2127", "#66707b"),
    "block": ("#f1f4f8", "#6b7a8a", "#232a33", "#93a1b0"),
    "auxiliary": ("#fafbfc", "#8d99a8", "#1a1f25", "#7f8c9a"),
}
# Of blocks with a picture of their inside, and of the letters that name it.
LETTERS = (
    ("#dfeaf7", "#2f6aa8", "#1b3048", "#5b9bd8"),
    ("#fdeed6", "#9c610f", "#40300f", "#dba24a"),
    ("#d9f0ea", "#1c7c6b", "#143b34", "#45b8a3"),
    ("#f9e0e6", "#b34765", "#451e2a", "#dd7d97"),
    ("#e8e1f5", "#6f52b0", "#2e2450", "#9f85db"),
    ("#e5f0d5", "#55802c", "#273814", "#8ebd5c"),
    ("#dcecf2", "#2a7690", "#16353f", "#58aec8"),
    ("#f3e6dc", "#96612f", "#3b2817", "#c6905c"),
)
# What else has a colour: on a light page, on a dark one.
TONES: Mapping[str, tuple[str, str]] = {
    "paper": ("#ffffff", "#14181d"),
    "ink": ("#1f2933", "#e8ecf1"),
    "muted": ("#5a6775", "#a6b2bf"),
    "title": ("#4b5967", "#b9c4d0"),
    "wire": ("#6b7a8a", "#8c99a7"),
    "panel": ("#f6f8fa", "#1b2027"),
    "edge": ("#d3dbe3", "#38424d"),
    "frame": ("#9aa7b4", "#66727f"),
    "badge": ("#ffffff", "#14181d"),
}


def letter_number(letter: str) -> int:
    """The number of the colours of a letter, of which later ones have those of the first."""
    return (ord(letter[-1]) - ord("A")) % len(LETTERS)


def style(scope: str, theme: Theme) -> str:
    """The style sheet of a picture, whose rules hold in the class `scope` alone."""
    if theme == "dark":
        return _rules(scope, 1)
    light = _rules(scope, 0)
    if theme == "light":
        return light
    return f"{light}@media (prefers-color-scheme:dark){{{_rules(scope, 1)}}}"


def _rules(scope: str, page: int) -> str:
    tone = {name: colours[page] for name, colours in TONES.items()}
    rules = {
        ".paper": f"fill:{tone['paper']}",
        ".ink": f"fill:{tone['ink']}",
        ".muted": f"fill:{tone['muted']}",
        ".title": f"fill:{tone['title']}",
        ".badge": f"fill:{tone['badge']}",
        ".wire": f"fill:none;stroke:{tone['wire']};stroke-width:1.4",
        ".head": f"fill:{tone['wire']}",
        ".panel": f"fill:{tone['panel']};stroke:{tone['edge']}",
        ".frame": f"fill:none;stroke:{tone['frame']};stroke-dasharray:1 3;stroke-linecap:round",
        ".repeat": f"fill:none;stroke:{tone['frame']};stroke-dasharray:5 3",
        ".inset": f"fill:{tone['panel']};stroke-width:1.4",
    }
    for kind, colours in KINDS.items():
        fill, line = colours[2 * page : 2 * page + 2]
        rules[f".{kind}"] = f"fill:{fill};stroke:{line}"
    for number, colours in enumerate(LETTERS):
        fill, line = colours[2 * page : 2 * page + 2]
        rules[f".block.c{number}"] = f"fill:{fill};stroke:{line}"
        rules[f".inset.c{number}"] = f"stroke:{line}"
        rules[f".mark.c{number}"] = f"fill:{line}"
    return "".join(f".{scope} {name}{{{rule}}}" for name, rule in rules.items())
