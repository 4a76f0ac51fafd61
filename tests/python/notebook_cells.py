"""Outputs of the cells of a notebook that ran, for the checks in `notebooks/`."""

from __future__ import annotations

import re
from typing import Any


def output(cells: list[Any], source: str, kind: str = "text/plain") -> str:
    """The output of the one cell with `source` in it; printed text belongs to every kind."""
    (cell,) = (cell for cell in cells if source in cell.source)
    assert not any(out.output_type == "error" for out in cell.outputs)
    shown = [
        out.text if out.output_type == "stream" else out.data[kind]
        for out in cell.outputs
        if out.output_type == "stream" or kind in out.data
    ]
    return "\n".join(shown)


def has_picture(cells: list[Any], source: str) -> bool:
    """Whether the one cell with `source` in it drew a picture, as PNG or SVG."""
    (cell,) = (cell for cell in cells if source in cell.source)
    kinds = {kind for out in cell.outputs for kind in out.get("data", {})}
    return bool(kinds & {"image/png", "image/svg+xml"})


def numbers(text: str) -> list[float]:
    """The numbers in a text, in their order; those with commas between thousands too."""
    found = re.findall(r"-?\d[\d,]*\.?\d*(?:e[-+]?\d+)?", text)
    return [float(number.replace(",", "")) for number in found]
