"""The legend: colours of boxes and symbols that a picture has, with words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cnnzoo.diagram._letters import text_width
from cnnzoo.diagram._sketch import Box, Sketch, Text
from cnnzoo.diagram._words import KIND_WORDS, SYMBOL_WORDS

SIZE, LINE = 10.5, 20.0
SWATCH, GAP, BETWEEN = 13.0, 6.0, 20.0
# The size of a symbol's circle.
ROUND = 15.0
# Abbreviations in lines of boxes, and in titles of frames, and what is said of them.
ABBREVIATIONS = {
    r"^(\d+×\d+×\d+)$": "{}: channels, height, width",
    r"^(\d+×\d+)$": "{}: tokens, numbers of each",
    r", /(\d+)": "/{0}: stride {0}",
    "BN": "BN: batch norm",
    r"^×(\d+)": "×{0}: {0} equal blocks in a row",
    r"^frame ×(\d+)$": "×{0}: {0} times in a row",
    r"^frame ×(\d+): \d+ \+ \d+ · (\d+)": "×{0}: {0} layers in a row, each adds {1} channels",
}


def legend(sketches: Iterable[Sketch], width: float) -> Sketch | None:
    """A legend of lines as wide as `width`, or as its widest entry; none without entries."""
    kinds: dict[str, None] = {}
    symbols: dict[str, None] = {}
    texts = ""
    for sketch in sketches:
        for part, _, _ in sketch.parts():
            for box in part.boxes:
                kinds.setdefault(box.kind)
                if box.look == "circle":
                    symbols.setdefault(box.texts[0].text)
                texts += "".join(f"{text.text}\n" for text in box.texts)
            frames = [frame for frame in part.frames if frame.look == "repeat"]
            texts += "".join(f"frame {text.text}\n" for frame in frames for text in frame.texts)
    entries: list[tuple[str, str]] = [
        (kind, word) for kind, word in KIND_WORDS.items() if kind in kinds
    ]
    entries += [(symbol, word) for symbol, word in SYMBOL_WORDS.items() if symbol in symbols]
    entries += [("", word) for word in _words(texts)]
    return _flow(entries, width) if entries else None


def _words(texts: str) -> list[str]:
    """Explanations of abbreviations in boxes, each by its first example."""
    return [
        words.format(*found.groups())
        for pattern, words in ABBREVIATIONS.items()
        if (found := re.search(pattern, texts, re.MULTILINE))
    ]


def _flow(entries: Sequence[tuple[str, str]], width: float) -> Sketch:
    sketch = Sketch()
    x, y = 0.0, 0.0
    for mark, word in entries:
        own = (ROUND if mark in SYMBOL_WORDS else SWATCH) + GAP if mark else 0.0
        wide = own + text_width(word, SIZE)
        if x and x + wide > width:
            x, y = 0.0, y + LINE
        if mark:
            sketch.boxes.append(_mark(mark, x, y))
        sketch.texts.append(Text(x=x + own, y=y + 11.0, text=word, size=SIZE, tone="muted"))
        sketch.reach(x + wide)
        x += wide + BETWEEN
    sketch.height = y + LINE
    return sketch


def _mark(mark: str, x: float, y: float) -> Box:
    is_symbol = mark in SYMBOL_WORDS
    size = ROUND if is_symbol else SWATCH
    text = Text(x=size / 2, y=size / 2 + 4.0, text=mark, size=11.0, anchor="middle", bold=True)
    return Box(
        id="",
        left=x,
        top=y - (size - SWATCH) / 2 + 0.5,
        width=size,
        height=size,
        look="circle" if is_symbol else "rect",
        kind="join" if is_symbol else mark,
        texts=(text,) if is_symbol else (),
    )
