"""Confidence intervals of shares."""

from __future__ import annotations

import math
from typing import Any

# The quantile of the normal distribution of which 95 % lie within ± this.
NORMAL_95 = 1.959963984540054


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, Wilson's score interval; NaN of none.

    It holds the shares p from which `part / whole` is at most 1.96 standard deviations
    sqrt(p (1 - p) / whole) away; so it lies within 0 and 1, also where all or none are counted.
    """
    if whole == 0:
        return math.nan, math.nan
    share, z2 = part / whole, NORMAL_95**2 / whole
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    # Rounding must not part the share from its interval.
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def with_bounds(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a row by column, with a column for each bound of its `interval`."""
    low, high = values.pop("interval")
    return {**values, "interval_low": low, "interval_high": high}
