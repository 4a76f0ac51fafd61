"""Names and layouts of the sources: weights of each fill our models, and ours fill theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Set
from itertools import permutations
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import cnnzoo as cz
from cnnzoo import _keras
from levelled import levelled
from reference import (
    AnyArray,
    Edition,
    KerasReference,
    Reference,
    TorchReference,
    build_reference,
    editions,
    images,
    pair,
)
from tolerance import ROUNDING, difference

# (The edition that we build, the edition whose weights go in and out.)
Both = tuple[Edition, Edition]


def pairs_of_sources() -> list[Both]:
    """Of every network, the first edition of each source, with that of each other."""
    first: dict[str, dict[str, Edition]] = {}
    for edition in editions():
        first.setdefault(edition.name, {}).setdefault(edition.source, edition)
    return [both for sources in first.values() for both in permutations(sources.values(), 2)]


PAIRS = pairs_of_sources()

# Where a source has arrays that the other lacks: auxiliary classifiers, factors of norms, which
# Keras's have none of here, and biases of convolutions before norms, which only Keras has.
PARTIAL = {"Inception-v3", "Inception-ResNet-v2", "ResNet", "ResNet-v2"}

# What the sources define differently beside names: the epsilon of the norms, where a stride stands,
# what pads or is counted at the border.
DIFFERENT = {
    "EfficientNet",
    "EfficientNetV2",
    "Inception-ResNet-v2",
    "Inception-v3",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3",
    "ResNet",
    "ResNet-v2",
    "Xception",
}


# Larger ones are left to the slow profile.
QUICK_PARAMS = 1e8


def cheapest_pairs() -> set[Both]:
    """One of each family and direction."""
    chosen: dict[tuple[str, str, str], Both] = {}
    for ours, theirs in sorted(PAIRS, key=lambda both: both[0].info.params):
        if ours.info.params < QUICK_PARAMS:
            chosen.setdefault((ours.info.family, ours.source, theirs.source), (ours, theirs))
    return set(chosen.values())


def originals(reference: Reference) -> dict[str, AnyArray]:
    """As its library has them: Keras by path and in its layout."""
    if isinstance(reference, KerasReference):
        return {v.path: v.value.detach().numpy() for v in reference.model.variables}
    return reference.state()


def name_of_both(both: Both) -> str:
    return f"{both[0]}-{both[1].source}"


@pytest.mark.parametrize("both", PAIRS, ids=name_of_both)
def test_every_array_has_a_counterpart(both: Both) -> None:
    ours, theirs = both
    model = ours.create(meta=True)
    names = {
        own: (name, tuple(shape)) for own, name, shape in model._engine.names_in(theirs.source)
    }
    there = {key: tuple(shape) for key, shape, _ in theirs.graph().parameters()}
    assert dict(names.values()).items() <= there.items()
    if ours.info.family not in PARTIAL:
        assert list(names) == [key for key, _, _ in ours.graph().parameters()]
        assert {name for name, _ in names.values()} == there.keys()


@pytest.mark.parametrize(
    "both",
    [
        pytest.param(both, id=name_of_both(both), marks=[] if quick else pytest.mark.slow)
        for both in PAIRS
        for quick in [both in cheapest_pairs()]
    ],
)
def test_weights_go_in_and_out(both: Both) -> None:
    ours, theirs = both
    reference = build_reference(theirs)
    arrays = originals(reference)
    rates = {"drop_rate", "drop_path_rate"} & set(ours.info.options)
    model = ours.create(**dict.fromkeys(rates, 0.0))
    report = model.load_state_dict(arrays, strict=ours.info.family not in PARTIAL)
    assert report.naming in sources_with_these_names(both, arrays.keys())

    # Out again, to the last bit.
    back = model.state_dict(source=theirs.source)
    missing = arrays.keys() - back.keys() - report.ignored.keys()
    assert not missing or ours.info.family in PARTIAL
    for key, value in back.items():
        if theirs.source == "keras" or not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, arrays[key], err_msg=key)
    if isinstance(reference, TorchReference) and not missing:
        tensors = {key: torch.from_numpy(value) for key, value in back.items()}
        reference.module.load_state_dict(tensors, strict=True)

    # Each array in its place: where both compute the same, so do their weights.
    if ours.info.family in DIFFERENT:
        ours_levelled, theirs_levelled = both_levelled(both, model, reference)
        x = images((9, 9), 1)
        assert difference(ours_levelled(x), theirs_levelled(x)) <= ROUNDING
        return
    side = 97 if ours.info.family not in {"ViT", "DeiT", "VGG"} else ours.info.input_size
    x = images((side, side), 1)
    assert difference(model(x), reference.run(x, training=False).numpy()) <= 5 * ROUNDING


def both_levelled(both: Both, model: cz.Model, reference: Reference) -> tuple[cz.Model, cz.Model]:
    """Ours with the arrays that were brought to our names, theirs with them by its own names."""
    ours, theirs = both
    names = {own: name for own, name, _ in model._engine.names_in(theirs.source)}
    return (
        levelled(ours.graph(), model.state_dict(), names.keys()),
        levelled(theirs.graph(), reference.state(), set(names.values())),
    )


@pytest.mark.parametrize(
    "both",
    [
        pytest.param(both, id=name_of_both(both))
        for both in PAIRS
        if str(both[0]) in {"torchvision-inception_v3", "timm-inception_resnet_v2"}
        and both[1].source == "keras"
    ],
)
def test_kernels_of_branches_in_each_others_place_are_seen(both: Both) -> None:
    ours, theirs = both
    reference = build_reference(theirs)
    model = ours.create()
    model.load_state_dict(originals(reference), strict=False)
    ours_levelled, theirs_levelled = both_levelled(both, model, reference)
    x = images((9, 9), 1)
    right = theirs_levelled(x)
    state = ours_levelled.state_dict()
    for one, another in kernels_of_one_shape(state):
        swapped = {one: state[another], another: state[one]}
        ours_levelled.load_state_dict(swapped, strict=False)
        assert difference(ours_levelled(x), right) >= 100 * ROUNDING, (one, another)
        ours_levelled.load_state_dict({key: state[key] for key in swapped}, strict=False)
    assert difference(ours_levelled(x), right) <= ROUNDING


def kernels_of_one_shape(state: dict[str, AnyArray]) -> Iterator[tuple[str, str]]:
    """The last two of each shape, as neighbouring branches have them."""
    by_shape: dict[tuple[int, ...], list[str]] = {}
    for key, value in state.items():
        by_shape.setdefault(value.shape, []).append(key)
    for shape, keys in by_shape.items():
        if len(shape) == 4 and len(keys) > 1:
            yield keys[-2], keys[-1]


def sources_with_these_names(both: Both, keys: Set[str]) -> set[str]:
    """Torchvision's and timm's DenseNets have the same names, for one."""
    ours, theirs = both
    if theirs.source == "keras":
        return {"keras"}
    own = {key for key, _, _ in ours.graph().parameters()}
    if keys <= own or own <= keys:
        return {"own"}
    return {
        edition.source
        for edition in editions()
        if edition.name == ours.name and keys <= {key for key, _, _ in edition.graph().parameters()}
    }


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
        ("no HDF5", r"m\.h5: no weights of Keras"),
        ("empty", r"m\.h5: no weights of Keras"),
        ("no names", r"m\.h5: no weights of Keras \(it counts its layers.*save the model as \.h5"),
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
    with pytest.raises(cz.CnnzooError, match="Keras, which has no such network"):
        cz.create_model("resnet18").load_weights(file)


def test_without_h5py_a_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = damaged(tmp_path, "empty")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(cz.WeightsError, match=r"pip install 'cnnzoo\[keras\]'"):
        cz.create_model("mobilenet_v2_035").load_weights(file)


def test_an_unknown_source_is_named() -> None:
    model = cz.create_model("mobilenet_v2_035")
    with pytest.raises(cz.ArgumentError, match="timm, keras") as caught:
        model.state_dict(source="torchvision")
    assert "torchvision" in str(caught.value)


def test_parts_of_the_other_sources_arrays_are_refused_or_reported() -> None:
    ours, theirs = pair(Edition("mobilenet_v2_035", "keras", "MobileNetV2(alpha=0.35)"))
    arrays: dict[str, Any] = originals(theirs)
    del arrays["Conv1/kernel"]
    arrays["predictions/bias"] = arrays["predictions/bias"][:9]
    model = cz.create_model("mobilenet_v2_035", source="timm")
    with pytest.raises(cz.WeightsError, match=r"1 missing: .*Conv1\.weight.*1 of another shape"):
        model.load_state_dict(arrays)
    report = model.load_state_dict(arrays, strict=False)
    assert report.missing == ("Conv1.weight",)
    assert [mismatch.name for mismatch in report.mismatched] == ["classifier.bias"]
    np.testing.assert_array_equal(
        model.state_dict()["conv_head.weight"], ours.state_dict()["Conv_1.weight"]
    )
