"""The notebook on dense blocks."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, output

FIGURES = ("at_equal = {", "def strengths(", "def cut(", "STEP = ")


def check(cells: list[Any]) -> None:
    assert "concatenate: 48×14×14" in output(cells, 'diagram(part="block1")', "image/svg+xml")
    assert all(has_picture(cells, figure) for figure in FIGURES)
    said = output(cells, "for sentence in findings")

    def values(pattern: str) -> list[float]:
        found = re.search(pattern.replace("#", r"(-?\d[\d,]*\.?\d*)"), said)
        assert found is not None, pattern
        return [float(value.replace(",", "")) for value in found.groups()]

    # Both families learn; with equally many parameters they are near each other.
    goal, dense, residual = values("For # % right a DenseNet needs about # parameters, a ResNet #;")
    assert goal > 60
    assert min(dense, residual) > 10_000
    count, of_dense, of_residual = values("with # the DenseNet is at # %, the ResNet at # %")
    assert 17_000 < count < 60_000
    assert abs(of_dense - of_residual) < 10

    # Older features get about the weight of new ones, and are needed.
    share, left = values("get # times the weight of the newest one; .* is # of what was drawn")
    assert 0.7 < share < 1.4
    assert left < 0.6
    chain, whole, farthest = values("has # % right in place of # %, and # % where just")
    assert chain < whole - 25
    assert chain + 10 < farthest < whole + 5

    # Memory does not depend on chance, and hardly on the machine.
    times, kept, slower = values("takes # times the memory .* it takes # of that, for # times the")
    assert times > 2
    assert kept < 0.85
    assert slower < 5
    without, with_checkpointing = re.findall(
        r"is (\S+) without and (\S+) with checkpointing", output(cells, "STEP = ")
    )[0]
    assert abs(float(without) / float(with_checkpointing) - 1) < 1e-4
