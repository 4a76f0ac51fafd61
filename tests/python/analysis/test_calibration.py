"""Calibration against its definition in plain loops, and intervals against theirs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.optimize import brentq
from scipy.stats import binom

import cnnzoo as cz
from cnnzoo.analysis import Calibration, calibration_of
from cnnzoo.analysis._intervals import wilson


def drawn(count: int, seed: int = 0) -> tuple[Any, Any]:
    """Probabilities, and predictions that are right a little less often."""
    random = np.random.default_rng(seed)
    p = random.random(count) ** 0.3
    return p, random.random(count) < 0.9 * p


def by_definition(p: Any, right: Any, bins: int) -> list[tuple[int, float, float]]:
    """Number, mean probability and accuracy of each bin, as Guo et al. define them.

    A probability is in the bin (m - 1) / M < p <= m / M, and 0 in the first.
    """
    found = []
    for m in range(1, bins + 1):
        low, high = (m - 1) / bins, m / bins
        inside = [i for i in range(len(p)) if (low < p[i] <= high) or (m == 1 and p[i] == 0)]
        count = len(inside)
        mean = sum(p[i] for i in inside) / count if count else math.nan
        accuracy = sum(bool(right[i]) for i in inside) / count if count else math.nan
        found.append((count, mean, accuracy))
    return found


@pytest.mark.parametrize("bins", [1, 7, 15, 100])
def test_bins_and_errors_are_those_of_the_definition(bins: int) -> None:
    p, right = drawn(400)
    p[:3] = 0.0, 1.0, 1 / 7
    found, expected = calibration_of(p, right, bins=bins), by_definition(p, right, bins)
    assert len(found.bins) == bins
    for one, (count, mean, accuracy) in zip(found.bins, expected, strict=True):
        assert one.images == count
        assert one.confidence == pytest.approx(mean, nan_ok=True)
        assert one.accuracy == pytest.approx(accuracy, nan_ok=True)
    gaps = [(count, abs(accuracy - mean)) for count, mean, accuracy in expected if count]
    assert found.error == pytest.approx(sum(count * gap for count, gap in gaps) / 400)
    assert found.most_error == pytest.approx(max(gap for _, gap in gaps))
    assert found.accuracy == pytest.approx(right.mean())
    assert found.confidence == pytest.approx(p.mean())


def test_a_network_that_knows_what_it_knows_has_no_error() -> None:
    random = np.random.default_rng(1)
    p = random.random(200_000)
    found = calibration_of(p, random.random(len(p)) < p, bins=10)
    # An accuracy of 20000 images has a standard error of at most 0.0035.
    assert found.error < 0.01
    sure = calibration_of(np.ones(100), np.arange(100) < 60)
    assert sure.error == sure.most_error == pytest.approx(0.4)


@pytest.mark.parametrize(("part", "whole"), [(0, 5), (5, 5), (1, 3), (40, 100), (999, 1000)])
def test_intervals_hold_the_shares_that_do_not_contradict(part: int, whole: int) -> None:
    share, z = part / whole, 1.959963984540054

    def apart(p: float) -> float:
        return abs(share - p) - z * math.sqrt(p * (1 - p) / whole)

    low, high = wilson(part, whole)
    assert low <= share <= high
    inside = min(max(share, 1e-9), 1 - 1e-9)
    expected_low = 0.0 if part == 0 else brentq(apart, 1e-12, inside)
    expected_high = 1.0 if part == whole else brentq(apart, inside, 1 - 1e-12)
    assert (low, high) == pytest.approx((expected_low, expected_high), abs=1e-9)


def test_intervals_cover_as_often_as_they_say() -> None:
    whole = 60
    cover = []
    for p in np.linspace(0.05, 0.95, 19):
        inside = [low <= p <= high for low, high in (wilson(k, whole) for k in range(whole + 1))]
        cover.append(binom.pmf(np.arange(whole + 1), whole, p)[inside].sum())
    assert np.mean(cover) == pytest.approx(0.95, abs=0.01)
    assert all(math.isnan(end) for end in wilson(0, 0))


def test_without_images_there_is_nothing() -> None:
    for found in (calibration_of([], np.zeros(0, bool)), Calibration(bins=(), undecided=3)):
        assert math.isnan(found.error) and math.isnan(found.most_error)
        assert math.isnan(found.accuracy) and found.images == 0
        assert "none" in repr(found)
        found._repr_html_()
        found.plot(ax=Figure().subplots())


def test_it_is_drawn_and_tabulated() -> None:
    from matplotlib import pyplot

    p, right = drawn(300)
    found = calibration_of(p, right, bins=10, undecided=2)
    ax = found.plot()
    full = [one for one in found.bins if one.images]
    points: Any = ax.lines[-1]
    np.testing.assert_array_equal(points.get_xdata(), [one.confidence for one in full])
    np.testing.assert_array_equal(points.get_ydata(), [one.accuracy for one in full])
    assert f"ECE {found.error:.1%}" in ax.texts[0].get_text()
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(0.3)  # type: ignore[attr-defined]
    pyplot.close(ax.figure)  # type: ignore[arg-type]
    lines = found.table().splitlines()
    assert len(lines) == 2 + len(full)
    assert found._repr_html_().count("<tr>") == 1 + len(full)
    assert f"ECE {found.error:.1%}" in repr(found) and "300 images" in repr(found)


def test_what_is_no_calibration_is_refused() -> None:
    p, right = drawn(5)
    for bins in (0, -1, 1001, 2.0, True):
        with pytest.raises(cz.ArgumentError, match="`bins`"):
            calibration_of(p, right, bins=bins)  # type: ignore[arg-type]
    wrong: list[tuple[Any, Any]] = [
        (p, right[:3]),
        (p, right.astype(float)),
        (p[None], right[None]),
        (p + 1, right),
        (-p - 1, right),
        (np.full(5, np.nan), right),
    ]
    for probabilities, truths in wrong:
        with pytest.raises(cz.ArgumentError, match="calibration: expected"):
            calibration_of(probabilities, truths)
