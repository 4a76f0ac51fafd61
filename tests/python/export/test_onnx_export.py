"""The options of `cz.onnx.export`, what it writes of a model, and how it fails."""

from __future__ import annotations

import copy
import json
import pickle
import resource
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import cnnzoo as cz
from cnnzoo.cli import main
from export.onnx_files import SIDE, checked, exported, images, operators, run, session_of
from tolerance import ONNX, ROUNDING, difference


def test_what_was_written_is_said(model: cz.Model, tmp_path: Path) -> None:
    file = tmp_path / "m.onnx"
    found = cz.onnx.export(model, file, batch=2, output_name="scores")
    assert found.files == (file,)
    assert found.opset == cz.onnx.DEFAULT_OPSET
    assert (found.input_name, found.input_shape) == ("images", (2, 3, SIDE, SIDE))
    assert (found.output_name, found.output_shape) == ("scores", (2, 7))
    assert repr(found) == (
        f"<Exported {file}: images (2, 3, 64, 64) → scores (2, 7), opset {found.opset}>"
    )
    session = session_of(file)
    assert [(value.name, value.shape) for value in session.get_inputs()] == [
        ("images", [2, 3, SIDE, SIDE])
    ]
    assert [(value.name, value.shape) for value in session.get_outputs()] == [("scores", [2, 7])]
    assert hash(found) == hash(copy.copy(found))
    for twin in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert twin == found
    anything = cz.onnx.export(model, file, image="dynamic")
    assert anything.input_shape == ("batch", 3, "height", "width")
    assert anything.output_shape == ("batch", 7)


def test_nodes_and_arrays_have_our_names(model: cz.Model, tmp_path: Path) -> None:
    proto = checked(exported(model, tmp_path))
    names = [node.name for node in proto.graph.node]
    assert names == model.graph.nodes()[1:]
    arrays = {array.name: numpy_helper.to_array(array) for array in proto.graph.initializer}
    state = model.state_dict()
    assert set(arrays) == {name for name in state if not name.endswith("num_batches_tracked")}
    for name, array in arrays.items():
        assert np.array_equal(array, state[name])
    assert proto.producer_name == "cnnzoo"
    assert proto.producer_version == cz.__version__


def test_versions_are_those_of_onnx(model: cz.Model, tmp_path: Path) -> None:
    formats = {row[2]: row[1] for row in onnx.helper.VERSION_TABLE}
    for opset in range(17, 29):
        proto = checked(exported(model, tmp_path, opset=opset))
        assert [(of.domain, of.version) for of in proto.opset_import] == [("", opset)]
        assert proto.ir_version == formats[opset]


def test_pytorch_writes_the_same_version() -> None:
    constants = pytest.importorskip("torch.onnx._constants")
    assert constants.ONNX_DEFAULT_OPSET == cz.onnx.DEFAULT_OPSET


def test_folded_norms(tmp_path: Path) -> None:
    # Norms of which some come before their convolution.
    model = cz.create_model("densenet121", num_classes=5, image_size=SIDE, seed=3)
    state = model.state_dict()
    generator = np.random.default_rng(1)
    for name, array in state.items():
        if name.endswith(("running_mean", "running_var")):
            state[name] = generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
    model.load_state_dict(state)
    plain = operators(checked(exported(model, tmp_path)))
    file = exported(model, tmp_path, fold=True)
    folded = operators(checked(file))
    assert 0 < folded.count("BatchNormalization") < plain.count("BatchNormalization")
    assert folded.count("Conv") == plain.count("Conv")
    x = images(2)
    assert difference(run(file, x), model(x, exact=True)) <= ONNX


