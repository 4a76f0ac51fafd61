"""ResNet against its paper (He et al., arXiv:1512.03385): tables 1 and 6, and written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# Blocks of each stage: table 1, and section 4.2, where depth is 6n + 2.
BLOCKS = {
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
    "plain18": (2, 2, 2, 2),
    "plain34": (3, 4, 6, 3),
    **{f"{kind}{6 * n + 2}": (n, n, n) for kind in ("resnet", "plain") for n in (3, 5, 7, 9, 18)},
}
IMAGENET = [name for name in BLOCKS if len(BLOCKS[name]) == 4]
CIFAR = [name for name in BLOCKS if len(BLOCKS[name]) == 3]
BOTTLENECKS = {"resnet50", "resnet101", "resnet152"}


def info(name: str) -> cz.ModelInfo:
    return cz.model_info(name, source="paper")


def create(name: str, **options: object) -> cz.Model:
    return cz.create_model(name, source="paper", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_name_counts_the_weighted_layers(name: str) -> None:
    rows = create(name, meta=True).summary()
    weighted = [
        row for row in rows if row.op in {"conv", "linear"} and "downsample" not in row.name
    ]
    assert len(weighted) == int(name.removeprefix("resnet").removeprefix("plain"))
    added = sum(row.op == "add" for row in rows)
    assert added == (0 if name.startswith("plain") else sum(BLOCKS[name]))


@pytest.mark.parametrize("name", IMAGENET)
def test_sizes_are_those_of_table_1(name: str) -> None:
    rows = {row.name: row.shape for row in create(name, meta=True).summary()}
    assert rows["conv1"] == (64, 112, 112)
    assert rows["maxpool"] == (64, 56, 56)
    wide = 4 if name in BOTTLENECKS else 1
    last = "conv3" if name in BOTTLENECKS else "conv2"
    for stage, depth in enumerate(BLOCKS[name], 1):
        channels, side = 32 << stage, 112 >> stage
        for block in range(depth):
            path = f"layer{stage}.{block}"
            assert rows[f"{path}.conv1"] == (channels, side, side)
            assert rows[f"{path}.{last}"] == (wide * channels, side, side)
    assert rows["avgpool"] == (wide * 512, 1, 1)


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("resnet18", 1.8),
        ("resnet34", 3.6),
        ("resnet50", 3.8),
        ("resnet101", 7.6),
        ("resnet152", 11.3),
        ("plain18", 1.8),
        ("plain34", 3.6),
    ],
)
def test_multiply_adds_are_those_of_table_1(name: str, billions: float) -> None:
    """Where the paper's number does not round, it is cut: 3.86 is 3.8 there."""
    assert billions - 0.05 < info(name).macs / 1e9 < billions + 0.1


@pytest.mark.parametrize("name", CIFAR)
def test_sizes_are_those_of_section_4_2(name: str) -> None:
    rows = {row.name: row.shape for row in create(name, meta=True).summary()}
    assert rows["conv1"] == (16, 32, 32)
    for stage, depth in enumerate(BLOCKS[name], 1):
        for block in range(depth):
            channels, side = 8 << stage, 64 >> stage
            assert rows[f"layer{stage}.{block}.conv1"] == (channels, side, side)
            assert rows[f"layer{stage}.{block}.conv2"] == (channels, side, side)
    assert rows["avgpool"] == (64, 1, 1)
    assert (info(name).num_classes, info(name).input_size) == (10, 32)


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")]
)
def test_parameters_are_those_of_table_6(depth: int, millions: str) -> None:
    digits = len(millions.partition(".")[2])
    assert f"{info(f'resnet{depth}').params / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize("depth", [18, 34, 20, 32, 44, 56, 110])
def test_shortcuts_have_no_parameters(depth: int) -> None:
    """Section 4.1: option A needs no more than the plain counterpart, which has the same names."""
    plain, residual = (create(f"{kind}{depth}", meta=True) for kind in ("plain", "resnet"))
    assert plain.graph.parameters() == residual.graph.parameters()
    assert info(f"plain{depth}").macs == info(f"resnet{depth}").macs


def written_out(
    name: str, x: torch.Tensor, p: dict[str, torch.Tensor], *, training: bool
) -> torch.Tensor:
    """A network of table 1 or section 4.2 over its arrays."""

    def conv_norm(x: torch.Tensor, conv: str, norm: str, stride: int = 1) -> torch.Tensor:
        weight = p[f"{conv}.weight"]
        x = F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)
        mean, variance = (p[f"{norm}.running_{what}"].clone() for what in ("mean", "var"))
        shift = p[f"{norm}.bias"]
        return F.batch_norm(x, mean, variance, p[f"{norm}.weight"], shift, training=training)

    large = name in IMAGENET
    x = F.relu(conv_norm(x, "conv1", "bn1", stride=2 if large else 1))
    if large:
        x = F.max_pool2d(x, 3, 2, 1)
    for stage, depth in enumerate(BLOCKS[name], 1):
        for block in range(depth):
            path = f"layer{stage}.{block}"
            first = block == 0
            stride = 2 if first and stage > 1 else 1
            y = x
            for number in range(1, 4 if name in BOTTLENECKS else 3):
                y = F.relu(y) if number > 1 else y
                step = stride if number == 1 else 1
                y = conv_norm(y, f"{path}.conv{number}", f"{path}.bn{number}", step)
            if first and name in BOTTLENECKS:  # option B
                x = conv_norm(x, f"{path}.downsample.0", f"{path}.downsample.1", stride)
            elif stride == 2:  # option A
                x = x[:, :, ::2, ::2]
                x = torch.cat([x, torch.zeros_like(x)], dim=1)
            x = F.relu(y if name.startswith("plain") else y + x)
    x = x.mean(dim=(2, 3))
    return F.linear(x, p["fc.weight"], p["fc.bias"])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in {"resnet20", "plain20"} else pytest.mark.slow)
        for name in BLOCKS
    ],
)
def test_networks_equal_them_written_out(name: str) -> None:
    model = create(name, seed=3)
    generator = torch.Generator().manual_seed(0)
    p: dict[str, torch.Tensor] = {}
    for key, value in model.state_dict().items():
        array = torch.from_numpy(value.copy())
        if array.ndim == 1 and key.endswith(("weight", "running_var")):
            array.uniform_(0.5, 1.5, generator=generator)
        elif array.ndim == 1:
            array.normal_(0, 0.2, generator=generator)
        p[key] = array.requires_grad_(key.endswith(("weight", "bias")))
    model.load_state_dict({key: value.detach().numpy() for key, value in p.items()})

    sizes = ((65, 97), (96, 71)) if name in IMAGENET else ((33, 47), (32, 32))
    for size, batch in zip(sizes, (1, 3), strict=True):
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


@pytest.mark.parametrize("name", ["resnet20", "plain18"])
def test_weights_start_as_the_paper_says(name: str) -> None:
    """Section 4.2: as in arXiv:1502.01852, by the square root of 2 over the fan-in."""
    for key, value in create(name).state_dict().items():
        if value.ndim in {2, 4} and value.size >= 256:
            fan_in = value[0].size
            error = 5 / np.sqrt(value.size)
            assert abs(value.std() * np.sqrt(fan_in / 2) - 1) < 2 * error, key
