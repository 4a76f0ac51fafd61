"""Boxes, wires and frames at their places, and sketches: pictures that become parts of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

# The length of wires that come from outside.
STUB = 14.0

Point: TypeAlias = tuple[float, float]
Anchor: TypeAlias = Literal["start", "middle", "end"]
Look: TypeAlias = Literal["rect", "pill", "circle", "none"]
FrameLook: TypeAlias = Literal["panel", "frame", "repeat", "inset"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A line of text; `y` is its baseline."""

    x: float
    y: float
    text: str
    size: float
    anchor: Anchor = "start"
    bold: bool = False
    tone: str = "ink"


def badge(letter: str, x: float, y: float) -> Text:
    """The letter that names the picture of a block's inside; `x` is its middle."""
    return Text(x=x, y=y, text=letter, size=11.0, anchor="middle", bold=True, tone="badge")


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box that stands for nodes, or for none: a place where wires divide.

    Attributes:
        id: Its name in the picture.
        left: The left edge, where `top` is the upper one.
        kind: Decides on the colour.
        texts: Lines, relative to the corner.
        nodes: Names of the nodes that it stands for.
        title: The text of its tooltip.
        letter: The letter of the picture of its inside, if there is one.
    """

    id: str
    left: float
    top: float
    width: float
    height: float
    look: Look
    kind: str
    texts: tuple[Text, ...] = ()
    nodes: tuple[str, ...] = ()
    title: str = ""
    letter: str = ""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A value on its way from one box to another."""

    source: str
    target: str
    points: tuple[Point, ...]
    has_head: bool = True


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A rectangle around boxes, with a title."""

    left: float
    top: float
    width: float
    height: float
    look: FrameLook
    texts: tuple[Text, ...] = ()
    title: str = ""
    letter: str = ""


@dataclass(frozen=True, kw_only=True)
class End:
    """Where a wire goes into a sketch, or comes out of it, and its points inside."""

    box: str
    points: tuple[Point, ...]
    # Wires go on from there, so no arrow ends there.
    is_fork: bool = False

    def moved(self, right: float, down: float) -> End:
        """The same end of a sketch at another place."""
        points = tuple((x + right, y + down) for x, y in self.points)
        return replace(self, points=points)

    def down_to(self, height: float) -> End:
        """The same end, from which a wire leaves at this height."""
        (x, _) = self.points[-1]
        return replace(self, points=(*self.points, (x, height)))


@dataclass(kw_only=True)
class Sketch:
    """A picture whose spine, the line along which it is read, is at x = 0, and its top at y = 0.

    Attributes:
        left: Its extent left of the spine.
        right: Its extent right of the spine.
        height: Its height.
        entries: Where wires come in.
        exits: Where wires go out.
    """

    left: float = 0.0
    right: float = 0.0
    height: float = 0.0
    entries: tuple[End, ...] = ()
    exits: tuple[End, ...] = ()
    boxes: list[Box] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    inner: list[tuple[Sketch, float, float]] = field(default_factory=list)

    @property
    def width(self) -> float:
        return self.left + self.right

    def put(self, sketch: Sketch, right: float, down: float) -> None:
        """Make another sketch a part of this one."""
        self.inner.append((sketch, right, down))
        self.left = max(self.left, sketch.left - right)
        self.right = max(self.right, sketch.right + right)
        self.height = max(self.height, sketch.height + down)

    def reach(self, x: float) -> None:
        """Extend the sketch to a column."""
        self.left, self.right = max(self.left, -x), max(self.right, x)

    def surround(
        self,
        look: FrameLook,
        extent: tuple[float, float, float, float],
        texts: Sequence[Text],
        *,
        title: str,
        letter: str = "",
    ) -> None:
        """Draw a frame, whose extent is that to the left and to the right, its top and bottom."""
        left, right, top, bottom = extent
        frame = Frame(
            left=-left,
            top=top,
            width=left + right,
            height=bottom - top,
            look=look,
            texts=tuple(texts),
            title=title,
            letter=letter,
        )
        self.frames.append(frame)

    def connect(self, source: End, target: End, bend: float | None = None) -> None:
        """Draw a wire, which changes its column at the height `bend` if it has to."""
        (x, y), (to_x, to_y) = source.points[-1], target.points[0]
        middle: Sequence[Point] = ()
        if abs(x - to_x) > 0.01:  # noqa: PLR2004  # pixels
            at = (y + to_y) / 2 if bend is None else bend
            middle = ((x, at), (to_x, at))
        points = straight((*source.points, *middle, *target.points))
        self.wires.append(
            Wire(
                source=source.box,
                target=target.box,
                points=points,
                has_head=not target.is_fork,
            )
        )
        for x, _ in points:
            self.reach(x)

    def parts(self, right: float = 0.0, down: float = 0.0) -> Iterator[tuple[Sketch, float, float]]:
        """This sketch and all inside, each with its place; the outer ones first."""
        yield self, right, down
        for sketch, x, y in self.inner:
            yield from sketch.parts(right + x, down + y)


def opened(sketch: Sketch, *, above: bool = True, below: bool = True) -> Sketch:
    """A sketch with wires that come in from above and go out below, as those of a part do."""
    outer = Sketch(height=sketch.height)
    down = STUB if above and sketch.entries else 0.0
    outer.put(sketch, 0.0, down)
    entries = tuple(end.moved(0.0, down) for end in sketch.entries)
    exits = tuple(end.moved(0.0, down) for end in sketch.exits)
    if above:
        for end in entries:
            outer.connect(End(box="", points=((end.points[0][0], 0.0),)), end)
    if below:
        for end in exits:
            (x, y) = end.points[-1]
            outer.connect(end, End(box="", points=((x, y + STUB),)))
            outer.height = max(outer.height, y + STUB)
    outer.entries, outer.exits = () if above else entries, () if below else exits
    return outer


def straight(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points without those that a straight line passes, or that come twice."""
    found: list[Point] = []
    for point in points:
        if found and _is_near(found[-1], point):
            continue
        if len(found) > 1 and _is_line(found[-2], found[-1], point):
            found.pop()
        found.append(point)
    return tuple(found)


def _is_near(one: Point, other: Point) -> bool:
    return abs(one[0] - other[0]) + abs(one[1] - other[1]) < 0.01  # noqa: PLR2004  # pixels


def _is_line(one: Point, two: Point, three: Point) -> bool:
    same_x = abs(one[0] - two[0]) + abs(two[0] - three[0]) < 0.01  # noqa: PLR2004
    same_y = abs(one[1] - two[1]) + abs(two[1] - three[1]) < 0.01  # noqa: PLR2004
    return same_x or same_y


# A sketch, and where its origin is.
Placed: TypeAlias = tuple[Sketch, float, float]