def test_a_bias_is_folded_too(tmp_path: Path) -> None:
    model = cz.create_model("vgg11_bn", num_classes=5, image_size=SIDE, seed=3)
    state = model.state_dict()
    generator = np.random.default_rng(1)
    for name, array in state.items():
        if name.startswith("features") and array.ndim == 1:
            state[name] = generator.uniform(0.5, 1.5, array.shape).astype(np.float32)
    model.load_state_dict(state)
    file = exported(model, tmp_path, fold=True)
    assert "BatchNormalization" not in operators(checked(file))
    x = images(2)
    assert difference(run(file, x), model(x, exact=True)) <= ONNX


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_normalised_in_the_graph(channels: int, tmp_path: Path) -> None:
    model = cz.create_model("resnet18", in_channels=channels, image_size=SIDE, seed=3)
    photograph = np.random.default_rng(5).integers(0, 256, (2, SIDE, SIDE, 3), dtype=np.uint8)
    if channels == 1:
        photograph[..., 1:] = photograph[..., :1]
    # Already of the size that it is resized and cropped to, so nothing but the norm is left.
    model.preprocess = cz.Preprocess(
        resize=SIDE,
        crop=SIDE,
        interpolation="bilinear",
        mean=model.preprocess.mean,
        std=model.preprocess.std,
    )
    file = exported(model, tmp_path, preprocess=True)
    inside = run(file, photograph[..., :channels])
    outside = model.preprocess(list(photograph))
    plain = exported(model, tmp_path)
    assert np.array_equal(inside, run(plain, outside))
    found = cz.onnx.export(model, tmp_path / "any.onnx", preprocess=True, image="dynamic")
    assert found.input_shape == ("batch", "height", "width", channels)
    assert np.array_equal(run(found.files[0], photograph[..., :channels]), inside)


def test_metadata(tmp_path: Path) -> None:
    model = cz.create_model("tf_efficientnet_lite0", weights="default")
    file = exported(model, tmp_path, preprocess=True, metadata={"author": "somebody"})
    found = {entry.key: entry.value for entry in checked(file).metadata_props}
    assert session_of(file).get_modelmeta().custom_metadata_map == found
    assert json.loads(found["cnnzoo.labels"]) == list(model.labels)
    preprocess = json.loads(found["cnnzoo.preprocess"])
    assert cz.Preprocess(**preprocess) == model.preprocess
    texts = {
        "author": "somebody",
        "cnnzoo.model": model.name,
        "cnnzoo.preprocess_inside": "true",
        "cnnzoo.source": "timm",
        "cnnzoo.task": "multi_class",
        "cnnzoo.version": cz.__version__,
        "cnnzoo.weights_license": "Apache-2.0",
    }
    assert {key: found[key] for key in texts} == texts
    (published,) = (p for p in cz.published_weights(model.name) if p.distribution)
    assert found["cnnzoo.weights"] == published.tag
    assert found["cnnzoo.weights_address"] == published.address
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert cz.onnx.export(twin, file).metadata["cnnzoo.weights"] == published.tag
    model.load_state_dict(model.state_dict())
    loaded = cz.onnx.export(model, file).metadata
    assert loaded["cnnzoo.weights"] == "loaded"
    assert "cnnzoo.weights_license" not in loaded


def test_a_network_of_a_graph_has_no_source(model: cz.Model, tmp_path: Path) -> None:
    plain = cz.Model.from_graph(model.graph)
    found = cz.onnx.export(plain, tmp_path / "m.onnx").metadata
    assert found["cnnzoo.source"] == "a graph"
    assert found["cnnzoo.weights"] == "initial values"
    assert "cnnzoo.weights_license" not in found


def test_auxiliary_classifiers_are_left_out(tmp_path: Path) -> None:
    model = cz.create_model("googlenet", aux=True, num_classes=5, image_size=96)
    proto = checked(exported(model, tmp_path))
    assert not [array.name for array in proto.graph.initializer if array.name.startswith("aux")]
    assert len(proto.graph.output) == 1


def test_features_of_a_network_without_classifier(tmp_path: Path) -> None:
    model = cz.create_model("resnet18", num_classes=0, image_size=SIDE)
    file = exported(model, tmp_path, output_name="features")
    x = images(2)
    assert difference(run(file, x), model(x, exact=True)) <= ROUNDING


def test_arrays_that_stay_in_their_file_are_read(model: cz.Model, tmp_path: Path) -> None:
    exported(model, tmp_path)
    model.save(tmp_path / "m.safetensors")
    lazy = cz.load(tmp_path / "m.safetensors", lazy=True)
    cz.onnx.export(lazy, tmp_path / "lazy.onnx")
    x = images(1)
    assert np.array_equal(run(tmp_path / "lazy.onnx", x), run(tmp_path / "model.onnx", x))


