"""Every network as onnxruntime runs it, beside the library that it comes from, on random weights.

By default the cheapest editions of every family, source and deviation run; the rest is slow.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo import _native
from differences import Differences
from export.onnx_files import Array, checked, inferred, session_of, stated
from reference import (
    LIBRARIES,
    Edition,
    KerasReference,
    Reference,
    build_reference,
    cheapest,
    editions,
    images,
    pair,
    without_drops,
)
from tolerance import (
    ONNX,
    ONNX_TIMES,
    VALUES_IN_ANOTHER_LAYOUT,
    difference,
)

EDITIONS = editions()
PAPERS = [
    edition
    for edition in (Edition(*fields) for fields in _native.editions())
    if edition.source not in LIBRARIES
]

# Odd sizes that no stage divides evenly. One session of each file runs the first image alone, and
# then this many.
SIZES = ((65, 97), (96, 71))
BATCH = 3

# Images that are told apart by less than this are no test: a thousand times `ONNX`.
LEAST_SPREAD = 0.02

# Networks with more parameters than this go to two files, of which onnx's checker and shape
# inference read the small one alone: the arrays of one file they copy several times.
LARGE = 50_000_000

# The versions of ONNX's operators between which `cz.onnx.export` lets choose.
FIRST_AND_LAST = (17, 28)


def params(every: list[Edition]) -> list[object]:
    """Every edition, of which the cheapest are quick."""
    quick = set(cheapest(every, 1))
    return [
        pytest.param(edition, id=str(edition), marks=[] if edition in quick else pytest.mark.slow)
        for edition in every
    ]


def of_each_family() -> list[Edition]:
    """The cheapest edition of every family."""
    found: dict[str, Edition] = {}
    for edition in cheapest(EDITIONS + PAPERS, 1):
        known = found.setdefault(edition.info.family, edition)
        if edition.info.macs < known.info.macs:
            found[edition.info.family] = edition
    return list(found.values())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that is gone after the test: all files together would take 60 GB."""
    folder = tmp_path / "files"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("edition", params(EDITIONS))
def test_onnxruntime_equals_the_source(
    edition: Edition, folder: Path, differences: Differences
) -> None:
    side = side_of(edition)
    model, reference = pair(edition, image_size=side)
    sizes = sizes_of(edition, model)
    batches = [images(size, BATCH) for size in sizes]
    expected = [logits_of(reference, x) for x in batches]
    is_keras = isinstance(reference, KerasReference)
    # Of the parameters of the largest networks there is one copy less at a time.
    del reference
    files = write_for(model, sizes, folder)
    if side is not None:
        with pytest.raises(cz.ArgumentError, match="expected a fixed size"):
            cz.onnx.export(model, folder / "any.onnx", image="dynamic")
    del model
    for x, found, logits in zip(batches, run_all(files, batches), expected, strict=True):
        apart = difference(found, alone_and_together(logits))
        differences.add(str(edition), "onnx", apart)
        if is_keras:
            assert apart <= max(ONNX, VALUES_IN_ANOTHER_LAYOUT)
        elif apart > ONNX:
            again = build_reference(edition, image_size=side)
            exact = again.in_float64(x)  # type: ignore[attr-defined]
            ours = difference(found, alone_and_together(exact))
            theirs = difference(logits, exact)
            differences.add(str(edition), "onnx beside float64", ours)
            differences.add(str(edition), "source beside float64", theirs)
            assert ours <= ONNX_TIMES * theirs


@pytest.mark.parametrize("edition", params(PAPERS))
def test_onnxruntime_equals_libtorch_where_only_a_paper_has_the_network(
    edition: Edition, folder: Path, differences: Differences
) -> None:
    model = settled(edition)
    sizes = sizes_of(edition, model)
    batches = [with_patches(size) for size in sizes]
    expected = [told_apart(model(x, exact=True)) for x in batches]
    files = write_for(model, sizes, folder)
    for found, logits in zip(run_all(files, batches), expected, strict=True):
        apart = difference(found, alone_and_together(logits))
        differences.add(str(edition), "onnx", apart)
        assert apart <= ONNX


@pytest.mark.parametrize("opset", FIRST_AND_LAST)
@pytest.mark.parametrize("edition", of_each_family(), ids=str)
def test_the_first_and_the_last_version_of_operators(
    edition: Edition, opset: int, folder: Path
) -> None:
    if edition in PAPERS:
        model = settled(edition)
    else:
        model, reference = pair(edition, image_size=side_of(edition))
    size = sizes_of(edition, model)[0]
    if edition in PAPERS:
        x = with_patches(size)
        expected = model(x, exact=True)
    else:
        x = images(size, BATCH)
        expected = logits_of(reference, x)
    file = write(model, folder, image=size, opset=opset)
    (found,) = run_all([file], [x])
    is_keras = edition.source == "keras"
    tolerance = max(ONNX, VALUES_IN_ANOTHER_LAYOUT) if is_keras else ONNX
    assert difference(found, alone_and_together(expected)) <= tolerance


def side_of(edition: Edition) -> int | None:
    """The side of the images that a network is drawn for, if it takes no others."""
    info = edition.info
    if not info.fixed_image_size:
        return None
    if edition.source not in LIBRARIES:
        return info.input_size
    return 2 * info.min_image_size + 7 * (edition.source == "keras")


def sizes_of(edition: Edition, model: cz.Model) -> list[tuple[int, int]]:
    """The sizes of images that a network is compared on."""
    info = edition.info
    if info.fixed_image_size:
        _, height, width = model.graph.input_shape
        return [(height, width)]
    more = max(0, info.min_image_size - min(*SIZES[0], *SIZES[1]))
    return [(height + more, width + more) for height, width in SIZES]


