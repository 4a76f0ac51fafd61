"""Activation checkpointing: the gradients of a run that keeps every value, in less memory.

The same operators run on the same values in the same order, and what dropout keeps follows from a
seed, so steps with and without activation checkpointing are equal, with dropout and stochastic
depth too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnzoo as cz
from reference import images
from step_memory import memory_of_step
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# What every patch and every window divides or fits, where the network is not made for less.
SIZE = 96

# What an auxiliary classifier needs.
SIZES = {"inception_v3": 299}

# High enough that it drops something in a small batch.
RATE = 0.4

SEED = 5

RATES = {"drop_rate", "drop_path_rate"}


def cheapest_of_each_family() -> list[str]:
    cheapest: dict[str, str] = {}
    for name in sorted(cz.list_models(), key=lambda name: cz.model_info(name).macs):
        cheapest.setdefault(cz.model_info(name).family, name)
    return sorted(cheapest.values())


def rates(name: str) -> set[str]:
    """The nodes of a network that may drop something."""
    return RATES & set(cz.model_info(name).options)


def without_and_with(name: str, rate: float | None) -> tuple[cz.Model, cz.Model]:
    """The model twice, the second with activation checkpointing; with that rate if it has any."""
    options: dict[str, Any] = {} if rate is None else dict.fromkeys(rates(name), rate)
    size = SIZES.get(name, min(SIZE, cz.model_info(name).input_size))
    plain, frugal = (
        cz.create_model(
            name, num_classes=10, image_size=size, checkpointing=checkpointing, **options
        )
        for checkpointing in (False, True)
    )
    return plain, frugal


def step(
    model: cz.Model, *, training: bool, seed: int = SEED
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """Output and gradients of a step."""
    _, height, width = model.graph.input_shape
    x = images((height, width), 3)
    cotangent = np.random.default_rng(1).standard_normal((3, model.num_classes), np.float32)
    return model.vjp(x, cotangent, training=training, seed=seed)


def steps_are_equal(plain: cz.Model, frugal: cz.Model, *, training: bool) -> NDArray[np.float32]:
    """The output of both."""
    expected, originals = step(plain, training=training)
    output, gradients = step(frugal, training=training)
    assert difference(output, expected) <= ROUNDING
    assert list(gradients) == list(originals)
    for name, gradient in originals.items():
        assert difference(gradients[name], gradient) <= ROUNDING_OF_GRADIENTS, name
    state = frugal.state_dict()
    for name, value in plain.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert state[name] == value == int(training)
        else:
            assert difference(state[name], value) <= ROUNDING, name
    return expected


# Where something drops, the next test sees all of this and the draws too.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if rates(name) else [])
        for name in cheapest_of_each_family()
    ],
)
def test_a_training_step_is_the_same(name: str) -> None:
    """Output, gradients, running statistics and batch counts, where nothing drops."""
    steps_are_equal(*without_and_with(name, 0.0), training=True)


@pytest.mark.parametrize("name", [name for name in cheapest_of_each_family() if rates(name)])
def test_a_training_step_that_drops_is_the_same(name: str) -> None:
    """The same for one seed, where something is drawn."""
    plain, frugal = without_and_with(name, RATE)
    output = steps_are_equal(plain, frugal, training=True)
    np.testing.assert_array_equal(step(plain, training=True)[0], output)
    assert difference(step(plain, training=True, seed=SEED + 1)[0], output) > ROUNDING


@pytest.mark.parametrize("name", ["densenet40", "mobilenet_v2"])
def test_gradients_in_evaluation_are_the_same(name: str) -> None:
    """Batch norm uses its running statistics, which stay as they are; nothing drops."""
    steps_are_equal(*without_and_with(name, RATE), training=False)


def test_a_run_is_the_same() -> None:
    plain, frugal = without_and_with("mobilenet_v2", None)
    assert frugal.graph == plain.graph
    x = images((96, 96), 2)
    np.testing.assert_array_equal(frugal(x), plain(x))


def test_it_is_an_option_of_every_model(tmp_path: Path) -> None:
    for name in cz.list_models():
        assert "checkpointing" in cz.model_info(name).options
    model = cz.resnet18(num_classes=4, checkpointing=True)
    assert "resnet18 from torchvision, num_classes=4, checkpointing=True on cpu" in repr(model)
    model.save(tmp_path / "model.safetensors")
    assert cz.load(tmp_path / "model.safetensors").options == model.options
    assert model.reset_classifier(num_classes=3).options["checkpointing"] is True
    assert cz.resnet18(checkpointing=False).options == {}
    with pytest.raises(cz.ArgumentError, match="`checkpointing`: expected True or False"):
        cz.create_model("resnet18", checkpointing="often")  # type: ignore[arg-type]


def test_what_does_not_fit_is_refused_as_without() -> None:
    model = cz.resnet18(num_classes=4, checkpointing=True)
    before = model.state_dict()
    with pytest.raises(cz.ShapeError, match=r"training mode, node `layer4.0.bn1`.* more than one"):
        model.vjp(images((32, 32), 1), np.zeros((1, 4)), training=True)
    with pytest.raises(cz.ShapeError, match=r"the cotangent of resnet18: expected \(2, 4\)"):
        model.vjp(images((64, 64), 2), np.zeros((1, 4)), training=True)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])


# A step of DenseNet-121.
STEP = """
import sys
import numpy as np
import cnnzoo as cz

model = cz.densenet121(checkpointing=sys.argv[1] == "True")

def step(batch, size):
    x = np.random.default_rng(0).standard_normal((batch, 3, size, size)).astype(np.float32)
    model.vjp(x, np.ones((batch, 1000), np.float32), training=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_densenet_trains_in_less_than_half_the_memory() -> None:
    """The peak of one step at batch 8 and 224 pixels, less what the process used before it."""

    def peak(*, checkpointing: bool) -> int:
        return memory_of_step(STEP, str(checkpointing), first=1, batch=8)

    everything, less = peak(checkpointing=False), peak(checkpointing=True)
    # Half a gigabyte at least: else it measures something else than the values of the network.
    assert everything > 1 << 29
    assert less <= everything / 2, f"{less >> 20} of {everything >> 20} MiB"
