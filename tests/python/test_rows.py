"""Results that are rows: places, names, iteration, and columns that pandas takes."""

from __future__ import annotations

import copy
import dataclasses
import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas
import pytest

import cnnzoo as cz
import test_copies
from cnnzoo.analysis import (
    ActivationStatistics,
    Calibration,
    Examples,
    GradientFlow,
    Robustness,
    RobustnessCurve,
)
from cnnzoo.errors import MissingPackageError

# An object of every public class.
things = test_copies.things

# The attribute with the rows, and a name by which a row is found.
KINDS: dict[type, tuple[str, str | None]] = {
    ActivationStatistics: ("rows", "node"),
    Calibration: ("bins", None),
    GradientFlow: ("layers", "layer"),
    Robustness: ("curves", "name"),
    RobustnessCurve: ("points", None),
    cz.History: ("rows", None),
    cz.Summary: ("rows", "name"),
    cz.Profile: ("steps", None),
    cz.Quantization: ("layers", "name"),
    cz.Tuning: ("layers", None),
    cz.LearningRateSearch: ("rows", None),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_rows_are_found_by_place_and_name(things: dict[type, Any], kind: type) -> None:
    thing, (attribute, name) = things[kind], KINDS[kind]
    rows = getattr(thing, attribute)
    assert issubclass(kind, Sequence)
    assert len(thing) == len(rows) > 0
    assert list(thing) == list(rows)
    assert thing[0] is rows[0] and thing[-1] is rows[-1]
    assert thing[:2] == rows[:2]
    assert rows[0] in thing
    if name is None:
        with pytest.raises(KeyError, match="expected the number of a row, got 'x'"):
            thing["x"]
    else:
        assert thing[getattr(rows[-1], name)] is rows[-1]
        with pytest.raises(KeyError, match=r"expected one of .*, got 'nothing'"):
            thing["nothing"]
    with pytest.raises(IndexError):
        thing[len(rows)]


def test_of_many_names_those_alike_are_named() -> None:
    summary = cz.create_model("resnet18", meta=True).summary()
    with pytest.raises(
        KeyError, match=r"one of the \d+ rows, such as layer1.0.conv[12], .*'layer1.0"
    ):
        summary["layer1.0.conv3"]
    few = cz.create_model("resnet20", meta=True)
    with pytest.raises(
        cz.ArgumentError, match=r"one of the \d+ parts, such as layer1.0, .*'layer1'"
    ):
        few.diagram(part="layer1")


@pytest.mark.parametrize("kind", [*KINDS, Examples, cz.Comparison], ids=lambda kind: kind.__name__)
def test_pandas_gets_the_numbers_of_the_rows(things: dict[type, Any], kind: type) -> None:
    thing = things[kind]
    columns, frame = thing.to_dict(), thing.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == list(columns)
    assert {len(values) for values in columns.values()} == {len(frame)}
    if kind is Robustness:
        points = [(curve.name, point) for curve in thing for point in curve]
        assert list(frame.distortion) == [name for name, _ in points]
        rows = [point for _, point in points]
    else:
        rows = list(thing)
    assert len(frame) == len(rows)
    fields = [field.name for field in dataclasses.fields(rows[0]) if field.name in columns]
    assert len(fields) >= 2
    for name in fields:
        for value, row in zip(columns[name], rows, strict=True):
            expected = getattr(row, name)
            same = value is expected or value == expected
            assert same or (math.isnan(value) and math.isnan(expected)), name


def test_intervals_are_two_columns(things: dict[type, Any]) -> None:
    for kind in (Calibration, RobustnessCurve):
        thing = things[kind]
        columns = thing.to_dict()
        assert "interval" not in columns
        bounds = list(zip(columns["interval_low"], columns["interval_high"], strict=True))
        np.testing.assert_array_equal(bounds, [row.interval for row in thing])


def test_properties_are_columns_too(things: dict[type, Any]) -> None:
    flow = things[GradientFlow]
    assert flow.to_dict()["relative"] == [layer.relative for layer in flow]
    dead = things[ActivationStatistics]
    assert dead.to_dict()["dead_share"] == [row.dead_share for row in dead]


def test_custom_metrics_of_some_epochs_are_columns() -> None:
    row: dict[str, Any] = {"epoch": 1, "step": 2, "lr": 0.1, "train_loss": 2.0, "seconds": 1.0}
    history = cz.History(
        [
            cz.training.EpochRow(**row, images_per_second=9.0),
            cz.training.EpochRow(**row, images_per_second=9.0, val_metrics={"kappa": 0.5}),
        ]
    )
    assert history.to_dict()["val_kappa"] == [None, 0.5]
    assert cz.History().to_dict() == {}
    assert len(cz.History().to_pandas()) == 0


def test_predictions_are_named(things: dict[type, Any]) -> None:
    examples = things[Examples]
    columns = examples.to_dict()
    for name in ("index", "name", "true", "correct", "predicted"):
        assert columns[name] == [getattr(one, name) for one in examples]
    undecided = dataclasses.replace(examples, predicted_classes=np.full(len(examples), -1))
    assert undecided.to_dict()["predicted"] == [None] * len(examples)


def test_without_pandas_the_error_says_what_to_install(
    things: dict[type, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for kind in (GradientFlow, Examples, cz.Comparison):
        with pytest.raises(MissingPackageError, match="pip install pandas"):
            things[kind].to_pandas()


def test_results_without_rows_survive_a_copy_of_their_model() -> None:
    """An empty result is false, which must not be taken for none."""
    model = cz.create_model("resnet20")
    model.optimize((1, 3, 16, 16), repeats=1)
    assert model.tuning is not None
    model.tuning = dataclasses.replace(model.tuning, layers=())
    assert copy.deepcopy(model).tuning == model.tuning
