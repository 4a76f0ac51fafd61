"""Inference in int8: what a quantized network computes, what it costs, and what becomes of it."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import skimage.data
import torch
from numpy.typing import NDArray

import cnnzoo as cz
from cnnzoo import metrics
from forged import arrays_of, described, forge
from reference import Array, Edition, images, smallest
from tolerance import difference

# Few images keep these tests short; the notice has a test of its own.
pytestmark = pytest.mark.filterwarnings(
    "ignore:quantization of .* expected at least:cnnzoo.errors.Notice"
)

SMALL = "mobilenet_v2_035"
PHOTOS = Path(skimage.data.__file__).parent

# Sums of products of integers are exact: only the step and the shift of a layer are rounded.
ROUNDED = 1e-6

# The error of a layer in int8, and of up to 250 such layers: with random parameters.
OF_A_LAYER, NETWORK = 0.05, 0.3

# Networks of more parameters take long to write and to read.
LARGE = 23e6

# Trained weights in int8: of 26 photographs, on this many the first guess is that of float32, whose
# probability differs by at most this. On the others, two guesses are almost as probable.
SAME, OF_A_GUESS = 23, 0.15


def network(name: str = SMALL, **options: Any) -> cz.Model:
    return cz.create_model(name, **{"num_classes": 10, **options})


@pytest.fixture(scope="module")
def x() -> Array:
    return images((64, 64), 3)


@pytest.fixture
def model(x: Array) -> cz.Model:
    """A quantized network, all of which runs in int8."""
    made = network()
    made.quantize(x, most_error=1.0, progress=False)
    return made


def saved(model: cz.Model, path: Path, **options: Any) -> cz.Model:
    """The model that is loaded from the file of this one."""
    model.save(path / "model.safetensors", **options)
    return cz.load(path / "model.safetensors")


def spread_error(found: NDArray[Any], truth: NDArray[Any]) -> float:
    """As `quantize` measures errors: relative to the spread of an image's numbers."""
    spread = truth - truth.mean(1, keepdims=True)
    return float(np.sqrt(np.square(found - truth).sum() / np.square(spread).sum()))


# ---- what is computed


def bytes_of(values: torch.Tensor) -> torch.Tensor:
    """The numbers that stand for values in float64: 256 of them, from the lowest to the highest."""
    low, high = min(values.min().item(), 0.0), max(values.max().item(), 0.0)
    step = (high - low) / 255
    zero = round(-low / step)
    return ((values / step + zero).round().clamp(0, 255) - zero) * step


def weights_of(weights: torch.Tensor) -> torch.Tensor:
    """The same of weights: whole multiples of a step of each output channel, at most 127 of it."""
    step = weights.flatten(1).abs().amax(1).reshape(-1, *[1] * (weights.ndim - 1)) / 127
    return (weights / step).round() * step


LAYERS = """graph layers
input = input() channels=8 height=9 width=10
conv1 = conv(input) out=12 kernel=3 stride=2 padding=1 bias=true
act1 = activation(conv1) function=relu
conv2 = conv(act1) out=12 kernel=1 groups=3
norm2 = batch_norm(conv2)
conv3 = conv(norm2) out=10 kernel=3 padding=1
pool = adaptive_pool(conv3)
flat = flatten(pool)
fc = linear(flat) out=5
output fc
"""


