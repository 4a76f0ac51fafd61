"""VGG against table 1 and table 2 of its paper (Simonyan and Zisserman, arXiv:1409.1556)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# Kernel and channels of every convolution (table 1), and millions of parameters (table 2).
COLUMNS: dict[str, tuple[str, int]] = {
    "vgg11": ("3-64 pool 3-128 pool 3-256 3-256 pool 3-512 3-512 pool 3-512 3-512 pool", 133),
    "vgg11_lrn": (
        "3-64 lrn pool 3-128 pool 3-256 3-256 pool 3-512 3-512 pool 3-512 3-512 pool",
        133,
    ),
    "vgg13": (
        "3-64 3-64 pool 3-128 3-128 pool 3-256 3-256 pool 3-512 3-512 pool 3-512 3-512 pool",
        133,
    ),
    "vgg16_1x1": (
        "3-64 3-64 pool 3-128 3-128 pool 3-256 3-256 1-256 pool 3-512 3-512 1-512 pool"
        " 3-512 3-512 1-512 pool",
        134,
    ),
    "vgg16": (
        "3-64 3-64 pool 3-128 3-128 pool 3-256 3-256 3-256 pool 3-512 3-512 3-512 pool"
        " 3-512 3-512 3-512 pool",
        138,
    ),
    "vgg19": (
        "3-64 3-64 pool 3-128 3-128 pool 3-256 3-256 3-256 3-256 pool 3-512 3-512 3-512 3-512 pool"
        " 3-512 3-512 3-512 3-512 pool",
        144,
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_layers_are_those_of_table_1_and_parameters_those_of_table_2(name: str) -> None:
    column, millions = COLUMNS[name]
    model = cz.create_model(name, meta=True)
    shapes = {p.split(".weight")[0]: s for p, s, _ in model.graph.parameters()}
    drawn = []
    for row in model.summary():
        if row.op == "conv":
            out, _, kernel, _ = shapes[row.name]
            drawn.append(f"{kernel}-{out}")
        elif row.op in {"pool", "lrn"}:
            drawn.append(row.op)
    assert " ".join(drawn) == column
    linear = [row.shape for row in model.summary() if row.op == "linear"]
    assert linear == [(4096,), (4096,), (1000,)]
    assert round(model.summary().params / 1e6) == millions


def written_out(column: str, x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """A column of table 1 in PyTorch, over the parameters in their order."""
    arrays = iter(p.values())
    for word in column.split():
        if word == "pool":
            x = F.max_pool2d(x, 2)
        elif word == "lrn":
            x = F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
        else:
            x = F.relu(F.conv2d(x, next(arrays), next(arrays), padding=int(word[0]) // 2))
    x = F.relu(F.linear(x.flatten(1), next(arrays), next(arrays)))
    x = F.relu(F.linear(x, next(arrays), next(arrays)))
    return F.linear(x, next(arrays), next(arrays))


@pytest.mark.parametrize("name", ["vgg11_lrn", "vgg16_1x1"])
@pytest.mark.parametrize(("size", "batch"), [(97, 1), (65, 3)])
def test_the_papers_own_columns_equal_them_written_out(name: str, size: int, batch: int) -> None:
    model = cz.create_model(name, image_size=size, drop_rate=0.0)
    parameters = {
        key: torch.from_numpy(value.copy()).requires_grad_()
        for key, value in model.state_dict().items()
    }
    x = 50 * images((size, size), batch)
    expected = written_out(COLUMNS[name][0], torch.from_numpy(x), parameters)
    cotangent = np.random.default_rng(1).standard_normal((batch, 1000)).astype(np.float32)
    assert difference(model(x), expected.detach().numpy()) <= ROUNDING
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, expected.detach().numpy()) <= ROUNDING
    expected.backward(torch.from_numpy(cotangent))
    assert gradients.keys() == parameters.keys()
    for key, parameter in parameters.items():
        assert parameter.grad is not None
        assert difference(gradients[key], parameter.grad.numpy()) <= ROUNDING_OF_GRADIENTS, key
