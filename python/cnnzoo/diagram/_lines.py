"""Lines of text in boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnzoo.diagram._letters import fitted, text_width
from cnnzoo.diagram._sketch import Anchor, Text

TITLE, SMALL = 12.5, 10.5
# Heights of lines, and the space at their ends.
TITLE_LINE, SMALL_LINE = 17.0, 14.0
PAD_X = 10.0
# From the bottom of a line to its baseline.
DESCENT = 4.5
# The least space between two texts of a line.
BETWEEN = 14.0
# The most that a line takes.
MOST_LINE = 260.0
ARROW = " → "


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a box: a text at the left, in the middle and at the right.

    Attributes:
        reserved: The width of what stands beside the text at the right.
    """

    left: str = ""
    middle: str = ""
    right: str = ""
    bold: bool = False
    reserved: float = 0.0

    @property
    def height(self) -> float:
        """The height of the line."""
        return TITLE_LINE if self.bold else SMALL_LINE

    @property
    def width(self) -> float:
        """The width that the texts need."""
        shown = [text for text in (self.left, self.middle, self.right) if text]
        widths = sum(text_width(text, self._size, bold=self.bold) for text in shown)
        return widths + BETWEEN * max(0, len(shown) - 1) + self.reserved

    @property
    def _size(self) -> float:
        return TITLE if self.bold else SMALL

    def texts(self, width: float, top: float) -> list[Text]:
        """The texts in a box of this width."""
        places: tuple[tuple[str, float, Anchor], ...] = (
            (self.left, PAD_X, "start"),
            (self.middle, width / 2, "middle"),
            (self.right, width - PAD_X - self.reserved, "end"),
        )
        return [
            Text(
                x=x,
                y=top + self.height - DESCENT,
                text=text,
                size=self._size,
                anchor=anchor,
                bold=self.bold,
                tone="ink" if self.bold else "muted",
            )
            for text, x, anchor in places
            if text
        ]


def wrapped(steps: Sequence[str]) -> list[str]:
    """Steps on one or two lines; those in the middle are left out where there are too many."""
    lines = [""]
    for step in steps:
        longer = lines[-1] + (ARROW if lines[-1] else "") + step
        if text_width(longer, SMALL) <= MOST_LINE or not lines[-1]:
            lines[-1] = longer
        else:
            lines[-1] += ARROW.rstrip()
            lines.append(step)
    if len(lines) > 2:  # noqa: PLR2004
        lines = [lines[0], "… " + lines[-1]]
    return [fitted(line, MOST_LINE + 20.0, SMALL) for line in lines if line]
