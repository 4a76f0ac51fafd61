"""Pages: objects as HTML for notebooks, which parses, holds the facts, and fits dark pages."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
import pictures
from cnnzoo import metrics
from reference import images

X, Y = images((32, 32), 4), np.array([0, 1, 2, 1])


@pytest.fixture(scope="module")
def model() -> cz.Model:
    made = cz.create_model("mobilenet_v1_025", num_classes=3, image_size=32)
    made.labels = ("cat", "dog", "<script>&")
    return made


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> cz.data.ImageFolder:
    return cz.data.ImageFolder(pictures.folder(tmp_path_factory.mktemp("p"), classes=2, each=3))


def page(thing: Any) -> ET.Element:
    return ET.fromstring(f"<body>{thing._repr_html_()}</body>")


def cells(thing: Any) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in page(thing).iter("tr")]


def facts(thing: Any) -> dict[str, str]:
    return {row[0]: row[1] for row in cells(thing) if len(row) == 2}


def test_pages_leave_colours_of_text_and_paper_to_the_notebook(
    model: cz.Model, dataset: cz.data.ImageFolder
) -> None:
    loader = cz.data.Loader(dataset, batch_size=2, transform=model.preprocess)
    things: list[Any] = [
        *(model, model.preprocess, model.train_transform(), dataset, loader, cz.History()),
        *(cz.model_info("resnet50"), cz.compare("vgg*"), metrics.evaluate(model, [(X, Y)])),
        model.copy().load_state_dict(model.state_dict()),
        cz.data.Photos([dataset.name(0)]),
    ]
    for thing in things:
        html = thing._repr_html_()
        ET.fromstring(f"<body>{html}</body>")
        # Bars alone have a colour, which is legible on both.
        assert set(re.findall(r"#[0-9a-f]{3,6}", html)) <= {"#4878a8"}
        assert not re.search(r"[^-]color:", html), type(thing)
        assert "<script" not in html


def test_a_model_shows_its_settings(model: cz.Model) -> None:
    shown = facts(model)
    assert shown["options"] == "num_classes=3, image_size=32"
    assert shown["image"] == "3 × 32 × 32"
    assert shown["output"] == "3 classes: cat, dog, <script>&"
    assert shown["parameters"] == f"{shown['parameters'][:4]} ({model.summary().params:,})"
    assert shown["weights"] == "initial values"
    assert shown["preprocess"] == repr(model.preprocess)
    assert not {"task", "accuracy", "int8"} & set(shown)


def test_a_model_shows_what_was_changed() -> None:
    model = cz.create_model("mobilenet_v1_025", num_classes=3, image_size=32)
    model.load_state_dict(model.state_dict())
    model.quantize(np.concatenate([X] * 16))
    model.accuracy = "high"
    model.task = "multi_label"
    model.freeze().unfreeze("*conv_preds*")
    frozen = model.summary().params - 3 * (256 + 1)
    shown = facts(model)
    assert shown["parameters"].endswith(f", {frozen:,} frozen")
    assert shown["weights"] == f"{len(model.state_dict())} loaded"
    assert (shown["task"], shown["accuracy"], shown["int8"]) == ("multi-label", "high", "quantized")
    meta = facts(cz.create_model("vgg16", num_classes=0, meta=True))
    assert (meta["weights"], meta["output"]) == ("none allocated", "features")
    edited = cz.Model.from_graph(cz.resnet20(meta=True).graph, device="meta")
    assert "from a graph" in "".join(page(edited).itertext())


def test_a_load_report_folds_its_lists(model: cz.Model) -> None:
    arrays = model.state_dict()
    first, second, *_ = arrays
    arrays[second] = np.zeros((7, 7), np.float32)
    arrays["more"] = arrays.pop(first)
    report = model.copy().load_state_dict(arrays, strict=False)
    shown = page(report)
    folds = {fold.findtext("summary"): fold for fold in shown.iter("details")}
    assert list(folds) == [
        f"loaded: {len(report.loaded)}",
        "missing: 1",
        "unexpected: 1",
        "mismatched: 1",
    ]
    assert "".join(folds["missing: 1"].itertext()) == f"missing: 1{first}"
    mismatch = "".join(folds["mismatched: 1"].itertext())
    assert second in mismatch and "got (7, 7)" in mismatch
    assert repr(report) == f"<LoadReport {report.summary}>"
    assert report.summary.endswith("1 missing, 1 unexpected, 1 mismatched")


def test_histories_and_metrics_have_the_cells_of_their_tables(model: cz.Model) -> None:
    trained = model.copy()
    trainer = cz.Trainer(trained, optimizer=cz.SGD(trained, lr=0.1))
    history = trainer.fit([(X, Y)], [(X, Y)], epochs=2, progress=False)
    head, _, *lines = repr(history).splitlines()
    shown = cells(history)
    assert " ".join(shown[0]) == " ".join(head.split())
    assert shown[1:] == [line.split() for line in lines]
    found = metrics.evaluate(model, [(X, Y)], metrics={"mine": lambda logits, _: logits.mean()})
    assert isinstance(found, metrics.Metrics)
    assert repr(found) in "".join(page(found).itertext())
    assert ", mine=" in "".join(page(found).itertext())
    rows = cells(found)
    assert rows[0] == ["class", "images", "precision", "recall", "f1", ""]
    for row, line in zip(rows[1:], found.table().splitlines()[2:], strict=True):
        assert [cell for cell in row if cell] == line.split()
    labels = metrics.evaluate(model, [(X, np.eye(4, 3))], loss=cz.BinaryCrossEntropy())
    rows = cells(labels)
    assert rows[0][:4] == ["label", "images", "average precision", ""]
    assert isinstance(labels, metrics.MultiLabelMetrics)
    bars = [
        bar.get("style", "") for bar in page(labels).iter("div") if "background" in str(bar.attrib)
    ]
    widths = [f"width:{6 * figures.average_precision:.2f}em" for figures in labels.per_label]
    assert [bar.rpartition(";")[2] for bar in bars] == widths


def test_a_metric_that_is_nan_has_no_bar(model: cz.Model) -> None:
    found = metrics.evaluate(model, [(X[:1], Y[:1])])
    assert any(np.isnan(figures.f1) for figures in found.per_class)
    page(found)


def test_a_data_set_counts_its_classes(dataset: cz.data.ImageFolder) -> None:
    rows = cells(dataset)
    assert rows[0] == ["label", "class", "pictures", ""]
    assert [row[1:3] for row in rows[1:]] == [[name, "3"] for name in dataset.classes]
    part = dataset.subset([0, 1, 3])
    assert [row[2] for row in cells(part)[1:]] == ["2", "1"]
    assert repr(dataset) in "".join(page(dataset).itertext())
    photos = cz.data.Photos([dataset.name(0)] * 7)
    assert cells(photos) == [[dataset.name(0)]] * 5 + [["and 2 more"]]
    assert cells(photos.subset([0])) == [[dataset.name(0)]]


def test_a_loader_is_short_and_shows_its_transform(
    model: cz.Model, dataset: cz.data.ImageFolder
) -> None:
    transform = model.train_transform()
    loader = cz.data.Loader(dataset, batch_size=4, transform=transform, seed=7, threads=1)
    assert repr(loader) == (
        f"<Loader of {dataset!r}: 2 batches, seed=7, batch_size=4, shuffle=True, drop_last=False>"
    )
    next(iter(loader))
    shown = facts(loader)
    assert (shown["seed"], shown["batches"], shown["on_error"]) == ("7", "2", "raise")
    assert shown["position"] == "epoch 0, batch 1"
    for step in transform.steps:
        assert type(step).__name__ in shown["transform"]
    plain = cz.data.Loader(dataset, batch_size=4, transform=model.preprocess)
    assert f"{model.preprocess.crop} × {model.preprocess.crop}" in facts(plain)["transform"]


def test_transforms_show_their_steps() -> None:
    tools = cz.transforms
    steps = [tools.Resize(32), tools.Grayscale(), tools.Normalize((0.5,), (0.5,))]
    made = tools.Compose(steps, channels=1, orientation=False)
    rows = cells(made)
    assert [row[:2] for row in rows[1:]] == [
        ["1", "Resize"],
        ["2", "Grayscale"],
        ["3", "Normalize"],
    ]
    for row, step in zip(rows[1:], steps, strict=True):
        assert f"{row[1]}({row[2]})" == repr(step)
    caption = page(made).find("table/caption")
    assert caption is not None
    assert caption.text == "1 channel, photographs are not turned upright"
    assert [row[1] for row in cells(tools.RandAugment())[1:]] == ["RandAugment"]
    assert len(cells(tools.Compose([]))) == 1


def test_no_picture_is_drawn_to_show_an_object(tmp_path: Path) -> None:
    """Notebooks import neither matplotlib nor Pillow for it."""
    import subprocess
    import sys

    code = (
        "import sys, cnnzoo as cz; model = cz.resnet20(); "
        "[thing._repr_html_() for thing in (model, model.preprocess, cz.compare('resnet*'), "
        "cz.model_info('vgg16'), model.train_transform())]; "
        "print(*[m for m in ('matplotlib', 'PIL', 'torch', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
