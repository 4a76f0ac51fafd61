"""Every network as onnxruntime runs it, beside the library that it comes from, on random weights.

By default the cheapest editions of every family, source and deviation run; the rest is slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo import _native
from differences import Differences
from export.onnx_files import Array, checked, inferred, run, stated
from reference import (
    LIBRARIES,
    Edition,
    KerasReference,
    Reference,
    cheapest,
    editions,
    images,
    pair,
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

# Odd sizes that no stage divides evenly, and batches of them.
SIZES = (((65, 97), 1), ((96, 71), 3))


def params(every: list[Edition]) -> list[object]:
    """Every edition, of which the cheapest are quick."""
    quick = set(cheapest(every, 1))
    return [
        pytest.param(edition, id=str(edition), marks=[] if edition in quick else pytest.mark.slow)
        for edition in every
    ]


@pytest.mark.parametrize("edition", params(EDITIONS))
def test_onnxruntime_equals_the_source(
    edition: Edition, tmp_path: Path, differences: Differences
) -> None:
    info = edition.info
    least = info.min_image_size
    if info.fixed_image_size:
        model, reference = pair(edition, image_size=2 * least + 7 * (edition.source == "keras"))
        side = model.graph.input_shape[1]
        sizes = [((side, side), batch) for _, batch in SIZES]
        file = write(model, tmp_path, image=None)
        with pytest.raises(cz.ArgumentError, match="expected a fixed size"):
            cz.onnx.export(model, tmp_path / "any.onnx", image="dynamic")
        files = [file] * len(sizes)
    else:
        model, reference = pair(edition)
        more = max(0, least - 65)
        sizes = [((height + more, width + more), batch) for (height, width), batch in SIZES]
        files = list(written_for(model, sizes, tmp_path))
    for file, (size, batch) in zip(files, sizes, strict=True):
        x = images(size, batch)
        found = compare(run(file, x), reference, x)
        differences.add(str(edition), "onnx", found)


@pytest.mark.parametrize("edition", params(PAPERS))
def test_onnxruntime_equals_libtorch_where_only_a_paper_has_the_network(
    edition: Edition, tmp_path: Path, differences: Differences
) -> None:
    model = edition.create(seed=1)
    _, height, width = model.graph.input_shape
    file = write(model, tmp_path, image=None)
    for _, batch in SIZES:
        x = images((height, width), batch)
        found = difference(run(file, x), model(x, exact=True))
        differences.add(str(edition), "onnx", found)
        assert found <= ONNX


def written_for(
    model: cz.Model, sizes: list[tuple[tuple[int, int], int]], folder: Path
) -> Iterator[Path]:
    """A file for each size: one for all of them where no layer depends on it."""
    try:
        file = write(model, folder, image="dynamic")
    except cz.ArgumentError as error:
        assert "expected a fixed size" in str(error)  # noqa: PT017  # of some networks
        for size, _ in sizes:
            yield write(model, folder, image=size)
    else:
        yield from [file] * len(sizes)


def write(model: cz.Model, folder: Path, *, image: cz.onnx.ImageSize) -> Path:
    """A file for any number of images, whose shapes and names are those of the graph."""
    name = "x".join(map(str, image)) if isinstance(image, tuple) else image or "own"
    file = folder / f"{name}.onnx"
    cz.onnx.export(model, file, image=image)
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


def compare(found: Array, reference: Reference, x: Array) -> float:
    """The difference from the source, which is asserted."""
    expected = reference.run(x, training=False).numpy()
    spread = np.ptp(expected, axis=0).max() / np.abs(expected).max()
    assert len(x) == 1 or spread > 0.05, "the logits hardly depend on the image"
    apart = difference(found, expected)
    if isinstance(reference, KerasReference):
        assert apart <= max(ONNX, VALUES_IN_ANOTHER_LAYOUT)
    elif apart > ONNX:
        exact = reference.in_float64(x)  # type: ignore[attr-defined]
        assert difference(found, exact) <= ONNX_TIMES * difference(expected, exact)
    return apart
