"""The notebook on depthwise separable convolutions."""

from __future__ import annotations

from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    error, channels, fewer = numbers(output(cells, "said_cost = "))
    assert error < 1e-9
    assert channels == 256
    assert 8.6 < fewer < 8.8
    # The paper's: 569 and 4866 million multiply-adds, 4.2 and 29.3 million parameters.
    lines = output(cells, "full_mobilenet = ").splitlines()
    separable, full = (line for line in lines if line.startswith("MobileNet"))
    assert numbers(separable) == [569, 4.2]
    assert numbers(full.replace("3×3", "")) == [4867, 29.3]
    times_less, narrow, share, wide, seeds, _ = numbers(output(cells, "said_accuracy = "))
    assert 6 < times_less < 6.3
    assert 0.95 < share < 1
    assert seeds >= 3
    # A sixth of the work costs little, and on width it is worth more than on full convolutions.
    assert narrow > -4
    assert wide > 0
    assert "libtorch" in output(cells, "said_time = ")
    assert "conv 1×1" in output(cells, "profile.table(")
    first, last, fall, change, _ = numbers(output(cells, "said_groups = "))
    assert (first, last) == (1, 32)
    assert 6.5 < fall < 7
    assert change > -3
    for drawn in ("said_cost = ", "said_accuracy = ", "said_time = ", "said_groups = "):
        assert has_picture(cells, drawn)
    assert has_picture(cells, 'diagram(part="block2")')
