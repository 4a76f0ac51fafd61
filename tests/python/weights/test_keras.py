"""Files of Keras, in the layouts that it writes or has written."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from skimage import data

import cnnzoo as cz
from cnnzoo.weights import keras as _keras
from reference import Edition, KerasReference, build_reference, originals
from tolerance import FUSED, difference


def keras_file(path: Path, reference: KerasReference, how: str) -> Path:
    """The weights in one of the layouts that Keras writes or has written."""
    if how == "weights":
        reference.model.save_weights(path := path / "m.weights.h5")
    elif how == "model":
        reference.model.save(path := path / "m.h5")
    else:
        # As those that Keras publishes were written, by Keras 1 and 2.
        with h5py.File(path := path / "m.h5", "w") as file:
            layers = [layer for layer in reference.model.layers if layer.variables]
            file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
            for layer in layers:
                group = file.create_group(layer.name)
                names = [f"{layer.name}/{v.name}:0".encode() for v in layer.variables]
                group.attrs["weight_names"] = names
                for name, variable in zip(names, layer.variables, strict=True):
                    group[name.decode()] = variable.value.detach().numpy()
    return path


# From inside Keras, as it writes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "theirs"), [("resnet50", "ResNet50"), ("resnetv2_50", "ResNet50V2")]
)
def test_published_weights_get_the_order_of_colours_that_they_were_trained_with(
    name: str, theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logits of a photograph are Keras's after its own `preprocess_input`."""
    import keras

    keras.utils.set_random_seed(3)
    network = getattr(keras.applications, theirs)(weights=None, classifier_activation=None)
    network.save(path := tmp_path / "published.h5")
    monkeypatch.setattr("cnnzoo.weights.Published.path", lambda _: path)
    model = cz.create_model(name, source="keras", weights="keras/imagenet")
    photo = data.coffee()
    # The bytes of the photograph, resized and cropped.
    plain = replace(model.preprocess, mean=(0.0,) * 3, std=(1.0,) * 3)
    pixels = np.rint(plain(photo).transpose(0, 2, 3, 1) * 255)
    module = keras.applications.resnet_v2 if theirs.endswith("V2") else keras.applications.resnet
    expected = network(module.preprocess_input(pixels.copy())).detach().numpy()
    assert difference(model(model.preprocess(photo)), expected) <= FUSED


# From inside Keras, as it writes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("how", ["weights", "model", "published"])
@pytest.mark.parametrize("source", ["keras", "timm"])
def test_files_of_keras_are_read(tmp_path: Path, how: str, source: str) -> None:
    theirs = Edition("mobilenet_v2_035", "keras", "MobileNetV2(alpha=0.35)")
    reference = build_reference(theirs)
    assert isinstance(reference, KerasReference)
    path = keras_file(tmp_path, reference, how)
    model = cz.create_model("mobilenet_v2_035", source=source)
    report = model.load_weights(path)
    assert not report.missing
    assert not report.unexpected
    assert report.provenance == str(path)
    for key, value in model.state_dict(source="keras").items():
        np.testing.assert_array_equal(value, originals(reference)[key], err_msg=key)
    # And as weights of a new model, with another classifier.
    other = cz.create_model("mobilenet_v2_035", source=source, weights=path, num_classes=3)
    key = next(key for key in model.state_dict() if key.endswith("running_mean"))
    np.testing.assert_array_equal(other.state_dict()[key], model.state_dict()[key])


# From inside Keras, as it writes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("how", ["weights", "model", "published"])
def test_what_keras_keeps_beside_the_weights_is_reported(tmp_path: Path, how: str) -> None:
    """EfficientNet normalises its images itself, and so has their mean among its weights."""
    reference = build_reference(
        Edition("efficientnet_b0", "keras", "EfficientNetB0"), image_size=32
    )
    assert isinstance(reference, KerasReference)
    model = cz.create_model("efficientnet_b0")
    path = keras_file(tmp_path, reference, how)
    if how == "weights":
        with h5py.File(path, "a") as file:
            file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, np.uint32)
    report = model.load_weights(path)
    kinds = [report.ignored[path] for path in report.ignored if "seed_generator" not in path]
    seeds = [report.ignored[path] for path in report.ignored if "seed_generator" in path]
    assert set(seeds) <= {"the state of random draws"}
    assert seeds or how == "model"
    assert kinds == ["preprocessing"] * 3
    assert not report.missing
    assert not report.unexpected


