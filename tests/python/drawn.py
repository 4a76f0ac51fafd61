"""A diagram's SVG read back: boxes, wires and texts, with their places."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
from PIL import ImageFont

SVG = "{http://www.w3.org/2000/svg}"
# Half of a pixel's tenth, to which the numbers of a picture are rounded.
ROUNDED = 0.11

Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Box:
    """A box: its rectangle (left, top, right, bottom), its nodes and its texts."""

    id: str
    kind: str
    place: Rectangle
    nodes: tuple[str, ...]
    texts: tuple[ElementTree.Element, ...]

    @property
    def words(self) -> list[str]:
        return [text.text or "" for text in self.texts]


@dataclass(frozen=True)
class Wire:
    """A wire between two boxes, by their ids, and the points of its path."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """A diagram."""

    root: ElementTree.Element
    boxes: tuple[Box, ...]
    insides: tuple[Box, ...]
    wires: tuple[Wire, ...]
    inner_wires: tuple[Wire, ...]
    # The frames around what is repeated.
    repeats: tuple[Rectangle, ...]

    @property
    def size(self) -> tuple[float, float]:
        _, _, width, height = map(float, self.root.attrib["viewBox"].split())
        return width, height

    def texts(self) -> Iterator[ElementTree.Element]:
        return self.root.iter(f"{SVG}text")

    def words(self) -> list[str]:
        """Every text."""
        return [text.text or "" for text in self.texts()]


def picture(svg: str) -> Picture:
    """The picture of an SVG text."""
    root = ElementTree.fromstring(svg)
    groups = {group.attrib.get("class"): group for group in root.findall(f"{SVG}g")}
    inner = groups.get("insides")
    network = groups["network"]
    return Picture(
        root=root,
        boxes=tuple(boxes(network)),
        insides=() if inner is None else tuple(boxes(inner)),
        wires=tuple(wires(network)),
        inner_wires=() if inner is None else tuple(wires(inner)),
        repeats=tuple(
            rectangle(shape)
            for shape in network.iter(f"{SVG}rect")
            if shape.attrib["class"] == "repeat"
        ),
    )


def boxes(group: ElementTree.Element) -> Iterator[Box]:
    for found in group.iter(f"{SVG}g"):
        if found.attrib.get("class") == "box":
            shape = found.find(f"{SVG}rect")
            assert shape is not None
            yield Box(
                id=found.attrib["data-box"],
                kind=shape.attrib["class"],
                place=rectangle(shape),
                nodes=tuple(found.attrib["data-nodes"].split()),
                texts=tuple(found.findall(f"{SVG}text")),
            )


def rectangle(shape: ElementTree.Element) -> Rectangle:
    left, top, width, height = (float(shape.attrib[name]) for name in ("x", "y", "width", "height"))
    return left, top, left + width, top + height


def wires(group: ElementTree.Element) -> Iterator[Wire]:
    for found in group.iter(f"{SVG}path"):
        if found.attrib["class"] == "wire":
            # A rounded corner is a curve, whose control point is the corner.
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", found.attrib["d"])]
            points = tuple(zip(numbers[::2], numbers[1::2], strict=True))
            yield Wire(found.attrib["data-from"], found.attrib["data-to"], points)


@cache
def font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which a browser takes where no narrower font is installed."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf", name)), size)


def extent(text: ElementTree.Element) -> Rectangle:
    """The rectangle of a text, as DejaVu Sans draws it."""
    size, words = float(text.attrib["font-size"]), text.text or ""
    bold = "font-weight" in text.attrib
    # Measured large, since Pillow rounds the advance of small letters.
    width = font(200, bold).getlength(words) * size / 200
    x, y = float(text.attrib["x"]), float(text.attrib["y"])
    left = x - {"start": 0.0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
    return left, y - 0.76 * size, left + width, y + 0.24 * size


def within(inner: Rectangle, outer: Rectangle) -> bool:
    """Whether a rectangle is inside another, up to rounding."""
    return (
        inner[0] >= outer[0] - ROUNDED
        and inner[1] >= outer[1] - ROUNDED
        and inner[2] <= outer[2] + ROUNDED
        and inner[3] <= outer[3] + ROUNDED
    )


def overlap(one: Rectangle, other: Rectangle) -> bool:
    """Whether two rectangles have more than an edge in common."""
    return (
        one[0] < other[2] - ROUNDED
        and other[0] < one[2] - ROUNDED
        and one[1] < other[3] - ROUNDED
        and other[1] < one[3] - ROUNDED
    )
