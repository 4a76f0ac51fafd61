"""Feature maps of a node and filters of the first layer, beside the source's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

import cnnzoo as cz
from explain.subjects import CAT, kept, trained, transformer, transformer_twin
from reference import Edition, TorchReference, pair
from tolerance import FUSED, ROUNDING, difference

RESNET = Edition("resnet18", "torchvision", "resnet18")


@pytest.mark.parametrize("node", ["layer2.0.conv1", "layer3", "conv1"])
@pytest.mark.parametrize("exact", [True, False])
def test_maps_are_what_a_layer_of_the_source_puts_out(node: str, exact: bool) -> None:
    model, reference = pair(RESNET)
    assert isinstance(reference, TorchReference)
    module = reference.module.eval()
    with kept(module.get_submodule(node)) as values:
        module(torch.from_numpy(model.preprocess(CAT)))
    maps = cz.explain.feature_maps(model, CAT, node, exact=exact)
    expected = values[0].detach()[0].numpy()
    assert difference(maps.values, expected) <= (ROUNDING if exact else FUSED)
    assert maps.node == model.graph.find(node)
    means = np.abs(expected).mean((1, 2))
    assert list(maps.strongest(5)) == np.argsort(-means)[:5].tolist()
    assert len(maps.strongest(10_000)) == len(expected)


def test_patches_of_a_transformer_are_an_image() -> None:
    model, module = transformer(), transformer_twin()
    with kept(module.blocks[3]) as values:
        module(torch.from_numpy(model.preprocess(CAT)))
    maps = cz.explain.feature_maps(model, CAT, "blocks.3", exact=True)
    tokens = values[0].detach()[0].numpy()
    assert maps.values.shape == (192, 6, 6)
    # The token of the patch in row 2 and column 5, after the class token.
    assert difference(maps.values[:, 2, 5], tokens[1 + 2 * 6 + 5]) <= ROUNDING


def test_the_usual_node_is_that_of_grad_cam() -> None:
    maps = cz.explain.feature_maps(trained(), CAT)
    assert maps.node == cz.explain.grad_cam(trained(), CAT).node
    assert maps.values.shape == (1280, 7, 7)


def test_a_channel_lies_over_the_photograph() -> None:
    maps = cz.explain.feature_maps(trained(), CAT, "blocks.2")
    heatmap = maps.heatmap(3)
    np.testing.assert_array_equal(heatmap.raw, maps.values[3])
    assert heatmap.values.shape == (224, 224) and heatmap.photo.shape == maps.photo.shape
    assert heatmap.plot(ax=Figure().subplots()).get_title("left") == "Channel 3"
    for wrong in (len(maps.values), -1, 0.5, None):
        with pytest.raises(cz.ArgumentError, match="`channel`"):
            maps.heatmap(wrong)  # type: ignore[arg-type]
    for wrong in (0, -1, 1.5):
        with pytest.raises(cz.ArgumentError, match="`count`"):
            maps.plot(count=wrong, ax=Figure().subplots())  # type: ignore[arg-type]


def test_a_plot_of_maps_has_a_tile_for_each_of_the_strongest(tmp_path: Any) -> None:
    maps = cz.explain.feature_maps(trained(), CAT, "blocks.4")
    axes = maps.plot(count=4, ax=Figure().subplots())
    pixels = np.asarray(axes.get_images()[0].get_array())
    side = (pixels.shape[0] - 3) // 2
    assert side >= 56 and pixels.shape[0] == pixels.shape[1]
    first = maps.values[maps.strongest(1)[0]]
    place = np.unravel_index(first.argmax(), first.shape)
    scale = pixels[: pixels.shape[0] // 2].shape[0] / len(first)
    brightest = pixels[int((place[0] + 0.4) * scale), int((place[1] + 0.4) * scale)]
    assert brightest.tolist() == [0xFB, 0xF5, 0xA7]
    title, (about,) = axes.get_title("left"), (text.get_text() for text in axes.texts)
    assert title == maps.node and about.startswith("the 4 strongest of 112 channels")
    maps.save(tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as picture:
        assert picture.format == "PNG"
    assert "data:image/png" in maps._repr_html_() and "112×14×14" in repr(maps)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("resnet18", (64, 3, 7, 7)),
        ("alexnet", (64, 3, 11, 11)),
        ("vit_tiny_patch16_224", (192, 3, 16, 16)),
        ("googlenet", (64, 3, 7, 7)),
    ],
)
def test_filters_are_the_weight_of_the_first_convolution(name: str, shape: tuple[int, ...]) -> None:
    model = cz.create_model(name, num_classes=2)
    filters = cz.explain.filters(model)
    assert filters.values.shape == shape
    np.testing.assert_array_equal(filters.values, model.state_dict()[f"{filters.node}.weight"])
    first = next(row.name for row in model.summary() if row.op == "conv")
    assert filters.node == first
    assert repr(filters) == f"<Filters `{first}` of {model.name}: {'×'.join(map(str, shape))}>"


def test_filters_are_drawn_in_colours_about_grey() -> None:
    model = cz.create_model("resnet18", num_classes=2)
    weight = np.zeros((64, 3, 7, 7), np.float32)
    # Red and its opposite, at two corners.
    weight[0, 0, 0, 0], weight[0, 0, 6, 6] = 0.2, -0.2
    model.load_state_dict({"conv1.weight": weight}, strict=False)
    axes = cz.explain.filters(model).plot(ax=Figure().subplots())
    pixels = np.asarray(axes.get_images()[0].get_array())
    assert pixels[0, 0].tolist() == [255, 128, 128]
    assert pixels[55, 55].tolist() == [0, 128, 128]
    assert pixels[28, 28].tolist() == [128, 128, 128]
    assert axes.texts[0].get_text() == "64 filters of 7×7 · resnet18"


@pytest.mark.parametrize("channels", [1, 6])
def test_filters_of_other_channels_are_grey(channels: int) -> None:
    model = cz.create_model("resnet18", in_channels=channels, num_classes=2)
    filters = cz.explain.filters(model)
    pixels = np.asarray(filters.plot(ax=Figure().subplots()).get_images()[0].get_array())
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all()
    assert "data:image/png" in filters._repr_html_()
    deeper = cz.explain.filters(model, "layer1.0.conv2")
    assert deeper.values.shape == (64, 64, 3, 3)


def test_what_has_no_maps_or_filters_says_so() -> None:
    model = cz.create_model("resnet18", num_classes=2)
    for node in ("fc", "flatten"):
        with pytest.raises(cz.ArgumentError, match="places in the photograph"):
            cz.explain.feature_maps(model, CAT, node)
    for node in ("fc", "bn1", "relu"):
        with pytest.raises(cz.ArgumentError, match="expected a convolution, which has filters"):
            cz.explain.filters(model, node)
    with pytest.raises(cz.ArgumentError, match="got `nothing`"):
        cz.explain.filters(model, "nothing")
    with pytest.raises(cz.DeviceError):
        cz.explain.filters(cz.create_model("resnet18", meta=True))
    flat = cz.Graph.parse(
        "graph flat\ninput = input() height=8 width=8\nf = flatten(input)\n"
        "fc = linear(f) out=2\noutput fc"
    )
    with pytest.raises(cz.ArgumentError, match="expected a convolution of the image"):
        cz.explain.filters(cz.Model.from_graph(flat))


def test_values_that_are_not_finite_are_magenta() -> None:
    maps = cz.explain.feature_maps(transformer(), CAT, "patch_embed.proj")
    values = maps.values.copy()
    values[7, 0, 0], values[9] = np.nan, np.inf
    broken = dataclasses.replace(maps, values=values)
    # They are seen although there are more channels than tiles.
    assert broken.strongest(2) == (7, 9)
    heat = broken.heatmap(7)
    assert np.isnan(heat.values[0, 0]) and np.nanmax(heat.values) == 1
    side = heat.photo.shape[0]
    red, green, blue = heat.overlay(alpha=1.0)[side // 96, side // 96].tolist()
    assert (red, green, blue) == (255, 0, 255)
    picture = np.asarray(broken.plot(count=1, ax=Figure().subplots()).images[0].get_array())
    lost = (picture == (255, 0, 255)).all(2)
    assert 0 < lost.mean() < 0.1


def test_weights_that_are_not_finite_are_magenta() -> None:
    plain = cz.explain.filters(trained())
    values = plain.values.copy()
    values[0, 1, 2, 2], values[1] = np.nan, np.inf
    first, second, third = pixels_of(dataclasses.replace(plain, values=values), 3)
    lost = (first == (255, 0, 255)).all(2)
    assert lost[2, 2] and lost.sum() == 1
    assert (second == (255, 0, 255)).all()
    # Others are as they were.
    np.testing.assert_array_equal(third, pixels_of(plain, 3)[2])


def pixels_of(filters: cz.explain.Filters, count: int) -> list[Any]:
    """The first filters in a plot, a pixel for each weight."""
    picture = np.asarray(filters.plot(ax=Figure().subplots()).images[0].get_array())
    height, width = filters.values.shape[2:]
    zoom = -(-56 // min(height, width))
    step = zoom * width + max(1, round(0.06 * zoom * min(height, width)))
    return [
        picture[: zoom * height : zoom, at * step : at * step + zoom * width : zoom]
        for at in range(count)
    ]
