"""Vision transformers alone: one size of the image, positions, a second head."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.numpy import save_file
from timm.layers.pos_embed import resample_abs_pos_embed

import cnnzoo as cz
from reference import Edition, TorchReference, build_module, build_reference, images, randomise
from tolerance import ROUNDING, difference

TINY = "vit_tiny_patch16_224"
DISTILLED = "deit_tiny_distilled_patch16_224"
SEED = 11


@pytest.mark.parametrize("name", [TINY, DISTILLED])
@pytest.mark.parametrize("size", [48, 160, 208, 384])
def test_positions_are_interpolated_as_timm_does(tmp_path: Path, name: str, size: int) -> None:
    state = cz.create_model(name, seed=3).state_dict()
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    model = cz.create_model(name, image_size=size)
    report = model.load_weights(path)

    apart = 2 if name == DISTILLED else 1
    grid = size // 16
    expected = resample_abs_pos_embed(
        torch.from_numpy(state["pos_embed"]), [grid, grid], num_prefix_tokens=apart
    ).numpy()
    ours = model.state_dict()
    assert difference(ours["pos_embed"], expected) <= ROUNDING
    np.testing.assert_array_equal(ours["pos_embed"][:, :apart], state["pos_embed"][:, :apart])
    shapes = expected.shape, state["pos_embed"].shape
    assert report.resampled == (cz.Mismatch("pos_embed", *shapes),)
    assert set(report.loaded) == set(state)
    assert not report.mismatched
    assert "1 resampled" in repr(report)
    for key in state.keys() - {"pos_embed"}:
        np.testing.assert_array_equal(ours[key], state[key])

    # A mapping and `weights=` fill it in the same way.
    again = cz.create_model(name, image_size=size)
    assert again.load_state_dict(state).resampled == report.resampled
    assert np.array_equal(again.state_dict()["pos_embed"], ours["pos_embed"])
    again = cz.create_model(name, image_size=size, num_classes=5, weights=path)
    assert np.array_equal(again.state_dict()["pos_embed"], ours["pos_embed"])
    assert again(images((size, size), 2)).shape == (2, 5)


def test_positions_of_the_same_size_are_kept() -> None:
    state = cz.create_model("vit_b_32", seed=3).state_dict()
    model = cz.create_model("vit_b_32", seed=4)
    assert model.load_state_dict(state).resampled == ()
    np.testing.assert_array_equal(
        model.state_dict()["encoder.pos_embedding"], state["encoder.pos_embedding"]
    )


@pytest.mark.parametrize("shape", [(1, 196, 192), (1, 1, 192), (1, 145, 191), (145, 192)])
def test_positions_of_no_square_are_mismatched(shape: tuple[int, ...]) -> None:
    state = cz.create_model(TINY).state_dict() | {"pos_embed": np.zeros(shape, np.float32)}
    model = cz.create_model(TINY)
    with pytest.raises(cz.WeightsError, match="1 of another shape: `pos_embed`"):
        model.load_state_dict(state)
    assert [m.name for m in model.load_state_dict(state, strict=False).mismatched] == ["pos_embed"]


@pytest.mark.parametrize("name", ["vit_b_32", "vit_small_patch32_224"])
@pytest.mark.parametrize("size", [(224, 256), (192, 192), (112, 448), (230, 230)])
def test_images_of_another_size_are_refused(name: str, size: tuple[int, int]) -> None:
    model = cz.create_model(name)
    with pytest.raises(cz.ShapeError, match=r"expected an image of 224×224, which its positions"):
        model(images(size, 1))


def test_an_image_size_that_holds_no_whole_patches_is_refused() -> None:
    with pytest.raises(cz.ArgumentError, match="a multiple of 32, the patch, got 230"):
        cz.create_model("vit_b_32", image_size=230)
    with pytest.raises(cz.ArgumentError, match="at least a patch of 16, got 15"):
        cz.create_model("vit_ti_16", image_size=15)


def test_preprocess_cuts_to_the_image_size() -> None:
    model = cz.create_model("vit_ti_16", image_size=96)
    assert (model.preprocess.resize, model.preprocess.crop) == (106, 96)
    photo = np.random.default_rng(0).integers(0, 256, (120, 200, 3), dtype=np.uint8)
    assert len(model.predict(photo)) == 5


def kept(line: str, shape: torch.Size) -> torch.Tensor:
    """The factors of a dropout or drop path of ours, alone in a graph, for values of this shape."""
    node, _, rest = line.partition(" = ")
    op, rate = rest.partition("(")[0], rest.rpartition(" rate=")[2]
    size = f"channels={shape[1:].numel()} height=1 width=1"
    lines = ["graph kept", f"input = input() {size}", f"{node} = {op}(input) rate={rate}"]
    graph = cz.Graph.parse("\n".join([*lines, f"f = flatten({node})", "output f"]))
    ones = np.ones((shape[0], shape[1:].numel(), 1, 1), np.float32)
    model = cz.Model.from_graph(graph)
    values, _ = model.vjp(ones, ones[..., 0, 0], training=True, seed=SEED)
    return torch.from_numpy(values).view(shape)


class Dropping(torch.nn.Module):
    """Drops what the next node of ours drops."""

    def __init__(self, lines: Iterator[str], rate: float) -> None:
        super().__init__()
        self.lines = lines
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        line = next(self.lines)
        assert float(line.rpartition(" rate=")[2]) == pytest.approx(self.rate)
        return x * kept(line, x.shape)


def drop_as_ours(module: torch.nn.Module, lines: Iterator[str]) -> None:
    """Replace every dropout and drop path that has a rate."""
    for name, part in module.named_children():
        if rate := getattr(part, "p", 0) or getattr(part, "drop_prob", 0):
            setattr(module, name, Dropping(lines, rate))
        drop_as_ours(part, lines)


@pytest.mark.parametrize(
    ("edition", "theirs", "rates"),
    [
        (Edition("vit_b_32", "torchvision", "vit_b_32"), {"dropout": 0.3}, {"drop_rate": 0.3}),
        (Edition("vit_ti_16", "timm", TINY), {}, {"drop_rate": 0.3, "drop_path_rate": 0.4}),
        (Edition("x", "timm", DISTILLED), {}, {"drop_rate": 0.3, "drop_path_rate": 0.4}),
    ],
    ids=str,
)
def test_rates_drop_where_the_source_drops(
    edition: Edition, theirs: dict[str, Any], rates: dict[str, Any]
) -> None:
    """One after the other, each with the same rate, at the same place."""
    reference = build_reference(edition, image_size=96, **(theirs or rates))
    assert isinstance(reference, TorchReference)
    model = edition.create(image_size=96, **rates)
    model.load_state_dict(reference.state())
    text = str(model.graph).splitlines()
    lines = [line for line in text if " = drop" in line and not line.endswith(" rate=0.0")]
    left = iter(lines)
    drop_as_ours(reference.module, left)
    x = images((96, 96), 4)
    expected = reference.run(x, training=True).detach().numpy()
    assert list(left) == []
    logits, _ = model.vjp(x, np.ones_like(expected), training=True, seed=SEED)
    assert difference(logits, expected) <= ROUNDING
    assert difference(model(x), expected) > 0.01


def test_both_heads_are_one_classifier() -> None:
    edition = Edition("deit_tiny_distilled_16", "timm", DISTILLED)
    module: Any = build_module(edition)
    randomise(module)
    model = edition.create()
    model.load_state_dict(TorchReference(module).state())
    x = images((224, 224), 2)
    with torch.no_grad():
        module.eval()
        tokens = module.forward_features(torch.from_numpy(x))
        pooled = module.forward_head(tokens, pre_logits=True).numpy()
    assert model.num_classes == 1000
    assert difference(model.embed(x), pooled) <= ROUNDING

    before = model.state_dict()
    model.reset_classifier(num_classes=7, seed=1)
    after = model.state_dict()
    assert model(x).shape == (2, 7)
    assert after["head.weight"].shape == after["head_dist.weight"].shape == (7, 192)
    heads = {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}
    assert all(np.array_equal(after[key], before[key]) for key in before.keys() - heads)
    model.reset_classifier(num_classes=0)
    assert model.num_classes == 0
    assert difference(model(x), pooled) <= ROUNDING
    assert cz.create_model(DISTILLED, num_classes=0).state_dict().keys() == before.keys() - heads

    # A graph that a user wrote, too.
    written = cz.Model.from_graph(cz.create_model(DISTILLED).graph)
    written.reset_classifier(num_classes=3)
    assert written(x).shape == (2, 3)
    written.reset_classifier(num_classes=0)
    assert written(x).shape == (2, 192)


def test_embeddings_are_the_class_token() -> None:
    module: Any = timm.create_model(TINY).eval()
    model = cz.create_model(TINY)
    model.load_state_dict(module.state_dict())
    x = images((224, 224), 2)
    with torch.no_grad():
        expected = module.forward_features(torch.from_numpy(x))[:, 0].numpy()
    assert difference(model.embed(x), expected) <= ROUNDING
    # Learned tokens are values like others: one for each image.
    assert model.features(x, ["pos_embed"])["pos_embed"].shape == (2, 197, 192)
    assert model.summary().params == sum(p.numel() for p in module.parameters())