def settled(edition: Edition) -> cz.Model:
    """A network of a paper with random parameters, whose norms keep the scale of values.

    They are as `reference.randomise` draws them; the statistics are those of a batch. Without skips
    each norm and ReLU makes differences grow (Yang et al., arXiv:1902.08129), so that 110 layers
    make 5e-3 of rounding. The more values are positive, the less differences grow.
    """
    shift = 1.4 if edition.source_name in {"plain56", "plain110"} else 0.5
    model = edition.create(seed=1)
    generator = np.random.default_rng(1)
    state = model.state_dict()
    for name, array in state.items():
        if array.ndim > 1:
            deviation = np.float32((2 / np.prod(array.shape[1:])) ** 0.5)
            state[name] = deviation * generator.standard_normal(array.shape, np.float32)
        elif name.endswith(".bias"):
            state[name] = generator.normal(0, 0.1, array.shape).astype(np.float32)
    norms = {name.removesuffix(".running_mean") for name in state if name.endswith("running_mean")}
    for name in sorted(norms):
        shape = state[f"{name}.bias"].shape
        state[f"{name}.weight"] = generator.uniform(0.5, 1.5, shape).astype(np.float32)
        state[f"{name}.bias"] = generator.normal(shift, 0.5, shape).astype(np.float32)
    if norms:
        lines = str(without_drops(model.graph)).splitlines()
        lines = [
            re.sub(r" momentum=\S+", "", line) + " momentum=1.0"
            if "= batch_norm(" in line
            else line
            for line in lines
        ]
        learner = cz.Model.from_graph(cz.Graph.parse("\n".join(lines)))
        learner.load_state_dict(state)
        _, height, width = model.graph.input_shape
        x = images((min(height, 128), min(width, 128)), 8, seed=1)
        learner.vjp(x, np.zeros_like(learner(x)), training=True)
        state = learner.state_dict()
    model.load_state_dict(state)
    return model


def with_patches(size: tuple[int, int]) -> Array:
    """Images of patches in one colour under noise, of more and more contrast.

    Networks that are made for 32 pixels average over too many pixels of noise alone.
    """
    side = 48
    height, width = size
    patches = images((height // side + 1, width // side + 1), BATCH, seed=2)
    whole = np.kron(patches, np.ones((side, side), np.float32))[..., :height, :width]
    contrast = 2 ** np.arange(BATCH, dtype=np.float32)[:, None, None, None]
    return contrast * (whole + images(size, BATCH))


def logits_of(reference: Reference, x: Array) -> Array:
    """The logits of the source."""
    return told_apart(reference.run(x, training=False).numpy())


def told_apart(logits: Array) -> Array:
    """The same, once it is sure that they depend on the images."""
    spread = np.ptp(logits, axis=0).max() / np.abs(logits).max()
    assert spread > LEAST_SPREAD, "the logits hardly depend on the image"
    return logits


def alone_and_together(logits: Array) -> Array:
    """The first image's, then all."""
    return np.concatenate([logits[:1], logits])


def run_all(files: list[Path], batches: list[Array]) -> Iterator[Array]:
    """The output of onnxruntime for each batch: its first image alone, then all, in one session.

    Equal files are one session, whatever the size of the images.
    """
    sessions = {file: session_of(file) for file in files}
    for file, x in zip(files, batches, strict=True):
        (given,) = sessions[file].get_inputs()
        parts = [sessions[file].run(None, {given.name: part})[0] for part in (x[:1], x)]
        yield np.concatenate(parts)


def write_for(model: cz.Model, sizes: list[tuple[int, int]], folder: Path) -> list[Path]:
    """A file for each size: one for all of them where no layer depends on it."""
    if len(sizes) == 1:
        return [write(model, folder, image=None)]
    try:
        file = write(model, folder, image="dynamic")
    except cz.ArgumentError as error:
        assert "expected a fixed size" in str(error)  # noqa: PT017  # of some networks
        return [write(model, folder, image=size) for size in sizes]
    return [file] * len(sizes)


def write(
    model: cz.Model,
    folder: Path,
    *,
    image: cz.onnx.ImageSize,
    opset: int = cz.onnx.DEFAULT_OPSET,
) -> Path:
    """A file for any number of images, whose shapes and names are those of the graph."""
    name = "x".join(map(str, image)) if isinstance(image, tuple) else image or "own"
    file = folder / f"{name}.onnx"
    numbers = sum(int(np.prod(shape)) for _, shape, _ in model.graph.parameters())
    external = numbers > LARGE or None
    cz.onnx.export(model, file, image=image, opset=opset, external=external)
    proto = checked(file)
    shapes = stated(proto)
    found = inferred(proto)
    assert {name: agreed(shapes[name], found[name]) for name in shapes} == shapes
    _, height, width = model.graph.input_shape
    if isinstance(image, tuple):
        height, width = image
    for name, _, _, shape, *_ in model.graph.rows(height, width):
        if image != "dynamic" and shapes.get(name, (None,))[0] == "batch":
            assert shapes[name] == ("batch", *shape), name
    state = set(model.state_dict())
    arrays = {array.name for array in proto.graph.initializer}
    assert {name for name in arrays if "/" not in name} <= state
    return file


def agreed(ours: tuple[object, ...], theirs: tuple[object, ...]) -> tuple[object, ...]:
    """Our shape, with each size that onnx infers as it does; it may know fewer."""
    assert len(ours) == len(theirs)
    return tuple(
        own if other is None or isinstance(other, str) else other
        for own, other in zip(ours, theirs, strict=True)
    )
