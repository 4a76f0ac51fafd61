"""Draws of transforms: torchvision's distributions, from a key alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision import transforms
from torchvision.transforms.autoaugment import (
    AutoAugment,
    AutoAugmentPolicy,
    RandAugment,
    TrivialAugmentWide,
)

from cnnzoo import transforms as cz

# Draws are fixed by their seeds, so a test that passes once passes always. A wrong distribution
# would have to be lucky to get a larger probability than this.
LEAST_PROBABILITY = 1e-3


def draws(transform: cz.Transform, height: int, width: int, count: int) -> Iterator[Any]:
    for index in range(count):
        drawn = json.loads(transform._engine.draw(height, width, 1, 2, index))
        yield [*drawn["operations"], *drawn["erasures"]]


def same_distribution(ours: Any, theirs: Any) -> None:
    assert stats.ks_2samp(ours, theirs).pvalue > LEAST_PROBABILITY


def uniform(values: Any, low: float, high: float) -> None:
    assert low <= min(values) and max(values) <= high
    assert stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > LEAST_PROBABILITY


def as_often(counts: Counter[Any], expected: dict[Any, float]) -> None:
    """Counts against probabilities."""
    total = counts.total()
    assert counts.keys() <= {key for key, probability in expected.items() if probability > 0}
    keys = [key for key, probability in expected.items() if probability > 0]
    if len(keys) == 1:
        return
    test = stats.chisquare([counts[key] for key in keys], [total * expected[key] for key in keys])
    assert test.pvalue > LEAST_PROBABILITY


@pytest.mark.parametrize(
    ("scale", "ratio", "height", "width"),
    [
        ((0.08, 1.0), (3 / 4, 4 / 3), 375, 500),
        ((0.3, 0.6), (0.5, 2.0), 64, 48),
        # Hardly any part of this lies inside, so the middle is taken.
        ((0.9, 1.0), (3 / 4, 4 / 3), 100, 400),
        ((0.9, 1.0), (3 / 4, 4 / 3), 400, 100),
    ],
)
def test_random_resized_crop(scale: Any, ratio: Any, height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    count = 6000
    theirs = np.array(
        [
            transforms.RandomResizedCrop.get_params(image, list(scale), list(ratio))
            for _ in range(count)
        ]
    ).T
    crops = draws(cz.RandomResizedCrop(16, scale=scale, ratio=ratio), height, width, count)
    ours = np.array(
        [[crop[key] for key in ("top", "left", "height", "width")] for crop, _ in crops]
    ).T
    for drawn, expected in zip(ours, theirs, strict=True):
        same_distribution(drawn, expected)
    same_distribution(ours[2] * ours[3], theirs[2] * theirs[3])
    same_distribution(ours[3] / ours[2], theirs[3] / theirs[2])


@pytest.mark.parametrize(("height", "width"), [(10, 400), (400, 10)])
def test_the_middle_of_what_has_no_part(height: int, width: int) -> None:
    theirs = transforms.RandomResizedCrop.get_params(
        torch.empty(3, height, width), [0.9, 1.0], [3 / 4, 4 / 3]
    )
    for crop, _ in draws(cz.RandomResizedCrop(16, scale=(0.9, 1.0)), height, width, 50):
        assert [crop[key] for key in ("top", "left", "height", "width")] == list(theirs)


def test_random_crop_and_shift() -> None:
    for transform in (cz.RandomCrop(32, padding=4), cz.RandomShift(4)):
        places = [(crop["top"], crop["left"]) for _, crop in draws(transform, 32, 32, 8000)]
        expected = {(top, left): 1 / 81 for top in range(9) for left in range(9)}
        as_often(Counter(places), expected)
    assert next(draws(cz.RandomShift((1, 2, 3, 4)), 5, 6, 1))[0] == {
        "operation": "pad",
        "margins": {"left": 1, "top": 2, "right": 3, "bottom": 4},
        "fill": [0, 0, 0],
        "mode": "constant",
    }


@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 1.0])
def test_flips(p: float) -> None:
    for flip in (cz.RandomHorizontalFlip(p), cz.RandomVerticalFlip(p)):
        counts = Counter(len(drawn) for drawn in draws(flip, 4, 4, 4000))
        as_often(counts, {1: p, 0: 1 - p})


def test_color_jitter() -> None:
    jitter = cz.ColorJitter(brightness=0.4, contrast=1.5, saturation=(0.5, 0.7), hue=0.1)
    drawn = list(draws(jitter, 4, 4, 8000))
    names = ["brightness", "contrast", "saturation", "hue"]
    orders = Counter(tuple(step["operation"] for step in steps) for steps in drawn)
    as_often(orders, {tuple(f"adjust_{n}" for n in o): 1 / 24 for o in permutations(names)})
    factors: dict[str, list[float]] = {step["operation"]: [] for step in drawn[0]}
    for steps in drawn:
        for step in steps:
            factors[step["operation"]].append(step["factor"])
    uniform(factors["adjust_brightness"], 0.6, 1.4)
    uniform(factors["adjust_contrast"], 0.0, 2.5)
    uniform(factors["adjust_saturation"], 0.5, 0.7)
    uniform(factors["adjust_hue"], -0.1, 0.1)
    assert abs(np.corrcoef(list(factors.values())) - np.eye(4)).max() < 0.05
    assert list(draws(cz.ColorJitter(), 4, 4, 1)) == [[]]


def erased(theirs: Any, image: Any) -> Any:
    """(top, left, height, width) by torchvision, or none."""
    top, left, height, width, _ = theirs
    return None if (height, width) == tuple(image.shape[1:]) else (top, left, height, width)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (32, 20), (8, 100)])
def test_random_erasing(height: int, width: int) -> None:
    torch.manual_seed(0)
    image = torch.empty(3, height, width)
    count = 6000
    theirs = [
        erased(transforms.RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0]), image)
        for _ in range(count)
    ]
    keys = ("top", "left", "height", "width")
    drawn = list(draws(cz.RandomErasing(1.0), height, width, count))
    ours = [tuple(steps[0][key] for key in keys) if steps else None for steps in drawn]
    assert abs(ours.count(None) - theirs.count(None)) < 0.03 * count
    pairs = zip(
        zip(*filter(None, ours), strict=True), zip(*filter(None, theirs), strict=True), strict=True
    )
    for mine, other in pairs:
        same_distribution(mine, other)
    often = [len(steps) for steps in draws(cz.RandomErasing(0.25), height, width, count)]
    assert abs(np.mean(often) - 0.25) < 0.02


def test_noise_is_normal() -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    erase = cz.Compose([cz.RandomErasing(1.0, scale=(0.5, 0.6), ratio=(1.0, 1.0), value="random")])
    first, second = erase(picture, index=0), erase(picture, index=1)
    noise = first[first != 0]
    assert noise.size > 128 * 128
    assert stats.kstest(noise, stats.norm.cdf).pvalue > LEAST_PROBABILITY
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.02
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, erase(picture, index=0))


# ---- policies


NAMES = {
    "adjust_brightness": "Brightness",
    "adjust_contrast": "Contrast",
    "adjust_saturation": "Color",
    "adjust_sharpness": "Sharpness",
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
    "posterize": "Posterize",
    "rotate": "Rotate",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "solarize": "Solarize",
}


def named(operation: dict[str, Any]) -> tuple[Any, ...]:
    """An operation as torchvision's policies name it, with its magnitude."""
    if operation["operation"] == "translate":
        x, y = operation["x"], operation["y"]
        return ("TranslateX", x) if x else ("TranslateY", y)
    magnitudes = [
        operation[key] for key in ("factor", "degrees", "bits", "threshold") if key in operation
    ]
    return (NAMES[operation["operation"]], *(magnitudes or [0.0]))