def test_a_model_on_libtorch_is_written_alike(model: cz.Model, tmp_path: Path) -> None:
    moved = copy.deepcopy(model)
    # Which needs libtorch, and changes nothing.
    moved.unfreeze()
    assert exported(moved, tmp_path).read_bytes() == exported(model, tmp_path).read_bytes()


def test_a_quantized_model_is_written_in_float32(model: cz.Model, tmp_path: Path) -> None:
    quantized = copy.deepcopy(model)
    quantized.quantize(images(16))
    assert exported(quantized, tmp_path).read_bytes() == exported(model, tmp_path).read_bytes()
    for precision, reason in (("int8", "written in float32"), ("bfloat16", "onnxruntime has no")):
        with pytest.raises(cz.ArgumentError, match=reason):
            cz.onnx.export(model, tmp_path / "m.onnx", precision=precision)  # type: ignore[arg-type]


def test_arrays_in_a_second_file(model: cz.Model, tmp_path: Path) -> None:
    found = cz.onnx.export(model, tmp_path / "m.onnx", external=True)
    assert found.files == (tmp_path / "m.onnx", tmp_path / "m.onnx.data")
    checked(found.files[0])
    assert found.files[0].stat().st_size < 1 << 20
    assert {path.name for path in tmp_path.iterdir()} == {"m.onnx", "m.onnx.data"}
    x = images(2)
    inside = exported(model, tmp_path)
    assert np.array_equal(run(found.files[0], x), run(inside, x))
    arrays = {
        array.name: numpy_helper.to_array(array)
        for array in onnx.load(found.files[0]).graph.initializer
    }
    state = model.state_dict()
    for name, array in arrays.items():
        assert np.array_equal(array, state[name])
    for array in onnx.load(found.files[0], load_external_data=False).graph.initializer:
        for entry in array.external_data:
            assert entry.key != "offset" or int(entry.value) % 4096 == 0


@pytest.mark.slow
def test_more_than_two_gigabytes_go_to_a_second_file(tmp_path: Path) -> None:
    model = cz.create_model("vit_h_14", image_size=28)
    # It begins with zeros, and so would the logits.
    head = "heads.head.weight"
    shape = model.state_dict()[head].shape
    weights = np.random.default_rng(6).standard_normal(shape, np.float32)
    model.load_state_dict({head: weights}, strict=False)
    with pytest.raises(cz.ArgumentError, match="external"):
        cz.onnx.export(model, tmp_path / "m.onnx", external=False)
    assert not list(tmp_path.iterdir())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = cz.onnx.export(model, tmp_path / "m.onnx")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert len(found.files) == 2
    size = found.files[1].stat().st_size
    assert size > 2 << 30
    # No second copy of them.
    assert grown < size / 10
    checked(found.files[0])
    x = images(1, 28)
    logits = model(x)
    assert np.abs(logits).max() > 1
    assert difference(run(found.files[0], x), logits) <= ONNX


