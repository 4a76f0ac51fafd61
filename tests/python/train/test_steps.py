"""Training steps follow PyTorch's own loop: the same weights, the same batches, dropout off."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import timm.optim.lamb
import torch
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from reference import (
    Edition,
    build_module,
    channels_last,
    images,
    smallest,
    without_drops,
)
from tolerance import ROUNDING, STATISTICAL, TIMES_THE_LAST_BIT

CLASSES = 10
BATCH = 4
STEPS = 50

# The steps before rounding has grown to what training does. They take a small share of the rate,
# as in a warm-up; the loss moves by some thousand times `ROUNDING` all the same.
FIRST = 2
WARM_UP = 0.02

# How often PyTorch takes its first steps with other last bits, to see what rounding makes of them.
NUDGES = 8

# Above so many multiply-adds at the default size, or parameters, a family is left to the slow
# profile.
QUICK_MACS = 1.2e9
QUICK_PARAMS = 3e7

# Sizes at which the last batch statistics come from enough values, where not from the usual one.
SIZES = {"Inception-v4": 139, "Inception-ResNet-v2": 139, "Xception": 96}
SIZE = 64

# How much the loss of an auxiliary classifier counts, where not as in GoogLeNet's paper.
AUXILIARY = {"Inception-v3": 0.4}

# What rounding alone throws about at the rates of the others, which it takes by this factor.
CALMER = {"Inception-v4": 0.2}


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


def training_size(edition: Edition) -> int:
    """A small image that the network can train on."""
    return max(SIZES.get(edition.info.family, SIZE), edition.info.min_training_image_size)


def twins(edition: Edition) -> tuple[cz.Model, torch.nn.Module, int]:
    """Ours and theirs with the same weights, and the size of their images."""
    size = training_size(edition)
    built_for = size if edition.info.fixed_image_size else None
    module = build_module(edition, image_size=built_for, num_classes=CLASSES)
    model = edition.create(num_classes=CLASSES, image_size=built_for, seed=1)
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


Batches = list[tuple[NDArray[np.float32], NDArray[np.int64]]]


def rate(lr: float, step: int) -> float:
    """The movement on both sides."""
    return lr * WARM_UP if step < FIRST else lr


def torch_losses(
    module: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    lr: float,
    batches: Batches,
    auxiliary_weight: float,
) -> NDArray[np.float64]:
    """The result of PyTorch's own loop on these batches."""
    losses = []
    for step, (x, y) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = rate(lr, step)
        loss = torch_loss(module, channels_last(x), torch.from_numpy(y), auxiliary_weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses)


def nudged(module: torch.nn.Module, batches: Batches, seed: int) -> tuple[torch.nn.Module, Batches]:
    """The same with other last bits."""
    generator = np.random.default_rng(seed)

    def nudge(shape: tuple[int, ...]) -> NDArray[np.float32]:
        ulps = generator.integers(-1, 2, shape, np.int8)
        return np.asarray(1 + ulps * np.finfo(np.float32).eps, np.float32)

    module = copy.deepcopy(module)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(torch.from_numpy(nudge(tuple(parameter.shape))))
    return module, [(x * nudge(x.shape), y) for x, y in batches]


@pytest.mark.parametrize(("edition", "pair"), cases())
def test_fifty_steps_follow_pytorch(edition: Edition, pair: Pair) -> None:
    model, module, size = twins(edition)
    has_norms = any("Norm" in type(part).__name__ for part in module.modules())
    lr = pair.lr if has_norms else pair.plain_lr
    lr *= CALMER.get(edition.info.family, 1.0)
    weight = AUXILIARY.get(edition.info.family, 0.3)
    generator = np.random.default_rng(0)
    few = [
        (images((size, size), BATCH, seed=seed), generator.integers(0, CLASSES, BATCH))
        for seed in range(5)
    ]
    # The first one until the rate is up, and then all of them over and over, so that there is
    # something to learn.
    batches = [few[0]] * FIRST + few * (STEPS // len(few))

    def theirs(module: torch.nn.Module, batches: Batches) -> NDArray[np.float64]:
        optimizer = pair.theirs(module.parameters(), lr)
        return torch_losses(module, optimizer, lr, batches, weight)

    def last(losses: NDArray[np.float64]) -> float:
        return float(np.mean(losses[-len(few) :]))

    def with_other_bits(batches: Batches) -> NDArray[np.float64]:
        return np.array([theirs(*nudged(unused, batches, seed)) for seed in range(NUDGES)])

    unused = copy.deepcopy(module)
    optimizer = pair.ours(model, lr)
    losses = []
    for step, (x, y) in enumerate(batches):
        optimizer.lr = rate(lr, step)
        losses.append(model.train_step(x, y, optimizer).loss)
    ours = np.array(losses)
    expected = theirs(module, batches)

    start = expected[:FIRST]
    noise = np.abs(with_other_bits(batches[:FIRST]) - start).max(axis=0)
    rounding = np.maximum(
        ROUNDING * np.abs(start).max(), TIMES_THE_LAST_BIT * np.maximum.accumulate(noise)
    )
    assert (np.abs(ours[:FIRST] - start) <= rounding).all(), "rounding explains the first steps"

    # Some networks are thrown about by what rounding leaves: PyTorch's loop ends up elsewhere too.
    ends, apart = [last(expected)], STATISTICAL * expected[0]
    if abs(last(ours) - ends[0]) > apart:
        ends.extend(last(losses) for losses in with_other_bits(batches))
    assert min(ends) - apart <= last(ours) <= max(ends) + apart, "the last steps are PyTorch's"
    moved = expected[-len(few) :] - expected[FIRST : FIRST + len(few)]
    assert np.abs(moved).mean() > apart, "the steps lead somewhere"
