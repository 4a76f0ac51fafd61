"""The notebook on Inception modules."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, output

FIGURES = ("def depth(", "def silenced(", "ratios = flows[True]")


def check(cells: list[Any]) -> None:
    assert "5×5 conv, 32" in output(cells, 'diagram(part="inception3a")', "image/svg+xml")
    assert all(has_picture(cells, figure) for figure in FIGURES)
    said = output(cells, "for sentence in findings")

    def values(pattern: str) -> list[float]:
        found = re.search(pattern.replace("N", r"([-+]?\d+\.?\d*)"), said)
        assert found is not None, pattern
        return [float(value) for value in found.groups()]

    assert values("GoogLeNet has N layers with weights and N million") == [22.0, 7.0]
    assert values("AlexNet, with N layers, has N times as many") == [8.0, 8.7]
    assert values("VGG-16, with N, N times") == [16.0, 20.0]

    # Windows are needed, but no one of them: the three seeds vary by some points.
    (alone,) = values("With 1×1 alone it is N points lower")
    assert alone > 2
    changes = values(
        "by N points without 1×1, N points without 3×3, N points without 5×5, N points"
    )
    assert max(map(abs, changes)) < 7
    assert max(-change for change in changes) < alone + 2
    silenced = values("by N points for 1×1, N points for 3×3, N points for 5×5, N points for pool")
    assert min(silenced) > 4
    assert max(silenced) > 20

    # Auxiliary classifiers enlarge the gradients of the first layers.
    least, largest = values("in the stem is N to N times as large")
    assert least > 1.1
    assert largest > 1.5
    (behind,) = values("behind module 4d it differs by N%")
    assert behind < 1