# From inside Keras, as it writes.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("how", ["weights", "model"])
def test_the_state_of_an_optimizer_is_reported(tmp_path: Path, how: str) -> None:
    """After training Keras saves it too; it has dropout here, whose seeds it does not save."""
    import keras

    reference = build_reference(Edition("mobilenet_v1_025", "keras", "MobileNet(alpha=0.25)"))
    assert isinstance(reference, KerasReference)
    reference.model.compile(keras.optimizers.SGD(momentum=0.9))
    reference.model.optimizer.build(reference.model.trainable_variables)
    model = cz.create_model("MobileNet(alpha=0.25)", source="keras")
    report = model.load_weights(keras_file(tmp_path, reference, how))
    slots = 2 + len(reference.model.trainable_variables)
    assert list(report.ignored.values()) == ["the state of an optimizer"] * slots
    for key, value in model.state_dict(source="keras").items():
        np.testing.assert_array_equal(value, originals(reference)[key], err_msg=key)


def test_layers_that_keras_counts_on_are_found_by_their_order() -> None:
    variables = [
        _keras.Variable(name, [1], f"{layer}/gamma", [1], [0], [1])
        for name, layer in [
            ("a", "batch_normalization"),
            ("b", "batch_normalization_1"),
            ("c", "bn"),
        ]
    ]
    arrays = {
        "batch_normalization_10/gamma": np.array([2], np.float32),
        "batch_normalization_9/gamma": np.array([1], np.float32),
        "bn/gamma": np.array([3], np.float32),
    }
    ours = _keras.to_ours(arrays, variables)
    assert {key: float(value[0]) for key, value in ours.items()} == {"a": 1, "b": 2, "c": 3}


def damaged(path: Path, what: str) -> Path:
    file = path / "m.h5"
    if what == "no HDF5":
        file.write_bytes(b"PK\x03\x04")
    elif what == "empty":
        h5py.File(file, "w").close()
    elif what == "no names":
        with h5py.File(file, "w") as stored:
            stored["layers/conv2d/vars/0"] = np.zeros((1, 1, 3, 3), np.float32)
    elif what == "another model":
        with h5py.File(file, "w") as stored:
            stored.attrs["layer_names"] = ["conv"]
            stored.create_group("conv").attrs["weight_names"] = ["conv/kernel"]
            stored["conv/conv/kernel"] = np.zeros((1, 1, 3, 3), np.float32)
    return file


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("no HDF5", r"m\.h5: no Keras weights"),
        ("empty", r"m\.h5: no Keras weights"),
        ("no names", r"m\.h5: no Keras weights \(it counts its layers.*save the model as \.h5"),
        ("another model", r"262 missing: .*1 unexpected: `conv/kernel`"),
        ("missing", r"m\.h5: there is no such file"),
    ],
)
def test_broken_files_of_keras_are_refused(tmp_path: Path, what: str, message: str) -> None:
    model = cz.create_model("mobilenet_v2_035")
    before = model.state_dict()
    with pytest.raises(cz.WeightsError, match=message):
        model.load_weights(damaged(tmp_path, what))
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_a_network_that_keras_lacks_takes_no_file_of_keras(tmp_path: Path) -> None:
    file = damaged(tmp_path, "another model")
    with pytest.raises(cz.CnnzooError, match="Keras, which does not have this network"):
        cz.create_model("resnet18").load_weights(file)


def test_without_h5py_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = damaged(tmp_path, "empty")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(cz.WeightsError, match=r"pip install 'cnnzoo\[keras\]'"):
        cz.create_model("mobilenet_v2_035").load_weights(file)
