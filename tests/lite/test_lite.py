"""The package cnnzoo-lite, in an environment without torch: all but training works."""

from __future__ import annotations

import contextlib
import copy
import csv
import importlib.metadata
import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import cnnzoo as cz
from cnnzoo.cli import main

ROOT = Path(__file__).parents[2]
COFFEE, CHELSEA = ROOT / "photos" / "coffee.png", ROOT / "photos" / "chelsea.png"

GRAPH = """
graph small
input = input() channels=3 height=9 width=11
conv = conv(input) out=5 kernel=3 padding=1 stride=2
norm = batch_norm(conv)
act = activation(norm) function=relu
pool = adaptive_pool(act)
flat = flatten(pool)
fc = linear(flat) out=4
output fc
"""

Array = NDArray[np.float32]


def images(side: int, batch: int, seed: int = 0) -> Array:
    generator = np.random.default_rng(seed)
    return generator.standard_normal((batch, 3, side, side)).astype(np.float32)


def network(name: str = "mobilenet_v2_035", seed: int = 0) -> cz.Model:
    return cz.create_model(name, num_classes=10, seed=seed)


def test_there_is_no_torch_here() -> None:
    assert importlib.util.find_spec("torch") is None
    assert importlib.util.find_spec("torchvision") is None


def test_numpy_and_tqdm_are_all_that_it_requires() -> None:
    needs = importlib.metadata.requires("cnnzoo-lite") or []
    assert sorted(need for need in needs if "extra" not in need) == ["numpy>=1.26", "tqdm>=4.60"]
    assert importlib.metadata.version("cnnzoo-lite") == cz.__version__


# ---- inference


def by_loops(state: dict[str, NDArray[Any]], x: Array) -> NDArray[np.float64]:
    """The output of GRAPH, window by window in float64."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = (x.shape[2] + 1) // 2, (x.shape[3] + 1) // 2
    conv = np.empty((len(x), 5, height, width))
    for row in range(height):
        for column in range(width):
            window = padded[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            conv[:, :, row, column] = np.einsum("nchw,ochw->no", window, state["conv.weight"])
    if "conv.bias" in state:
        conv += state["conv.bias"][:, None, None]
    scale = state["norm.weight"] / np.sqrt(state["norm.running_var"] + 1e-5)
    shift = state["norm.bias"] - state["norm.running_mean"] * scale
    pooled = np.maximum(conv * scale[:, None, None] + shift[:, None, None], 0).mean((2, 3))
    return np.asarray(pooled @ state["fc.weight"].T + state["fc.bias"])


def test_a_network_computes_what_its_graph_says() -> None:
    model = cz.Model.from_graph(cz.Graph.parse(GRAPH), seed=3)
    generator = np.random.default_rng(4)
    state = {
        name: generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
        if array.dtype == np.float32
        else array
        for name, array in model.state_dict().items()
    }
    model.load_state_dict(state)
    x = generator.standard_normal((3, 3, 9, 11)).astype(np.float32)
    np.testing.assert_allclose(model(x), by_loops(state, x), rtol=1e-5, atol=1e-5)


def test_a_network_of_every_family_runs() -> None:
    cheapest: dict[str, cz.ModelInfo] = {}
    for name in cz.list_models():
        info = cz.model_info(name)
        if info.family not in cheapest or info.macs < cheapest[info.family].macs:
            cheapest[info.family] = info
    assert len(cheapest) > 20
    for info in cheapest.values():
        model = cz.create_model(info.name, num_classes=3)
        side = info.input_size if info.fixed_image_size else max(64, info.min_image_size)
        logits = model(images(side, 2))
        assert logits.shape == (2, 3) and np.isfinite(logits).all(), info.name


def test_features_plans_profiles_and_tunings() -> None:
    model, x = network(), images(64, 2)
    node = model.nodes()[5]
    assert list(model.features(x, [node])) == [node]
    assert len(model.pyramid(x)) > 3
    assert model.embed(x).shape == (2, 1280)
    assert model.plan((2, 3, 64, 64)).splitlines()[-1].endswith("of weights")
    assert model.profile(x, repeats=1).steps
    model = network("resnet18")
    tuning = model.optimize((2, 3, 64, 64), repeats=1)
    assert model.tuning is tuning and tuning.layers
    model.accuracy = "high"
    assert model(x).shape == (2, 10)
    assert "graph resnet18" in str(model.graph) and model.summary()


def test_many_threads_share_a_model() -> None:
    model, batches = network(), [images(64, 1, seed) for seed in range(8)]
    expected = [model(x) for x in batches]
    found: dict[int, Array] = {}

    def run(index: int) -> None:
        found[index] = model(batches[index])

    threads = [threading.Thread(target=run, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index, logits in enumerate(expected):
        np.testing.assert_array_equal(found[index], logits)


def test_bfloat16_runs_where_the_processor_has_it_and_says_where_it_has_not() -> None:
    code = """
