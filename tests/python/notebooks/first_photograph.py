"""The notebook that classifies a first photograph."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    assert "tf_efficientnet_lite0" in output(cells, "list_models")
    assert ">39.5%</td>" in output(cells, "model.predict(chelsea)", "text/html")
    assert output(cells, "draw_predictions([", "image/png")
    assert "blocks.0: 16 maps of 112 × 112" in output(cells, "model.features(")
    chelsea, *_ = output(cells, "model.embed(").splitlines()
    name, itself, coffee, rocket, mirrored = chelsea.split()
    assert (name, float(itself)) == ("chelsea", 1.0)
    assert float(mirrored) > 0.8
    assert max(float(coffee), float(rocket)) < 0.5
    nearest, farthest = numbers(output(cells, "nearest = values"))
    assert has_picture(cells, "nearest = values")
    assert (nearest, farthest) == (float(mirrored), max(float(coffee), float(rocket)))
    assert "4,652,008 parameters" in output(cells, "model.summary()")
