"""Inference in bfloat16 on the native engine: near float32, nearer than PyTorch's autocast."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import cnnzoo as cz
from cnnzoo.model import Precision
from reference import Array, Edition, images, smallest
from tolerance import difference

SMALL = "mobilenet_v2_035"

# bfloat16 has 8 bits: a number is rounded by 2e-3 of itself, and what a layer makes of its inputs
# by about as much, since the errors of its products have any sign. Up to some hundred layers
# with random parameters pass that on, some of which amplify it.
BFLOAT16 = 5e-2

# Autocast rounds the outputs of layers as well, and of more layers; in some networks luck decides.
OF_AUTOCAST = 1.5


def is_offered() -> bool:
    """Whether this processor has the instructions."""
    try:
        cz.create_model(SMALL).plan(precision="bfloat16")
    except cz.DeviceError:
        return False
    return True


@pytest.mark.parametrize("edition", smallest(), ids=str)
def test_a_network_is_nearer_to_float32_than_under_autocast(edition: Edition) -> None:
    if not is_offered():
        pytest.skip("this processor has no AVX512-BF16; a test below runs what every one has")
    info = edition.info
    side = info.input_size if info.fixed_image_size else max(64, info.min_training_image_size)
    model = edition.create(num_classes=10)
    x = images((side, side), 2)

    def embedding(*, exact: bool, precision: Precision = "float32") -> Array:
        """The classifier's input: its biases would hide values that vanish in a random network."""
        engine = model._runner(exact, precision)
        return engine.run(x, [engine.embedding], exact=exact, precision=precision)[0]

    expected = embedding(exact=True)
    autocast = difference(embedding(exact=True, precision="bfloat16"), expected)
    found = difference(embedding(exact=False, precision="bfloat16"), expected)
    assert 1e-5 < found <= min(BFLOAT16, OF_AUTOCAST * autocast)


CODE = """
import sys, numpy as np, cnnzoo as cz
model = cz.create_model(sys.argv[1], num_classes=10)
x = np.load(sys.argv[2])
plan = model.plan(x.shape, precision="bfloat16")
found = model(x, precision="bfloat16")
parts = [model(x[at : at + 1], precision="bfloat16") for at in range(len(x))]
np.testing.assert_array_equal(found, np.concatenate(parts))
cz.set_num_threads(3)
np.testing.assert_array_equal(found, model(x, precision="bfloat16"))
plain = model(x)
assert plan.count("bfloat16") > 3 and "bfloat16" not in model.plan(x.shape)
np.save(sys.argv[3], np.stack([plain, found]))
"""


def child(code: str, instructions: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "CNNZOO_INSTRUCTIONS": instructions},
        check=True,
        capture_output=True,
        text=True,
    )


def rounded(values: torch.Tensor) -> torch.Tensor:
    return values.bfloat16().float()


@pytest.mark.parametrize("name", [SMALL, "vit_ti_16", "resnet18"])
def test_images_get_the_same_bits_in_every_batch_with_any_instructions(
    name: str, tmp_path: Path
) -> None:
    x = images((224, 224) if name == "vit_ti_16" else (64, 80), 2)
    np.save(tmp_path / "x.npy", x)
    found = []
    for instructions in ["portable", "avx512"] if is_offered() else ["portable"]:
        child(CODE, instructions, name, tmp_path / "x.npy", tmp_path / "y.npy")
        plain, half = np.load(tmp_path / "y.npy")
        assert 1e-5 < difference(half, plain) <= BFLOAT16
        found.append(half)
    # Sums in another order make another number of some that lie between two.
    assert difference(found[0], found[-1]) <= BFLOAT16 / 2


def test_one_layer_rounds_its_inputs_and_weights_and_nothing_else() -> None:
    if not is_offered():
        pytest.skip("this processor has no AVX512-BF16; a test above runs what every one has")
    text = """graph one
input = input() channels=6 height=9 width=9
conv = conv(input) out=8 kernel=3 stride=2 bias=true
act = activation(conv) function=relu
output act
"""
    model = cz.Model.from_graph(cz.Graph.parse(text), seed=1)
    x: Array = np.random.default_rng(0).standard_normal((3, 6, 9, 9)).astype(np.float32)
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    weight, bias = rounded(state["conv.weight"]), state["conv.bias"]
    expected = torch.nn.functional.conv2d(rounded(torch.from_numpy(x)), weight, bias, stride=2)
    found = model(x, precision="bfloat16")
    assert difference(found, expected.relu().numpy()) <= 1e-6


def test_a_processor_without_the_instructions_is_named_and_libtorch_runs() -> None:
    code = """
import numpy as np, cnnzoo as cz
model = cz.create_model("mobilenet_v2_035", num_classes=10)
x = np.ones((1, 3, 64, 64), np.float32)
for call in (model.plan, lambda precision: model.profile(x, precision=precision)):
    try:
        call(precision="bfloat16")
    except cz.DeviceError as error:
        print(error)
same = model(x, exact=True, precision="bfloat16")
np.testing.assert_array_equal(model(x, precision="bfloat16"), same)
"""
    lines = child(code, "avx2").stdout.splitlines()
    assert len(lines) == 2
    assert all("expected a processor with AVX512-BF16" in line for line in lines)


def test_photographs_are_predicted_in_bfloat16() -> None:
    model = cz.create_model(SMALL, num_classes=10)
    photo = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    plain, half = (
        model.predict([photo] * 3, precision=precision) for precision in ("float32", "bfloat16")
    )
    assert half[0] == half[2] != plain[0]
    expected = {guess.index: guess.probability for guess in plain[0]}
    for guess in half[0]:
        assert guess.probability == pytest.approx(expected.get(guess.index), abs=0.05)
