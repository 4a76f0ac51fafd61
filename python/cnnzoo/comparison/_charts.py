"""The chart of a kind."""

from __future__ import annotations

from cnnzoo.comparison._bars import latency, memory
from cnnzoo.comparison._bubbles import bubbles
from cnnzoo.comparison._style import Chart, Rows
from cnnzoo.comparison._timeline import timeline


def chart_of(rows: Rows, kind: str, x: str) -> Chart:
    """The chart of a kind; `x` is the cost of a bubble chart.

    Raises:
        ArgumentError: No row has the values that are drawn.
    """
    if kind == "bubbles":
        return bubbles(rows, x)
    return {"timeline": timeline, "latency": latency, "memory": memory}[kind](rows)
