"""What loading weights reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Mismatch(NamedTuple):
    """A parameter whose shape in the file is another than in the model."""

    name: str
    expected: tuple[int, ...]
    got: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What loading did. Nothing is dropped in silence.

    Attributes:
        loaded: Parameters that were filled, by the model's names.
        missing: Names that the model needs and the file lacks.
        unexpected: Names of the file that the model has no place for.
        mismatched: Parameters whose shape differs.
        resampled: Positions of another image size, which were interpolated: bicubic, antialiased,
            those of tokens that are no patch kept.
        adapted: First convolutions for red, green and blue, which `create_model` made to fit other
            channels: their sum for one channel, else the three in turn, times 3 / channels.
        converted: Parameters whose values came in another type than float32, and which.
        ignored: Entries of the file that are no weights, and what they are.
        naming: Whose names the file carries.
        provenance: Where in the file the parameters were found.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    resampled: tuple[Mismatch, ...]
    adapted: tuple[Mismatch, ...]
    converted: dict[str, str]
    ignored: dict[str, str]
    naming: str
    provenance: str

    def __repr__(self) -> str:
        lists = (
            "loaded",
            "missing",
            "unexpected",
            "mismatched",
            "resampled",
            "adapted",
            "converted",
            "ignored",
        )
        counts = ", ".join(
            f"{len(getattr(self, what))} {what}"
            for what in lists
            if getattr(self, what) or what == "loaded"
        )
        return f"<LoadReport {counts}>"
