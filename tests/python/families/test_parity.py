"""Every network against its source, on random weights: forward, training mode, gradients, cost.

By default the cheapest editions of every family, source and deviation run; the rest is slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import cnnzoo as cz
from differences import Differences
from reference import (
    FAMILIES_OUT_OF_ORDER,
    OUT_OF_ORDER,
    Array,
    Edition,
    KerasReference,
    Reference,
    TorchReference,
    build_module,
    cheapest,
    editions,
    images,
    pair,
    without_kinks,
)
from tolerance import (
    FUSED,
    FUSED_TIMES,
    LEAST_GRADIENT,
    ROUNDING,
    ROUNDING_IN_ANOTHER_LAYOUT,
    ROUNDING_OF_GRADIENTS,
    VALUES_IN_ANOTHER_LAYOUT,
    difference,
)

EDITIONS = editions()

# How many editions of each group run by default.
QUICK = 1

# Above this many multiply-adds the default size of the image is left to the slow profile.
QUICK_MACS = 2e9

# Keras convolves in another layout, so values differ in their last bits. Where one is almost zero,
# or two in a window are almost equal, ReLU or the pool decides otherwise, and a gradient jumps: in
# small images of VGG by up to 5e-2 in 4 of 40 draws, where the others agreed to 4e-6. So gradients
# are compared with norms that keep away from zero, on this many batches in turn, of which one has
# to agree: a gradient that is wrong agrees for no image.
KERAS_TRIES = 5

# Their activations bend nowhere, so no gradient jumps, and norms that do not almost cancel agree
# ten times as well.
WITHOUT_BENDS = {"EfficientNet", "EfficientNetV2"}

# Networks of Keras whose norms have no scale, so that they put some values near zero whatever their
# shift: gradients are compared with functions in both that bend and choose nowhere, which any image
# allows, on two images of so many pixels; the last batch statistics come from 18 values then.
WITHOUT_KINKS = {"Inception-v3": 139, "Inception-ResNet-v2": 139}

# Images that are told apart by less than this are no test: far above `ROUNDING`.
LEAST_SPREAD = 0.05

# Images of a training step in Keras. Without skips, and with a last stage of 2×2 pixels that are
# all corners, what tells images apart there is little beside what tells corners apart: Keras's own
# gradients in float32 are up to 4e-3 from those in float64, and 1e-3 for images of this size.
KERAS_TRAINING_SIDE = {"MobileNet": 129}


def params(quick: list[Edition]) -> list[object]:
    """Every edition, where those that are not quick are marked slow."""
    chosen = set(quick)
    return [
        pytest.param(edition, id=str(edition), marks=[] if edition in chosen else pytest.mark.slow)
        for edition in EDITIONS
    ]


@dataclass(frozen=True)
class Comparison:
    """One edition with its source; the differences are written down."""

    edition: Edition
    differences: Differences

    def evaluation(self, model: cz.Model, reference: Reference, x: Array) -> None:
        expected = reference.run(x, training=False).numpy()
        spread = np.ptp(expected, axis=0).max() / np.abs(expected).max()
        assert len(x) == 1 or spread > LEAST_SPREAD, "the logits hardly depend on the image"
        found = difference(model(x, exact=True), expected)
        self.differences.add(str(self.edition), "evaluation", found)
        assert found <= rounding_of(reference), f"evaluation of {x.shape}"
        native = model(x)
        found = difference(native, expected)
        self.differences.add(str(self.edition), "native", found)
        if found > FUSED and isinstance(reference, TorchReference):
            exact = reference.in_float64(x)
            ours, theirs = difference(native, exact), difference(expected, exact)
            assert ours <= FUSED_TIMES * theirs, f"native evaluation of {x.shape} beside float64"
        else:
            assert found <= FUSED, f"native evaluation of {x.shape}"

    def training(
        self,
        drawn: tuple[cz.Model, Reference],
        size: tuple[int, int],
        *,
        image_size: int | None = None,
    ) -> None:
        """One step on images of this size, for Keras with other weights than those drawn before."""
        is_keras = self.edition.source == "keras"
        family = self.edition.info.family
        tolerance = ROUNDING_IN_ANOTHER_LAYOUT if is_keras else ROUNDING_OF_GRADIENTS
        if not is_keras:
            step = one_step(*drawn, images(size, 4, seed=1))
        elif family in WITHOUT_KINKS:
            step = self.step_without_kinks(WITHOUT_KINKS[family])
        else:
            smooth = family not in WITHOUT_BENDS
            # Steps change running statistics alone, which a step does not read.
            model, reference = pair(self.edition, image_size=image_size, smooth=smooth)
            for seed in range(1, 1 + KERAS_TRIES):
                step = one_step(model, reference, images(size, 4, seed=seed))
                if step.gradient <= tolerance:
                    break
        self.differences.add(str(self.edition), "training", step.values)
        self.differences.add(str(self.edition), "gradients", step.gradient)
        assert step.gradient <= tolerance, f"gradient of {step.worst}"

    def step_without_kinks(self, side: int) -> Step:
        """One with other functions, after one with the network's own for its values."""
        x = images((side, side), 2)
        own = one_step(*pair(self.edition, image_size=side, smooth=True), x)
        model, reference = pair(self.edition, image_size=side)
        assert isinstance(reference, KerasReference)
        step = one_step(without_kinks(model, reference), reference, x)
        return step._replace(values=max(step.values, own.values))


