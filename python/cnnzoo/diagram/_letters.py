"""The widths of texts, estimated so that no box is too narrow for its text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache


def _widths(groups: Mapping[str, float]) -> dict[str, float]:
    return {letter: width for letters, width in groups.items() for letter in letters}


# Widths in em of DejaVu Sans, rounded up. It is among the widest fonts that a browser takes for
# `sans-serif`, so a text in another one is narrower.
REGULAR = _widths(
    {
        "'ijl": 0.28,
        "IJ": 0.3,
        " ,.·": 0.32,
        "/:;\\|": 0.34,
        "f": 0.36,
        "-": 0.38,
        "()[]t": 0.4,
        "!r": 0.42,
        '"': 0.46,
        "*_`–": 0.5,
        "?sz": 0.54,
        "Lc": 0.56,
        "Fk": 0.58,
        "vxy": 0.6,
        "PTYaeo": 0.62,
        "$0123456789ESbdghnpqu{}": 0.64,
        "K": 0.66,
        "ABCRVXZ": 0.7,
        "U": 0.74,
        "HN": 0.76,
        "&DG": 0.78,
        "OQ": 0.8,
        "w": 0.82,
        "#+<=>^~×": 0.84,
        "M": 0.88,
        "%": 0.96,
        "m": 0.98,
        "@W…": 1.0,
    }
)

BOLD = _widths(
    {
        "'": 0.32,
        " ijl": 0.36,
        ",./IJ\\|·": 0.38,
        ":;": 0.4,
        "-": 0.42,
        "f": 0.44,
        "!()[]": 0.46,
        "t": 0.48,
        "_`r–": 0.5,
        '"*': 0.54,
        "?csz": 0.6,
        "L": 0.64,
        "vxy": 0.66,
        "aek": 0.68,
        "$0123456789EFTo": 0.7,
        "bdghnpqu{}": 0.72,
        "CPSYZ": 0.74,
        "ABKRVX": 0.78,
        "U": 0.82,
        "#+<=>DGHN^~×": 0.84,
        "OQ": 0.86,
        "&": 0.88,
        "w": 0.94,
        "@M…": 1.0,
        "%": 1.02,
        "m": 1.06,
        "W": 1.12,
    }
)

# That of a letter which is in no table, and of one that East Asian fonts draw as a square.
OTHER = 0.84
SQUARE = 1.02
NARROWEST = 0.28


@lru_cache(maxsize=8192)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a line of text, rather too large than too small; sizes are in pixels."""
    table = BOLD if bold else REGULAR
    return size * sum(table.get(letter) or _width(letter) for letter in text)


def _width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    return SQUARE if unicodedata.east_asian_width(letter) in "WF" else OTHER


def fitted(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """A text that is no wider than `width`: cut in the middle, since paths differ at both ends."""
    if text_width(text, size, bold=bold) <= width:
        return text
    kept = min(len(text) - 1, int(width / (NARROWEST * size)) + 1)
    while kept > 0:
        end = (kept + 1) // 2
        cut = f"{text[: kept - end]}…{text[len(text) - end :]}"
        if text_width(cut, size, bold=bold) <= width:
            return cut
        kept -= 1
    return "…" if text else ""
