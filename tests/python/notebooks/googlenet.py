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
        found = re.search(pattern.replace("#", r"([-+]?\d+\.?\d*)"), said)
        assert found is not None, pattern
        return [float(value) for value in found.groups()]

    assert values("GoogLeNet has # layers with weights and # million") == [22.0, 7.0]
    assert values("AlexNet, with # layers, has # times as many") == [8.0, 8.7]
    assert values("VGG-16, with #, # times") == [16.0, 20.0]

    # Windows are needed, but no one of them: the three seeds vary by some points.
    (alone,) = values("With 1×1 alone it is # points lower")
    assert alone > 2
    changes = values(
        "by # points without 1×1, # points without 3×3, # points without 5×5, # points"
    )
    assert max(map(abs, changes)) < 7
    assert max(-change for change in changes) < alone + 2
    silenced = values("by # points for 1×1, # points for 3×3, # points for 5×5, # points for pool")
    assert min(silenced) > 4
    assert max(silenced) > 20

    # Auxiliary classifiers enlarge the gradients of the first layers.
    least, largest = values("in the stem is # to # times as large")
    assert least > 1.1
    assert largest > 1.5
    (behind,) = values("behind module 4d it differs by #%")
    assert behind < 1
