"""Measured choices of algorithms, their files, and the accuracy of native inference."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import cnnzoo as cz
from forged import described, forge
from reference import Array, images
from tolerance import FUSED, difference

SIDE = 96
SHAPE = (1, 3, SIDE, SIDE)
X = images((SIDE, SIDE), 3)


def network(name: str = "resnet18", **options: Any) -> cz.Model:
    return cz.create_model(name, num_classes=10, **options)


@pytest.fixture(scope="module")
def tuning() -> cz.Tuning:
    return network().optimize(SHAPE, repeats=2)


def choosing(tuning: cz.Tuning, choose: Callable[[list[str]], str]) -> cz.Tuning:
    """As if the times had been others."""
    layers = tuple(
        dataclasses.replace(layer, chosen=choose(list(layer.milliseconds)))
        for layer in tuning.layers
    )
    return dataclasses.replace(tuning, layers=layers)


def largest(tuning: cz.Tuning) -> cz.Tuning:
    """The largest tile of each layer, which the rules take for few of them."""
    return choosing(tuning, lambda names: names[-1])


def winograd(model: cz.Model, shape: tuple[int, ...] = SHAPE) -> set[str]:
    """The tiles in a plan."""
    return set(re.findall(r"F\([^)]*\)", model.plan(shape)))


# ---- measuring


def test_each_distinct_convolution_is_measured_with_all_its_algorithms(tuning: cz.Tuning) -> None:
    nodes = [node for layer in tuning.layers for node in layer.nodes]
    # 1×1 and 3×3 with stride 2 have one algorithm alone.
    plain = [f"layer{s}.{b}.conv{c}" for s in "1234" for b in "01" for c in "12"]
    strided = {"layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1"}
    assert sorted(nodes) == sorted({"conv1", *plain} - strided)
    stem, *others = tuning.layers
    assert stem.nodes == ("conv1",) and stem.kernel == (7, 7) and stem.stride == (2, 2)
    assert list(stem.milliseconds) == ["direct", "F(5×5, 4×4)"]
    for layer, (channels, side) in zip(
        others, [(64, 24), (128, 12), (256, 6), (512, 3)], strict=True
    ):
        assert (layer.in_channels, layer.out_channels) == (channels, channels)
        assert layer.image == (side, side) and layer.batch == 1
        names = ["direct", "F(2×2, 3×3)", "F(4×4, 3×3)", "F(6×6, 3×3)"]
        assert list(layer.milliseconds) == names
        assert layer.chosen in names and layer.rule in names
        assert all(milliseconds > 0 for milliseconds in layer.milliseconds.values())
    assert {layer.threads for layer in tuning.layers} == {cz.get_num_threads()}


def test_the_choice_is_the_fastest_or_the_rules(tuning: cz.Tuning) -> None:
    for layer in tuning.layers:
        fastest = min(layer.milliseconds, key=layer.milliseconds.__getitem__)
        assert layer.chosen in {fastest, layer.rule}
        if layer.chosen != layer.rule:
            assert layer.milliseconds[layer.chosen] <= 0.97 * layer.milliseconds[layer.rule]


def test_a_plan_has_what_was_chosen_and_nothing_else_changes(tuning: cz.Tuning) -> None:
    model = network()
    before = model.plan(SHAPE)
    for name in ("direct", "F(2×2, 3×3)", "F(4×4, 3×3)", "F(6×6, 3×3)"):
        # The first convolution is of another window.
        model.tuning = choosing(tuning, lambda names: name if name in names else names[0])  # noqa: B023
        assert winograd(model) == {name} - {"direct"}
    # Sizes that were not measured get the rule's choice.
    assert model.plan((1, 3, 128, 128)) == network().plan((1, 3, 128, 128))
    model.tuning = choosing(tuning, lambda names: names[0])
    model.tuning = None
    assert model.plan(SHAPE) == before and model.tuning is None


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "inception_v3", "vgg11", "alexnet"])
def test_outputs_are_those_of_an_exact_run(name: str) -> None:
    model = network(name)
    x = images((SIDE, SIDE), 2)
    exact = model(x, exact=True)
    found = model.optimize(x.shape, repeats=1)
    assert difference(model(x), exact) <= FUSED
    # Whatever is the fastest here: the two ends of each list.
    for chosen in (largest(found), choosing(found, lambda names: names[0])):
        model.tuning = chosen
        assert difference(model(x), exact) <= FUSED


def test_an_image_gets_the_same_bits_in_every_batch_and_with_any_threads(
    tuning: cz.Tuning,
) -> None:
    model, before = network(), cz.get_num_threads()
    assert tuning.layers[0].batch == 1
    try:
        for chosen in (tuning, largest(tuning)):
            model.tuning = chosen
            whole = model(X)
            for threads in (1, 2, 3):
                cz.set_num_threads(threads)
                parts = np.concatenate([model(X[at : at + 1]) for at in range(len(X))])
                np.testing.assert_array_equal(parts, whole)
                np.testing.assert_array_equal(model(X), whole)
    finally:
        cz.set_num_threads(before)


def test_sizes_are_added_and_measured_anew() -> None:
    model = network()
    first = model.optimize(SHAPE, repeats=1)
    both = model.optimize((2, 3, 128, 128), repeats=1)
    assert model.tuning is both and len(both.layers) == 2 * len(first.layers)
    assert [layer.batch for layer in both.layers] == [2] * 5 + [1] * 5
    again = model.optimize((4, 3, 128, 128), repeats=1)
    assert [layer.batch for layer in again.layers] == [4] * 5 + [1] * 5


def test_a_network_without_a_choice_has_nothing_to_measure() -> None:
    model = network("mobilenet_v2_035")
    before = model.plan()
    found = model.optimize(repeats=1)
    assert found.layers == () and model.plan() == before
    assert "0 distinct layers" in str(found)


def test_it_prints_as_a_table(tuning: cz.Tuning) -> None:
    head, _, *rows, empty, last = str(largest(tuning)).splitlines()
    assert head.split()[:3] == ["convolution", "batch", "threads"] and not empty
    assert rows[0].startswith("7×7 /2, 3 to 64 on 96×96")
    assert f"{tuning.layers[1].milliseconds['F(4×4, 3×3)']:.3f}" in rows[1]
    assert "layer1.0.conv1, layer1.0.conv2" in rows[1] and len(rows) == 5
    assert last.startswith(f"resnet18 on {tuning.processor}, {tuning.instructions}: 5 distinct")
    assert last.endswith("ms") and "other algorithm" in last


@pytest.mark.parametrize("repeats", [0, -1, 10_001, 1.5, True])
def test_a_number_of_repeats_out_of_range_is_refused(repeats: Any) -> None:
    with pytest.raises(cz.ArgumentError, match="`repeats`"):
        network().optimize(SHAPE, repeats=repeats)


def test_what_cannot_be_measured_is_refused() -> None:
    model = network()
    for shape in [(1, 4, 64, 64), (0, 3, 64, 64), (3, 64, 64), (1, 3, 0, 64)]:
        with pytest.raises(cz.ShapeError):
            model.optimize(shape)
    assert model.tuning is None
    with pytest.raises(cz.DeviceError, match="with parameters"):
        network(meta=True).optimize()


@pytest.mark.cuda
def test_a_model_on_a_gpu_is_refused() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine")
    with pytest.raises(cz.DeviceError, match="on the CPU, whose convolutions are measured"):
        network(device="cuda").optimize(SHAPE)


INTERRUPTED = """
import signal
import cnnzoo as cz

