"""A record of how far our networks are from their sources."""

from __future__ import annotations

import json
from pathlib import Path


class Differences:
    """The largest difference seen of each edition and kind of comparison."""

    def __init__(self) -> None:
        self.largest: dict[str, dict[str, float]] = {}

    def add(self, edition: str, kind: str, difference: float) -> None:
        kinds = self.largest.setdefault(edition, {})
        kinds[kind] = max(difference, kinds.get(kind, 0.0))

    def write(self, file: Path) -> None:
        """Into a file, with what it knows from other runs, each of which may be a part of all."""
        known = json.loads(file.read_text()) if file.exists() else {}
        for edition, kinds in known.items():
            for kind, difference in kinds.items():
                self.add(edition, kind, difference)
        file.write_text(json.dumps(self.largest, indent=1))
