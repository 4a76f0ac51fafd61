"""Places for labels beside points, where they overlap neither each other nor small points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Lengths are in points, 1/72 of an inch.
GAP = 2.0
# The distances of a label from its point; beyond the first, a line leads to it.
DISTANCES = (0.0, 7.0, 15.0, 25.0, 37.0, 50.0)
DIRECTIONS = 16
# A label may cover a part of a point that is larger than this.
SMALL = 7.0
# The most that the label of a point costs which is not important: distance and covered points.
WORTH = 26.0
# Rounds in which each label moves to its best place beside the others'.
ROUNDS = 3

ANGLES = np.tile(math.tau * np.arange(DIRECTIONS) / DIRECTIONS, len(DISTANCES))
REACHES = np.repeat(DISTANCES, DIRECTIONS)
# To the right is best, then to the left, above and below.
COSTS = REACHES + 2 * (1 - np.cos(2 * ANGLES)) + (1 - np.cos(ANGLES))


class Box(NamedTuple):
    """A rectangle: its left, bottom, right and top."""

    left: float
    bottom: float
    right: float
    top: float

    def distance(self, x: float, y: float) -> float:
        """The distance of a point from the rectangle; 0 inside."""
        across = max(self.left - x, 0, x - self.right)
        along = max(self.bottom - y, 0, y - self.top)
        return math.hypot(across, along)


@dataclass(frozen=True)
class Labelled:
    """A point with the size of its label."""

    x: float
    y: float
    radius: float
    width: float
    height: float
    important: bool = True
    """Whether the label is drawn at any cost, and before others."""


def places(points: Sequence[Labelled], bounds: Box) -> list[Box | None]:
    """A place for each label inside the bounds, or none where there is no room.

    Important labels come first; then each moves to the best place that the others leave it.
    """
    order = sorted(range(len(points)), key=lambda at: (not points[at].important, points[at].radius))
    circles = np.array([(point.x, point.y, point.radius) for point in points])
    candidates = [_around(point) for point in points]
    costs = [_costs(at, candidates[at], circles, bounds) for at in range(len(points))]
    found: list[Box | None] = [None] * len(points)
    for _ in range(ROUNDS):
        for at in order:
            others = [box for one, box in enumerate(found) if box is not None and one != at]
            cost = np.where(_overlaps(candidates[at], others), np.inf, costs[at])
            best = int(cost.argmin())
            most = math.inf if points[at].important else WORTH
            found[at] = Box(*candidates[at][best].tolist()) if cost[best] < most else None
    return found


def _around(point: Labelled) -> NDArray[np.float64]:
    """Boxes (places, 4) around a point, which touch it or are distant."""
    across, along = np.cos(ANGLES), np.sin(ANGLES)
    reach = point.radius + GAP + REACHES
    left = point.x + reach * across - point.width * (1 - across) / 2
    bottom = point.y + reach * along - point.height * (1 - along) / 2
    return np.stack([left, bottom, left + point.width, bottom + point.height], 1)


def _costs(
    at: int, boxes: NDArray[np.float64], circles: NDArray[np.float64], bounds: Box
) -> NDArray[np.float64]:
    """The cost of each box: its distance, and the points that it covers; infinite where bad."""
    left, bottom, right, top = (boxes[:, side, np.newaxis] for side in range(4))
    x, y, radius = circles.T
    across = np.maximum(np.maximum(left - x, x - right), 0)
    along = np.maximum(np.maximum(bottom - y, y - top), 0)
    depth = radius - np.hypot(across, along)
    covered = np.where(depth > 0, np.where(radius < SMALL, np.inf, 8 + 3 * depth), 0)
    covered[:, at] = 3 * np.maximum(depth[:, at], 0)
    outside = (
        (boxes[:, 0] < bounds.left)
        | (boxes[:, 1] < bounds.bottom)
        | (boxes[:, 2] > bounds.right)
        | (boxes[:, 3] > bounds.top)
    )
    return np.where(outside, np.inf, COSTS + covered.sum(1))


def _overlaps(boxes: NDArray[np.float64], others: Sequence[Box]) -> NDArray[np.bool_]:
    """Whether each box has an area in common with another one."""
    there = np.array(others).reshape(-1, 4)
    one, other = boxes[:, np.newaxis], there[np.newaxis]
    apart = (one[..., :2] >= other[..., 2:]) | (other[..., :2] >= one[..., 2:])
    return np.asarray((~np.any(apart, axis=2)).any(axis=1))
