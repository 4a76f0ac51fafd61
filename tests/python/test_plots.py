"""The axes that plots take: every public plot refuses what are none, and says what it got."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import cnnzoo as cz
import test_copies
from cnnzoo import _plots, analysis
from reference import images
from small_network import TINY

mpl.use("Agg")

from matplotlib import pyplot, style
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

# An object of every public class.
things = test_copies.things

# The least contrast of text that WCAG 2.2 allows for large letters.
LEGIBLE = 3.0
# Begins a formula that matplotlib cannot read.
FORMULA = r"$\frac{x$"

SEVERAL = ("History.plot", "ActivationStatistics.plot", "Robustness.plot")


def takes_axes(function: Any) -> bool:
    return inspect.isfunction(function) and "ax" in inspect.signature(function).parameters


def public_plots(things: dict[type, Any]) -> dict[str, Callable[..., Any]]:
    """Every public function with `ax`, ready to be called with that alone."""
    found: dict[str, Callable[..., Any]] = {
        f"{kind.__name__}.{name}": getattr(thing, name)
        for kind, thing in things.items()
        for name, member in inspect.getmembers(kind)
        if takes_axes(member) and not name.startswith("_")
    }
    for module in test_copies.MODULES:
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if takes_axes(thing):
                found[name] = partial(thing, images((8, 8), 2))
    return found


def test_axes_of_the_wrong_type_are_refused_by_every_plot(things: dict[type, Any]) -> None:
    plots = public_plots(things)
    assert len(plots) >= 19
    assert set(SEVERAL) < plots.keys() > {"show_batch", "Loader.show_batch", "Heatmap.plot"}
    pyplot.close("all")
    for name, plot in plots.items():
        for ax, got in (("x", "'x'"), (Figure(), "an object of Figure"), (3, "3"), ([1], "list")):
            with pytest.raises(TypeError, match=r"^`ax`: expected .*matplotlib axes, got") as error:
                plot(ax=ax)
            assert got in str(error.value), name
        one = Figure().subplots()
        if name in SEVERAL:
            with pytest.raises(cz.errors.ArgumentError, match=r"expected \d matplotlib axes, got"):
                plot(ax=[*Figure().subplots(3, 3).ravel(), one])
        else:
            with pytest.raises(TypeError, match="an object of ndarray"):
                plot(ax=Figure().subplots(1, 2))
            assert plot(ax=one) is one, name
    # Nothing was drawn beside the axes that were given.
    assert pyplot.get_fignums() == []


def luminance(colour: Any) -> float:
    """The relative luminance of a colour, as WCAG 2.2 defines it."""
    parts = np.array(to_rgb(colour))
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: Any, other: Any) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def texts_on_grounds(figure: Figure) -> list[tuple[Text, Any]]:
    """The texts of a figure that are seen and lie on no picture, and the colours behind them."""
    figure.draw_without_rendering()
    found = []
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text().strip():
            continue
        middle = np.mean(text.get_window_extent().get_points(), 0)
        ground: Any = figure.get_facecolor()
        for ax in figure.axes:
            if any(image.get_window_extent().contains(*middle) for image in ax.images):
                ground = None
            elif ax.axison and ground is not None and ax.bbox.contains(*middle):
                ground = ax.get_facecolor()
        if ground is not None and (text.axes is None or text.axes.axison or text in shown(text)):
            found.append((text, ground))
    return found


def shown(text: Text) -> list[Any]:
    """The texts of axes that are switched off, which are those that were added, and the titles."""
    ax: Any = text.axes
    return [*ax.texts, ax.title, ax._left_title]


def test_text_of_every_plot_is_legible_on_a_light_and_a_dark_ground(
    things: dict[type, Any],
) -> None:
    plots = public_plots(things)
    for look in ("default", "dark_background"):
        texts = 0
        with style.context(look):
            for name, plot in plots.items():
                drawn = plot() if name in SEVERAL else plot(ax=Figure().subplots())
                for text, ground in texts_on_grounds(np.ravel(drawn)[0].figure):
                    ratio = contrast(text.get_color(), ground)
                    assert ratio >= LEGIBLE, (look, name, text.get_text(), text.get_color())
                    texts += 1
        assert texts > 10 * len(plots)
    pyplot.close("all")


def test_files_are_on_white_paper_whatever_the_style(tmp_path: Any) -> None:
    grounds = []

    def draw(ax: Any) -> None:
        grounds.extend([ax.get_facecolor(), ax.figure.get_facecolor()])
        assert _plots.ink(ax) == _plots.ink(ax, inside=True) == _plots.INK
        assert _plots.lines(ax) == _plots.LINES

    with style.context("dark_background"):
        _plots.save_figure(tmp_path / "x.png", "a thing", (1, 1), draw)
    assert grounds == [(1.0, 1.0, 1.0, 1.0)] * 2


def test_a_dollar_in_a_name_begins_no_formula() -> None:
    graph = cz.Graph.parse(TINY.replace("graph tiny", f"graph {FORMULA}"))
    model = cz.Model.from_graph(graph, seed=1)
    model.labels = (FORMULA, "a $ b $ c", "two\nlines")
    x, y = images((16, 16), 4), np.array([0, 1, 2, 0])
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    found = analysis.evaluate_examples(model, [(x, y)])
    plots: list[Callable[..., Any]] = [
        model.predict(photo).plot,
        *(cz.explain.saliency(model, photo, target=at).plot for at in range(3)),
        cz.explain.feature_maps(model, photo).plot,
        cz.explain.filters(model).plot,
        cz.explain.receptive_field(model, photo).plot,
        analysis.gradient_flow(model, x, y).plot,
        found.plot_confusion,
        found.gallery,
        model.profile(x, repeats=1).plot,
        partial(cz.compare(model).plot, "memory"),
        partial(cz.data.show_batch, x, y, classes=model.labels),
    ]
    for plot in plots:
        figure = plot(ax=Figure().subplots()).figure
        figure.draw_without_rendering()
        assert any("$" in text.get_text() for text in figure.findobj(Text))
    several = [
        analysis.activation_statistics(model, x).plot(ax=Figure().subplots(2)),
        analysis.robustness(
            model, x, y, shifts=[1], angles=[], scales=[], noise=[], occlusion=[]
        ).plot(),
    ]
    for axes in several:
        axes[0].figure.draw_without_rendering()
    pyplot.close("all")
    assert _plots.literal("two\nlines for $5") == r"two\nlines for \$5"
