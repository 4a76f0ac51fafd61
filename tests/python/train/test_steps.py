"""Training steps follow PyTorch's own loop: the same weights, the same batches, dropout off."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import timm.optim.lamb
import torch
from torch.nn import functional

import cnnzoo as cz
from reference import (
    PATCHED,
    Edition,
    build_module,
    channels_last,
    images,
    smallest,
    without_drops,
)
from tolerance import ROUNDING, STATISTICAL, difference

CLASSES = 10
BATCH = 4
STEPS = 50

# Before rounding, which differs where a network is not PyTorch's operation by operation, has grown.
FIRST = 2

# Above so many multiply-adds at the default size, or parameters, a family is left to the slow
# profile.
QUICK_MACS = 1e9
QUICK_PARAMS = 3e7

# What a network needs in training, where not as little as the others.
SIZES = {"Inception-v3": 299, "Inception-v4": 139, "Inception-ResNet-v2": 96, "Xception": 96}
SIZE = 64

# How much the loss of an auxiliary classifier counts, where not as in GoogLeNet's paper.
AUXILIARY = {"Inception-v3": 0.4}

# What rounding alone throws about at the rates of the others, which it takes by this factor.
CALMER = {"Inception-v4": 0.1}


@dataclass(frozen=True)
class Pair:
    """An optimiser of ours and PyTorch's or timm's of the same name."""

    name: str
    lr: float
    plain_lr: float
    """For networks without norms, which else learn too little to tell."""
    ours: Callable[[cz.Model, float], cz.optimizers.Optimizer]
    theirs: Callable[[Any, float], torch.optim.Optimizer]


# Rates at which no network is thrown about by its batches, which norms of four images make easy.
PAIRS = [
    Pair(
        "SGD",
        2e-3,
        5e-2,
        lambda model, lr: cz.SGD(model, lr=lr),
        lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, fused=True),
    ),
    Pair(
        "SGD-momentum",
        5e-4,
        1.25e-2,
        lambda model, lr: cz.SGD(model, lr=lr, momentum=0.9, dampening=0.1, weight_decay=1e-3),
        lambda parameters, lr: torch.optim.SGD(
            parameters, lr=lr, momentum=0.9, dampening=0.1, weight_decay=1e-3, fused=True
        ),
    ),
    Pair(
        "SGD-nesterov",
        5e-4,
        1.25e-2,
        lambda model, lr: cz.SGD(model, lr=lr, momentum=0.9, weight_decay=1e-3, nesterov=True),
        lambda parameters, lr: torch.optim.SGD(
            parameters, lr=lr, momentum=0.9, weight_decay=1e-3, nesterov=True, fused=True
        ),
    ),
    Pair(
        "Adam",
        1e-4,
        1e-4,
        lambda model, lr: cz.Adam(model, lr=lr, weight_decay=1e-3),
        lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, weight_decay=1e-3, fused=True),
    ),
    Pair(
        "AdamW",
        1e-4,
        1e-4,
        lambda model, lr: cz.AdamW(model, lr=lr, betas=(0.8, 0.99), weight_decay=0.05),
        lambda parameters, lr: torch.optim.AdamW(
            parameters, lr=lr, betas=(0.8, 0.99), weight_decay=0.05, fused=True
        ),
    ),
    Pair(
        "RMSprop",
        1e-4,
        4e-4,
        lambda model, lr: cz.RMSprop(
            model, lr=lr, alpha=0.9, eps=0.0316, momentum=0.9, weight_decay=1e-5
        ),
        lambda parameters, lr: torch.optim.RMSprop(
            parameters, lr=lr, alpha=0.9, eps=0.0316, momentum=0.9, weight_decay=1e-5
        ),
    ),
    Pair(
        "RMSprop-centered",
        1e-5,
        1e-4,
        lambda model, lr: cz.RMSprop(model, lr=lr, eps=1e-3, centered=True),
        lambda parameters, lr: torch.optim.RMSprop(parameters, lr=lr, eps=1e-3, centered=True),
    ),
    Pair(
        "LAMB",
        1e-3,
        2e-3,
        lambda model, lr: cz.LAMB(model, lr=lr, weight_decay=0.02),
        lambda parameters, lr: timm.optim.lamb.Lamb(parameters, lr=lr, weight_decay=0.02),
    ),
]


def is_quick(info: cz.ModelInfo) -> bool:
    return info.macs < QUICK_MACS and info.params < QUICK_PARAMS


def cases() -> list[Any]:
    """Every optimiser with every family; by default one of them with each small family."""
    families = sorted(smallest(), key=lambda edition: edition.info.macs)
    return [
        pytest.param(
            edition,
            pair,
            id=f"{edition}-{pair.name}",
            marks=[]
            if index % len(PAIRS) == which and is_quick(edition.info)
            else pytest.mark.slow,
        )
        for index, edition in enumerate(families)
        for which, pair in enumerate(PAIRS)
    ]


def twins(edition: Edition) -> tuple[cz.Model, torch.nn.Module, int]:
    """Ours and theirs with the same weights, and the size of their images."""
    family = edition.info.family
    patched = family in PATCHED
    size = edition.info.input_size if patched else SIZES.get(family, SIZE)
    module = build_module(edition, image_size=size if patched else None, num_classes=CLASSES)
    model = edition.create(num_classes=CLASSES, image_size=size if patched else None, seed=1)
    state_dict = model.state_dict()
    model = cz.Model.from_graph(without_drops(model.graph))
    model.load_state_dict(state_dict)
    state = {name: torch.from_numpy(value.copy()) for name, value in model.state_dict().items()}
    module.load_state_dict(state)
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return model, module.train(), size


def torch_loss(
    module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, auxiliary_weight: float
) -> torch.Tensor:
    """Cross-entropy, where auxiliary classifiers count so much."""
    output = module(x)
    if isinstance(output, torch.Tensor):
        return functional.cross_entropy(output, y)
    logits, *auxiliary = output
    loss = functional.cross_entropy(logits, y)
    for other in auxiliary:
        loss = loss + auxiliary_weight * functional.cross_entropy(other, y)
    return loss


@pytest.mark.parametrize(("edition", "pair"), cases())
def test_fifty_steps_follow_pytorch(edition: Edition, pair: Pair) -> None:
    model, module, size = twins(edition)
    has_norms = any("Norm" in type(part).__name__ for part in module.modules())
    lr = pair.lr if has_norms else pair.plain_lr
    lr *= CALMER.get(edition.info.family, 1.0)
    ours, theirs = pair.ours(model, lr), pair.theirs(module.parameters(), lr)
    generator = np.random.default_rng(0)
    losses, expected = [], []
    # A few batches over and over, so that there is something to learn.
    batches = [
        (images((size, size), BATCH, seed=seed), generator.integers(0, CLASSES, BATCH))
        for seed in range(5)
    ]
    for step in range(STEPS):
        x, y = batches[step % len(batches)]
        losses.append(model.train_step(x, y, ours).loss)
        weight = AUXILIARY.get(edition.info.family, 0.3)
        loss = torch_loss(module, channels_last(x), torch.from_numpy(y), weight)
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        expected.append(loss.item())
    ours_first, theirs_first = np.array(losses[:FIRST]), np.array(expected[:FIRST])
    assert difference(ours_first, theirs_first) <= ROUNDING
    end, their_end = (np.mean(of[-len(batches) :]) for of in (losses, expected))
    assert abs(end - their_end) <= STATISTICAL * expected[0]
    first, last = np.array(expected[: len(batches)]), np.array(expected[-len(batches) :])
    assert np.abs(last - first).mean() > STATISTICAL * expected[0], "the steps lead somewhere"