@pytest.mark.parametrize("edition", params(list(cheapest(EDITIONS, QUICK))))
def test_evaluation_and_training_equal_the_source(
    edition: Edition, differences: Differences
) -> None:
    comparison = Comparison(edition, differences)
    sides = sides_of_one_size(edition)
    if sides is not None:
        # Drawn anew for each size.
        *evaluated, trained = sides
        for side, batch in zip(evaluated, (1, 3), strict=True):
            model, reference = pair(edition, image_size=side)
            comparison.evaluation(model, reference, images((side, side), batch))
        comparison.training((model, reference), (trained, trained), image_size=trained)
        return
    model, reference = pair(edition)
    more = max(0, edition.info.min_image_size - 65)

    # Odd sizes that no stage divides evenly.
    for (height, width), batch in (((65, 97), 1), ((96, 71), 3)):
        comparison.evaluation(model, reference, images((height + more, width + more), batch))
    more = max(more, edition.info.min_training_image_size - 65)
    if edition.source == "keras":
        more = max(more, KERAS_TRAINING_SIDE.get(edition.info.family, 0) - 65)
    comparison.training((model, reference), (65 + more, 78 + more))


def sides_of_one_size(edition: Edition) -> tuple[int, int, int] | None:
    """For networks drawn for one size of a square image: two to evaluate, and one to train."""
    if not edition.info.fixed_image_size:
        return None
    least = edition.info.min_image_size
    if edition.source == "keras":
        return 3 * least + 1, 2 * least + 7, least + 1
    # timm leaves out the pixels that fill no patch.
    return 5 * least + (3 if edition.source == "timm" else 0), 3 * least, 3 * least


def rounding_of(reference: Reference) -> float:
    """The change of values by rounding, beside those of the reference."""
    return VALUES_IN_ANOTHER_LAYOUT if isinstance(reference, KerasReference) else ROUNDING


class Step(NamedTuple):
    """The distance of one training step from the source's."""

    values: float
    gradient: float
    # Whose gradient differs most.
    worst: str


def one_step(model: cz.Model, reference: Reference, x: Array) -> Step:
    """One training step of both, whose logits and running statistics have to equal."""
    logits = reference.run(x, training=True)
    cotangent = np.random.default_rng(2).standard_normal(logits.shape).astype(np.float32)
    logits.backward(torch.from_numpy(cotangent))
    ours, gradients = model.vjp(x, cotangent, training=True)
    values = difference(ours, logits.detach().numpy())
    rounding = rounding_of(reference)
    assert values <= rounding, "training"
    state = model.state_dict()
    for key, value in reference.state().items():
        if not (key.endswith("running_var") and reference.biased_variance()):
            found = difference(state[key], value)
            assert found <= rounding, f"after the step: {key}"
            values = max(values, found)
    originals = reference.gradients()
    assert gradients.keys() == originals.keys()
    usual = float(np.median([np.abs(gradient).max() for gradient in originals.values()]))
    floor = LEAST_GRADIENT * usual if isinstance(reference, KerasReference) else 0.0
    gradient, worst = max(
        (difference(gradients[key], value, floor=floor), key) for key, value in originals.items()
    )
    return Step(values, gradient, worst)


@pytest.mark.parametrize(
    "edition", params([e for e in cheapest(EDITIONS, 1) if e.info.macs <= QUICK_MACS])
)
def test_the_default_size_equals_the_source(edition: Edition, differences: Differences) -> None:
    model, reference = pair(edition)
    size = edition.info.input_size
    Comparison(edition, differences).evaluation(model, reference, images((size, size), 1))


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source != "keras"], ids=str)
def test_names_shapes_order_and_cost_equal_the_source(edition: Edition) -> None:
    module = build_module(edition, meta=True).eval()
    info = edition.info
    theirs = [(key, list(value.shape)) for key, value in module.state_dict().items()]
    ours = [(key, shape) for key, shape, _ in edition.graph().parameters()]
    if edition.source_name in OUT_OF_ORDER or info.family in FAMILIES_OUT_OF_ORDER:
        ours, theirs = sorted(ours), sorted(theirs)
    assert ours == theirs
    if "aux" in info.options:
        # What is counted leaves them out.
        module = build_module(edition, meta=True, aux_logits=False).eval()
    assert info.params == sum(p.numel() for p in module.parameters())
    # Norms are counted as nothing, and take most of the time.
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.forward = torch.nn.Identity().forward  # type: ignore[method-assign]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.empty(1, 3, info.input_size, info.input_size, device="meta"))
    assert info.macs == counter.get_total_flops() // 2


@pytest.mark.parametrize("edition", [e for e in EDITIONS if e.source == "keras"], ids=str)
def test_names_shapes_and_counts_equal_keras(edition: Edition) -> None:
    reference = KerasReference(edition)
    theirs = reference.shapes()
    ours = {
        key: shape
        for key, shape, _ in edition.graph().parameters()
        if not key.endswith("num_batches_tracked")
    }
    assert ours == theirs
    trained = sum(int(np.prod(v.shape)) for v in reference.model.trainable_variables)
    assert edition.info.params == trained
