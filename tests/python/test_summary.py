"""Summaries by part, beside torchvision's modules; those of nodes are in test_graph.py."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

import cnnzoo as cz
from cnnzoo.summary import SummaryPart

KINDS = {"block", "gate"}


def every_part(part: SummaryPart) -> list[SummaryPart]:
    """A part and all within it."""
    return [part, *(inner for child in part.parts for inner in every_part(child))]


def of_torchvision(name: str, size: int) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """The parameters and the output's shape of each module."""
    given = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    module = torchvision.models.get_model(name, weights=None, **given).eval()
    shapes: dict[str, tuple[int, ...]] = {}

    def hook(path: str) -> Any:
        return lambda _module, _inputs, output: shapes.update({path: tuple(output.shape[1:])})

    for path, inner in module.named_modules():
        inner.register_forward_hook(hook(path))
    with torch.no_grad():
        module(torch.zeros(1, 3, size, size))
    params = {
        path: sum(parameter.numel() for parameter in inner.parameters())
        for path, inner in module.named_modules()
    }
    return params, shapes


@pytest.mark.parametrize(
    "name", ["resnet50", "mobilenet_v3_large", "googlenet", "densenet121", "inception_v3"]
)
def test_blocks_are_those_of_torchvision(name: str) -> None:
    """Parameters and shapes, at an image size that is not the default."""
    params, shapes = of_torchvision(name, 128)
    summary = cz.create_model(name, meta=True).summary((128, 128))
    blocks = {part.name: part for part in every_part(summary.root) if part.kind in KINDS}
    # A convolution, whose norm and activation belong to the block.
    blocks.pop("features.16.0", None)
    assert len(blocks) > 8
    assert {path: block.params for path, block in blocks.items()} == {p: params[p] for p in blocks}
    assert {path: block.shape for path, block in blocks.items()} == {p: shapes[p] for p in blocks}


def test_stages_are_those_of_torchvision() -> None:
    params, shapes = of_torchvision("resnet50", 128)
    summary = cz.create_model("resnet50", meta=True).summary((128, 128))
    stages = [part for part in summary.parts if part.kind == "stage"]
    layers = [f"layer{number}" for number in range(1, 5)]
    assert [stage.params for stage in stages] == [params[layer] for layer in layers]
    assert [stage.shape for stage in stages] == [shapes[layer] for layer in layers]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "vit_ti_16", "squeezenet1_0"])
def test_parts_hold_every_row_once(name: str) -> None:
    summary = cz.create_model(name, meta=True).summary()
    root = summary.root
    assert root.rows == summary.rows
    for total in ("params", "macs", "activation_bytes", "frozen_params"):
        assert getattr(root, total) == getattr(summary, total)
        for part in every_part(root):
            assert getattr(part, total) == sum(getattr(one, total) for one in part.children)
    assert root.shape == summary.rows[-1].shape


def test_a_graph_without_parts_is_one_part() -> None:
    graph = cz.Graph.parse("graph plain\ninput = input()\nout = flatten(input)\noutput out")
    summary = cz.Summary(graph, 8, 8)
    assert summary.parts == () and summary.root.children == summary.rows
    assert summary.tree().splitlines()[2].split() == ["input", "input", "3×8×8", "768B", "1×1"]


def test_the_total_has_the_unit_of_its_parts() -> None:
    """Bytes in thousands, in the last line as in the column."""
    summary = cz.create_model("resnet50", meta=True).summary()
    assert repr(summary).endswith(" multiply-adds, 151MB of activations")
    [caption, *_] = ET.fromstring(summary._repr_html_())
    assert (caption.text or "").endswith("151MB of activations")
    assert "151MB" in summary._repr_html_().partition("<summary")[2]


