"""Every network against its source, on random weights: forward, training mode, gradients, cost.

By default the cheapest editions of every family, source and deviation run; the rest is slow.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import cnnzoo as cz
from reference import (
    FLATTENED,
    PATCHED,
    Array,
    Edition,
    KerasReference,
    Reference,
    build_module,
    cheapest,
    editions,
    images,
    pair,
)
from tolerance import (
    LEAST_GRADIENT,
    ROUNDING,
    ROUNDING_IN_ANOTHER_LAYOUT,
    ROUNDING_OF_GRADIENTS,
    difference,
)

EDITIONS = editions()

# How many editions of each group run by default.
QUICK = 2

# Above this many multiply-adds the default size of the image is left to the slow profile.
QUICK_MACS = 2e9

# Keras convolves in another layout, so values differ in their last bits. Where one is almost zero,
# or two in a window are almost equal, ReLU or the pool decides otherwise, and a gradient jumps: in
# small images of VGG by up to 5e-2 in 4 of 40 draws, where the others agreed to 4e-6. So gradients
# are compared with norms that keep away from zero, on this many batches in turn, of which one has
# to agree: a gradient that is wrong agrees for no image.
KERAS_TRIES = 3

# Families whose checkpoints hold a shortcut's convolution before the norm that it reads, while a
# graph has it after.
REORDERED = {"ResNet-v2"}

# Pixels that a network needs so that no window is larger than what it slides over.
SMALLEST: dict[str, int] = {}


def params(quick: list[Edition]) -> list[object]:
    """Every edition, where those that are not quick are marked slow."""
    chosen = set(quick)
    return [
        pytest.param(edition, id=str(edition), marks=[] if edition in chosen else pytest.mark.slow)
        for edition in EDITIONS
    ]


@pytest.mark.parametrize("edition", params(list(cheapest(EDITIONS, QUICK))))
def test_evaluation_and_training_equal_the_source(edition: Edition) -> None:
    sides = sides_of_one_size(edition)
    if sides is not None:
        one_size_equals_the_source(edition, *sides)
        return
    model, reference = pair(edition)
    more = max(0, SMALLEST.get(edition.info.family, 0) - 65)

    # Odd sizes that no stage divides evenly.
    for (height, width), batch in (((65, 97), 1), ((96, 71), 3)):
        evaluation_equals(model, reference, images((height + more, width + more), batch))
    gradients_equal(edition, (65 + more, 78 + more))


def sides_of_one_size(edition: Edition) -> tuple[int, int, int] | None:
    """For networks drawn for one size of a square image: two to evaluate, and one to train."""
    if edition.source_name in FLATTENED:
        return 97, 71, 33
    if edition.info.family in PATCHED:
        patch = next(shape[-1] for _, shape, _ in edition.graph().parameters() if len(shape) == 4)
        # timm leaves out the pixels that fill no patch.
        return 5 * patch + (3 if edition.source == "timm" else 0), 3 * patch, 3 * patch
    return None


def one_size_equals_the_source(edition: Edition, alone: int, three: int, training: int) -> None:
    """The same, for the network drawn anew for each size."""
    for side, batch in ((alone, 1), (three, 3)):
        model, reference = pair(edition, image_size=side)
        evaluation_equals(model, reference, images((side, side), batch))
    gradients_equal(edition, (training, training), image_size=training)


def gradients_equal(
    edition: Edition, size: tuple[int, int], *, image_size: int | None = None
) -> None:
    """One training step on images of this size."""
    is_keras = edition.source == "keras"
    for seed in range(1, 1 + (KERAS_TRIES if is_keras else 1)):
        model, reference = pair(edition, image_size=image_size, smooth=True)
        worst, key = worst_gradient(model, reference, images(size, 4, seed=seed))
        if worst <= (ROUNDING_IN_ANOTHER_LAYOUT if is_keras else ROUNDING_OF_GRADIENTS):
            return
    pytest.fail(f"gradient of {key}: {worst:.1e}")


def evaluation_equals(model: cz.Model, reference: Reference, x: Array) -> None:
    expected = reference.run(x, training=False).numpy()
    assert difference(model(x), expected) <= ROUNDING, f"evaluation of {x.shape}"


def worst_gradient(model: cz.Model, reference: Reference, x: Array) -> tuple[float, str]:
    """The largest difference between gradients of one training step, and whose it is.

    Batch statistics, and the running statistics after them, have to equal.
    """
    logits = reference.run(x, training=True)
    cotangent = np.random.default_rng(2).standard_normal(logits.shape).astype(np.float32)
    logits.backward(torch.from_numpy(cotangent))
    ours, gradients = model.vjp(x, cotangent, training=True)
    assert difference(ours, logits.detach().numpy()) <= ROUNDING, "training"
    state = model.state_dict()
    for key, value in reference.state().items():
        if not (key.endswith("running_var") and reference.biased_variance()):
            assert difference(state[key], value) <= ROUNDING, f"after the step: {key}"
    originals = reference.gradients()
    assert gradients.keys() == originals.keys()
    usual = float(np.median([np.abs(gradient).max() for gradient in originals.values()]))
    floor = LEAST_GRADIENT * usual if isinstance(reference, KerasReference) else 0.0
    return max(
        (difference(gradients[key], value, floor=floor), key) for key, value in originals.items()
    )


@pytest.mark.parametrize(
    "edition", params([e for e in cheapest(EDITIONS, 1) if e.info.macs <= QUICK_MACS])
)
def test_the_default_size_equals_the_source(edition: Edition) -> None:
    model, reference = pair(edition)
    size = edition.info.input_size
    x = images((size, size), 1)
    assert difference(model(x), reference.run(x, training=False).numpy()) <= ROUNDING


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source != "keras"], ids=str)
def test_names_shapes_order_and_cost_equal_the_source(edition: Edition) -> None:
    module = build_module(edition, meta=True).eval()
    info = edition.info
    theirs = [(key, list(value.shape)) for key, value in module.state_dict().items()]
    ours = [(key, shape) for key, shape, _ in edition.graph().parameters()]
    in_order = sorted if info.family in REORDERED else list
    assert in_order(ours) == in_order(theirs)
    assert info.params == sum(p.numel() for p in module.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(1, 3, info.input_size, info.input_size, device="meta"))
    assert info.macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source == "keras"], ids=str)
def test_names_shapes_and_counts_equal_keras(edition: Edition) -> None:
    reference = KerasReference(edition)
    theirs = {key: list(value.shape) for key, value in reference.state().items()}
    ours = {
        key: shape
        for key, shape, _ in edition.graph().parameters()
        if not key.endswith("num_batches_tracked")
    }
    assert ours == theirs
    trained = sum(int(np.prod(v.shape)) for v in reference.model.trainable_variables)
    assert edition.info.params == trained
