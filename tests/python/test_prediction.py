"""Plots of predictions."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

import cnnzoo as cz

GUESSES = [
    cz.Guess("tiger cat", 282, 0.625),
    cz.Guess("two\nlines", 5, 0.25),
    cz.Guess("no number", 7, float("nan")),
]


def test_a_plot_has_a_bar_as_long_as_the_probability_of_each_class(tmp_path: Path) -> None:
    prediction = cz.Prediction(GUESSES)
    axes = prediction.plot(ax=Figure().subplots())
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    # Each lies on a track of full width.
    assert [bar.get_width() for bar in bars] == [1, 0.625, 1, 0.25, 1, 0]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["tiger cat", "62.5%", r"two\nlines", "25.0%", "no number", "nan%"]
    # The most probable class is at the top.
    top, bottom = axes.transData.transform([(0, 0), (0, 2)])[:, 1]
    assert top > bottom
    prediction.save(tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as picture:
        assert picture.format == "PNG"
    with pytest.raises(cz.ArgumentError, match="ends in"):
        prediction.save(tmp_path / "bars.xyz")
    assert not cz.Prediction([]).plot(ax=Figure().subplots()).patches