def theirs(name: str, magnitude: float) -> tuple[Any, ...]:
    """The result of `_apply_op` for a magnitude. Moves by nothing are all one."""
    if name.startswith("Translate"):
        pixels = int(magnitude)
        return (name, pixels) if pixels else ("TranslateY", 0)
    if name in {"Brightness", "Color", "Contrast", "Sharpness"}:
        return (name, 1.0 + magnitude)
    return (name, int(magnitude) if name == "Posterize" else magnitude)


def space(entry: Any, levels: list[int], *, name: str) -> Iterator[tuple[Any, ...]]:
    """Each thing that may come of an operation, as often as it comes."""
    magnitudes, signed = entry
    if magnitudes.ndim and magnitudes.is_floating_point():
        # torch rounds by how many numbers the processor adds at once; this rounds once.
        rounded = np.linspace(float(magnitudes[0]), float(magnitudes[-1]), len(magnitudes))
        np.testing.assert_allclose(magnitudes, rounded, rtol=0, atol=2e-7 * abs(rounded).max())
        magnitudes = rounded.astype(np.float32)
    for level in levels:
        value = float(magnitudes[level]) if magnitudes.ndim else 0.0
        for sign in (1.0, -1.0) if signed else (1.0, 1.0):
            yield theirs(name, sign * value)


def blind(spaces: dict[str, Any], levels: list[int]) -> dict[Any, float]:
    """The probabilities of one blind draw; none stands for identity."""
    chances: Counter[Any] = Counter()
    for name, entry in spaces.items():
        for outcome in space(entry, levels, name=name):
            key = None if name == "Identity" else outcome
            chances[key] += 1 / (len(spaces) * 2 * len(levels))  # type: ignore[assignment]
    return dict(chances)


