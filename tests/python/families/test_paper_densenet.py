"""DenseNet against its paper (Huang et al., arXiv:1608.06993): tables 1 and 2, and written out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torchvision

import cnnzoo as cz
from reference import TorchReference, images, randomise
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# Layers of each block, in tables 1 and 2.
BLOCKS = {
    "densenet121": (6, 12, 24, 16),
    "densenet169": (6, 12, 32, 32),
    "densenet201": (6, 12, 48, 32),
    "densenet264": (6, 12, 64, 48),
    "densenet40": (12, 12, 12),
    "densenet_bc100": (16, 16, 16),
}

# Their names say how many layers there are. Of the deepest it says one too few: table 1 has 265.
LAYERS = {
    "densenet121": 121,
    "densenet169": 169,
    "densenet201": 201,
    "densenet264": 265,
    "densenet40": 40,
    "densenet_bc100": 100,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_depth_and_widths_are_those_of_the_tables(name: str) -> None:
    rows = cz.create_model(name, meta=True).summary()
    weighted = [row for row in rows if row.op in {"conv", "linear"}]
    assert len(weighted) == LAYERS[name]
    growth = 12 if len(BLOCKS[name]) == 3 else 32
    written = [row for row in rows if row.op == "conv" and row.shape[0] == growth]
    assert len(written) == sum(BLOCKS[name])


@pytest.mark.parametrize("name", [name for name in BLOCKS if len(BLOCKS[name]) == 4])
def test_sizes_are_those_of_table_1(name: str) -> None:
    rows = {row.name: row.shape for row in cz.create_model(name, meta=True).summary()}
    assert rows["features.conv0"] == (64, 112, 112)
    assert rows["features.pool0"] == (64, 56, 56)
    channels = 64
    for block, (depth, side) in enumerate(zip(BLOCKS[name], (56, 28, 14, 7), strict=True), 1):
        channels += 32 * depth
        assert rows[f"features.denseblock{block}.cat"] == (channels, side, side)
        if block < 4:
            channels //= 2
            assert rows[f"features.transition{block}.conv"] == (channels, side, side)


@pytest.mark.parametrize(("name", "millions"), [("densenet40", 1.0), ("densenet_bc100", 0.8)])
def test_parameters_are_those_of_table_2(name: str, millions: float) -> None:
    info = cz.model_info(name)
    assert round(info.params / 1e6, 1) == millions
    assert (info.num_classes, info.input_size) == (10, 32)
    assert cz.create_model(name, num_classes=100, meta=True).num_classes == 100


@pytest.mark.slow
def test_densenet264_equals_the_block_of_torchvision_in_its_depth() -> None:
    theirs = torchvision.models.DenseNet(block_config=BLOCKS["densenet264"])
    randomise(theirs)
    reference = TorchReference(theirs)
    ours = cz.densenet264()
    ours.load_state_dict(reference.state())
    x = images((65, 97), 2)
    assert difference(ours(x), reference.run(x, training=False).numpy()) <= ROUNDING


def written_out(
    name: str, x: torch.Tensor, p: dict[str, torch.Tensor], *, training: bool
) -> torch.Tensor:
    """A network of section 3, "Implementation details", over its arrays in their order."""
    arrays = iter(p.values())

    def norm_relu(x: torch.Tensor) -> torch.Tensor:
        scale, shift, mean, variance, _ = (next(arrays) for _ in range(5))
        x = F.batch_norm(x, mean.clone(), variance.clone(), scale, shift, training=training)
        return F.relu(x)

    x = F.conv2d(x, next(arrays), padding=1)
    for block, depth in enumerate(BLOCKS[name]):
        if block > 0:
            x = F.avg_pool2d(F.conv2d(norm_relu(x), next(arrays)), 2)
        for _ in range(depth):
            new = x
            if name == "densenet_bc100":
                new = F.conv2d(norm_relu(new), next(arrays))
            x = torch.cat([x, F.conv2d(norm_relu(new), next(arrays), padding=1)], dim=1)
    x = norm_relu(x).mean(dim=(2, 3))
    return F.linear(x, next(arrays), next(arrays))


def arrays_of(model: cz.Model) -> Iterator[tuple[str, torch.Tensor]]:
    for key, value in model.state_dict().items():
        trained = key.endswith(("weight", "bias"))
        yield key, torch.from_numpy(value.copy()).requires_grad_(trained)


@pytest.mark.parametrize("name", ["densenet40", "densenet_bc100"])
def test_the_networks_for_cifar_equal_them_written_out(name: str) -> None:
    model = cz.create_model(name, seed=3)
    p = dict(arrays_of(model))
    with torch.no_grad():
        randomise_arrays(p)
    model.load_state_dict({key: value.detach().numpy() for key, value in p.items()})
    for size, batch in (((33, 47), 1), ((32, 32), 3)):
        x = images(size, batch)
        expected = written_out(name, torch.from_numpy(x), p, training=False)
        assert difference(model(x), expected.detach().numpy()) <= ROUNDING
    expected = written_out(name, torch.from_numpy(x), p, training=True)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, expected.detach().numpy()) <= ROUNDING
    expected.backward(torch.from_numpy(cotangent))
    for key, gradient in gradients.items():
        grad = p[key].grad
        assert grad is not None
        assert difference(gradient, grad.numpy()) <= ROUNDING_OF_GRADIENTS, key


def randomise_arrays(arrays: dict[str, torch.Tensor]) -> None:
    """So that no norm is the identity."""
    generator = torch.Generator().manual_seed(0)
    for key, array in arrays.items():
        if array.ndim == 1 and key.endswith(("weight", "running_var")):
            array.uniform_(0.5, 1.5, generator=generator)
        elif array.ndim == 1:
            array.normal_(0, 0.2, generator=generator)
