"""The notebook on all networks beside each other."""

from __future__ import annotations

import re
from typing import Any

from notebook_cells import has_picture, numbers, output


def check(cells: list[Any]) -> None:
    assert has_picture(cells, 'zoo.plot("timeline")')
    assert has_picture(cells, "zoo.plot();")
    frontier = output(cells, "said_frontier = ")
    networks, by_cost, by_parameters = numbers(frontier)[:3]
    assert networks > 100
    assert 5 < by_cost < networks / 3
    assert 5 < by_parameters < networks / 3
    assert "EfficientNet" in frontier and "MobileNetV3" in frontier
    assert "VGG" not in frontier and "AlexNet" not in frontier
    # Torchvision's two weights of ResNet-50: 76.130 and 80.858.
    recipe, fewer, ideas = (
        float(number)
        for number in re.findall(r"(?<![-\d])\d+(?:\.\d)?(?= )", output(cells, "said_ideas = "))
    )
    assert recipe == 4.7
    assert fewer >= ideas / 2
    assert has_picture(cells, "said_ideas = ")
    assert has_picture(cells, 'measured.plot("latency")')
    assert has_picture(cells, 'measured.plot(x="milliseconds")')
    assert "By time, the frontier of these 11 is" in output(cells, "said_time = ")
    budgets = output(cells, "budgets = ").splitlines()[1:]
    reached = [float(line.split()[-2]) for line in budgets if line.strip()]
    # More budget is never worse: five of multiply-adds, four of parameters.
    assert reached[:5] == sorted(reached[:5])
    assert reached[5:] == sorted(reached[5:])
