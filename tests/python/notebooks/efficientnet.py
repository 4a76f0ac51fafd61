"""The notebook on compound scaling."""

from __future__ import annotations

import re
from typing import Any

import pytest

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    cost, depth, width, resolution = numbers(output(cells, "scaling = "))
    # Two steps of equation 3 of the paper.
    assert cost == pytest.approx((1.2 * 1.1**2 * 1.15**2) ** 2, abs=0.005)
    assert (depth, width, resolution) == (1.44, 1.21, 1.32)
    counted = numbers(" ".join(re.findall(r"([\d.]+) × the base", output(cells, "WAYS = {"))))
    assert counted[0] == 1
    assert all(3.5 < times < 4 for times in counted[1:])
    said = output(cells, "said_ways = ")
    reached = {way: float(top1) for way, top1 in re.findall(r"(\w+) ([\d.]+) %", said)}
    assert reached.keys() == {"depth", "width", "resolution", "compound"}
    base = float(re.findall(r"the base \(([\d.]+) %", said)[0])
    assert reached["width"] > base + 0.5
    assert reached["resolution"] < reached["width"] - 1
    best = max(reached, key=lambda way: reached[way])
    assert ("not the best" in said) == (best != "compound")
    early, middle, late = [
        float(points) for points in re.findall(r"(\d\.\d)", output(cells, "said_zoo = "))
    ]
    assert early > 2 > middle > late > 0
    table = output(cells, "said_formula = ")
    # B7: 3.1 times the depth, twice the width and 600 pixels in place of 224.
    assert re.search(r"B7 +3\.1 +2\.0 +600 +89\.0 +97\.8 +43\.0", table)
    for drawn in ("said_ways = ", "said_zoo = ", "both.plot()"):
        assert has_picture(cells, drawn)