import numpy as np, cnnzoo as cz
model = cz.create_model("mobilenet_v2_035", num_classes=10)
x = np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)
try:
    found, plain = model(x, precision="bfloat16"), model(x)
    print(np.abs(found - plain).max() / np.abs(plain).max())
except cz.MissingPackageError as error:
    print(error)
"""
    for instructions in ("portable", "avx2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "CNNZOO_INSTRUCTIONS": instructions},
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        if instructions == "portable":
            assert 1e-5 < float(done.stdout) < 5e-2
        else:
            assert "on a processor without AVX512-BF16 needs libtorch" in done.stdout


def test_a_quantized_model_runs_in_int8(tmp_path: Path) -> None:
    model, x = network(), images(64, 16)
    found = model.quantize(x, most_error=0.05)
    assert model.quantized and any(of.is_int8 for of in found.layers)
    expected = model(x, precision="int8")
    assert 0 < np.abs(expected - model(x)).max() < 0.2 * np.abs(expected).max()
    path = tmp_path / "model.safetensors"
    for precision in ("float32", "int8"):
        model.save(path, precision=precision)
        np.testing.assert_array_equal(cz.load(path)(x, precision="int8"), expected)
    twin = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(twin(x, precision="int8"), expected)
    model.reset_classifier(num_classes=3)
    with pytest.raises(cz.ArgumentError, match=r"model\.quantize\(images\)"):
        model(x, precision="int8")
    photo = cz.create_model("tf_efficientnet_lite0", weights="default")
    photo.quantize([COFFEE, CHELSEA] * 8)
    assert photo.predict(COFFEE, precision="int8")[0].label == "espresso"
    photo.save(path)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["predict", str(COFFEE), "--model", str(path), "--precision", "int8"]) == 0
    assert "espresso" in out.getvalue()


# ---- photographs and data


def test_photographs_are_classified() -> None:
    model = cz.create_model("tf_efficientnet_lite0", weights="default")
    prediction = model.predict(COFFEE)
    assert prediction[0].label == "espresso"
    several = model.predict([COFFEE, CHELSEA])
    assert [guess[0].label for guess in several] == ["espresso", "tiger cat"]
    assert [one[0].label for one in model.predict([COFFEE], stream=True)] == ["espresso"]


def test_a_photograph_is_resized_as_pillow_resizes() -> None:
    model = network()
    way = model.preprocess
    with Image.open(COFFEE) as photo:
        width, height = photo.size
        short = min(width, height)
        size = (int(way.resize * width / short), int(way.resize * height / short))
        small = photo.convert("RGB").resize(size, Image.Resampling[way.interpolation.upper()])
    left, top = ((side - way.crop) / 2 for side in small.size)
    box = (round(left), round(top), round(left) + way.crop, round(top) + way.crop)
    pixels = np.asarray(small.crop(box), np.float32) / 255
    expected = ((pixels - way.mean) / way.std).transpose(2, 0, 1)
    np.testing.assert_allclose(way(COFFEE)[0], expected, atol=1e-5)


def test_a_loader_reads_a_folder(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    for index in range(6):
        path = tmp_path / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    data = cz.data.ImageFolder(tmp_path)
    model = network()
    loader = cz.data.Loader(data, batch_size=4, transform=model.train_transform())
    batches = list(loader)
    assert list(data.classes) == ["a", "b"]
    assert [len(y) for _, y in batches] == [4, 2]
    assert batches[0][0].shape == (4, 3, 224, 224)
    assert len(model.predict(data, top=1)) == 6


# ---- explanations


def test_what_needs_no_gradients_is_explained() -> None:
    model = cz.create_model("tf_efficientnet_lite0", weights="default")
    heatmap = cz.explain.occlusion(model, COFFEE, window=56, stride=56)
    assert heatmap.label == "espresso" and heatmap.values.max() == 1
    assert heatmap.overlay().shape == heatmap.photo.shape
    page = heatmap._repr_html_()
    assert "data:image/png" in page and "espresso" in page
    maps = cz.explain.feature_maps(model, COFFEE)
    assert maps.values.shape == (1280, 7, 7) and maps.heatmap(5).raw.shape == (7, 7)
    assert cz.explain.filters(model).values.shape == (32, 3, 3, 3)
    field = cz.explain.receptive_field(model, COFFEE, node="blocks.0")
    assert not field.is_whole and field.overlay().dtype == np.uint8
    transformer = cz.create_model("vit_tiny_patch16_224", image_size=64, num_classes=3)
    attention = cz.explain.attention(transformer, COFFEE)
    np.testing.assert_allclose(attention.values.sum(-1), 1, atol=1e-5)
    assert attention.rollout().raw.shape == (4, 4)


# ---- weights and files


def test_weights_files_are_read() -> None:
    model = cz.Model.from_graph(cz.Graph.parse((ROOT / "tests/weights/tiny.txt").read_text()))
    report = model.load_weights(ROOT / "tests" / "weights" / "tiny.pth")
    assert set(report.loaded) == set(model.state_dict())
    kept = cz.load(ROOT / "tests" / "python" / "kept" / "model.safetensors")
    assert kept.labels == ("a", "b", "c")


def test_models_are_saved_copied_and_pickled(tmp_path: Path) -> None:
    model, x = network(seed=2), images(64, 1)
    expected = model(x)
    model.save(tmp_path / "model.safetensors")
    others = [
        cz.load(tmp_path / "model.safetensors"),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in others:
        np.testing.assert_array_equal(other(x), expected)
        assert other.trained == model.trained and len(model.trained) > 100
    theirs = model.state_dict(source="keras")
    fresh = network(seed=3)
    fresh.load_state_dict(theirs)
    np.testing.assert_array_equal(fresh(x), expected)
    fresh.reset_classifier(num_classes=4)
    assert fresh(x).shape == (1, 4)


def test_a_pickle_with_frozen_parameters_is_read_with_a_warning() -> None:
    model = network()
    state = model.__getstate__()
    state["_engine"]["frozen"] = ["classifier.weight"]
    twin = cz.Model.__new__(cz.Model)
    with pytest.warns(UserWarning, match="no frozen parameters now.*`pip install cnnzoo`"):
        twin.__setstate__(state)
    np.testing.assert_array_equal(twin(images(64, 1)), model(images(64, 1)))


def test_a_missing_extra_is_named_as_one_of_this_package(tmp_path: Path) -> None:
    assert importlib.util.find_spec("h5py") is None
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(cz.WeightsError, match=r"pip install 'cnnzoo-lite\[keras\]'$"):
        network().load_weights(tmp_path / "weights.h5")


# ---- the command


def test_the_command_lists_and_describes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "resnet*"]) == 0
    assert "resnet18" in capsys.readouterr().out
    assert main(["info", "resnet18"]) == 0
    assert "resnet18" in capsys.readouterr().out


def test_the_command_predicts_in_a_process_of_its_own() -> None:
    command = [Path(sys.executable).with_name("cnnzoo"), "predict", "--format", "csv"]
    done = subprocess.run(
        [*map(str, command), str(COFFEE), str(CHELSEA)], capture_output=True, text=True, check=True
    )
    assert "espresso" in done.stdout and "tiger cat" in done.stdout
    assert len(list(csv.reader(io.StringIO(done.stdout)))) > 2


def test_the_command_times_networks(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "mobilenet_v2_035", "--rounds", "1", "--threads", "1"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "cnnzoo" in out and "wrong" not in out and "exact" not in out


def test_networks_are_analysed() -> None:
    model, x, y = network(), images(64, 6), np.arange(6) % 3
    found = cz.analysis.evaluate_examples(model, [(x, y)])
    assert [one.predicted_class for one in found] == model(x).argmax(1).tolist()
    assert found.calibration().images == found.confusion.sum() == 6
    robust = cz.analysis.robustness(model, x, y, angles=[10], scales=[], noise=[0.1])
    assert robust.accuracy == found.accuracy
    statistics = cz.analysis.activation_statistics(model, x)
    assert statistics[0].most == model.features(x, statistics[0].node)[statistics[0].node].max()


# ---- what needs libtorch


def test_metrics_are_those_of_loops_over_images() -> None:
    model, x = network(), images(64, 12)
    y = np.arange(12) % 10
    found = cz.metrics.evaluate(model, [(x[:5], y[:5]), (x[5:], y[5:])])
    logits = model(x).astype(np.float64)
    order = (-logits).argsort(1, kind="stable")
    assert found.top1 == np.mean(order[:, 0] == y)
    assert found.top5 == np.mean([label in row[:5] for row, label in zip(order, y, strict=True)])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.loss == pytest.approx(-np.log(shares[np.arange(12), y]).mean(), rel=1e-6)
    with pytest.raises(cz.ArgumentError, match="expected classes of 0 to 9, got 10"):
        cz.metrics.evaluate(model, [(x, y + 1)])


class Batches:
    """Two batches of images and classes."""

    def __iter__(self) -> Any:
        return iter([(images(64, 2), np.array([0, 1]))] * 2)


NEEDY: dict[str, Callable[[cz.Model], object]] = {
    "an optimiser": lambda model: cz.SGD(model, lr=0.1),
    "another optimiser": lambda model: cz.AdamW(model, lr=0.1),
    "a loss": lambda _: cz.CrossEntropy(),
    "mixing": lambda _: cz.Mixing(mixup=0.2),
    "an evaluation with a loss": lambda model: cz.metrics.evaluate(
        model, Batches(), loss=cz.FunctionLoss(lambda logits, y: (0.0, np.zeros_like(logits)))
    ),
    "a run checkpoint": lambda _: cz.Trainer.resume(
        ROOT / "tests" / "python" / "kept" / "run.safetensors", []
    ),
    "a gradient": lambda model: model.vjp(images(64, 1), np.ones((1, 10), np.float32)),
    "gradients": lambda model: model.gradients(images(64, 1), 0, at="conv1"),
    "Grad-CAM": lambda model: cz.explain.grad_cam(model, COFFEE),
    "Grad-CAM++": lambda model: cz.explain.grad_cam_plus_plus(model, COFFEE),
    "saliency": lambda model: cz.explain.saliency(model, COFFEE),
    "integrated gradients": lambda model: cz.explain.integrated_gradients(model, COFFEE),
    "gradient flow": lambda model: cz.analysis.gradient_flow(model, images(64, 2), [0, 1]),
    "freezing": lambda model: model.freeze(),
    "unfreezing": lambda model: model.unfreeze("classifier"),
    "an exact run": lambda model: model(images(64, 1), exact=True),
    "exact features": lambda model: model.features(images(64, 1), "conv1", exact=True),
    "an exact embedding": lambda model: model.embed(images(64, 1), exact=True),
}


@pytest.mark.parametrize("need", NEEDY)
def test_what_needs_libtorch_says_in_a_sentence_what_to_install(need: str) -> None:
    model = network()
    with pytest.raises(cz.MissingPackageError) as caught:
        NEEDY[need](model)
    message = str(caught.value)
    assert re.fullmatch(
        r"[^:\n]+ needs libtorch, which cnnzoo-lite does not have: run `pip uninstall "
        r"cnnzoo-lite`, then `pip install cnnzoo`",
        message,
    ), message


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tpu"])
def test_there_is_no_device_but_the_cpu(device: str) -> None:
    expected = rf"^the device `{device}` needs libtorch, .*`pip install cnnzoo`$"
    with pytest.raises(cz.MissingPackageError, match=expected):
        cz.create_model("resnet18", device=device)
    model = network()
    with pytest.raises(cz.MissingPackageError, match=expected):
        model.to(device)
    assert model.to("cpu").device == "cpu"


def test_a_model_that_was_pickled_on_a_gpu_is_read_on_the_cpu() -> None:
    model = network()
    state = model.__getstate__()
    state["_engine"]["device"] = "cuda:0"
    twin = cz.Model.__new__(cz.Model)
    with pytest.warns(UserWarning, match="on the CPU now"):
        twin.__setstate__(state)
    assert twin.device == "cpu"


def test_an_import_of_the_package_loads_little() -> None:
    code = "import cnnzoo, sys; print(*sorted({'tqdm', 'PIL', 'h5py', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    with open("/proc/self/maps") as maps:
        assert not [line for line in maps if "libtorch" in line]


def test_there_is_no_extension_that_links_libtorch() -> None:
    assert importlib.util.find_spec("cnnzoo._torch") is None


def test_onnx_files_are_written(tmp_path: Path) -> None:
    model = network()
    written = cz.onnx.export(model, tmp_path / "m.onnx")
    assert written.output_shape == ("batch", 10)
    arrays = model.state_dict().values()
    bytes_of_arrays = sum(array.nbytes for array in arrays if array.dtype == np.float32)
    assert (tmp_path / "m.onnx").stat().st_size > bytes_of_arrays
