"""Writes the README's table of families from the registry; with --check, compares it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import cnnzoo as cz

README = Path(__file__).parents[1] / "README.md"
MARKED = re.compile(r"(<!-- families -->\n).*?(<!-- end of families -->)", re.DOTALL)


def table() -> str:
    """A row for every family: name, year, idea, number of networks, parameters."""
    families: dict[str, list[cz.ModelInfo]] = {}
    for name in cz.list_models():
        info = cz.model_info(name)
        families.setdefault(info.family, []).append(info)
    rows = ["| family | year | idea | networks | parameters |", "|---|---|---|---|---|"]
    for family, infos in families.items():
        sizes = sorted(info.params / 1e6 for info in infos)
        span = " to ".join(dict.fromkeys(f"{size:.3g}" for size in (sizes[0], sizes[-1])))
        first = infos[0]
        rows.append(f"| {family} | {first.year} | {first.idea} | {len(infos)} | {span} M |")
    return "\n".join(rows) + "\n"


def filled(text: str) -> str:
    """The README with the current table."""
    return MARKED.sub(lambda match: match[1] + table() + match[2], text)


def main() -> int:
    """Write the table, or compare it."""
    text = README.read_text()
    if "--check" not in sys.argv:
        README.write_text(filled(text))
        return 0
    if filled(text) != text:
        sys.stderr.write("README.md: the table of families is out of date; run `make docs`\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
