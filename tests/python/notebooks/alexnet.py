"""The notebook that changes one thing of a small AlexNet at a time."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    sizes(cells)
    activations(cells)
    normalisation_and_pooling(cells)
    overfitting(cells)


def sizes(cells: list[Any]) -> None:
    """The paper's numbers: 60 million parameters, eight layers, 55 × 55 outputs of the first."""
    table = output(cells, "layers = [row for row in").splitlines()
    assert len(table) == 1 + 8
    assert "96 × 55 × 55" in table[1]
    total, dense, macs, convolutional = numbers(output(cells, "dense = np.array("))
    assert 60 < total < 62 and 600 < macs < 800
    assert dense > 90 and convolutional > 90
    assert has_picture(cells, "alexnet.diagram()") and has_picture(cells, "dense = np.array(")


def activations(cells: list[Any]) -> None:
    """Sigmoid stays at chance; ReLU and tanh learn."""
    losses, _ = output(cells, "mean = {name:").splitlines()
    _, relu, tanh, sigmoid, chance = numbers(losses)
    assert max(relu, tanh) < 2.0 and sigmoid > 2.2
    assert chance == 2.3
    assert has_picture(cells, "mean = {name:")
    relu, tanh, sigmoid = numbers(output(cells, "flow = {}"))
    assert sigmoid < 1e-3 < min(relu, tanh)
    assert has_picture(cells, "flow = {}")


def normalisation_and_pooling(cells: list[Any]) -> None:
    """Both change little."""
    gains = [numbers(line)[0] for line in output(cells, "spread = max(").splitlines()]
    assert max(map(abs, gains)) < 7
    assert has_picture(cells, "spread = max(")


def overfitting(cells: list[Any]) -> None:
    """Each narrows the gap between training and test."""
    text = output(cells, "gap = {").splitlines()[0]
    neither, dropout, augmentation, both = numbers(text)[:4]
    assert neither > dropout + 2
    assert neither > augmentation + 5 and neither > both + 8
    assert has_picture(cells, "gap = {")
