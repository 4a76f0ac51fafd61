"""The notebook on a network of attention alone."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, numbers, output


def signed(text: str) -> list[float]:
    """The numbers that are written with their sign."""
    return [float(number) for number in re.findall(r"[+-]\d+\.\d", text)]


def check(cells: list[Any]) -> None:
    vit, cnn = (
        numbers(line)[0] for line in re.findall(r"(?:ViT|CNN): (.*)", output(cells, "GRAPHS = "))
    )
    assert 0.9 < vit / cnn < 1.1
    # Convolutions are ahead, and the more pictures there are, the surer.
    few, many = signed(output(cells, "said_data = "))
    assert few > -1
    assert many > 1.5
    # Attention does not tell moved embeddings from moved patches.
    assert numbers(output(cells, "ORDER = np"))[-1] < 1e-4
    positions = output(cells, "said_positions = ")
    (gain,) = signed(positions)
    assert gain > 1
    _, lost, change = numbers(positions)
    assert lost > 15
    assert change < 1e-4
    first, last, alike, least, most = numbers(output(cells, "said_distance = "))
    # From the first layer on it looks far beyond the neighbouring pixel.
    assert all(7 < distance < 21 for distance in (first, last, alike, least, most))
    pretraining = output(cells, "said_pretraining = ")
    tuned, scratch = numbers(pretraining)[:2]
    assert tuned > scratch + 0.5
    assert signed(pretraining)[1:] == [2.6, 4.9]  # the published weights'
    # Counted, of 12 layers with 192 numbers for a word.
    cost = output(cells, "said_cost = ")
    assert "5 % of ViT-Ti's multiply-adds at 128 pixels, 14 % at 224 and 40 % at 448" in cost
    assert "those of ResNet-18 4.0-fold" in cost
    for drawn in ("data", "positions", "distance", "pretraining", "cost"):
        assert has_picture(cells, f"said_{drawn} = ")
    assert has_picture(cells, "cz.explain.attention(trained")
    assert has_picture(cells, "transformer().diagram()")
