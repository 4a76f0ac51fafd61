"""Robustness: accuracies against plain loops with torchvision's functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

import cnnzoo as cz
import pictures
from cnnzoo.analysis import Robustness, RobustnessCurve, robustness

SIDE = 24


def trained() -> tuple[cz.Model, Any, Any]:
    """A network that finds a bright square in one of four corners, and images of them."""
    random = np.random.default_rng(0)
    y = np.arange(160) % 4
    x = random.normal(size=(160, 3, SIDE, SIDE)).astype(np.float32) * 0.3
    for image, label in zip(x, y, strict=True):
        top, left = (3 if label < 2 else 13), (3 if label % 2 else 13)
        image[:, top : top + 8, left : left + 8] += 1.5
    model = cz.create_model("resnet20", num_classes=4, seed=0)
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.02, momentum=0.9))
    trainer.fit(
        [(x[i : i + 16], y[i : i + 16]) for i in range(0, 96, 16)], epochs=3, progress=False
    )
    return model, x[96:], y[96:]


@pytest.fixture(scope="module")
def case() -> tuple[cz.Model, Any, Any]:
    return trained()


def test_accuracies_are_those_of_a_loop_with_torchvision(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    found = robustness(
        model, x, y, shifts=[-6, 3], angles=[20, -90], scales=[1.4], noise=[], occlusion=[]
    )
    tensor, bilinear = torch.from_numpy(x), InterpolationMode.BILINEAR

    def accuracy(images: Any) -> float:
        return float((model(np.asarray(images)).argmax(1) == y).mean())

    expected = {
        "shift": {
            0.0: accuracy(x),
            **{float(p): accuracy(functional.affine(tensor, 0, [p, 0], 1, [0.0])) for p in (-6, 3)},
        },
        "rotation": {
            0.0: accuracy(x),
            **{float(a): accuracy(functional.rotate(tensor, a, bilinear)) for a in (20, -90)},
        },
        "scale": {
            1.0: accuracy(x),
            1.4: accuracy(functional.affine(tensor, 0, [0, 0], 1.4, [0.0], bilinear)),
        },
    }
    curves = {c.name: {p.strength: p.accuracy for p in c.points} for c in found.curves}
    assert curves == expected
    assert found.accuracy == accuracy(x) > 0.9
    assert found.images == len(y) and found.name == "resnet20"
    # The bright corner goes elsewhere.
    assert curves["rotation"][-90.0] < 0.2
    for curve in found.curves:
        strengths = [point.strength for point in curve.points]
        assert strengths == sorted(strengths)
        for point in curve.points:
            assert point.accuracy == point.correct / point.images
            assert point.interval[0] <= point.accuracy <= point.interval[1]


def test_noise_is_in_units_of_pixels_and_squares_cover_what_is_asked_for(
    case: tuple[cz.Model, Any, Any],
) -> None:
    model, x, y = case
    seen: list[Any] = []

    class Watched(cz.Model):
        def __call__(self, x: Any, **options: Any) -> Any:
            seen.append(np.array(x))
            return super().__call__(x, **options)

    watched = Watched(model._engine, model.preprocess)
    options: dict[str, Any] = {"shifts": [], "angles": [], "scales": [], "progress": False}
    found = robustness(watched, x, y, noise=[0.2], occlusion=[0.25], batch_size=64, **options)
    assert [curve.name for curve in found.curves] == ["noise", "occlusion"]
    plain, noisy, covered = seen
    np.testing.assert_array_equal(plain, x)
    deviation = (noisy - x).std((0, 2, 3))
    # Of 36864 numbers it is known to 0.4 %.
    np.testing.assert_allclose(deviation, 0.2 / np.array(model.preprocess.std), rtol=0.02)
    assert (covered != x).any(1).sum((1, 2)).tolist() == [(SIDE // 2) ** 2] * len(x)
    assert (covered[(covered != x)] == 0).all()
    seen.clear()
    robustness(watched, x, y, noise=[], occlusion=[0.25], fill=1.0, **options)
    white = (1 - np.array(model.preprocess.mean)) / np.array(model.preprocess.std)
    first = seen[1][0]
    for channel, value in zip(first, white, strict=True):
        assert (np.abs(channel - value) < 1e-5).sum() >= (SIDE // 2) ** 2


def test_results_do_not_depend_on_batches(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    options: dict[str, Any] = {"angles": [15], "noise": [0.3, 0.6], "occlusion": [0.3], "seed": 5}
    whole = robustness(model, x, y, batch_size=64, **options)
    for size in (1, 7):
        assert robustness(model, x, y, batch_size=size, **options) == whole
    batches = [(x[i : i + 10], y[i : i + 10]) for i in range(0, 64, 10)]
    assert robustness(model, batches, **options) == whole
    assert robustness(model, torch.from_numpy(x), torch.from_numpy(y), **options) == whole
    assert robustness(model, x, y, **{**options, "seed": 6}) != whole


def test_photographs_loaders_and_data_sets_are_the_same_images(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=3, each=3)
    model, data = (
        cz.create_model("resnet20", num_classes=3, image_size=32),
        cz.data.ImageFolder(root),
    )
    options: dict[str, Any] = {"angles": [20], "noise": [0.1], "shifts": [], "occlusion": []}
    expected = robustness(model, data, **options)
    loader = cz.data.Loader(data, transform=model.preprocess, batch_size=4, shuffle=False)
    at = loader.state()
    assert robustness(model, loader, **options) == expected
    assert loader.state() == at
    paths = [data.name(index) for index in range(len(data))]
    assert robustness(model, paths, data.labels, **options) == expected
    arrays = [data.photo(index) for index in range(len(data))]
    assert robustness(model, arrays, data.labels.tolist(), batch_size=2, **options) == expected
    assert {c.name for c in expected.curves} == {"rotation", "scale", "noise"}


def test_usual_shifts_are_up_to_a_quarter_of_the_width(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    none: dict[str, Any] = {"angles": [], "scales": [], "noise": [], "occlusion": []}
    found = robustness(model, x, y, **none)
    strengths = [point.strength for point in found["shift"].points]
    assert strengths == [-6, -3, -2, -1, 0, 1, 2, 3, 6]
    assert [c.name for c in robustness(model, x[:2], y[:2]).curves] == [
        "shift",
        "rotation",
        "scale",
        "noise",
        "occlusion",
    ]


def test_logits_that_are_no_numbers_are_wrong(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    broken = x.copy()
    broken[::2] = np.nan
    assert robustness(model, broken, y, noise=[0.1]).accuracy <= 0.5


def drawn(ax: Axes) -> list[Any]:
    return [line.get_ydata() for line in ax.lines]


def test_curves_are_drawn_and_two_networks_share_axes(case: tuple[cz.Model, Any, Any]) -> None:
    from matplotlib import pyplot

    model, x, y = case
    first = robustness(model, x, y, angles=[-20, 20], scales=[], occlusion=[], shifts=[2])
    second = robustness(model, x, y, angles=[-20, 20], scales=[], occlusion=[], shifts=[2], seed=1)
    axes = second.plot(ax=first.plot(), label="again")
    assert len(axes) == 3
    for curve, ax in zip(first.curves, axes, strict=True):
        assert len(ax.lines) == 2 and ax.get_title() == curve.name
        assert list(drawn(ax)[0]) == [point.accuracy for point in curve.points]
        assert len({line.get_color() for line in ax.lines}) == 2
    legend = axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["resnet20", "again"]
    pyplot.close(axes[0].figure)
    one = first["rotation"].plot(ax=Figure().subplots())
    band = one.collections[0].get_paths()[0].vertices
    lows = [point.interval[0] for point in first["rotation"].points]
    assert np.asarray(band)[:, 1].min() == pytest.approx(min(lows))
    with pytest.raises(cz.ArgumentError, match="expected 3 matplotlib axes, got 2"):
        first.plot(ax=Figure().subplots(1, 2))
    with pytest.raises(KeyError, match="shift, rotation, noise"):
        first["blur"]


def test_it_prints_and_shows_a_table(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    found = robustness(model, x, y, angles=[90], scales=[], occlusion=[], shifts=[], noise=[])
    assert isinstance(found, Robustness) and isinstance(found.curves[0], RobustnessCurve)
    worst = found["rotation"].points[-1].accuracy
    told = f"64 images: {found.accuracy:.1%}; at worst rotation {worst:.1%}"
    assert repr(found) == f"<Robustness of resnet20 on {told}>"
    assert len(found.table().splitlines()) == 4
    assert found._repr_html_().count("<tr>") == 3
    assert f"90: {worst:.1%}" in repr(found["rotation"])


def test_what_is_no_strength_and_no_image_is_refused(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    wrong: dict[str, list[Any]] = {
        "shifts": [[1.5], [np.nan], 3, "3", [None]],
        "angles": [[np.inf], ["a"], 20.0],
        "scales": [[0.0], [-1.0], [1e9]],
        "noise": [[-0.1], [1e38]],
        "occlusion": [[1.1], [-0.1]],
        "batch_size": [0, 1.5],
        "seed": [-1, 0.5],
        "fill": [-0.1, 1.1, "black"],
    }
    for option, values in wrong.items():
        for value in values:
            with pytest.raises(cz.ArgumentError, match=f"`{option}`"):
                robustness(model, x, y, **{option: value})
    with pytest.raises(cz.ShapeError, match="64 images and 3 labels"):
        robustness(model, x, y[:3])
    with pytest.raises(cz.ShapeError, match="0 images and 0 labels"):
        robustness(model, x[:0], y[:0])
    with pytest.raises(cz.ShapeError, match="images"):
        robustness(model, x[:, 0], y)
    with pytest.raises(cz.ArgumentError, match="classes of 0 to 3"):
        robustness(model, x, y + 1)
    with pytest.raises(cz.ArgumentError, match="integer classes"):
        robustness(model, x, y + 0.5)
    with pytest.raises(cz.ArgumentError, match="expected a Loader"):
        robustness(model, x)
    data = cz.data.Arrays(np.zeros((2, 32, 32, 3), np.uint8), [0, 1])
    with pytest.raises(cz.ArgumentError, match="no `labels` beside"):
        robustness(model, data, [0, 1])
    with pytest.raises(cz.ArgumentError, match="no classifier"):
        robustness(cz.create_model("resnet20", num_classes=0), x, y)
    with pytest.raises(
        cz.ArgumentError, match=r"`model`: expected a cnnzoo\.Model, got 'resnet20'"
    ):
        robustness("resnet20", x, y)  # type: ignore[arg-type]
    several = model.copy()
    several.task = "multi_label"
    with pytest.raises(cz.ArgumentError, match="one class for each image"):
        robustness(several, x, y)


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.bool_])
def test_batches_of_bytes_are_refused_as_the_model_refuses_them(
    case: tuple[cz.Model, Any, Any], kind: Any
) -> None:
    model, x, y = case
    with pytest.raises(TypeError, match="expected images of float32"):
        robustness(model, [(np.abs(x).astype(kind), y)])


def test_without_distortions_there_is_the_accuracy_alone(case: tuple[cz.Model, Any, Any]) -> None:
    model, x, y = case
    nothing = robustness(model, x, y, shifts=[], angles=[], scales=[], noise=[], occlusion=[])
    share = (model(x).argmax(1) == y).mean()
    assert len(nothing) == 0 and nothing.accuracy == share
    assert repr(nothing) == f"<Robustness of {model.name} on {len(y)} images: {share:.1%}>"
    with pytest.raises(cz.ArgumentError, match="at least one distortion"):
        nothing.plot()