def test_frozen_parameters_are_counted() -> None:
    model = cz.create_model("resnet20", num_classes=3)
    assert {row.state for row in model.summary()} == {"trained", ""}
    model.freeze("layer1*", "fc.weight")
    summary = model.summary()
    [stage, *_] = [part for part in summary.parts if part.kind == "stage"]
    assert (stage.state, stage.frozen_params) == ("frozen", stage.params)
    states = {row.name: row.state for row in summary}
    assert states["fc"] == "partly frozen" and states["layer2.0.conv1"] == "trained"
    sizes = {name: int(np.prod(array.shape)) for name, array in model.state_dict().items()}
    frozen = {name for name, _, trains in model.graph.parameters() if trains} - set(model.trained)
    assert summary.frozen_params == sum(sizes[name] for name in frozen) > 0
    assert f"({summary.frozen_params:,} frozen)" in repr(summary)
    # Embeddings, and arrays whose names do not begin with that of their node.
    vit = cz.create_model("vit_ti_16", source="timm", num_classes=2)
    vit.freeze("pos_embed", "blocks.0.attn*")
    states = {row.name: row.state for row in vit.summary()}
    assert states["pos_embed"] == "frozen" and states["cls_token"] == "trained"
    assert states["blocks.0.attn.qkv"] == "frozen" and states["blocks.1.attn.qkv"] == "trained"


def test_a_tree_is_as_deep_as_asked() -> None:
    summary = cz.create_model("resnet20", meta=True).summary()
    names = [line.split("  ")[0] for line in summary.tree(depth=1).splitlines()[2:-2]]
    assert names == ["input", "stem", "stage stage1", "stage stage2", "stage stage3", "head"]
    two = summary.tree(depth=2).splitlines()
    assert any(line.startswith("  block layer1.0 ") for line in two)
    assert len(two) < len(summary.tree().splitlines()) == len(summary.tree(depth=9).splitlines())
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(cz.ArgumentError, match="`depth`"):
            summary.tree(depth=wrong)  # type: ignore[arg-type]


def test_a_notebook_shows_a_tree_that_folds() -> None:
    summary = cz.create_model("mobilenet_v3_small", meta=True).summary()
    page = ET.fromstring(summary._repr_html_())
    folds = list(page.iter("details"))
    assert len(folds) == len(every_part(summary.root))
    # All is folded but the network itself.
    assert [fold.get("open") is not None for fold in folds] == [True] + [False] * (len(folds) - 1)
    lines = [
        *page.iter("summary"),
        *(div for div in page.iter("div") if div.find("span") is not None),
    ]
    assert len(lines) == len(folds) + len(summary.rows)
    assert "script" not in {element.tag for element in page.iter()}
    columns = {len(span.text or "") for span in page.iter("span")}
    assert len(columns) == 1, "columns that do not align"


@pytest.mark.parametrize(
    ("x_shape", "message"),
    [
        (32, r"`x_shape`: expected \(N, C, H, W\) or \(H, W\), got 32"),
        ((), r"`x_shape`: expected \(N, C, H, W\)"),
        ((1, 2, 3, 4, 5), r"`x_shape`: expected \(N, C, H, W\)"),
        ("32", r"`x_shape`: expected \(N, C, H, W\)"),
        ((32, None), "`x_shape`: width: expected a whole number, got None"),
    ],
)
def test_a_shape_that_is_none_is_refused(x_shape: Any, message: str) -> None:
    with pytest.raises(cz.ArgumentError, match=message):
        cz.create_model("resnet20", meta=True).summary(x_shape)


@pytest.mark.parametrize("x_shape", [(1, 1, 32, 32), (64, 48, 3), (1, 64, 48, 3), (4, 32, 32)])
def test_a_shape_of_other_channels_is_refused(x_shape: tuple[int, ...]) -> None:
    # (H, W, C) would be images that are three pixels wide.
    model = cz.create_model("resnet20", meta=True)
    for shown in (model.summary, lambda shape: model.diagram(x_shape=shape)):
        with pytest.raises(cz.ShapeError, match=r"`x_shape`: expected \(N, 3, H, W\)"):
            shown(x_shape)


def test_a_shape_without_images_is_refused() -> None:
    with pytest.raises(cz.ArgumentError, match="`x_shape`: images: expected a whole number of 1"):
        cz.create_model("resnet20", meta=True).summary((0, 3, 32, 32))
