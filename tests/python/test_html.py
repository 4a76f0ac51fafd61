"""Tables for notebooks: `cnnzoo._html`."""

from __future__ import annotations

import base64
import io
import xml.etree.ElementTree as ET

import numpy as np
from PIL import Image

from cnnzoo._html import Branch, html_bar, html_picture, html_table, html_tree, png


def test_text_is_escaped_and_bars_are_not() -> None:
    page = html_table(
        ("layer", "share"), [("<b>&", html_bar(0.25, width=8.0))], right=(1,), caption="a < b"
    )
    table = ET.fromstring(page)
    assert table.findtext("caption") == "a < b"
    assert [head.text for head in table.iter("th")] == ["layer", "share"]
    text, bar = table.iter("td")
    assert text.text == "<b>&" and "left" in text.get("style", "")
    assert "right" in bar.get("style", "")
    (block,) = bar
    assert "width:2.00em" in block.get("style", "")


def test_a_table_without_head_and_caption_has_only_its_rows() -> None:
    table = ET.fromstring(html_table((), [("a", "b"), ("c", "d")]))
    assert [child.tag for child in table] == ["tbody"]
    assert [[cell.text for cell in row] for row in table.iter("tr")] == [["a", "b"], ["c", "d"]]


def test_a_tree_folds_and_its_columns_align() -> None:
    root: Branch = (("<all>", "7", "x"), [(("part", "12", ""), [(("node", "5", "y&z"), [])])])
    tree = ET.fromstring(html_tree(("", "number", "word"), root, right=(1,), caption="a < b"))
    assert [fold.get("open") for fold in tree.iter("details")] == ["", None]
    assert [line.findtext("span") for line in tree.iter("summary")] == [
        "       7  x   ",
        "      12      ",
    ]
    assert [(line.find("span").tail or "") for line in tree.iter("summary")] == ["<all>", "part"]  # type: ignore[union-attr]
    (head,) = tree.iter("b")
    assert head.findtext("span") == "  number  word"


def test_a_picture_is_a_png_file_in_the_page() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)
    # Rows that do not lie one after the other in memory, too.
    turned = pixels.transpose(1, 0, 2)[::-1]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png(turned)))), turned)
    image = ET.fromstring(html_picture(pixels, "a 'cat' < & \"dog\""))
    assert image.get("alt") == image.get("title") == "a 'cat' < & \"dog\""
    data = str(image.get("src")).removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == png(pixels)
