"""Pictures of batches: `Loader.show_batch` and `show_batch`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

import cnnzoo as cz
import pictures

MEAN, STD = cz.transforms.IMAGENET_MEAN, cz.transforms.IMAGENET_STD


def new() -> Axes:
    """Axes that pyplot does not know."""
    return Figure(figsize=(6, 6)).subplots()


def drawn(ax: Axes) -> list[NDArray[Any]]:
    return [np.asarray(image.get_array()) for image in ax.images]


def said(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def small(count: int = 10) -> cz.data.Arrays:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return cz.data.Arrays(pixels, np.arange(count) % 3, classes=["cat", "dog", "owl"])


def test_pictures_are_those_of_torchvision_before_it_normalises(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=3, each=3)
    model = cz.create_model("resnet18", image_size=32)
    loader = cz.data.Loader(
        cz.data.ImageFolder(root), batch_size=4, transform=model.preprocess, seed=3
    )
    ax = loader.show_batch(count=7, ax=new())
    sizes = model.preprocess.resize, model.preprocess.crop
    theirs = v2.Compose([v2.Resize(sizes[0]), v2.CenterCrop(sizes[1]), v2.PILToTensor()])
    folder = torchvision.datasets.ImageFolder(str(root))
    assert len(drawn(ax)) == 7
    for pixels, text, index in zip(drawn(ax), said(ax), loader.order(0), strict=False):
        path, label = folder.samples[index]
        expected = theirs(Image.open(path).convert("RGB")).permute(1, 2, 0).numpy()
        # Normalising and undoing it rounds twice in float32.
        np.testing.assert_allclose(255 * pixels, expected, atol=1e-3)
        assert text == folder.classes[label]


def test_a_loader_yields_the_same_batches_after_it() -> None:
    def loader() -> cz.data.Loader:
        transform = cz.transforms.RandomCrop(8, padding=2)
        return cz.data.Loader(small(), batch_size=3, transform=transform, seed=5)

    def batches(one: Any, other: Any) -> None:
        for (x, y), (u, v) in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)

    seen, unseen = loader(), loader()
    seen.show_batch(ax=new())
    assert seen.state() == unseen.state()
    batches(seen, unseen)
    # In the midst of an iteration, which goes on.
    here, there = iter(seen), iter(unseen)
    batches([next(here)], [next(there)])
    ax = seen.show_batch(count=3, ax=new())
    assert seen.state() == unseen.state()
    batches(here, there)
    # Drawn was the beginning of the epoch after that.
    x, _ = next(iter(seen))
    np.testing.assert_array_equal(np.stack(drawn(ax)).transpose(0, 3, 1, 2), x)
    # At the end of an epoch, by a state of another loader.
    last = loader()
    last.set_epoch(0, first_batch=len(last))
    last.show_batch(ax=new())
    assert last.state().batch == len(last)


def test_mixed_images_have_two_labels_as_the_run_mixes_them() -> None:
    loader = cz.data.Loader(small(), batch_size=4, seed=2)
    mixing = cz.Mixing(mixup=0.5)
    ax = loader.show_batch(count=4, mixing=mixing, ax=new())
    (x, y), *_ = copy.copy(loader)
    images, shares = mixing(x, y, num_classes=3, seed=2, epoch=0, batch=0)
    for index, pixels in enumerate(drawn(ax)):
        np.testing.assert_array_equal(pixels, images[index].transpose(1, 2, 0))
    expected = [
        f"{shares[i, c]:.0%} {loader.dataset.classes[c]}".replace("100% ", "")
        for i in range(4)
        for c in sorted(range(3), key=lambda c: -shares[i, c])
        if shares[i, c] > 0
    ]
    assert said(ax) == expected
    assert any("%" in text for text in said(ax))


def test_labels_shares_and_classes_are_told_apart() -> None:
    x = np.zeros((3, 1, 4, 4), np.float32)
    names = ["cat", "dog", "owl", "$ and _ $"]
    several = [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
    ax = cz.data.show_batch(x, several, classes=names, ax=new())
    assert said(ax) == ["cat", "dog", "no label", "cat", "dog, owl, $ and _ $"]
    one_hot = np.eye(4)[[2, 0, 3]]
    assert said(cz.data.show_batch(x, one_hot, classes=names, ax=new())) == [
        "owl",
        "cat",
        "$ and _ $",
    ]
    shares = [[0.25, 0.75, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1], [0.0, 0.0, 0.0, 1.0]]
    assert said(cz.data.show_batch(x, shares, ax=new())) == [
        "75% 1",
        "25% 0",
        "40% 0",
        "30% 1",
        "3",
    ]
    assert said(cz.data.show_batch(x, [3, 0, 1], ax=new())) == ["3", "0", "1"]
    assert said(cz.data.show_batch(x, ax=new())) == []


def test_long_names_are_cut_to_the_width_of_their_picture() -> None:
    x = np.zeros((4, 1, 4, 4), np.float32)
    figure = Figure(figsize=(4, 4))
    ax = cz.data.show_batch(x, [0] * 4, classes=["a very long name " * 5], ax=figure.subplots())
    figure.draw_without_rendering()
    for text in ax.texts:
        assert text.get_text().startswith("a very long") and text.get_text().endswith("…")
        width = text.get_window_extent().transformed(ax.transData.inverted()).width
        assert 0.8 < width < 1.05


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 20])
def test_any_number_of_channels_is_drawn(channels: int) -> None:
    x = np.random.default_rng(channels).random((2, channels, 6, 5)).astype(np.float32)
    for pixels, image in zip(drawn(cz.data.show_batch(x, ax=new())), x, strict=True):
        assert pixels.shape[2] == 3
        if channels == 3:
            np.testing.assert_array_equal(pixels, image.transpose(1, 2, 0))
        elif channels == 1:
            np.testing.assert_array_equal(pixels, np.stack([image[0]] * 3, axis=-1))
        else:
            side = {2: 2, 4: 2, 5: 3, 20: 4}[channels]
            for number, channel in enumerate(image[:16]):
                top, left = number // side * 7, number % side * 6
                window = pixels[top : top + 6, left : left + 5]
                np.testing.assert_array_equal(window, np.stack([channel] * 3, axis=-1))


def test_normalisation_is_undone_and_what_is_not_known_is_scaled() -> None:
    pixels = np.random.default_rng(1).random((2, 3, 5, 5)).astype(np.float32)
    mean, std = (np.array(one, np.float32).reshape(3, 1, 1) for one in (MEAN, STD))
    x = (pixels - mean) / std
    known = cz.data.show_batch(x, mean=MEAN, std=STD, ax=new())
    np.testing.assert_allclose(np.stack(drawn(known)), pixels.transpose(0, 2, 3, 1), atol=1e-6)
    scaled = np.stack(drawn(cz.data.show_batch(x, ax=new())))
    expected = (x - x.min()) / (x.max() - x.min())
    np.testing.assert_allclose(scaled, expected.transpose(0, 2, 3, 1), atol=1e-6)
    # Bytes are no numbers of 0 to 1.
    whole = np.array([[[[0, 51, 255]]]], np.uint8)
    np.testing.assert_allclose(drawn(cz.data.show_batch(whole, ax=new()))[0][0, :, 0], [0, 0.2, 1])
    x[0, 1, 2, 3] = np.nan
    x[1, 0, 0, 0] = np.inf
    first, second = drawn(cz.data.show_batch(x, mean=MEAN, std=STD, ax=new()))
    assert first[2, 3].tolist() == second[0, 0].tolist() == [1, 0, 1]
    assert np.isfinite(first).all() and np.isfinite(second).all()
    same = cz.data.show_batch(np.full((1, 1, 2, 2), np.nan), ax=new())
    assert drawn(same)[0][0, 0].tolist() == [1, 0, 1]


def test_photographs_without_labels_have_no_captions(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=2, each=2)
    transform = cz.transforms.Compose([cz.transforms.Resize(16), cz.transforms.CenterCrop(16)])
    loader = cz.data.Loader(cz.data.Photos(root), batch_size=3, transform=transform)
    ax = loader.show_batch(ax=new())
    assert len(drawn(ax)) == 4 and said(ax) == []


def test_one_number_for_all_channels_undoes_a_normalisation() -> None:
    halved = cz.transforms.Normalize((0.5,), (0.5,))
    transform = cz.transforms.Compose([cz.transforms.CenterCrop(8), halved], channels=3)
    loader = cz.data.Loader(small(), transform=transform, shuffle=False)
    shown = np.stack(drawn(loader.show_batch(ax=new())))
    np.testing.assert_allclose(255 * shown[0], small()[0][0], atol=1e-3)


def test_photographs_that_cannot_be_read_follow_the_loader(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=2, each=3)
    broken = sorted(root.rglob("*.png"))[1]
    broken.write_bytes(broken.read_bytes()[:50])
    transform = cz.transforms.Compose([cz.transforms.Resize(16), cz.transforms.CenterCrop(16)])

    def loader(on_error: Any) -> cz.data.Loader:
        folder = cz.data.ImageFolder(root)
        return cz.data.Loader(folder, transform=transform, on_error=on_error, batch_size=6)

    with pytest.raises(cz.DataError, match=broken.name):
        loader("raise").show_batch(ax=new())
    for on_error, count in (("skip", 5), ("replace", 6)):
        one = loader(on_error)
        with pytest.warns(cz.data.DataWarning, match=broken.name):
            ax = one.show_batch(ax=new())
        assert len(drawn(ax)) == count
        assert one.bad_samples == []
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with (
        pytest.warns(cz.data.DataWarning),
        pytest.raises(cz.DataError, match="expected a picture to draw, got none"),
    ):
        loader("skip").show_batch(ax=new())


def test_pictures_of_several_sizes_are_drawn_as_far_as_they_are_alike(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path, classes=1, each=3)
    loader = cz.data.Loader(cz.data.ImageFolder(root), batch_size=1, shuffle=False)
    assert len(drawn(loader.show_batch(ax=new()))) == 1


def test_new_axes_have_room_for_each_picture() -> None:
    from matplotlib import pyplot

    for count in (1, 2, 5, 16):
        ax = cz.data.show_batch(np.zeros((count, 3, 8, 8), np.float32), [1] * count)
        figure: Any = ax.figure
        figure.draw_without_rendering()
        boxes = [image.get_window_extent() for image in ax.images]
        assert len(boxes) == count
        for place, box in enumerate(boxes):
            assert box.width == pytest.approx(box.height, rel=0.01)
            assert not any(box.overlaps(other) for other in boxes[:place])
        pyplot.close(figure)


def test_what_is_no_batch_is_refused() -> None:
    x = np.zeros((2, 3, 4, 4), np.float32)
    for wrong in (x[0], x[:0], x[:, :0], x.astype(str), x.astype(complex), "x"):
        with pytest.raises(cz.ShapeError, match="expected images"):
            cz.data.show_batch(wrong, ax=new())
    for targets in (
        [0],
        [0.5, 0.5],
        [["a"], ["b"]],
        np.zeros((2, 2, 2)),
        np.array([1, 2], complex),
    ):
        with pytest.raises(cz.ShapeError, match="a share or label"):
            cz.data.show_batch(x, targets, ax=new())
    for count in (0, -1, 401, 2.0, True, "4"):
        with pytest.raises(cz.ArgumentError, match="`count`"):
            cz.data.show_batch(x, count=count, ax=new())  # type: ignore[arg-type]
        with pytest.raises(cz.ArgumentError, match="`count`"):
            cz.data.Loader(small()).show_batch(count=count, ax=new())  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="got 1 names and class 1"):
        cz.data.show_batch(x, [0, 1], classes=["a"], ax=new())
    with pytest.raises(cz.ArgumentError, match="class -1"):
        cz.data.show_batch(x, [0, -1], classes=["a"], ax=new())
    with pytest.raises(cz.ArgumentError, match="one number for each of the 3 channels"):
        cz.data.show_batch(x, mean=[0.5, 0.5], std=[0.5, 0.5], ax=new())
    with pytest.raises(cz.ArgumentError, match="`mean`"):
        cz.data.show_batch(x, mean=0.5, std=0.5, ax=new())  # type: ignore[arg-type]
    for mean, std in ((MEAN, None), (None, STD)):
        with pytest.raises(cz.ArgumentError, match="both or neither"):
            cz.data.show_batch(x, mean=mean, std=std, ax=new())
    with pytest.raises(cz.ArgumentError, match="`std`: expected a number above 0"):
        cz.data.show_batch(x, mean=[0.5], std=[0.0], ax=new())
    with pytest.raises(cz.ArgumentError, match="`classes`"):
        cz.data.show_batch(x, [0, 1], classes={"a", "b"}, ax=new())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_whose_channels_come_last_are_refused(kind: Any, channels: int) -> None:
    """They would be drawn as many grey stripes, three pixels wide."""
    x = np.ones((2, 32, 24, channels), kind)
    with pytest.raises(cz.ShapeError, match=r"got \(2, 32, 24, \d\), which looks like"):
        cz.data.show_batch(x, ax=new())
    cz.data.show_batch(x.transpose(0, 3, 1, 2), ax=new())
    # Feature maps of three by three are images.
    cz.data.show_batch(np.ones((2, 32, 3, 3), kind), ax=new())


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(cz.MissingPackageError, match="a batch needs matplotlib"):
        cz.data.Loader(small()).show_batch()
