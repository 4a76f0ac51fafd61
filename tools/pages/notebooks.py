"""Notebooks as pages: their text, code, and outputs where they were executed."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from tools.pages.links import CODE, DARK, ROOT, in_both_themes, write_picture

STORED = ROOT / "notebooks"
EXECUTED = ROOT / "target" / "notebooks"
# In characters, a line that is too long for a table.
LONG_LINE = 90
# Between the columns of a table.
COLUMNS = re.compile(r"\S {2,}\S")
# Formulas, in which Jupyter shows LaTeX, and the commands and symbols in them.
FORMULA = re.compile(r"\$([^$\n]+)\$")
SYMBOL = re.compile(r"\\(?P<command>[A-Za-z]+)|\^(?P<power>\\[A-Za-z]+|\w)|(?P<letter>[A-Za-z])")
COMMANDS = {"times": "×", "cdot": "·", "varphi": "<i>φ</i>"}
# Colours of terminals, which tracebacks and progress bars have.
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def found() -> list[Path]:
    """The stored notebooks, in the order of their numbers."""
    return sorted(STORED.glob("*.ipynb"))


def written(path: Path, folder: Path) -> str:
    """The page of a notebook; its pictures are written below `folder`.

    The executed copy is taken if it has the same cells, which says that it is not an old one.
    """
    cells = read(path)
    executed = EXECUTED / path.name
    ran = executed.exists()
    if ran:
        outputs = read(executed)
        ran = [source(cell) for cell in cells] == [source(cell) for cell in outputs]
        cells = outputs if ran else cells
    parts = []
    for number, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            parts.append(formulas(source(cell)))
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source(cell)}\n```")
            shown = [
                output(one, f"{path.stem}-{number}-{index}", folder)
                for index, one in enumerate(joined_prints(cell["outputs"]))
            ]
            if any(shown):
                body = "\n\n".join(filter(None, shown))
                parts.append(f'<div class="output" markdown>\n\n{body}\n\n</div>')
    note = f"The notebook is `notebooks/{path.name}` in the sources."
    if not ran:
        note += " Here it is without outputs: `make notebooks site` runs it first."
    title, _, rest = "\n\n".join(parts).partition("\n")
    return f"{title}\n\n{note}\n{{ .note }}\n{rest}\n"


def read(path: Path) -> list[dict[str, Any]]:
    """The cells of a notebook."""
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def joined(text: str | list[str]) -> str:
    """Text, which notebooks store in lines."""
    return text if isinstance(text, str) else "".join(text)


def source(cell: dict[str, Any]) -> str:
    """The text of a cell."""
    return joined(cell["source"]).strip()


def formulas(text: str) -> str:
    """Text whose formulas are HTML: letters in italics, powers raised.

    The site has no script for LaTeX, so that it needs no network.
    """
    parts = CODE.split(text)
    parts[::2] = [FORMULA.sub(lambda found: formula(found[1]), part) for part in parts[::2]]
    return "".join(parts)


def formula(latex: str) -> str:
    """The HTML of a formula of letters, numbers, powers and the commands above."""

    def one(found: re.Match[str]) -> str:
        if found["letter"]:
            return f"<i>{found['letter']}</i>"
        if found["power"]:
            return f"<sup>{formula(found['power'])}</sup>"
        if found["command"] not in COMMANDS:
            raise SystemExit(f"${latex}$: expected one of {', '.join(COMMANDS)}, got {found[0]}")
        return COMMANDS[found["command"]]

    return SYMBOL.sub(one, latex)


def joined_prints(outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Outputs, of which what was printed bit by bit is one."""
    found: list[dict[str, Any]] = []
    for one in outputs:
        is_print = one["output_type"] == "stream" and one["name"] == "stdout"
        if is_print and found and found[-1].get("name") == "stdout":
            found[-1] = {**one, "text": joined(found[-1]["text"]) + joined(one["text"])}
        else:
            found.append(one)
    return found


def output(one: dict[str, Any], name: str, folder: Path) -> str:
    """An output: the richest form that it has."""
    if one["output_type"] == "stream":
        return "" if one["name"] == "stderr" else fenced(joined(one["text"]))
    if one["output_type"] == "error":
        return fenced("\n".join(one["traceback"]))
    data = {kind: joined(text) for kind, text in one["data"].items() if kind != "application/json"}
    if "text/html" in data:
        # Without blank lines, which would end the block in Markdown.
        html = re.sub(r"\n\s*\n", "\n", data["text/html"].strip())
        return f'<div class="html">{html}</div>'
    if "image/svg+xml" in data or "image/png" in data:
        return picture(data, f"pictures/{name}", folder)
    return fenced(data.get("text/plain", ""))


def picture(data: dict[str, str], place: str, folder: Path) -> str:
    """Markdown of a picture, which is written to its place below `folder`."""
    svg = data.get("image/svg+xml")
    if svg is None:
        file = folder / f"{place}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(data["image/png"]))
        return f"![Output]({place}.png)"
    write_picture(svg, folder / f"{place}.svg")
    if DARK in svg:
        return in_both_themes("Output", f"{place}.svg") + "\n{ .diagram }"
    return f"![Output]({place}.svg)"


def fenced(text: str) -> str:
    """A block of text; of a line that was written over itself, the end."""
    lines = [line.rpartition("\r")[2] for line in ANSI.sub("", text).rstrip("\n").split("\n")]
    body = "\n".join(lines)
    # Sentences are wrapped, where a table would fall apart.
    is_table = 2 * sum(bool(COLUMNS.search(line)) for line in lines) > len(lines)
    is_long = max(map(len, lines)) > LONG_LINE
    kind = "{ .text .sentences }" if is_long and not is_table else "text"
    return f"```{kind}\n{body}\n```" if body.strip() else ""