signal.signal(signal.SIGINT, signal.default_int_handler)
model = cz.create_model("resnet18")
before = model.plan()
print("begins", flush=True)
try:
    model.optimize(repeats=10_000)
except KeyboardInterrupt:
    print("as before" if model.plan() == before and model.tuning is None else "changed")
"""


def test_control_c_ends_it_and_leaves_the_model_as_it_was() -> None:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "begins\n"
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (out, err, process.returncode) == ("as before\n", "", 0)


# ---- keeping


def test_a_file_gives_identical_plans(tuning: cz.Tuning, tmp_path: Path) -> None:
    path = tmp_path / "tuning.json"
    for kept in (tuning, largest(tuning)):
        kept.save(path)
        found = cz.Tuning.load(path)
        assert found == kept and found.fits_here
        first, second = network(), network()
        first.tuning, second.tuning = kept, found
        assert first.plan(SHAPE) == second.plan(SHAPE)
        np.testing.assert_array_equal(first(X), second(X))
    # Another network has some of these layers, too.
    other = network("resnet34")
    other.tuning = found
    assert "F(6×6, 3×3)" in winograd(other)
    given = json.loads(path.read_text())
    assert given["format"] == 1 and given["layers"][1]["kernel"] == [3, 3]


def at(*keys: Any, value: Any = None) -> Callable[[Any], Any]:
    """A change of a file: another value at a place, or none."""

    def change(given: Any) -> Any:
        place = given
        for key in keys[:-1]:
            place = place[key]
        if value is None:
            del place[keys[-1]]
        else:
            place[keys[-1]] = value
        return given

    return change


WRONG: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a list": (lambda _: [], "`tuning`: expected an object, got"),
    "no format": (at("format"), "`tuning.format`: expected format 1 or older, got None"),
    "newer": (at("format", value=2), "`tuning.format`: expected .* a newer cnnzoo wrote it"),
    "no layers": (at("layers"), "`tuning.layers`: expected a value, got none"),
    "another field": (at("speed", value=1), "`tuning`: expected no more than .*, got speed"),
    "another field of a layer": (at("layers", 1, "x", value=1), "`tuning.layers.1`: expected no"),
    "no number": (at("layers", 1, "batch", value="x"), "`tuning.layers.1.batch`: expected a whole"),
    "too few": (at("layers", 1, "kernel", value=[3]), "`tuning.layers.1.kernel`: expected a list"),
    "an unknown tile": (
        at("layers", 1, "chosen", value="F(8×8, 3×3)"),
        r"`tuning.layers.1.chosen`: expected direct or F\(2×2, 3×3\) or .*, got F\(8×8, 3×3\)",
    ),
    "the tile of another window": (
        at("layers", 0, "chosen", value="F(4×4, 3×3)"),
        r"`tuning.layers.0.chosen`: expected direct or F\(5×5, 4×4\), got F\(4×4, 3×3\)",
    ),
    "an unknown rule": (at("layers", 1, "rule", value="fft"), "`tuning.layers.1.rule`"),
    "a time of nothing": (
        at("layers", 1, "milliseconds", value={"fft": 1.0}),
        "`tuning.layers.1.milliseconds`: expected direct or",
    ),
    "no stride": (
        at("layers", 1, "stride", value=[0, 0]),
        "`tuning.layers.1.chosen`: expected direct, got|`tuning.layers.1.milliseconds`|rule`",
    ),
    "huge": (at("layers", 1, "image", value=[2**64, 1]), "`tuning.layers.1.image.0`: expected"),
}


@pytest.mark.parametrize("change", WRONG)
def test_a_wrong_file_is_refused_with_its_place(
    change: str, tuning: cz.Tuning, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.json"
    tuning.save(path)
    how, message = WRONG[change]
    path.write_text(json.dumps(how(json.loads(path.read_text()))))
    with pytest.raises(cz.TuningError, match=message) as raised:
        cz.Tuning.load(path)
    assert str(raised.value).startswith(f"{path}: ") and isinstance(raised.value, ValueError)


def test_files_that_are_no_json_or_cannot_be_opened_are_refused(
    tuning: cz.Tuning, tmp_path: Path
) -> None:
    path = tmp_path / "tuning.json"
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(cz.TuningError, match="`tuning`: expected JSON, got"):
            cz.Tuning.load(path)
    for place, kind in ((tmp_path / "none.json", FileNotFoundError), (tmp_path, OSError)):
        with pytest.raises(cz.TuningError, match=str(place)) as raised:
            cz.Tuning.load(place)
        assert isinstance(raised.value, kind) and raised.value.errno
    with pytest.raises(cz.TuningError, match="none"):
        tuning.save(tmp_path / "none" / "tuning.json")
    with pytest.raises(cz.ArgumentError, match="`path`: expected a path, got 3"):
        cz.Tuning.load(3)  # type: ignore[arg-type]


def test_a_tuning_of_another_processor_is_refused(tuning: cz.Tuning) -> None:
    model = network()
    model.tuning = tuning
    for change in ({"processor": "Z80"}, {"instructions": "mmx"}):
        other = dataclasses.replace(tuning, **change)  # type: ignore[arg-type]
        assert not other.fits_here
        message = f"tuning of resnet18: expected one .* on {re.escape(tuning.processor)}"
        with pytest.raises(cz.ArgumentError, match=message):
            model.tuning = other
        assert model.tuning is tuning
    with pytest.raises(cz.ArgumentError, match=r"expected a Tuning or None, got 'file\.json'"):
        model.tuning = "file.json"  # type: ignore[assignment]


def test_an_algorithm_that_there_is_not_is_refused(tuning: cz.Tuning) -> None:
    model = network()
    before = model.plan(SHAPE)
    with pytest.raises(cz.ArgumentError, match=r"convolution of 7×7.*expected one of direct; F"):
        model.tuning = choosing(tuning, lambda _: "F(6×6, 3×3)")
    assert model.plan(SHAPE) == before and model.tuning is None


COPIES: dict[str, Callable[[cz.Model], cz.Model]] = {
    "copy": lambda model: model.copy(),
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


@pytest.mark.parametrize("way", COPIES)
def test_copies_keep_the_choice_and_the_accuracy(way: str, tuning: cz.Tuning) -> None:
    model = network()
    model.tuning, model.accuracy = largest(tuning), "high"
    twin = COPIES[way](model)
    assert twin.tuning == model.tuning and twin.accuracy == "high"
    model.accuracy = twin.accuracy = "fast"
    assert twin.plan(SHAPE) == model.plan(SHAPE) != network().plan(SHAPE)
    twin.tuning = None
    assert model.tuning is not None and twin.plan(SHAPE) == network().plan(SHAPE)


def test_a_pickle_of_another_processor_comes_back_without_its_choice(
    tuning: cz.Tuning, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network()
    model.tuning = largest(tuning)
    pickled = pickle.dumps(model)
    monkeypatch.setattr("cnnzoo.tuning.processor", lambda: "Z80")
    twin = pickle.loads(pickled)
    assert twin.tuning is None and twin.plan(SHAPE) == network().plan(SHAPE)


def test_new_parameters_and_classifiers_keep_it(tuning: cz.Tuning) -> None:
    model = network()
    model.tuning = largest(tuning)
    plan = model.plan(SHAPE)
    model.load_state_dict(network(seed=1).state_dict())
    assert model.plan(SHAPE) == plan
    model.train_step(X, np.array([0, 1, 2]), cz.SGD(model, lr=0.01))
    assert model.plan(SHAPE) == plan
    model.reset_classifier(num_classes=3)
    assert "F(6×6, 3×3)" in winograd(model)
    assert difference(model(X), model(X, exact=True)) <= FUSED


# ---- accuracy

# Convolutions of 3×3, of more and more channels, as in VGG.
WIDTHS = (32, 64, 64, 128, 128)
DEEP = "\n".join(
    [
        "graph deep",
        "input = input() channels=3 height=48 width=48",
        *(
            f"c{at} = conv({f'r{at - 1}' if at else 'input'}) out={out} kernel=3 padding=1\n"
            f"r{at} = activation(c{at})"
            for at, out in enumerate(WIDTHS)
        ),
        "pool = adaptive_pool(r4)",
        "flat = flatten(pool)",
        "fc = linear(flat) out=10",
        "output fc",
    ]
)


def in_float64(model: cz.Model, x: Array) -> Array:
    """The value of the last activation, by PyTorch in float64."""
    torch = pytest.importorskip("torch")
    arrays = model.state_dict()
    y = torch.from_numpy(x.astype(np.float64))
    for at in range(len(WIDTHS)):
        weight = torch.from_numpy(arrays[f"c{at}.weight"].astype(np.float64))
        y = torch.nn.functional.conv2d(y, weight, padding=1).relu()
    found: Array = y.numpy()
    return found


def test_high_accuracy_takes_accurate_algorithms_alone_and_has_smaller_errors() -> None:
    model = cz.Model.from_graph(cz.Graph.parse(DEEP))
    x = images((48, 48), 2)
    expected = in_float64(model, x)

    def error() -> float:
        return float(np.sqrt(np.mean((model.features(x, "r4")["r4"] - expected) ** 2)))

    fast, exact = error(), model(x, exact=True)
    assert model.accuracy == "fast" and winograd(model, x.shape) == {"F(4×4, 3×3)"}
    model.accuracy = "high"
    assert winograd(model, x.shape) == {"F(2×2, 3×3)"}
    assert error() < 0.7 * fast
    assert difference(model(x), exact) <= FUSED
    # What was measured is no exception.
    found = model.optimize(x.shape, repeats=1)
    names = {name for layer in found.layers for name in layer.milliseconds}
    assert names == {"direct", "F(2×2, 3×3)"} and error() < 0.7 * fast


def test_measured_choices_are_taken_as_far_as_the_accuracy_allows(tuning: cz.Tuning) -> None:
    model = network()
    model.tuning = largest(tuning)
    model.accuracy = "high"
    assert winograd(model) == {"F(2×2, 3×3)"}
    model.tuning = choosing(tuning, lambda _: "direct")
    assert winograd(model) == set()
    model.tuning = largest(tuning)
    model.accuracy = "fast"
    assert winograd(model) == {"F(6×6, 3×3)", "F(5×5, 4×4)"}


@pytest.mark.parametrize("name", ["inception_v3", "alexnet", "googlenet", "vgg11", "resnet50"])
def test_plans_of_high_accuracy_have_no_large_tile(name: str) -> None:
    model = network(name)
    assert winograd(model, (1, *model.graph.input_shape)) - {"F(2×2, 3×3)"}
    model.accuracy = "high"
    assert winograd(model, (1, *model.graph.input_shape)) <= {"F(2×2, 3×3)"}


@pytest.mark.parametrize("value", ["exact", "HIGH", "", None, 1, True])
def test_another_accuracy_is_refused(value: Any) -> None:
    model = network("mobilenet_v2_035")
    with pytest.raises(cz.ArgumentError, match="accuracy of mobilenet_v2_035: expected one of "):
        model.accuracy = value
    assert model.accuracy == "fast"


def test_files_and_runs_keep_the_accuracy(tmp_path: Path) -> None:
    model = network("mobilenet_v2_035")
    model.accuracy = "high"
    model.save(tmp_path / "model.safetensors")
    assert cz.load(tmp_path / "model.safetensors").accuracy == "high"
    filled = network("mobilenet_v2_035", weights=tmp_path / "model.safetensors")
    assert filled.accuracy == "high" and network("mobilenet_v2_035").accuracy == "fast"
    data = [(images((32, 32), 2), np.array([0, 1]))]
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01), ema=0.9)
    trainer.fit(data, epochs=1, progress=False)
    trainer.save(tmp_path / "run.safetensors")
    again = cz.Trainer.resume(tmp_path / "run.safetensors", data, progress=False)
    for one in (trainer, again):
        assert one.averaged is not None
        assert (one.model.accuracy, one.averaged.accuracy) == ("high", "high")


def test_a_file_of_another_accuracy_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    network("mobilenet_v2_035").save(path)
    forge(path, json.dumps({**described(path), "accuracy": "exact"}), load_file(path))
    with pytest.raises(
        cz.WeightsError, match=r'`configuration\.accuracy`: expected "fast" or "high"'
    ):
        cz.load(path)
