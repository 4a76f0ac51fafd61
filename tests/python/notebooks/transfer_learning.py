"""The notebook on features of another task."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, output


def check(cells: list[Any]) -> None:
    prepared = output(cells, "prepare = trained.preprocess.resized(SIZE)")
    assert "crop=128" in prepared
    assert has_picture(cells, "plt.subplots")

    said = output(cells, 'for other in ("random", "pixels")')

    def gains(count: int, other: str) -> tuple[float, float, float]:
        found = re.search(
            rf"With {count} pictures per class, features of ImageNet beat {other} in [^:]*: "
            r"([-+\d.]+) points \(([-+\d.]+) to ([-+\d.]+)\)",
            said,
        )
        assert found is not None, (count, other)
        mean, least, most = map(float, found.groups())
        return mean, least, most

    # What was learned on ImageNet helps, and not the architecture alone: in each draw.
    for count in (5, 10, 30):
        mean, least, _ = gains(count, "features of random weights")
        assert mean > 7
        assert least > 4
    assert "the architecture alone does not help" in said

    # Against pixels the gain is small on such pictures, and is there on average.
    few, *_ = gains(5, "pixels")
    assert 1 < few < 12
    many, *_ = gains(30, "pixels")
    assert -1 < many < 10
