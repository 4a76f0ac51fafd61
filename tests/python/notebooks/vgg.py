"""The notebook that measures small kernels, depth and transfer."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    stacks(cells)
    sizes(cells)
    depth(cells)
    transfer(cells)


def stacks(cells: list[Any]) -> None:
    """Equal receptive fields for fewer parameters: 18/25 and 27/49, but for the biases."""
    *fields, sentence = output(cells, "stacks = {").splitlines()
    assert [numbers(line)[-3:-1] for line in fields] == [[5, 5], [5, 5], [7, 7], [7, 7]]
    assert sentence.count("%") == 2 and "72%" in sentence and "55%" in sentence
    gain, spread, params, macs = numbers(output(cells, "share = np.divide("))[-4:]
    assert gain > -4 and spread < 7
    assert params < 75 and macs < 75
    assert has_picture(cells, "share = np.divide(")


def sizes(cells: list[Any]) -> None:
    """VGG-16's 138 million parameters, three quarters of them in one layer."""
    lowest, highest, first, last = numbers(output(cells, "stages = {row.shape"))[-4:]
    assert lowest == highest == 1.85
    assert first > 7 * last
    assert has_picture(cells, "stages = {row.shape")
    total, largest, macs = numbers(output(cells, "params, macs = ("))[-3:]
    assert (total, largest) == (138, 74) and macs < 1
    assert has_picture(cells, "params, macs = (") and has_picture(cells, "vgg16.diagram()")


def depth(cells: list[Any]) -> None:
    """Small weights stop at chance; good ones train, worse the deeper the network is."""
    text = output(cells, "zip(depths.items()")
    _, deepest, _, small, small_deep, kept, kept_deep, norm, _ = numbers(text)
    assert deepest == 20
    assert small > 50 and small_deep < 25
    assert kept > kept_deep + 5 and kept_deep > small_deep + 10
    assert norm > small
    assert has_picture(cells, "zip(depths.items()")


def transfer(cells: list[Any]) -> None:
    """Features of other classes are worth more than random ones, and than a few pictures."""
    text = output(cells, "for place, shots in enumerate(").splitlines()[-1]
    few, learned, random, scratch, many, *with_many = numbers(text)
    assert (few, many) == (5, 20)
    assert learned > random + 5 and learned > scratch + 0.5
    assert with_many[0] > with_many[1] + 2 and with_many[0] > with_many[2] + 0.5
    assert has_picture(cells, "for place, shots in enumerate(")
