"""Reports of loading weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from cnnzoo._html import html_facts, html_fold, html_scroll, html_table

# The lists of a report, in order.
LISTS = (
    *("loaded", "missing", "unexpected", "mismatched"),
    *("resampled", "adapted", "converted", "ignored"),
)


class Mismatch(NamedTuple):
    """A parameter whose shape in the file differs from that in the model."""

    name: str
    expected: tuple[int, ...]
    got: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """The report of loading weights. Nothing is dropped silently.

    Attributes:
        loaded: Parameters that were loaded, by the model's names.
        missing: Names that the model has and the file lacks.
        unexpected: Names that the file has and the model lacks.
        mismatched: Parameters whose shape differs.
        resampled: Position embeddings of another image size, which were interpolated (bicubic,
            antialiased); those of tokens that are no patch were kept.
        adapted: First convolutions for red, green and blue, which `create_model` adapted to other
            input channels: their sum for one channel, else the three in turn, times 3 / channels.
        converted: Parameters whose values had another type than float32, and that type.
        ignored: Entries of the file that are no weights, and what they are.
        naming: The library whose names the file has.
        provenance: The place of the parameters in the file.
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

    @property
    def summary(self) -> str:
        """The number of entries of each list that has some: `161 loaded, 2 missing`."""
        return ", ".join(
            f"{len(getattr(self, what))} {what}"
            for what in LISTS
            if getattr(self, what) or what == "loaded"
        )

    def __repr__(self) -> str:
        return f"<LoadReport {self.summary}>"

    def _repr_html_(self) -> str:
        page: str = html_facts(
            f"LoadReport: {self.summary}", [("names of", self.naming), ("file", self.provenance)]
        )
        for what in LISTS:
            if entries := getattr(self, what):
                rows = html_table((), _rows(entries))
                page += html_fold(f"{what}: {len(entries)}", html_scroll(rows))
        return page


def _rows(entries: Any) -> list[tuple[str, ...]]:
    """A name in each row, with the shapes or the text that belong to it."""
    if isinstance(entries, dict):
        return list(entries.items())
    return [
        (entry.name, f"expected {entry.expected}, got {entry.got}")
        if isinstance(entry, Mismatch)
        else (entry,)
        for entry in entries
    ]
