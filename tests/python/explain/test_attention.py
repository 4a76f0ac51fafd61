"""Attention maps of vision transformers, beside those that PyTorch's attention returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

import cnnzoo as cz
from explain.subjects import CAT, stretched, transformer, transformer_twin
from reference import Edition, TorchReference, pair
from tolerance import FUSED, ROUNDING, difference

VIT = Edition("vit_b_16", "torchvision", "vit_b_16")


@contextmanager
def returned(module: torch.nn.Module) -> Iterator[list[NDArray[np.float32]]]:
    """The weights that each `torch.nn.MultiheadAttention` of a network returns when asked."""
    found: list[NDArray[np.float32]] = []

    def ask(layer: Any, arguments: tuple[Any, ...], _: Any, __: Any) -> None:
        answer: Any = plain(layer, *arguments[:3], need_weights=True, average_attn_weights=False)
        found.append(answer[1].numpy()[0])

    plain: Any = torch.nn.MultiheadAttention.forward
    layers = [layer for layer in module.modules() if isinstance(layer, torch.nn.MultiheadAttention)]
    handles = [layer.register_forward_hook(ask, with_kwargs=True) for layer in layers]
    with torch.no_grad():
        yield found
    for handle in handles:
        handle.remove()


@pytest.mark.parametrize("exact", [True, False])
def test_weights_are_those_that_torchvision_returns(exact: bool) -> None:
    model, reference = pair(VIT)
    assert isinstance(reference, TorchReference)
    with returned(reference.module.eval()) as expected:
        reference.module(torch.from_numpy(model.preprocess(CAT)))
    maps = cz.explain.attention(model, CAT, exact=exact)
    assert maps.values.shape == (12, 12, 197, 197) and maps.values.dtype == np.float32
    assert len(expected) == 12
    # The native engine adds up in another order.
    tolerance = ROUNDING if exact else FUSED
    for ours, theirs in zip(maps.values, expected, strict=True):
        assert difference(ours, theirs) <= tolerance
    assert np.abs(maps.values.sum(-1) - 1).max() <= 1e-5
    # The rows are not all alike.
    assert difference(maps.values[:, :, 0], maps.values[:, :, 7]) > 0.01
    assert (maps.before, maps.grid) == (1, (14, 14))
    assert maps.layers[3].startswith("encoder.layers.encoder_layer_3.")


def rolled(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Section 3 of the paper: A = (W + I) / 2, and the product of all layers, the last first."""
    tokens = weights.shape[-1]
    product = np.eye(tokens)
    for layer in weights:
        product = (0.5 * layer.astype(np.float64).mean(0) + 0.5 * np.eye(tokens)) @ product
    return product


@pytest.mark.parametrize(
    ("edition", "before"),
    [
        (Edition("x", "timm", "vit_tiny_patch16_224"), 1),
        (Edition("x", "timm", "deit_tiny_distilled_patch16_224"), 2),
    ],
    ids=str,
)
def test_rollout_multiplies_the_layers(edition: Edition, before: int) -> None:
    model = edition.create(image_size=96, num_classes=5, seed=2)
    maps = cz.explain.attention(model, CAT)
    assert (maps.before, maps.grid) == (before, (6, 6))
    product = rolled(maps.values)
    assert np.abs(product.sum(1) - 1).max() < 1e-5
    # The logits are the mean over the class token and that of distillation.
    expected = product[:before].mean(0)[before:].reshape(6, 6)
    heatmap = maps.rollout()
    assert difference(heatmap.raw, expected) <= ROUNDING
    assert difference(heatmap.values, stretched(expected, (96, 96))) <= 1e-4
    assert (heatmap.method, heatmap.label, heatmap.target) == ("Attention rollout", None, None)
    assert repr(heatmap) == f"<Heatmap Attention rollout, {model.name}>"


