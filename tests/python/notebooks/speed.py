"""The notebook on what makes a network fast; times are shown and never checked."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output
from tolerance import FUSED, ROUNDING


def check(cells: list[Any]) -> None:
    nodes, steps, fused, norms = numbers(output(cells, "said_plan = "))[:4]
    # ResNet-18 has 20 norms; a step is a convolution, a pool, the classifier or the images.
    assert fused == norms == 20
    assert steps == 20 + 2 + 1 + 1 < nodes / 2
    # Weights that a batch norm's scale went into give the same logits.
    folded, whole, apart = numbers(output(cells, "bare.load_state_dict(folded)"))
    assert whole - folded == norms and 0 < apart < ROUNDING
    assert numbers(output(cells, "said_folding = "))[0] == norms
    assert has_picture(cells, "said_folding = ")
    assert output(cells, "products = (").startswith("4 products in place of 6")
    assert has_picture(cells, "said_layers = ")
    # 13 windows of 3×3 have stride 1, and those of the last stage may be too few tiles.
    assert 9 <= numbers(output(cells, "said_layers = "))[0] <= 13
    errors = numbers(output(cells, "said_errors = "))
    assert 0 < errors[0] < FUSED and 0 < errors[1] < FUSED
    assert has_picture(cells, ".plot();")
