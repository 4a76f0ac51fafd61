"""The notebook on depth and shortcuts."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, output

FIGURES = ("losses = {", "flows = {}", "ends = {}", "gaps = {}", "transfer = {")


def check(cells: list[Any]) -> None:
    assert "3×3 conv, 16" in output(cells, 'diagram(part="layer1.0")', "image/svg+xml")
    assert all(has_picture(cells, figure) for figure in FIGURES)
    said = output(cells, "for sentence in findings")

    def values(pattern: str) -> list[float]:
        found = re.search(pattern.replace("#", r"([-+\d.e]+)"), said)
        assert found is not None, pattern
        return [float(value) for value in found.groups()]

    assert "plain56 and resnet56 853,018 and 853,018" in said

    # Depth hurts the plain network, and much less the residual one.
    plain = values("goes from # to # in the plain network")
    residual = values("from # to # in the residual one")
    assert plain[1] > plain[0] + 0.3
    assert residual[1] - residual[0] < 0.8 * (plain[1] - plain[0])
    assert residual[1] < plain[1] - 0.5
    right, wrong = values("the residual one has # % .* the plain one # %")
    assert right > wrong + 15

    # Gradients: they grow or vanish on the way down without shortcuts, and are even with them.
    growing, even = values("With batch norm, .* are # times .* plain network, # times")
    assert growing > 100
    assert even < 30
    vanishing, even = values("With no norm, .* are # times .* plain network, # times")
    assert vanishing < 0.06
    assert 0.1 < even < 10

    little, *_, much = values("test set is # points with 100, # points with 300, # points with")
    assert little > much + 10

    # A pretrained network learns new classes in fewer steps.
    early, fresh = values("network has # % right after 12 epochs, the fresh one # %")
    assert early > fresh + 3