def test_a_layer_and_a_head_have_heatmaps() -> None:
    model = transformer()
    maps = cz.explain.attention(model, CAT)
    for layer, head in ((-1, None), (0, 2), (5, -1)):
        heatmap = maps.heatmap(layer, head)
        weights = maps.values[layer]
        row = (weights.mean(0) if head is None else weights[head])[0, 1:]
        assert difference(heatmap.raw, row.reshape(6, 6)) <= ROUNDING
        assert heatmap.node == maps.layers[layer] and heatmap.values.shape == (96, 96)
    for wrong in (12, -13, 1.5, None, True):
        with pytest.raises(cz.ArgumentError, match="`layer`"):
            maps.heatmap(wrong)  # type: ignore[arg-type]
    for other in (3, -4, "all"):
        with pytest.raises(cz.ArgumentError, match="`head`"):
            maps.heatmap(0, other)  # type: ignore[arg-type]


def test_the_weights_mix_the_values_of_the_network() -> None:
    """Each head's weights times its values are what the attention puts out, of timm too."""
    model, module = transformer(), transformer_twin()
    x = model.preprocess(CAT)
    maps = cz.explain.attention(model, CAT, exact=True)
    outputs: list[torch.Tensor] = []
    block = module.blocks[4].attn
    handle = block.proj.register_forward_pre_hook(lambda _, given: outputs.append(given[0]))
    with torch.no_grad():
        module(torch.from_numpy(x))
    handle.remove()
    qkv = model.features(x, "blocks.4.attn.qkv", exact=True)["blocks.4.attn.qkv"][0]
    values = qkv.reshape(37, 3, 3, 64)[:, 2].transpose(1, 0, 2)
    mixed = (maps.values[4] @ values).transpose(1, 0, 2).reshape(37, 192)
    assert difference(mixed, outputs[0][0].numpy()) <= ROUNDING


def test_a_network_whose_tokens_have_no_class_token_is_looked_at_as_a_whole() -> None:
    graph = cz.Graph.parse(
        "graph tokens\ninput = input() height=32 width=32\n"
        "patches = conv(input) out=8 kernel=8 stride=8\nt = tokens(patches)\n"
        "qkv = linear(t) out=24\na = attention(qkv) heads=2\ns = select_token(a) index=3\n"
        "fc = linear(s) out=2\noutput fc"
    )
    maps = cz.explain.attention(cz.Model.from_graph(graph, seed=1), CAT)
    assert (maps.before, maps.grid, maps.values.shape) == (0, (4, 4), (1, 2, 16, 16))
    expected = rolled(maps.values).mean(0).reshape(4, 4)
    assert difference(maps.rollout().raw, expected) <= ROUNDING


def test_a_plot_shows_every_head_over_the_photograph() -> None:
    maps = cz.explain.attention(transformer(), CAT)
    axes = maps.plot(layer=2, ax=Figure().subplots())
    (image,) = axes.get_images()
    pixels = np.asarray(image.get_array())
    # Three heads beside each other, on paper.
    height, width, _ = pixels.shape
    gap = (width - 3 * height) // 2
    assert 3 * height + 2 * gap == width and (pixels[:, height : height + gap] == 255).all()
    title, (about,) = axes.get_title("left"), (text.get_text() for text in axes.texts)
    assert title == "Attention of 3 heads" and about.startswith("blocks.2.attn")
    assert "data:image/png" in maps._repr_html_()
    assert repr(maps) == f"<AttentionMaps {transformer().name}: 12 layers, 3 heads, 37 tokens>"


def test_networks_without_attention_of_tokens_say_so() -> None:
    for name in ("resnet18", "mobilenetv4_hybrid_medium"):
        model = cz.create_model(name, num_classes=2)
        with pytest.raises(cz.ArgumentError, match="expected a network with attention between"):
            cz.explain.attention(model, CAT)
    broken = cz.create_model("vit_tiny_patch16_224", image_size=96, num_classes=2)
    state = broken.state_dict()
    broken.load_state_dict({"pos_embed": np.full_like(state["pos_embed"], np.nan)}, strict=False)
    with pytest.raises(cz.DivergenceError, match="finite queries and keys"):
        cz.explain.attention(broken, CAT)