def test_a_network_equals_pytorch_on_the_numbers_that_stand_for_values() -> None:
    """Fake quantization in float64 by PyTorch, which stands for any value in the same places."""
    model = cz.Model.from_graph(cz.Graph.parse(LAYERS), seed=2)
    generator = np.random.default_rng(3)
    model.load_state_dict(
        {
            name: array if array.ndim == 0 else generator.uniform(0.5, 1.5, array.shape) * sign
            for name, array in model.state_dict().items()
            for sign in [1 if "running_var" in name else generator.choice([-1, 1], array.shape)]
        }
    )
    state = {name: torch.from_numpy(array).double() for name, array in model.state_dict().items()}
    x = generator.standard_normal((1, 8, 9, 10)).astype(np.float32)
    found = model.quantize(x, most_error=10.0)
    assert [of.is_int8 for of in found.layers] == [True, True, True, True]

    def folded(scale: torch.Tensor) -> torch.Tensor:
        return state["conv2.weight"] * scale[:, None, None, None]

    conv, fc = torch.nn.functional.conv2d, torch.nn.functional.linear
    scale = state["norm2.weight"] / (state["norm2.running_var"] + 1e-5).sqrt()
    shift = state["norm2.bias"] - state["norm2.running_mean"] * scale

    def run(values: torch.Tensor, weights: Callable[..., Any], stand: Callable[..., Any]) -> Any:
        one = stand(values, "input")
        one = conv(one, weights(state["conv1.weight"]), state["conv1.bias"], 2, 1).relu()
        two = conv(stand(one, "act1"), weights(folded(scale)), shift, groups=3)
        three = conv(stand(two, "norm2"), weights(state["conv3.weight"]), padding=1)
        pooled = three.mean((2, 3))
        return fc(stand(pooled, "flat"), weights(state["fc.weight"]), state["fc.bias"])

    ranges: dict[str, tuple[float, float]] = {}

    def seen(values: torch.Tensor, name: str) -> torch.Tensor:
        ranges[name] = (values.min().item(), values.max().item())
        return values

    def stands(values: torch.Tensor, name: str) -> torch.Tensor:
        low, high = ranges[name]
        ends = torch.tensor([low, high], dtype=torch.float64)
        both = torch.cat([values.flatten().clamp(min(low, 0), max(high, 0)), ends])
        return bytes_of(both)[:-2].reshape(values.shape)

    plain = run(torch.from_numpy(x).double(), lambda weights: weights, seen)
    expected = run(torch.from_numpy(x).double(), weights_of, stands)
    assert difference(model(x), plain.numpy()) <= 1e-5
    ours = model(x, precision="int8")
    assert difference(ours, expected.numpy()) <= ROUNDED < difference(ours, plain.numpy())


def test_the_numbers_of_an_image_depend_on_it_alone(model: cz.Model, x: Array) -> None:
    found, plan = model(x, precision="int8"), model.plan(x.shape, precision="int8")
    assert plan.count("int8") > 20 and "int8" not in model.plan(x.shape)
    threads = cz.get_num_threads()
    try:
        for count in (1, 3):
            cz.set_num_threads(count)
            np.testing.assert_array_equal(model(x, precision="int8"), found)
    finally:
        cz.set_num_threads(threads)
    parts = [model(x[at : at + 1], precision="int8") for at in range(len(x))]
    np.testing.assert_array_equal(np.concatenate(parts), found)
    with ThreadPoolExecutor(4) as pool:
        for other in pool.map(lambda _: model(x, precision="int8"), range(8)):
            np.testing.assert_array_equal(other, found)
    twin = network()
    twin.quantize(x, most_error=1.0)
    np.testing.assert_array_equal(twin(x, precision="int8"), found)


@pytest.mark.parametrize(
    "edition",
    [
        pytest.param(edition, marks=[pytest.mark.slow] if edition.info.params > LARGE else [])
        for edition in smallest()
    ],
    ids=str,
)
def test_a_network_of_every_family_is_near_to_float32(edition: Edition, tmp_path: Path) -> None:
    info = edition.info
    side = info.input_size if info.fixed_image_size else max(64, info.min_training_image_size)
    # The biases of a classifier would hide values that vanish in a random network.
    model = edition.create(num_classes=0)
    x = images((side, side), 1)
    found = model.quantize(x, most_error=OF_A_LAYER, progress=False)
    layers = sum(row.op in {"conv", "linear"} for row in model.summary().rows)
    assert len(found.layers) == layers and any(of.is_int8 for of in found.layers)
    assert all(of.error <= OF_A_LAYER for of in found.layers if of.is_int8)
    ours = model(x, precision="int8")
    assert found.error == pytest.approx(spread_error(ours, model(x)), rel=1e-3)
    assert 0 < found.error <= NETWORK
    other = saved(model, tmp_path, precision="int8")
    np.testing.assert_array_equal(other(x, precision="int8"), ours)


