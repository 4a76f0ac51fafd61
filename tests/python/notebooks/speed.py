"""The notebook on what makes a network fast; times are shown and never checked."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output
from tolerance import FUSED


def check(cells: list[Any]) -> None:
    nodes, steps, fused, norms = numbers(output(cells, "said_plan = "))[:4]
    # ResNet-18 has 20 norms; a step is a convolution, a pool, the classifier or the images.
    assert fused == norms == 20
    assert steps == 20 + 2 + 1 + 1 < nodes / 2
    assert output(cells, "products = (").startswith("4 products in place of 6")
    assert has_picture(cells, "said_layers = ")
    # 13 windows of 3×3 have stride 1, and those of the last stage may be too few tiles.
    assert 9 <= numbers(output(cells, "said_layers = "))[0] <= 13
    errors = numbers(output(cells, "said_errors = "))
    assert 0 < errors[0] < FUSED and 0 < errors[1] < FUSED
    assert has_picture(cells, ".plot();")
