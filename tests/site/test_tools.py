"""The tools that write pages: links, notebooks, names that lead to the reference, times."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tools.pages import families, links, notebooks, reference

import cnnzoo as cz

SVG = f"<svg><style>.a{{fill:#fff}}{links.DARK}.a{{fill:#000}}}}</style></svg>"


def test_links_lead_to_new_places(tmp_path: Path) -> None:
    places = {tmp_path / "docs" / "a.md": "deep/a.md", tmp_path / "p.svg": "pictures/p.svg"}
    for file in (*places, tmp_path / "source.py"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(SVG)
    pages = tmp_path / "pages"

    def moved(text: str) -> str:
        return links.moved(text, tmp_path / "READ.md", "below/here.md", places, pages)

    assert moved("[a](docs/a.md#b)") == "[a](../deep/a.md#b)"
    assert moved("[c](source.py) [d](https://e.org/f)") == "c [d](https://e.org/f)"
    assert moved("![p](p.svg)") == "![p](../pictures/p.svg)"
    links.write_picture(SVG, pages / "pictures" / "p.svg")
    light, dark = moved("[![p](p.svg)](docs/a.md)").split(" ")
    assert light == "[![p](../pictures/p.light.svg#only-light)](../deep/a.md)"
    assert dark == "[![p](../pictures/p.dark.svg#only-dark)](../deep/a.md)"
    with pytest.raises(SystemExit, match=r"nowhere\.md"):
        moved("[x](nowhere.md)")


def test_no_line_ends_before_a_per_cent_sign_but_in_code() -> None:
    text = "6.7 % of `10 % 3`\n\n```python\n10 % 3\n```\n\n| 81 % |"
    expected = (
        "6.7\N{NO-BREAK SPACE}% of `10 % 3`\n\n```python\n10 % 3\n```\n\n| 81\N{NO-BREAK SPACE}% |"
    )
    assert links.unbroken(text) == expected


def test_a_picture_in_two_themes(tmp_path: Path) -> None:
    links.write_picture(SVG, tmp_path / "p.svg")
    light, dark = ((tmp_path / f"p.{name}.svg").read_text() for name in ("light", "dark"))
    assert "@media not all{.a{fill:#000}}" in light
    assert "@media all{.a{fill:#000}}" in dark


def notebook(code: str, outputs: list[dict[str, Any]]) -> str:
    cells: list[dict[str, Any]] = [{"cell_type": "markdown", "source": ["# Title\n", "text"]}]
    cells.append({"cell_type": "code", "source": code, "outputs": outputs})
    return json.dumps({"cells": cells})


def test_outputs_come_from_the_executed_copy_of_the_same_cells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notebooks, "EXECUTED", tmp_path / "executed")
    (tmp_path / "executed").mkdir()
    stored = tmp_path / "n.ipynb"
    stored.write_text(notebook("1 + 1", []))
    assert "without outputs" in notebooks.written(stored, tmp_path)
    outputs: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": ["a\rb\n", "\x1b[31mred\x1b[0m"]},
        {"output_type": "display_data", "data": {"image/svg+xml": SVG, "text/plain": "no"}},
        {"output_type": "display_data", "data": {"text/html": "<b>x</b>\n\n<i>y</i>"}},
    ]
    executed = tmp_path / "executed" / "n.ipynb"
    executed.write_text(notebook("1 + 1", outputs))
    page = notebooks.written(stored, tmp_path)
    assert "without outputs" not in page
    assert "```text\nb\nred\n```" in page
    assert "pictures/n-1-1.dark.svg" in page
    assert (tmp_path / "pictures" / "n-1-1.light.svg").exists()
    assert '<div class="html"><b>x</b>\n<i>y</i></div>' in page
    assert page.startswith("# Title\n")
    executed.write_text(notebook("1 + 2", outputs))
    assert "red" not in notebooks.written(stored, tmp_path)


def test_formulas_need_no_script() -> None:
    assert notebooks.formulas("of $9C$ in `$x$`") == "of 9<i>C</i> in `$x$`"
    assert notebooks.formulas(r"$k^2 \cdot r$") == "<i>k</i><sup>2</sup> · <i>r</i>"
    found = notebooks.formulas(r"$d = 1.2^\varphi, k \times k$")
    assert found == "<i>d</i> = 1.2<sup><i>φ</i></sup>, <i>k</i> × <i>k</i>"
    with pytest.raises(SystemExit, match=r"expected one of times, cdot, varphi, got .*frac"):
        notebooks.formulas(r"$\frac 1 2$")
    texts = [cell for path in notebooks.found() for cell in notebooks.read(path)]
    sources = [notebooks.source(cell) for cell in texts if cell["cell_type"] == "markdown"]
    assert not [text for text in map(notebooks.formulas, sources) if "$" in text]


def test_prints_are_one_block_whose_sentences_wrap() -> None:
    parts: list[dict[str, Any]] = [
        {"output_type": "stream", "name": "stdout", "text": [f"{line}\n"]} for line in "ab"
    ]
    picture: dict[str, Any] = {"output_type": "display_data", "data": {}}
    found = notebooks.joined_prints([*parts, picture, parts[0]])
    assert [one.get("text") for one in found] == ["a\nb\n", None, ["a\n"]]
    assert parts[0]["text"] == ["a\n"]
    assert notebooks.fenced("a  1\nb  2") == "```text\na  1\nb  2\n```"
    sentence = "The accuracy is this. " * 10
    assert notebooks.fenced(sentence).startswith("```{ .text .sentences }\n")
    row = f"block 3×3    0.8   {'conv + relu ' * 10}\n"
    assert notebooks.fenced(2 * row).startswith("```text\n")


def test_names_in_running_text_lead_to_the_reference() -> None:
    text = "`cz.Trainer(model)` `Model.predict` `nothing` [`cz.load`](x.md)\n```\n`cz.load`\n```\n"
    assert reference.linked(text) == (
        "[`cz.Trainer(model)`][cnnzoo.training.Trainer] [`Model.predict`][cnnzoo.Model.predict] "
        "`nothing` [`cz.load`](x.md)\n```\n`cz.load`\n```\n"
    )


def test_measured_times_are_those_of_the_benchmarks() -> None:
    _, settings = families.measured()
    assert set(settings) == {"1 image, 2 threads", "1 image, one thread"}
    text = families.BENCHMARKS.read_text("utf-8")
    for title, times in settings.items():
        assert len(times) >= 10
        part = text.partition(f"**{title}**")[2]
        for name, (ours, _, _) in times.items():
            row = re.search(rf"^\| {name} \| ([\d.]+) ", part, re.MULTILINE)
            assert row is not None
            assert float(row[1]) == ours


def test_accuracy_is_of_the_image_that_was_measured() -> None:
    for name in families.measured()[1]["1 image, 2 threads"]:
        weights = families.accuracy(name)
        if weights is not None:
            assert weights.preprocess is not None
            assert weights.preprocess.crop == cz.model_info(name).input_size
            assert weights.top1 is not None
            assert 50 < weights.top1 < 90