@pytest.fixture(scope="module")
def lite0() -> cz.Model:
    return cz.create_model("tf_efficientnet_lite0", weights="default")


@pytest.fixture(scope="module")
def photos() -> list[Path]:
    return sorted(path for path in PHOTOS.iterdir() if path.suffix in {".png", ".jpg"})


def test_trained_weights_say_the_same_of_photographs(lite0: cz.Model, photos: list[Path]) -> None:
    model, x = lite0.copy(), lite0.preprocess(photos)
    found = model.quantize(x, most_error=0.02, progress=False)
    assert found.images == 26 and not lite0.quantized
    assert found.error <= 0.08 and sum(of.is_int8 for of in found.layers) >= 40
    ours, plain = model(x, precision="int8"), model(x)
    assert spread_error(ours, plain) <= 0.08
    first = plain.argmax(1)
    assert (ours.argmax(1) == first).sum() >= SAME
    shares = [torch.from_numpy(logits).softmax(1).numpy() for logits in (ours, plain)]
    assert np.abs(shares[0] - shares[1])[np.arange(26), first].max() <= OF_A_GUESS


# ---- images


def test_photographs_arrays_and_loaders_give_the_same_ranges() -> None:
    paths = [PHOTOS / name for name in ("chelsea.png", "coffee.png", "rocket.jpg")]
    model = network()
    model.preprocess = replace(model.preprocess, crop=96, resize=96)
    expected = model.quantize(paths, most_images=2).ranges
    prepared = model.preprocess(paths)
    loader = cz.data.Loader(
        cz.data.Photos(paths), batch_size=1, transform=model.preprocess, shuffle=False
    )
    several: list[Any] = [
        [path.read_bytes() for path in paths],
        [np.asarray(PIL.Image.open(path)) for path in paths],
        (PIL.Image.open(path) for path in paths),
        cz.data.Photos(paths),
        prepared,
        torch.from_numpy(prepared).double(),
        loader,
    ]
    for given in several:
        found = model.quantize(given, most_images=2, progress=False)
        assert found.ranges == expected and found.images == 2
    one = model.quantize(paths[0])
    assert one.images == 1 and one.ranges == model.quantize(prepared[:1]).ranges


# ---- the report


def test_it_prints_as_a_table(model: cz.Model, x: Array) -> None:
    found = model.quantize(x, most_error=0.04)
    head, _, *rows, empty, last = str(found).splitlines()
    assert head.split() == ["layer", "error", "runs", "in"] and not empty
    assert len(rows) == len(found.layers)
    assert rows[0].split() == [found.layers[0].name, f"{found.layers[0].error:.2%}", "float32"]
    assert rows[-1].split()[-1] == "int8"
    count = sum(of.is_int8 for of in found.layers)
    assert last.startswith(f"{SMALL}, measured on 3 images: {count} of {len(rows)} layers in int8")
    worst = max(found.layers, key=lambda of: of.error)
    assert found.table(by_error=True).splitlines()[2].startswith(worst.name)
    html = found._repr_html_()
    assert html.startswith("<table>") and html.count("<tr>") == len(rows) + 1


