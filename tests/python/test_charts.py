"""Charts of comparisons: what is drawn where, and that it can be read."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cnnzoo as cz
from cnnzoo.comparison._labels import SMALL, Box, Labelled, places
from cnnzoo.comparison._style import names

mpl.use("Agg")

from matplotlib import pyplot

CLASSICS = [
    *("alexnet", "vgg16", "googlenet", "resnet*", "densenet???", "squeeze*", "mobilenet_v?"),
    *("mobilenet_v3_large", "efficientnet_b?", "vit_b_16"),
]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def found() -> cz.Comparison:
    return cz.compare(CLASSICS)


@pytest.fixture(scope="module")
def drawn(found: cz.Comparison) -> cz.Comparison:
    """The rows that have an accuracy."""
    return cz.Comparison([row for row in found if row.top1 is not None])


def plotted(rows: cz.Comparison, *args: Any, **options: Any) -> Any:
    """The axes, without types: those of artists are unions of everything."""
    return rows.plot(*args, **options)


def bubbles(ax: Any) -> dict[Any, Any]:
    return {tuple(one.get_offsets()[0]): one for one in ax.collections}


def texts(ax: Any) -> list[Any]:
    return [text for text in ax.texts if text.get_text()]


def test_bubbles_are_where_cost_and_accuracy_are(drawn: cz.Comparison) -> None:
    for x in ("macs", "params", "memory"):
        ax = plotted(drawn, x=x)
        assert ax.get_xscale() == "log"
        expected = {(float(getattr(row, x)), row.top1) for row in drawn}
        assert set(bubbles(ax)) == expected
        left, right = ax.get_xlim()
        assert all(left < at < right for at, _ in expected)


def test_areas_are_as_the_parameters(drawn: cz.Comparison) -> None:
    ax = plotted(drawn)
    shown = bubbles(ax)
    ratios = [shown[row.macs, row.top1].get_sizes()[0] / row.params for row in drawn]
    assert np.ptp(ratios) < 1e-6 * ratios[0]
    # The circles of the legend have the same scale: matplotlib's size is a square's.
    [key] = [one for one in ax.artists if type(one).__name__ == "AnchoredOffsetbox"]
    children = key.get_child().get_children()
    circles = [one for one in children if type(one).__name__ == "Circle"]
    labels = [one.get_text() for one in children if type(one).__name__ == "Text"]
    assert labels[-1] == "parameters" and len(circles) == len(labels) - 1 == 3
    for circle, label in zip(circles, labels, strict=False):
        params = float(label.rstrip("M")) * 1e6
        area = math.pi * circle.get_radius() ** 2
        assert area == pytest.approx(params * ratios[0] * math.pi / 4, rel=1e-6)


@pytest.mark.parametrize("models", [CLASSICS, "*", ["resnet18", "vgg16"], "resnet50"])
def test_names_overlap_no_other(models: Any) -> None:
    """Measured on the finished picture, whatever places were thought to be free."""
    ax = plotted(cz.compare(models))
    figure = ax.figure
    figure.canvas.draw()
    titles = {"Accuracy and multiply-adds", "area: parameters · accuracies as published"}
    boxes = {
        text.get_text(): text.get_window_extent()
        for text in texts(ax)
        if text.get_text() not in titles
    }
    rows = [row.name for row in cz.compare(models) if row.top1 is not None]
    assert set(boxes) <= set(rows)
    # With very many models, some are in the middle of others.
    assert len(boxes) == len(rows) if len(rows) < 45 else len(boxes) > 40
    for (one, first), (other, second) in itertools.combinations(boxes.items(), 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        up = min(first.y1, second.y1) - max(first.y0, second.y0)
        # In pixels; descenders come close to what is below.
        assert across < 3 or up < 3, (one, other)
    inside = ax.get_window_extent()
    assert all(inside.x0 - 2 < box.x0 and box.x1 < inside.x1 + 2 for box in boxes.values())


def test_one_legend_has_a_colour_for_each_family(drawn: cz.Comparison) -> None:
    ax = plotted(drawn)
    legend = ax.get_legend()
    families = [text.get_text() for text in legend.get_texts()]
    assert sorted(families) == sorted({row.family for row in drawn})
    colours = {
        name: mpl.colors.to_hex(handle.get_markerfacecolor())
        for name, handle in zip(families, legend.legend_handles, strict=True)
    }
    assert len(set(colours.values())) == len(families)
    shown = bubbles(ax)
    for row in drawn:
        [face] = shown[row.macs, row.top1].get_facecolor()
        assert mpl.colors.to_hex(face) == colours[row.family]
    years = {row.family: row.year or 0 for row in drawn}
    assert [years[family] for family in families] == sorted(years.values())


def test_every_family_has_a_colour_of_its_own() -> None:
    from cnnzoo.comparison._style import colours

    shown = colours(cz.compare())
    assert len(set(shown.values())) == len(shown) == len({row.family for row in cz.compare()})


def test_weights_of_more_data_are_hollow() -> None:
    rows = cz.compare(["vit_b_16", "vit_s_16"])
    ax = plotted(rows)
    shown = bubbles(ax)
    filled, hollow = (shown[row.macs, row.top1] for row in rows)
    assert filled.get_facecolor()[0][3] > 0.7 and hollow.get_facecolor()[0][3] < 0.3
    assert "more data than\nImageNet-1k" in [t.get_text() for t in ax.get_legend().get_texts()]
    points = plotted(rows, "timeline").collections
    assert {tuple(np.round(p.get_facecolor()[0], 3)) for p in points} >= {(1.0, 1.0, 1.0, 1.0)}


def test_the_timeline_has_each_model_in_its_year(drawn: cz.Comparison) -> None:
    ax = plotted(drawn, "timeline")
    figure = ax.figure
    figure.canvas.draw()
    ticks = {
        text.get_text(): at for at, text in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    }
    assert list(ticks) == [str(year) for year in range(2012, 2021)]
    points = [one.get_offsets()[0] for one in ax.collections]
    assert len(points) == len(drawn)
    for row in drawn:
        nearest = [
            min(ticks, key=lambda year: abs(ticks[year] - x)) for x, y in points if y == row.top1
        ]
        assert str(row.year) in nearest, row.name
    shown = {text.get_text() for text in texts(ax)}
    assert {row.family for row in drawn} <= shown
    [best] = [line for line in ax.lines if line.get_drawstyle() == "steps-post"]
    steps = list(best.get_ydata())
    assert steps == sorted(steps) and steps[-1] == max(row.top1 or 0 for row in drawn)


def test_bars_are_as_long_as_memory_and_times(found: cz.Comparison) -> None:
    ax = plotted(found, "memory")
    weights, values = ax.containers
    least_first = [row.memory for row in found.sort("memory")]
    together = [w.get_width() + v.get_width() for w, v in zip(weights, values, strict=True)]
    assert together == pytest.approx([size / 2**20 for size in least_first])
    assert ax.get_yticklabels()[0].get_text() == found.sort("memory")[0].name
    timed = cz.Comparison(
        [
            cz.ComparedModel(**{**vars(row), "milliseconds": at + 1.0, "batch": 1, "threads": 2})
            for at, row in enumerate(found[:5])
        ]
    )
    bars = plotted(timed, "latency").patches
    assert [bar.get_width() for bar in bars] == [1.0, 2.0, 3.0, 4.0, 5.0]
    ax = plotted(timed, x="milliseconds")
    assert ax.get_xlabel() == "milliseconds for 1 image on 2 threads"
    assert {x for x, _ in bubbles(ax)} == {
        at + 1.0 for at, row in enumerate(found[:5]) if row.top1 is not None
    }


@pytest.mark.parametrize("kind", ["bubbles", "timeline", "memory"])
def test_plots_are_drawn_on_given_axes_and_saved(
    found: cz.Comparison, tmp_path: Path, kind: Any
) -> None:
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 4))
    assert plotted(found, kind, ax=right) is right
    assert not left.texts and not left.collections and not left.patches
    figure.canvas.draw()
    parts: Any = pyplot.figure(figsize=(9, 4)).subfigures(1, 2)
    part = parts[0].subplots()
    assert plotted(found, kind, ax=part) is part
    for ending in ("png", "svg"):
        found.save(tmp_path / f"picture.{ending}", kind)
        assert (tmp_path / f"picture.{ending}").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("models", "kind", "options", "message"),
    [
        (["plain34"], "bubbles", {}, "accuracy over multiply-adds: expected a model with both"),
        (["resnet18"], "bubbles", {"x": "milliseconds"}, "got none of 1 model; `measure` measures"),
        (["plain34", "plain18"], "timeline", {}, "year and an accuracy, got none of 2 models"),
        (["resnet18"], "latency", {}, "expected a measured model, got none of 1 model; `measure`"),
        (["resnet18"], "pie", {}, "`kind`: expected one of bubbles, timeline, latency, memory"),
        (["resnet18"], "bubbles", {"x": "year"}, "`x`: expected one of macs, params, memory"),
    ],
)
def test_nothing_to_draw_is_an_error(models: Any, kind: Any, options: Any, message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        plotted(cz.compare(models), kind, **options)
    with pytest.raises(cz.ArgumentError, match="a plot of memory: expected a model, got none"):
        cz.Comparison().plot("memory")


def test_names_are_told_apart_by_source_and_weights() -> None:
    rows = cz.compare(["resnet18", ("resnet50", "torchvision"), ("resnet50", "keras")])
    assert names(rows.rows) == ["resnet18", "resnet50 torchvision", "resnet50 keras"]
    rows = cz.compare(("resnet50", tag) for tag in ("torchvision/IMAGENET1K_V1", "timm/a1_in1k"))
    assert names(rows.rows) == ["resnet50 torchvision", "resnet50 timm"]
    every = cz.compare([("resnet50", "torchvision")], weights="all")
    assert names(every.rows) == [
        "resnet50 IMAGENET1K_V2",
        "resnet50 IMAGENET1K_V1",
    ]
    rows = cz.compare([cz.resnet20(image_size=size, meta=True) for size in (32, 64)])
    assert names(rows.rows) == ["resnet20 32 px", "resnet20 64 px"]


coordinates = st.floats(0, 400)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            Labelled,
            x=coordinates,
            y=coordinates,
            radius=st.floats(0.5, 40),
            width=st.floats(5, 120),
            height=st.just(9.0),
            important=st.booleans(),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_places_are_free_and_hide_no_small_point(points: list[Labelled]) -> None:
    bounds = Box(0, 0, 400, 400)
    found = places(points, bounds)
    assert len(found) == len(points)
    boxes = [(at, box) for at, box in enumerate(found) if box is not None]
    for at, box in boxes:
        assert box.left >= 0 and box.bottom >= 0 and box.right <= 400 and box.top <= 400
        for other, point in enumerate(points):
            if other != at and point.radius < SMALL:
                assert box.distance(point.x, point.y) >= point.radius
    for (_, one), (_, two) in itertools.combinations(boxes, 2):
        apart = one.right <= two.left or two.right <= one.left
        assert apart or one.top <= two.bottom or two.top <= one.bottom


def test_a_point_alone_gets_its_name_to_the_right() -> None:
    [box] = places([Labelled(100, 100, 5, 40, 9)], Box(0, 0, 400, 400))
    assert box == pytest.approx((107, 95.5, 147, 104.5))
    # And to the left, where there is no room.
    [box] = places([Labelled(390, 100, 5, 40, 9)], Box(0, 0, 400, 400))
    assert box == pytest.approx((343, 95.5, 383, 104.5))
