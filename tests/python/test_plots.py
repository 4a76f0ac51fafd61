"""The axes that plots take: every public plot refuses what are none, and says what it got."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib as mpl
import pytest

import cnnzoo as cz
import test_copies
from reference import images

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

# An object of every public class.
things = test_copies.things

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