def test_layers_whose_error_is_too_large_stay_in_float32(x: Array) -> None:
    model = network()
    errors = sorted(of.error for of in model.quantize(x, most_error=10.0).layers)
    everything = model(x, precision="int8")
    most = errors[len(errors) // 2]
    found = model.quantize(x, most_error=most)
    assert [of.is_int8 for of in found.layers] == [of.error <= most for of in found.layers]
    plan = model.plan(x.shape, precision="int8")
    stays = next(of.name for of in found.layers if not of.is_int8)
    assert not np.array_equal(model(x, precision="int8"), everything)
    # One that was set by hand: what runs in int8 follows it.
    model.quantization = replace(
        found, layers=tuple(replace(of, is_int8=True) for of in found.layers)
    )
    np.testing.assert_array_equal(model(x, precision="int8"), everything)
    assert model.plan(x.shape, precision="int8") != plan and stays in plan


def test_groups_of_few_channels_stay_in_float32() -> None:
    text = LAYERS.replace("groups=3", "groups=1").replace(
        "out=10 kernel=3", "out=10 groups=2 kernel=3"
    )
    model = cz.Model.from_graph(cz.Graph.parse(text))
    found = model.quantize(
        np.random.default_rng(0).standard_normal((1, 8, 9, 10), np.float32), most_error=10.0
    )
    assert {of.name: of.is_int8 for of in found.layers} == {
        "conv1": True, "conv2": True, "conv3": False, "fc": True,
    }  # fmt: skip
    assert found.layers[2].error == 0


def test_a_network_of_one_logit_is_measured_too(x: Array) -> None:
    model = network(num_classes=1)
    for count in (1, 3):
        found = model.quantize(x[:count], most_error=0.5)
        assert 0 < found.error < 1 and any(of.is_int8 for of in found.layers)


# ---- every run


def test_every_run_takes_it(model: cz.Model, x: Array) -> None:
    int8: Any = "int8"
    assert difference(model.embed(x, precision=int8), model.embed(x)) > 1e-4
    pyramid, plain = model.pyramid(x, precision=int8), model.pyramid(x)
    assert list(pyramid) == list(plain)
    for node, values in pyramid.items():
        assert values.dtype == np.float32
        assert 0 < difference(values, plain[node]) < 0.3, node
    profile = model.profile(x, repeats=1, precision=int8)
    assert any("int8" in step.kernel for step in profile.steps)
    labels = np.arange(3)
    found = metrics.evaluate(model, [(x, labels)], precision=int8)
    logits = torch.from_numpy(model(x, precision=int8))
    expected = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).item()
    assert found.loss == pytest.approx(expected, rel=1e-5)


