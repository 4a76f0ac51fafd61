"""The native engine: equal to libtorch's runs for all batches, threads and instructions."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from reference import Array, Edition, cheapest, editions, images
from tolerance import FUSED, difference

# Of every family, source and deviation the cheapest.
CHEAPEST = list(cheapest(editions(), 1))

SMALL = "mobilenet_v2_035"


def network(name: str = SMALL, *, seed: int = 0) -> cz.Model:
    return cz.create_model(name, num_classes=10, seed=seed)


def size_for(edition: Edition) -> tuple[int, int]:
    """The size of the images: small, where the network takes them."""
    info = edition.info
    side = info.input_size if info.fixed_image_size else max(64, info.min_training_image_size)
    return side, side


@pytest.mark.parametrize("edition", CHEAPEST, ids=str)
def test_every_node_has_the_value_of_an_exact_run(edition: Edition) -> None:
    model = edition.create(num_classes=10)
    x = images(size_for(edition), 2)
    nodes = model.nodes()
    exact = model.features(x, nodes, exact=True)
    # All values are asked for, so none is computed with the next; parity tests compare the output.
    native = model.features(x, nodes)
    # Rounding of one layer is that of all before it, so an error is relative to what they hold.
    for node in nodes:
        assert difference(native[node], exact[node], floor=1e-3) <= FUSED, node
    for level, found in model.pyramid(x).items():
        assert difference(found, exact[level], floor=1e-3) <= FUSED, level
    embedding = model.embed(x, exact=True)
    assert difference(model.embed(x), embedding, floor=1e-3) <= FUSED


@pytest.mark.parametrize("name", [SMALL, "resnet18", "vit_ti_16", "googlenet", "densenet121"])
def test_an_image_gets_the_same_bits_in_every_batch(name: str) -> None:
    model = network(name)
    height, width = (224, 224) if name == "vit_ti_16" else (64, 97)
    x = images((height, width), 5)
    whole = model(x)
    for count in (1, 3):
        parts = [model(x[begin : begin + count]) for begin in range(0, len(x), count)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_the_number_of_threads_changes_no_bit() -> None:
    model, before = network("resnet18"), cz.get_num_threads()
    x = images((96, 96), 2)
    try:
        found = []
        for threads in (1, 2, 5):
            cz.set_num_threads(threads)
            assert cz.get_num_threads() == threads
            found.append(model(x))
    finally:
        cz.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


@pytest.mark.parametrize("threads", [0, -1, 4097, 1 << 70])
def test_a_number_of_threads_out_of_range_is_refused(threads: int) -> None:
    with pytest.raises((cz.ArgumentError, OverflowError)):
        cz.set_num_threads(threads)


CODE = """
import sys, numpy as np, cnnzoo as cz
model = cz.create_model(sys.argv[1], num_classes=10)
np.save(sys.argv[2], model(np.load(sys.argv[3])))
"""


@pytest.mark.parametrize("instructions", ["portable", "avx2", "avx512"])
@pytest.mark.parametrize("name", [SMALL, "googlenet"])
def test_all_instructions_give_the_same_values(
    name: str, instructions: str, tmp_path: Path
) -> None:
    x = images((64, 80), 2)
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / "y.npy"), str(tmp_path / "x.npy")]
    command = [sys.executable, "-c", CODE, name, *files]
    subprocess.run(command, env={**os.environ, "CNNZOO_INSTRUCTIONS": instructions}, check=True)
    exact = network(name)(x, exact=True)
    assert difference(np.load(tmp_path / "y.npy"), exact) <= FUSED


Change = Callable[[cz.Model, cz.Model, Path], object]


def load_from_file(model: cz.Model, other: cz.Model, folder: Path) -> None:
    other.save(folder / "other.safetensors")
    model.load_weights(folder / "other.safetensors")


CHANGES: dict[str, Change] = {
    "load_state_dict": lambda model, other, _: model.load_state_dict(other.state_dict()),
    "load_weights": load_from_file,
    "reset_classifier": lambda model, _, __: model.reset_classifier(num_classes=7),
    "to": lambda model, _, __: model.to("cpu"),
    "train_step": lambda model, _, __: model.train_step(
        images((64, 64), 4), np.arange(4), cz.SGD(model, lr=0.01)
    ),
    "vjp in training": lambda model, _, __: model.vjp(
        images((64, 64), 4), np.ones((4, 10), np.float32), training=True
    ),
    "freeze": lambda model, _, __: model.freeze("*"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_parameters_is_seen_by_the_next_run(change: str, tmp_path: Path) -> None:
    model, other = network(), network(seed=1)
    x = images((64, 64), 1)
    before = model(x)
    CHANGES[change](model, other, tmp_path)
    after = model(x)
    assert difference(after, model(x, exact=True)) <= FUSED
    if change not in ("to", "freeze"):
        assert after.shape != before.shape or np.abs(after - before).max() > 0


def test_copies_have_plans_of_their_own() -> None:
    model = network()
    x = images((64, 64), 1)
    before, copy = model(x), model.copy()
    copy.load_state_dict(network(seed=1).state_dict())
    assert np.abs(copy(x) - before).max() > 0
    np.testing.assert_array_equal(model(x), before)


def test_many_threads_run_images_of_many_shapes_at_once() -> None:
    model = network()
    sizes = [(64 + 8 * step, 72) for step in range(8)]
    batches = [images(size, 1 + at % 3) for at, size in enumerate(sizes)]
    expected = [model(x) for x in batches]
    wrong: list[int] = []

    def run(first: int) -> None:
        for number in range(first, first + 16):
            at = number % len(batches)
            if not np.array_equal(model(batches[at]), expected[at]):
                wrong.append(at)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_nan_reaches_the_logits_of_its_image_alone() -> None:
    for name in (SMALL, "vgg11", "vit_ti_16", "mobilenet_v3_small_050"):
        model = network(name)
        size = 224 if name == "vit_ti_16" else 64
        x = images((size, size), 2)
        expected = model(x)
        x[0, 1, size // 2, size // 2] = np.nan
        found = model(x)
        assert np.isnan(found[0]).all() and np.isnan(model(x, exact=True)[0]).all(), name
        np.testing.assert_array_equal(found[1], expected[1])


def test_a_plan_is_a_line_for_each_step() -> None:
    model = network()
    head, first, *_, last = model.plan((2, 3, 64, 64)).splitlines()
    assert head.split() == ["kernel", "output", "bytes", "weights", "fused", "nodes"]
    assert first.split() == ["rearrange", "with", "border", "2×66×66×3", "102.1", "KiB", "input"]
    assert last.endswith("of weights")
    text = model.plan()
    assert "1×226×226×3" in text
    # Every convolution computes its norm and activation too.
    assert not [line for line in text.splitlines() if line.startswith("map")]


def test_a_plan_of_a_wrong_shape_is_refused() -> None:
    model = network()
    for shape in [(1, 4, 64, 64), (0, 3, 64, 64), (3, 64, 64), (1, 3, 0, 64)]:
        with pytest.raises(cz.ShapeError):
            model.plan(shape)
    with pytest.raises(cz.DeviceError):
        cz.create_model(SMALL, meta=True).plan()


def test_an_image_of_any_memory_layout_gives_the_same() -> None:
    model = network()
    x: Array = images((64, 72), 2)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(model(turned), model(x))
