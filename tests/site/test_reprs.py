"""Objects as a notebook shows them, in a browser, on light and on dark pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.site.browser import Browser

import cnnzoo as cz

PHOTO = Path(__file__).parents[2] / "photos" / "chelsea.png"
# The colours, sizes and lines that JupyterLab gives to outputs.
STYLE = """
:root { color-scheme: light dark; }
body { background: #fff; color: rgba(0, 0, 0, 0.87); font: 14px system-ui; margin: 24px; }
section { overflow: auto; padding: 8px 0 24px; }
h2 { font-size: 13px; opacity: 0.75; }
table { border-collapse: collapse; font-size: 12px; }
td, th { padding: 6px; vertical-align: middle; }
tbody tr:nth-child(odd) { background: rgba(128, 128, 128, 0.08); }
@media (prefers-color-scheme: dark) { body { background: #111; color: rgba(255, 255, 255, 0.87); } }
"""
HEAD = f"""<!doctype html>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>outputs</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
"""


def objects() -> dict[str, Any]:
    """Objects with rich forms, of a small network, and a prediction of a trained one."""
    model = cz.create_model("mobilenet_v1_025", num_classes=3, image_size=32, seed=0)
    model.labels = ("cat", "dog", "fox")
    trained = cz.create_model("tf_efficientnet_lite0", weights="default")
    generator = np.random.default_rng(0)
    x = generator.standard_normal((12, 3, 32, 32), np.float32)
    y = generator.integers(0, 3, 12)
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.05))
    history = trainer.fit([(x, y)], [(x, y)], epochs=3, progress=False)
    return {
        "model": trained,
        "summary": model.summary(),
        "prediction": trained.predict(PHOTO),
        "metrics": trainer.evaluate([(x, y)]),
        "history": history,
        "diagram": cz.create_model("resnet18", meta=True).diagram(part="layer2.0"),
        "heatmap": cz.explain.grad_cam(trained, PHOTO),
        "comparison": cz.compare(["resnet18", "vgg16", "mobilenet_v2"]),
        "profile": model.profile(x[:1], repeats=1),
        "info": cz.model_info("resnet50"),
        "preprocess": trained.preprocess,
        "transform": trained.train_transform(),
    }


def rich(thing: Any) -> str:
    """The form that Jupyter prefers."""
    method = getattr(thing, "_repr_html_", None) or thing._repr_svg_
    text: str = method()
    return text


@pytest.fixture(scope="module")
def page() -> str:
    parts = [
        f"<section id='{name}'><h2>{name}</h2>{rich(thing)}</section>"
        for name, thing in objects().items()
    ]
    return HEAD + "".join(parts)


@pytest.mark.parametrize("size", ["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outputs(
    browser: Browser, folder_served: str, tmp_path: Path, page: str, size: str, scheme: str
) -> None:
    (tmp_path / "outputs.html").write_text(page, encoding="utf-8")
    browser.open(f"{folder_served}/outputs.html", size=size, scheme=scheme)
    assert browser.overflow() == 0
    assert browser.broken_images() == []
    assert browser.run("return document.querySelector('#heatmap img').naturalWidth") > 100
    for selector in (
        "#model td",
        "#summary summary",
        "#prediction td",
        "#metrics td",
        "#history td",
        "#comparison td",
        "#info td",
    ):
        assert browser.contrast(selector) >= 4.5, selector
    ink, paper = (
        browser.run(f"return getComputedStyle(document.querySelector('#diagram svg {one}')).fill")
        for one in (".ink", ".paper")
    )
    assert (ink, paper) == {
        "light": ("rgb(31, 41, 51)", "rgb(255, 255, 255)"),
        "dark": ("rgb(232, 236, 241)", "rgb(20, 24, 29)"),
    }[scheme]
    browser.screenshot(f"outputs-{size}-{scheme}", whole=True)
    assert browser.complaints() == []


def test_a_part_of_a_summary_unfolds(
    browser: Browser, folder_served: str, tmp_path: Path, page: str
) -> None:
    (tmp_path / "outputs.html").write_text(page, encoding="utf-8")
    browser.open(f"{folder_served}/outputs.html", size="desktop", scheme="light")
    shown = (
        "return [...document.querySelectorAll('#summary div')]"
        ".filter((one) => one.checkVisibility()).length"
    )
    before = browser.run(shown)
    browser.run("document.querySelector('#summary details details > summary').click()")
    between = browser.run(shown)
    assert between > before
    browser.run("document.querySelector('#summary details details > summary').click()")
    assert browser.run(shown) == before