def test_photographs_are_predicted_in_int8_by_the_command(
    lite0: cz.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnzoo.cli import main

    model, photo = lite0.copy(), str(PHOTOS / "chelsea.png")
    path = str(tmp_path / "quantized.safetensors")
    model.quantize(photo)
    model.save(path)
    command = ["predict", photo, "--precision", "int8", "--json"]
    assert main([*command, "--model", path]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = model.predict(photo, precision="int8")[0]
    assert expected != model.predict(photo)[0]
    assert str(expected.probability)[:6] in json.dumps(found)
    assert main(command) != 0
    assert "expected a model quantized with the parameters" in capsys.readouterr().err


# ---- keeping and forgetting


def moved(model: cz.Model, path: Path) -> cz.Model:
    del path
    model._for_training()
    return model


KEEPING: dict[str, Callable[[cz.Model, Path], cz.Model]] = {
    "copy": lambda model, _: model.copy(),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "pickle of libtorch": lambda model, path: pickle.loads(pickle.dumps(moved(model, path))),
    "pickle of frozen": lambda model, _: pickle.loads(pickle.dumps(model.freeze("classifier*"))),
    "file": saved,
    "int8 file": lambda model, path: saved(model, path, precision="int8"),
    "file of libtorch": lambda model, path: saved(moved(model, path), path),
    "libtorch": moved,
    "to": lambda model, _: model.to("cpu"),
}


@pytest.mark.parametrize("way", KEEPING)
def test_it_is_kept(way: str, model: cz.Model, tmp_path: Path, x: Array) -> None:
    found, quantization = model(x, precision="int8"), model.quantization
    other = KEEPING[way](model, tmp_path)
    assert other.quantized and other.quantization == quantization
    np.testing.assert_array_equal(other(x, precision="int8"), found)


def test_runs_and_freezing_keep_it(model: cz.Model, x: Array) -> None:
    found = model(x, precision="int8")
    model.freeze("classifier*")
    model(x, exact=True)
    model.vjp(x, model(x))
    metrics.evaluate(model, [(x, np.arange(3))])
    model.accuracy = "high"
    model.labels = [f"class {number}" for number in range(10)]
    model.tuning = None
    with pytest.raises(cz.WeightsError):
        model.load_state_dict({"nothing": x})
    np.testing.assert_array_equal(model(x, precision="int8"), found)


def step(model: cz.Model, x: Array) -> None:
    model.train_step(x, np.arange(3), cz.SGD(model, lr=0.1))


CHANGES: dict[str, Callable[[cz.Model, Array], object]] = {
    "load_state_dict": lambda model, _: model.load_state_dict(network(seed=1).state_dict()),
    "reset_classifier": lambda model, _: model.reset_classifier(num_classes=4),
    "train_step": step,
    "vjp": lambda model, x: model.vjp(x, model(x), training=True),
    "by hand": lambda model, _: setattr(model, "quantization", None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_of_a_parameter_forgets_it(
    change: str, model: cz.Model, x: Array, tmp_path: Path
) -> None:
    twin = model.copy()
    CHANGES[change](model, x)
    assert not model.quantized and model.quantization is None
    for run in (model, model.embed, lambda x, precision: model.profile(x, precision=precision)):
        with pytest.raises(
            cz.ArgumentError, match=r"model\.quantize\(images\), got one that is not"
        ):
            run(x, precision="int8")
    assert not saved(model, tmp_path).quantized
    assert twin.quantized
    model.quantize(x)
    assert model.quantized


def failing(logits: Array, y: Any) -> Any:
    raise ZeroDivisionError


REFUSED: dict[str, tuple[type[Exception], Callable[[cz.Model, cz.SGD, Array], object]]] = {
    "gradients": (
        cz.CnnzooError,
        lambda model, rule, x: model.apply_gradients({"bias9": np.zeros(3, np.float32)}, rule),
    ),
    "a class that it lacks": (
        cz.ArgumentError,
        lambda model, rule, x: model.train_step(x, np.array([0, 1, 10]), rule),
    ),
    "another number of targets": (
        cz.ShapeError,
        lambda model, rule, x: model.train_step(x, np.arange(2), rule),
    ),
    "another number of channels": (
        cz.ShapeError,
        lambda model, rule, x: model.train_step(x[:, :2], np.arange(3), rule),
    ),
    "one value per channel": (
        cz.ShapeError,
        lambda model, rule, x: model.train_step(x[:1, :, :1, :1], np.arange(1), rule),
    ),
    "weights of other classes": (
        cz.ArgumentError,
        lambda model, rule, x: model.train_step(
            x, np.arange(3), rule, loss=cz.CrossEntropy(class_weights=[1.0, 2.0])
        ),
    ),
    "a clip that is none": (
        cz.ArgumentError,
        lambda model, rule, x: model.train_step(x, np.arange(3), rule, clip_norm=-1),
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_training_step_that_is_refused_leaves_the_model_as_it_was(
    why: str, model: cz.Model, x: Array
) -> None:
    before, quantization, state = model(x, precision="int8"), model.quantization, model.state_dict()
    rule = cz.SGD(model, lr=0.1)
    error, take = REFUSED[why]
    for _ in range(2):
        with pytest.raises(error):
            take(model, rule, x)
        assert model.quantized and model.quantization == quantization
    np.testing.assert_array_equal(model(x, precision="int8"), before)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, state[name])
    # An update of no gradients changes nothing either.
    assert rule.step() is None and model.quantized


def test_a_step_that_fails_after_a_change_forgets_it(model: cz.Model, x: Array) -> None:
    """The batch norms have followed the batch when the loss is computed."""
    before = model.state_dict()["bn1.running_mean"]
    with pytest.raises(ZeroDivisionError):
        model.train_step(x, np.arange(3), cz.SGD(model, lr=0.1), loss=failing)
    assert not np.array_equal(model.state_dict()["bn1.running_mean"], before)
    assert not model.quantized
    frozen = network()
    frozen.quantize(x, most_error=1.0)
    frozen.freeze("*bn*")
    with pytest.raises(ZeroDivisionError):
        frozen.train_step(x, np.arange(3), cz.SGD(frozen, lr=0.1), loss=failing)
    assert frozen.quantized


def test_a_refused_step_of_shared_parameters_leaves_the_model_as_it_was(
    model: cz.Model, x: Array
) -> None:
    """The step moves the weights to another memory layout before it is refused."""
    module: Any = cz.torch.Module(model)
    before, rule = model(x, precision="int8"), cz.SGD(model, lr=0.1)
    places = [weight.data_ptr() for weight in module.parameters()]
    with pytest.raises(cz.ArgumentError, match="classes of 0 to 9"):
        model.train_step(x, np.array([0, 1, 10]), rule)
    assert places != [weight.data_ptr() for weight in module.parameters()]
    np.testing.assert_array_equal(model(x, precision="int8"), before)
    module.eval()(torch.from_numpy(x)).sum().backward()
    np.testing.assert_array_equal(model(x, precision="int8"), before)
    module.train()(torch.from_numpy(x))
    assert not model.quantized


def test_a_step_that_only_accumulates_changes_no_parameter_without_batch_norms(x: Array) -> None:
    model = cz.create_model(SMALL, num_classes=10, norm="group", stem="small")
    model.quantize(x, most_error=1.0)
    before, rule = model(x, precision="int8"), cz.SGD(model, lr=0.1)
    model.train_step(x, np.arange(3), rule, accumulate=2)
    np.testing.assert_array_equal(model(x, precision="int8"), before)
    model.train_step(x, np.arange(3), rule, accumulate=2)
    assert not model.quantized


@pytest.mark.filterwarnings("default")
def test_few_images_are_a_notice() -> None:
    model, x = network(), images((32, 32), 16)
    with pytest.warns(cz.Notice, match="at least 16 images, got 15; the ranges of all values are"):
        model.quantize(x[:15], most_error=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.quantize(x, most_error=1.0)
    with pytest.warns(cz.Notice, match="got 2"):
        model.quantize(x, most_error=1.0, most_images=2)


def test_a_trainer_forgets_it_and_its_checkpoints_have_none(
    model: cz.Model, x: Array, tmp_path: Path
) -> None:
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    trainer.save(tmp_path / "run")
    assert model.quantized
    assert "quantization" not in described(tmp_path / "run", "cnnzoo-run")["model"]
    trainer.fit([(x, np.arange(3))], epochs=1, progress=False)
    assert not model.quantized


def test_weights_of_a_quantized_file_take_it_where_they_are_all_of_it(
    model: cz.Model, tmp_path: Path, x: Array
) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    same = cz.create_model(SMALL, weights=path)
    np.testing.assert_array_equal(same(x, precision="int8"), model(x, precision="int8"))
    assert not cz.create_model(SMALL, weights=path, num_classes=3).quantized
    other = network(seed=1)
    other.load_weights(path)
    assert not other.quantized
    np.testing.assert_array_equal(other(x), model(x))


# ---- files


def test_a_file_of_integers_is_a_quarter(lite0: cz.Model, tmp_path: Path) -> None:
    model = lite0.copy()
    x = lite0.preprocess([PHOTOS / "chelsea.png", PHOTOS / "coffee.png"])
    model.quantize(x)
    model.save(tmp_path / "plain.safetensors")
    other = saved(model, tmp_path, precision="int8")
    sizes = [
        (tmp_path / name).stat().st_size for name in ("model.safetensors", "plain.safetensors")
    ]
    assert 0.2 < sizes[0] / sizes[1] < 0.35
    np.testing.assert_array_equal(other(x, precision="int8"), model(x, precision="int8"))
    assert 0 < spread_error(other(x), model(x)) < 0.2
    # Once more: what is rounded stays as it is.
    again = saved(other, tmp_path, precision="int8")
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name], array)
    arrays = arrays_of(tmp_path / "model.safetensors")
    for name, array in arrays.items():
        if array.dtype == np.int8:
            expected = array * arrays[f"{name}_step"].reshape(-1, *[1] * (array.ndim - 1))
            np.testing.assert_array_equal(other.state_dict()[name], expected.astype(np.float32))


@pytest.mark.parametrize(
    ("range_", "message"),
    [
        ([1, "high"], r"ranges\.input\.1`: expected a number, got high"),
        ([1], r"ranges\.input`: expected a list of 2"),
        ([1, 0], "node `input`: expected two finite float32 numbers, the lower first, got 1, 0"),
        (["nan", 1], "range of `input`: expected a finite number, got nan"),
        ([0, 1e300], "node `input`: expected two finite float32 numbers, .*, got 0, inf"),
        (None, "node `input`: expected the range of its values, got none"),
    ],
)
def test_a_file_with_wrong_ranges_is_refused(
    range_: Any, message: str, model: cz.Model, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole, arrays = described(path), arrays_of(path)
    ranges = whole["quantization"]["ranges"]
    ranges["input"] = range_
    if range_ is None:
        del ranges["input"]
    forge(path, json.dumps(whole), arrays)
    with pytest.raises(cz.WeightsError, match=message) as raised:
        cz.load(path)
    assert str(raised.value).startswith(f"{path}: its configuration is damaged")


def test_a_file_with_layers_and_nodes_that_there_are_not_is_refused(
    model: cz.Model, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole, arrays = described(path), arrays_of(path)
    other = copy.deepcopy(whole)
    other["quantization"]["ranges"]["conv9"] = [0, 1]
    forge(path, json.dumps(other), arrays)
    with pytest.raises(cz.WeightsError, match="`conv9`: expected a node of the network, got none"):
        cz.load(path)
    other = copy.deepcopy(whole)
    other["quantization"]["layers"][0].update(name="input", is_int8=False)
    forge(path, json.dumps(other), arrays)
    with pytest.raises(
        cz.WeightsError, match="expected each convolution and linear layer once, in order"
    ):
        cz.load(path)


def test_a_file_with_wrong_steps_is_refused(model: cz.Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model.save(path, precision="int8")
    text, arrays = json.dumps(described(path)), arrays_of(path)
    name = next(name for name in arrays if name.endswith("weight_step"))
    forge(path, text, {**arrays, name: np.full_like(arrays[name], np.nan)})
    with pytest.raises(
        cz.WeightsError, match=f"{name}.*expected steps of float32 weights, none negative, got NaN"
    ) as raised:
        cz.load(path)
    assert str(path) in str(raised.value)
    weight = name.removesuffix("_step")
    for step in (arrays[name][1:], arrays[name].astype(np.float32)):
        forge(path, text, {**arrays, name: step})
        with pytest.raises(cz.WeightsError, match=weight):
            cz.load(path)
    del arrays[name]
    forge(path, text, arrays)
    with pytest.raises(cz.WeightsError, match=f"`{weight}`: expected .*, got int8"):
        cz.load(path)


# ---- refusals


def test_what_cannot_be_quantized_is_refused(x: Array) -> None:
    model = network()
    empty: list[Any] = [[], iter([]), x[:0]]
    for none in empty:
        with pytest.raises(cz.ArgumentError, match="expected at least one, got none"):
            model.quantize(none)
    for wrong in (x[:, :2], x[0], x[:, :, :0]):
        with pytest.raises(cz.ShapeError):
            model.quantize(wrong)
    for value in (np.nan, np.inf):
        other = x.copy()
        other[1, 2, 3, 4] = value
        with pytest.raises(cz.ArgumentError, match="node `input`: expected finite values, got"):
            model.quantize(other)
    with pytest.raises(TypeError):
        model.quantize(None)
    with pytest.raises(cz.DataError, match=r"nothing\.png"):
        model.quantize(["nothing.png"])
    for most in (-0.1, float("nan"), "much", True):
        with pytest.raises(cz.ArgumentError, match="`most_error`"):
            model.quantize(x, most_error=most)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="`most_images`"):
        model.quantize(x, most_images=0)
    with pytest.raises(cz.DeviceError, match="with parameters on the CPU, got one on meta"):
        network(meta=True).quantize(x)
    with pytest.raises(cz.ArgumentError, match="expected a Quantization or None, got 'int8'"):
        model.quantization = "int8"  # type: ignore[assignment]
    assert not model.quantized


def test_a_quantization_of_another_network_is_refused(model: cz.Model) -> None:
    other = network("resnet18")
    with pytest.raises(cz.ArgumentError, match="expected a node of the network"):
        other.quantization = model.quantization
    assert not other.quantized


def test_what_there_is_not_in_int8_is_refused(model: cz.Model, x: Array, tmp_path: Path) -> None:
    int8: Any = "int8"
    y, optimizer = np.arange(3), cz.SGD(model, lr=0.1)
    with pytest.raises(cz.ArgumentError, match="expected no exact run"):
        model(x, exact=True, precision=int8)
    training: list[Callable[[], object]] = [
        lambda: model.train_step(x, y, optimizer, precision=int8),
        lambda: model.vjp(x, model(x), precision=int8),
        lambda: cz.Trainer(model, optimizer=optimizer, precision=int8),
    ]
    for call in training:
        with pytest.raises(cz.ArgumentError, match=r"float32.* or .*bfloat16.*, got .*int8"):
            call()
    assert model.quantized
    plain = network()
    unquantized: list[Callable[[], object]] = [
        lambda: plain(x, precision=int8),
        lambda: plain.plan(precision=int8),
        lambda: plain.predict(np.zeros((9, 9, 3), np.uint8), precision=int8),
        lambda: plain.save(tmp_path / "m.safetensors", precision=int8),
        lambda: metrics.evaluate(plain, [(x, y)], precision=int8),
    ]
    for call in unquantized:
        with pytest.raises(
            cz.ArgumentError, match=r"a model quantized .*: model\.quantize\(images\)"
        ):
            call()
    with pytest.raises(
        cz.ArgumentError, match="expected one of float32, bfloat16, int8, got 'int4'"
    ):
        model(x, precision="int4")  # type: ignore[call-overload]
    with pytest.raises(cz.ArgumentError, match="expected one of float32, int8, got 'int4'"):
        model.save(tmp_path / "m.safetensors", precision="int4")  # type: ignore[arg-type]


@pytest.mark.cuda
def test_a_model_on_a_gpu_is_refused(model: cz.Model, x: Array) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    model.to("cuda")
    with pytest.raises(cz.DeviceError, match="on the CPU, got one on cuda:0"):
        model.quantize(x)
    with pytest.raises(cz.ArgumentError, match="expected a model on the CPU"):
        model(x, precision="int8")


# ---- threads and interrupts


def test_others_run_the_model_meanwhile_and_an_error_changes_nothing(x: Array) -> None:
    model = network()
    expected = model(x)

    def runs(done: int, _: int) -> None:
        with ThreadPoolExecutor(1) as pool:
            np.testing.assert_array_equal(pool.submit(model, x).result(), expected)
        if done == 4:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        model._engine.quantize(x, 1.0, runs)
    assert not model.quantized


def test_a_change_meanwhile_leaves_a_model_that_is_not_quantized(x: Array) -> None:
    model = network()
    engine, values = model._engine, model._engine.values(0)
    changed = threading.Thread(target=engine.set_values, args=(0, values))

    def changes(done: int, steps: int) -> None:
        if done == steps - 1:
            changed.start()

    # The change waits for the measurement, and comes before or after what follows from it.
    with contextlib.suppress(cz.ArgumentError):
        engine.quantize(x, 1.0, changes)
    changed.join()
    assert not model.quantized


INTERRUPTED = """
import signal
import numpy as np
import cnnzoo as cz

signal.signal(signal.SIGINT, signal.default_int_handler)
model = cz.create_model("resnet18")
x = np.random.default_rng(0).standard_normal((1000, 3, 64, 64)).astype(np.float32)
first = model.quantize(x[:16], most_error=1.0)
print("begins", flush=True)
try:
    while True:
        model.quantize(x, most_error=0.0, most_images=1000)
except KeyboardInterrupt:
    print("as before" if model.quantization == first else "changed")
"""


def test_control_c_ends_it_and_leaves_the_model_as_it_was() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (out, err, process.returncode) == ("as before\n", "", 0)