# Values called as the input, the output, and an array of another node.
NAMES = {
    "the input": "images = conv(input) out=3\ny = activation(images)\noutput y",
    "the output": "logits = conv(input) out=3\ny = activation(logits)\noutput y",
    "each other": "logits = conv(input) out=3\nimages = activation(logits)\noutput images",
    "an array": "a = conv(input) out=3\na.weight = activation(a)\noutput a.weight",
    "nothing": "output input",
    "one value twice": "a = conv(input) out=3\nb = add(a, a)\ny = concat(b, a, b)\noutput y",
    "another output": "y = conv(input) out=3\nz = conv(y) out=5\noutput y",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_a_users_graph(name: str, tmp_path: Path) -> None:
    graph = f"graph one\ninput = input() channels=4 height=9 width=13\n{NAMES[name]}"
    model = cz.Model.from_graph(cz.Graph.parse(graph), seed=1)
    x = np.random.default_rng(4).standard_normal((2, 4, 9, 13)).astype(np.float32)
    for options in ({}, {"image": "dynamic", "external": True}, {"batch": 2, "fold": True}):
        file = exported(model, tmp_path, **options)
        assert difference(run(file, x), model(x, exact=True)) <= ROUNDING


CHANGED: list[tuple[str, dict[str, Any]]] = [
    ("resnet18", {"stem": "small", "norm": "group", "activation": "hard_swish"}),
    ("resnet18", {"activation": "gelu", "num_classes": 1}),
    ("densenet121", {"norm": "group"}),
    ("efficientnet_b0", {"norm": "group"}),
    ("mobilenet_v3_small", {"activation": "relu6", "in_channels": 1}),
    ("resnet18", {"norm": "none"}),
    ("deit_tiny_patch16_224", {"num_classes": 0}),
]


@pytest.mark.parametrize(("name", "options"), CHANGED, ids=lambda of: str(of)[:40])
def test_networks_with_changed_layers(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    model = cz.create_model(name, image_size=SIDE, seed=3, **options)
    x = images(2, SIDE, model.graph.input_shape[0])
    for opset in (17, 28):
        file = exported(model, tmp_path, opset=opset)
        assert difference(run(file, x), model(x, exact=True)) <= ONNX


def test_labels_of_any_characters(tmp_path: Path) -> None:
    model = cz.create_model("resnet18", num_classes=3, image_size=SIDE)
    model.labels = ["a\0b\n", '日本 "\\\t', ""]
    extra = {"ключ": "\0значение", "": ""}
    file = exported(model, tmp_path, metadata=extra)
    found = session_of(file).get_modelmeta().custom_metadata_map
    assert json.loads(found["cnnzoo.labels"]) == list(model.labels)
    assert {key: found[key] for key in extra} == extra


def test_the_command_says_that_a_quantized_model_is_written_in_float32(
    model: cz.Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quantized = copy.deepcopy(model)
    quantized.quantize(images(16))
    quantized.save(tmp_path / "integers.safetensors", precision="int8")
    quantized.save(tmp_path / "numbers.safetensors")
    for name in ("integers", "numbers"):
        argv = ["export", str(tmp_path / f"{name}.safetensors"), "-o", str(tmp_path / "m.onnx")]
        assert main([*argv, "--json"]) == 0
        out, err = capsys.readouterr()
        assert "is quantized, and" in err and "computes in float32" in err
        facts = json.loads(out)
        assert facts["files"] == [str(tmp_path / "m.onnx")]
        assert facts["input_shape"] == ["batch", 3, SIDE, SIDE]
        assert facts["metadata"]["cnnzoo.model"] == model.name
    model.save(tmp_path / "plain.safetensors")
    assert (
        main(["export", str(tmp_path / "plain.safetensors"), "-o", str(tmp_path / "m.onnx")]) == 0
    )
    assert capsys.readouterr().err == ""


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = cz.create_model("resnet18", num_classes=3, image_size=SIDE, seed=3)
    model.save(tmp_path / "m.safetensors")
    given, file = str(tmp_path / "m.safetensors"), tmp_path / "m.onnx"
    assert main(["export", given, "-o", str(file)]) == 0
    shapes = "images (batch, 3, 64, 64) → logits (batch, 3)"
    assert capsys.readouterr().out.splitlines() == [str(file), shapes]
    options = ["--batch", "2", "--image", "48x64", "--opset", "17", "--preprocess", "--fold"]
    assert main(["export", given, "-o", str(file), *options, "--external"]) == 0
    shapes = "images (2, 48, 64, 3) → logits (2, 3)"
    assert capsys.readouterr().out.splitlines() == [str(file), f"{file}.data", shapes]
    proto = checked(file)
    assert proto.opset_import[0].version == 17
    assert "BatchNormalization" not in operators(proto)
    assert main(["export", given, "-o", str(file), "--image", "dynamic", "--batch", "dynamic"]) == 0
    assert "(batch, 3, height, width)" in capsys.readouterr().out
    assert main(["export", given, "-o", str(tmp_path)]) == 1
    assert "expected a file to write, got a folder" in capsys.readouterr().err
    assert main(["export", given, "-o", str(tmp_path / "m.txt")]) == 1
    assert "`file`: expected a name that ends in .onnx" in capsys.readouterr().err
    assert main(["export", given, "-o", str(file), "--batch", "none"]) == 2
    assert "expected a number from 1 up, got 'none'" in capsys.readouterr().err
