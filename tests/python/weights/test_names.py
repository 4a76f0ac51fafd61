"""Names and layouts of the sources: weights of each fill our models, and ours fill theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from levelled import levelled, levelled_fields
from reference import (
    AnyArray,
    Edition,
    Reference,
    TorchReference,
    build_reference,
    editions,
    images,
    originals,
    pair,
)
from tolerance import ROUNDING, difference

# (The edition that we build, the edition whose weights go in and out.)
Both = tuple[Edition, Edition]


def pairs_of_sources() -> list[Both]:
    """The first edition of each source with that of each other, of every network."""
    first: dict[str, dict[str, Edition]] = {}
    for edition in editions():
        first.setdefault(edition.name, {}).setdefault(edition.source, edition)
    return [both for sources in first.values() for both in permutations(sources.values(), 2)]


PAIRS = pairs_of_sources()

# Larger ones are left to the slow profile.
QUICK_PARAMS = 1e8


def cheapest_pairs() -> set[Both]:
    """One of each family and direction."""
    chosen: dict[tuple[str, str, str], Both] = {}
    for ours, theirs in sorted(PAIRS, key=lambda both: both[0].info.params):
        if ours.info.params < QUICK_PARAMS:
            chosen.setdefault((ours.info.family, ours.source, theirs.source), (ours, theirs))
    return set(chosen.values())


def name_of_both(both: Both) -> str:
    return f"{both[0]}-{both[1].source}"


def size_of_both(both: Both) -> int | None:
    """Pixels that ours is drawn for, so that positions are as many as theirs."""
    ours, theirs = both
    return theirs.info.input_size if ours.info.fixed_image_size else None


def lacking(graph: cz.Graph, counterparts: Mapping[str, str], other: cz.Graph) -> set[str]:
    """The arrays of a graph without counterpart, each of which the other graph has to lack.

    Either none of their node has one, in auxiliary classifiers alone, or their node has one there,
    which comes without a bias, or a norm's factors.
    """
    there = {key for key, _, _ in other.parameters()}
    _, height, width = graph.input_shape
    needed = {row[0] for row in graph.rows(height, width)}
    nodes = {key.rpartition(".")[0]: name.rpartition(".")[0] for key, name in counterparts.items()}
    found = {key for key, _, _ in graph.parameters()} - counterparts.keys()
    for node, _, kind in (key.rpartition(".") for key in found):
        if node in needed:
            assert f"{nodes[node]}.{kind}" not in there
        else:
            assert "\nauxiliary " not in str(other)
    return found


def lacking_in_both(both: Both, model: cz.Model) -> tuple[set[str], set[str]]:
    """Our arrays that they lack, and theirs that we lack."""
    ours, theirs = (edition.graph() for edition in both)
    there = {own: name for own, name, _ in model._engine.names_in(both[1].source)}
    here = {name: own for own, name in there.items()}
    return lacking(ours, there, theirs), lacking(theirs, here, ours)


@pytest.mark.parametrize("both", PAIRS, ids=name_of_both)
def test_every_array_has_a_counterpart(both: Both) -> None:
    ours, theirs = both
    model = ours.create(meta=True, image_size=size_of_both(both))
    names = {
        own: (name, tuple(shape)) for own, name, shape in model._engine.names_in(theirs.source)
    }
    there = {key: tuple(shape) for key, shape, _ in theirs.graph().parameters()}
    assert dict(names.values()).items() <= there.items()
    without, further = lacking_in_both(both, model)
    assert list(names) == [key for key, _, _ in ours.graph().parameters() if key not in without]
    assert {name for name, _ in names.values()} == there.keys() - further


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
    model = ours.create(image_size=size_of_both(both), **dict.fromkeys(rates, 0.0))
    complete = lacking_in_both(both, model) == (set(), set())
    report = model.load_state_dict(arrays, strict=complete)
    assert report.naming in sources_with_these_names(both, arrays.keys())

    # Out again, to the last bit.
    back = model.state_dict(source=theirs.source)
    missing = arrays.keys() - back.keys() - report.ignored.keys()
    assert not (missing and complete)
    for key, value in back.items():
        if theirs.source == "keras" or not key.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(value, arrays[key], err_msg=key)
    if isinstance(reference, TorchReference) and not missing:
        tensors = {key: torch.from_numpy(value) for key, value in back.items()}
        reference.module.load_state_dict(tensors, strict=True)

    # Each array in its place: where both compute the same, so do their weights. Those that deviate
    # from the paper alike do so for every image.
    alike = ours.info.deviations == theirs.info.deviations
    fields_differ = levelled_fields(ours.graph()) != levelled_fields(theirs.graph())
    if not complete or (fields_differ and not alike):
        ours_levelled, theirs_levelled = both_levelled(both, model, reference)
        x = images((9, 9), 1)
        assert difference(ours_levelled(x), theirs_levelled(x)) <= ROUNDING
        return
    side = 97 if alike and not ours.info.fixed_image_size else theirs.info.input_size
    x = images((side, side), 1)
    assert difference(model(x), reference.run(x, training=False).numpy()) <= 5 * ROUNDING


@pytest.mark.parametrize(("source", "other"), [("torchvision", "timm"), ("timm", "torchvision")])
def test_another_source_is_drawn_for_the_same_images(source: str, other: str) -> None:
    """torchvision draws this one for 518 pixels, timm for 224, which decides on the positions."""
    model = cz.create_model("vit_h_14", source=source, meta=True)
    shapes = {name: shape for name, shape, _ in model.graph.parameters()}
    for own, _, shape in model._engine.names_in(other):
        assert np.prod(shape) == np.prod(shapes[own]), own


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
