"""Any value for any argument of what users build: an object, or an error of ours that names it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cnnzoo as cz
from cnnzoo import callbacks, data, transforms

MODEL = cz.create_model("resnet20", num_classes=3)
DATA = data.Arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 2, 0])
ENGINE = partial(cz.SGD, MODEL)
VIEW = {"resize": 8, "crop": 8, "interpolation": "bilinear", "mean": (0.5,) * 3, "std": (1.0,) * 3}


class Silent:
    """Does not even say what it is."""

    def __repr__(self) -> str:
        raise RuntimeError("no words")


# What is built, and the arguments that it cannot do without.
BUILT: list[tuple[Callable[..., Any], dict[str, Any]]] = [
    *((loss, {}) for loss in (cz.CrossEntropy, cz.BinaryCrossEntropy)),
    *(
        (rule, {"model": MODEL, "lr": 0.1})
        for rule in (cz.SGD, cz.Adam, cz.AdamW, cz.RMSprop, cz.LAMB)
    ),
    (partial(cz.ParameterGroup, "fc"), {}),
    *(
        (schedule, {})
        for schedule in (
            cz.Constant,
            cz.Step,
            cz.MultiStep,
            cz.Exponential,
            cz.Polynomial,
            cz.Cosine,
            cz.OneCycle,
        )
    ),
    (cz.Mixing, {}),
    (cz.Preprocess, VIEW),
    (cz.compound_scaling, {"phi": 1.0}),
    (transforms.Resize, {"size": 8}),
    (transforms.CenterCrop, {"size": 8}),
    (transforms.RandomCrop, {"size": 8}),
    (transforms.RandomShift, {"padding": 1}),
    (transforms.RandomResizedCrop, {"size": 8}),
    (transforms.RandomHorizontalFlip, {}),
    (transforms.RandomVerticalFlip, {}),
    (transforms.ColorJitter, {}),
    (transforms.Grayscale, {}),
    (transforms.RandAugment, {}),
    (transforms.TrivialAugmentWide, {}),
    (transforms.AutoAugment, {}),
    (transforms.Normalize, {"mean": 0.5, "std": 0.5}),
    (transforms.RandomErasing, {}),
    (transforms.Compose, {"steps": [transforms.Grayscale()]}),
    (transforms.imagenet_train, {}),
    (transforms.imagenet_eval, {}),
    (transforms.cifar_train, {}),
    (transforms.fashion_mnist_train, {}),
    (data.Loader, {"dataset": DATA}),
    (callbacks.EarlyStopping, {}),
    (callbacks.JsonLines, {"file": "log.jsonl"}),
    (cz.Trainer, {"model": MODEL, "optimizer": ENGINE(lr=0.1)}),
    (partial(cz.create_model, meta=True), {"name": "resnet18"}),
    (partial(cz.create_model, meta=True), {"name": "mobilenet_v2"}),
    (cz.list_models, {}),
    (cz.model_info, {"name": "resnet18"}),
]

# Of networks, which take any name as an option.
OPTIONS = [
    "drop_rate", "drop_path_rate", "stem", "activation", "norm", "zero_init_residual", "aux",
    "transform_input", "width", "depth",
]  # fmt: skip
# What the message says of an argument in other words, or, of a file, shows instead.
WORDS = {
    "name": "model|`name`",
    "source": "source|defined by|edition",
    "num_magnitude_bins": "magnitude",
    "augment": "augment|Normalize|Compose",
    "mean": "mean|std|channels",
    "std": "mean|std|channels",
    "start": "loader state",
    "image_size": "image_size|crop",
}


def arguments(build: Callable[..., Any]) -> Iterator[str]:
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from OPTIONS
        elif parameter.kind is not parameter.VAR_POSITIONAL and name not in {"meta", "weights"}:
            yield name


def label(build: Callable[..., Any]) -> str:
    return getattr(build, "func", build).__name__


IDS = [label(build) for build, _ in BUILT]

EDGES = [0, 1, -1, 2, 3, 255, 256, 2**16, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
NUMBERS = [
    *EDGES,
    10**400,
    0.0,
    -0.0,
    0.5,
    1.5,
    -1.5,
    1e308,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    1j,
    True,
    False,
    Fraction(1, 3),
    Fraction(10**400, 3),
    Decimal("0.5"),
    Decimal("NaN"),
    *(np.float32(v) for v in (0.5, math.nan, math.inf)),
    np.float16(2.0),
    np.int64(3),
    np.uint8(3),
    np.bool_(True),
    np.complex64(1j),
    np.datetime64("2026-01-01"),
]
ODDITIES = [
    None,
    "",
    "a",
    "fc",
    "bilinear",
    "random",
    "timm",
    "*",
    "\x00",
    "\ud800",
    "9" * 5000,
    b"",
    b"\xff",
    bytearray(b"a"),
    range(3),
    print,
    int,
    object(),
    lambda: None,
    np.zeros(0),
    np.zeros(3, np.float32),
    np.array(0.5),
    np.array([0.5, 0.5]),
    np.ones((2, 2)),
    np.array(["a", None], object),
    MODEL,
    DATA,
    cz.Cosine(),
    cz.SGD,
    transforms.Grayscale(),
    transforms.Normalize((0.5,), (0.5,)),
]
SEVERAL = [
    [], (), [0.5], (0.5, 0.5), (0.0, 0.0), (-1, -1), (2, 1), [1, 2], (1, 2, 3), [0.5] * 4,
    [True, False], ["a"], [None], [1, "a"], [[1, 2], [3]], [math.nan] * 2, [10**400, 1],
    (10**400,) * 3, {}, {"a": 1}, {0.5: 1}, {1}, frozenset(), memoryview(b"a"),
]  # fmt: skip
# What Python cannot print, so hypothesis neither.
UNPRINTABLE = [-(10**5000), Silent(), [Silent()], (10**5000,) * 2]

plain = st.one_of(
    st.sampled_from([*NUMBERS, *ODDITIES]),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=5),
)
single = st.one_of(st.sampled_from(NUMBERS), st.none(), st.floats(), st.text(max_size=2))
several = st.lists(single, max_size=5)
values = st.one_of(
    plain,
    several,
    several.map(tuple),
    st.lists(several, max_size=2),
    st.dictionaries(st.text(max_size=2), single, max_size=2),
    st.sampled_from(NUMBERS[:40]).map(lambda value: {str(value)}),
    several.map(iter),
)


def check(build: Callable[..., Any], base: dict[str, Any], argument: str, value: Any) -> None:
    made, refusal = None, None
    try:
        made = build(**{**base, argument: value})
    except cz.CnnzooError as error:
        refusal = str(error)
    if refusal is not None:
        words = WORDS.get(argument, re.escape(argument))
        assert re.search(words, refusal, re.IGNORECASE), f"{argument} is not named: {refusal}"
        return
    assert isinstance(repr(made), str)
    if isinstance(made, cz.Schedule):
        assert isinstance(made.lr(0.1, 0.7, 2.0, steps=10), float)


@pytest.mark.parametrize(("build", "base"), BUILT, ids=IDS)
def test_odd_values_are_taken_or_refused_by_the_argument(
    build: Callable[..., Any], base: dict[str, Any]
) -> None:
    for argument in arguments(build):
        for value in (*NUMBERS, *ODDITIES, *SEVERAL, *UNPRINTABLE, iter([1, 2])):
            check(build, base, argument, value)


@pytest.mark.parametrize(("build", "base"), BUILT, ids=IDS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_drawn_values_are_taken_or_refused_by_the_argument(
    build: Callable[..., Any], base: dict[str, Any], data: st.DataObject
) -> None:
    argument = data.draw(st.sampled_from(list(arguments(build))))
    check(build, base, argument, data.draw(values))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "base"), BUILT, ids=IDS)
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_drawn_values_are_taken_or_refused_by_the_argument(
    build: Callable[..., Any], base: dict[str, Any], data: st.DataObject
) -> None:
    argument = data.draw(st.sampled_from(list(arguments(build))))
    check(build, base, argument, data.draw(values))
