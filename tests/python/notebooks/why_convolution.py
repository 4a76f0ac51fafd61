"""The notebook that measures what convolutions buy and cost."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    shared(cells)
    translated(cells)
    local(cells)


def shared(cells: list[Any]) -> None:
    dense, _, convolutional, _, ratio = numbers(output(cells, "smallest = min("))
    assert abs(dense / convolutional - ratio) < 1
    assert ratio > 10
    assert has_picture(cells, "smallest = min(")


def translated(cells: list[Any]) -> None:
    """Feature maps move with the image; what the classifier makes of it depends on pooling."""
    moved = output(cells, "moved = np.roll(")
    assert numbers(moved)[-2] < 1e-3 < numbers(moved)[-1]
    assert has_picture(cells, "moved = np.roll(")
    _, dense, flattened, pooled, _, *turned = numbers(output(cells, "at = SHIFTS.index(4)"))
    assert pooled > flattened + 15 > dense + 25
    assert max(turned) < 65
    assert has_picture(cells, "at = SHIFTS.index(4)")
    flattened_line, pooled_line = output(cells, "def similarity(").splitlines()
    _, after_shift, _ = numbers(flattened_line)
    _, pooled_after_shift, pooled_after_turn = numbers(pooled_line)
    assert pooled_after_shift > 0.9 > after_shift + 0.2
    assert pooled_after_shift > pooled_after_turn + 0.1


def local(cells: list[Any]) -> None:
    """Neighbours matter to convolutions alone, and near ones are not enough."""
    convolutional, dense = numbers(output(cells, "lost = {"))
    assert convolutional < -3 and abs(dense) < 2.5
    assert has_picture(cells, "lost = {")
    near, _, middle, _, far, _ = numbers(output(cells, "sides = list(sights)"))
    assert near + 15 < middle < far - 8
    assert has_picture(cells, "sides = list(sights)")
