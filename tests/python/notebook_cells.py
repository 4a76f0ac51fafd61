"""Outputs of the cells of a notebook that ran, for the checks in `notebooks/`."""

from __future__ import annotations

import re
from typing import Any

PICTURES = {"image/png", "image/svg+xml"}


def output(cells: list[Any], source: str, kind: str = "text/plain") -> str:
    """The output of the one cell with `source` in it; what it printed belongs to every kind.

    A picture has no text: what matplotlib says of a figure is left out.
    """
    shown = []
    for out in outputs(cells, source):
        if out.output_type == "stream":
            shown.append(out.text)
        elif kind in out.data and not (kind == "text/plain" and PICTURES & out.data.keys()):
            shown.append(out.data[kind])
    assert shown, f"the cell with `{source}` shows nothing of {kind}"
    return "\n".join(shown)


def has_picture(cells: list[Any], source: str) -> bool:
    """Whether the one cell with `source` in it drew a picture."""
    return any(PICTURES & out.get("data", {}).keys() for out in outputs(cells, source))


def outputs(cells: list[Any], source: str) -> list[Any]:
    """All that the one cell with `source` in it has put out."""
    (cell,) = (cell for cell in cells if source in cell.source)
    found: list[Any] = cell.outputs
    return found


def numbers(text: str) -> list[float]:
    """The numbers in a text, in their order; those with commas between thousands too."""
    found = re.findall(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text)
    return [float(number.replace(",", "")) for number in found]