@pytest.mark.parametrize("magnitude", [0, 5, 9, 15, 30])
def test_rand_augment(magnitude: int) -> None:
    spaces = RandAugment()._augmentation_space(31, (375, 500))
    expected = blind(spaces, [magnitude])
    drawn = list(draws(cz.RandAugment(num_ops=1, magnitude=magnitude), 375, 500, 4000))
    as_often(Counter(named(steps[0]) if steps else None for steps in drawn), expected)


def test_rand_augment_draws_independently() -> None:
    drawn = list(draws(cz.RandAugment(num_ops=3), 32, 32, 6000))
    lengths = Counter(len(steps) for steps in drawn)
    chance = 1 / 14
    as_often(lengths, {k: float(stats.binom(3, 1 - chance).pmf(k)) for k in range(4)})
    spaces = RandAugment()._augmentation_space(31, (32, 32))
    single = blind(spaces, [9])
    whole = [tuple(map(named, steps)) for steps in drawn if len(steps) == 3]
    for place in range(3):
        others = {key: value / (1 - chance) for key, value in single.items() if key is not None}
        as_often(Counter(steps[place] for steps in whole), others)
    pairs = Counter((a[0], b[0]) for a, b, _ in whole)
    names = [name for name in spaces if name != "Identity"]
    as_often(pairs, {(a, b): 1 / 169 for a in names for b in names})


@pytest.mark.parametrize("bins", [31, 10, 2])
def test_trivial_augment(bins: int) -> None:
    spaces = TrivialAugmentWide()._augmentation_space(bins)
    expected = blind(spaces, list(range(bins)))
    drawn = draws(cz.TrivialAugmentWide(num_magnitude_bins=bins), 375, 500, 40_000)
    as_often(Counter(named(steps[0]) if steps else None for steps in drawn), expected)


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_auto_augment(policy: str) -> None:
    original = AutoAugment(AutoAugmentPolicy(policy))
    spaces = original._augmentation_space(10, (375, 500))
    expected: Counter[Any] = Counter()
    for pair in original.policies:
        outcomes: dict[Any, float] = {(): 1 / len(original.policies)}
        for name, probability, level in pair:
            following: Counter[Any] = Counter()
            for before, chance in outcomes.items():
                following[before] += chance * (1 - probability)
                for outcome in space(spaces[name], [level or 0], name=name):
                    both = (*before, outcome)
                    following[both] += chance * probability / 2
            outcomes = dict(following)
        expected.update(outcomes)
    drawn = draws(cz.AutoAugment(policy), 375, 500, 40_000)
    as_often(Counter(tuple(map(named, steps)) for steps in drawn), dict(expected))


# ---- keys


def test_a_key_alone_decides() -> None:
    transform = cz.imagenet_train(32, augment=cz.RandAugment(), color_jitter=0.4, erasing=0.5)
    key = {"seed": 3, "epoch": 4, "index": 5}
    first = transform.operations(100, 90, **key)
    changes: list[dict[str, int]] = [{}, {"seed": 4}, {"epoch": 5}, {"index": 6}]
    for change in changes:
        drawn = transform.operations(100, 90, **{**key, **change})
        assert (drawn == first) == (not change)
    # Another object, another size in between: nothing is remembered.
    again = cz.imagenet_train(32, augment=cz.RandAugment(), color_jitter=0.4, erasing=0.5)
    again.operations(7, 8, **key)
    assert again.operations(100, 90, **key) == first


def test_what_a_seed_draws_stays() -> None:
    """Part of the format of a seed: a change here changes every run that is resumed."""
    transform = cz.imagenet_train(224, augment=cz.TrivialAugmentWide(), color_jitter=0.4, erasing=1)
    drawn = transform.operations(375, 500, seed=1, epoch=2, index=0)
    assert json.loads(json.dumps(drawn), parse_float=lambda text: round(float(text), 12)) == GOLDEN


GOLDEN: list[dict[str, Any]] = [
    {"operation": "crop", "top": 2, "left": 75, "height": 368, "width": 318},
    {"operation": "resize", "height": 224, "width": 224, "interpolation": "bilinear"},
    {"operation": "flip_horizontal"},
    {"operation": "adjust_saturation", "factor": 1.374568155441},
    {"operation": "adjust_brightness", "factor": 0.654051602045},
    {"operation": "adjust_contrast", "factor": 1.156848976059},
    {"operation": "adjust_saturation", "factor": 1.593999981880},
    {
        "operation": "erase",
        "top": 52,
        "left": 61,
        "height": 94,
        "width": 139,
        "value": {"numbers": [0.0]},
        "seed": 0,
    },
]
