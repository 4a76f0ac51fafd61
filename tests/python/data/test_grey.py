"""Photographs for networks of one channel, against Pillow and torchvision; of others, refused."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import skimage.data
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import cnnzoo as cz

# See test_preprocess.py.
pytestmark = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

CHELSEA = Path(skimage.data.__file__).parent / "chelsea.png"


def torchvision(image: Image.Image, preprocess: cz.Preprocess) -> Any:
    steps = transforms.Compose(
        [
            transforms.Grayscale(1),
            transforms.Resize(preprocess.resize, InterpolationMode(preprocess.interpolation)),
            transforms.CenterCrop(preprocess.crop),
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean, preprocess.std),
        ]
    )
    return steps(image)[None].numpy()


def test_every_colour_becomes_the_grey_of_pillow() -> None:
    colours = np.arange(1 << 24, dtype=np.uint32).view(np.uint8).reshape(4096, 4096, 4)[..., :3]
    preprocess = cz.Preprocess(
        resize=4096, crop=4096, interpolation="nearest", mean=(0.0,), std=(1 / 255,)
    )
    [[ours]] = preprocess(np.ascontiguousarray(colours))
    theirs = np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L"))
    np.testing.assert_array_equal(ours.round().astype(np.uint8), theirs)


@pytest.mark.parametrize(
    "interpolation", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
)
@pytest.mark.parametrize(("resize", "crop"), [(256, 224), (64, 96), (320, 299)])
@pytest.mark.parametrize("photo", ["chelsea", "coffee", "rocket", "coins"])
def test_grey_comes_before_resizing(photo: str, resize: int, crop: int, interpolation: str) -> None:
    array = getattr(skimage.data, photo)()
    preprocess = cz.Preprocess(
        resize=resize, crop=crop, interpolation=interpolation, mean=(0.449,), std=(0.226,)
    )
    expected = torchvision(Image.fromarray(array), preprocess)
    assert expected.shape == (1, 1, crop, crop)
    np.testing.assert_array_equal(preprocess(array), expected)


def test_files_arrays_and_pillow_images_give_the_same() -> None:
    model = cz.create_model("resnet18", in_channels=1, num_classes=3)
    image = Image.open(CHELSEA)
    expected = torchvision(image, model.preprocess)
    grey = np.asarray(image.convert("L"))
    photos: list[Any] = [CHELSEA, str(CHELSEA), image, image.convert("L"), np.asarray(image)]
    for photo in [*photos, np.asarray(image.convert("RGBA")), grey, grey[..., np.newaxis]]:
        np.testing.assert_array_equal(model.preprocess(photo), expected)
    assert model.preprocess([CHELSEA, grey]).shape == (2, 1, 224, 224)
    assert [guess.label for guess in model.predict(CHELSEA)] == [
        guess.label for guess in model.predict(grey)
    ]


def test_mean_and_deviation_are_averages(tmp_path: Path) -> None:
    three = cz.create_model("resnet18", meta=True).preprocess
    model = cz.create_model("resnet18", in_channels=1, num_classes=3, image_size=96)
    one = model.preprocess
    assert [*one.mean, *one.std] == pytest.approx([0.449, 0.226])
    assert one == dataclasses.replace(three.resized(96), mean=one.mean, std=one.std)
    assert cz.Model.from_graph(model.graph).preprocess.mean == one.mean
    model.save(tmp_path / "model.safetensors")
    assert cz.load(tmp_path / "model.safetensors").preprocess == one
    assert three.with_channels(3) is three


@pytest.mark.parametrize("channels", [2, 4, 9])
def test_other_channels_take_no_photographs(channels: int) -> None:
    model = cz.create_model("resnet18", in_channels=channels, num_classes=3)
    assert model.preprocess.crop == 224
    message = rf"1 or 3 channels of photographs, got one that takes {channels}; .*model\(x\)"
    for prepare in (model.preprocess, model.predict):
        for photo in (CHELSEA, [CHELSEA, CHELSEA], np.zeros((8, 8, channels), np.uint8)):
            with pytest.raises(cz.ShapeError, match=message):
                prepare(photo)
    assert model(np.zeros((1, channels, 64, 64), np.float32)).shape == (1, 3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"mean": (123.7, 116.0, 103.0)},
            "mean: .* at most 1, got 123.7; photographs have values of 0 ",
        ),
        ({"std": (58.0, 57.0, 57.0)}, "std: .* at most 1 and above 0.0, got 58.0; photographs"),
        ({"std": (-1.0, 1.0, 1.0)}, "std: .*got -1.0"),
        ({"std": (0.0, 1.0, 1.0)}, "std: .*got 0.0"),
        ({"mean": 0.5}, "mean: expected a number for each channel, got 0.5"),
        (
            {"mean": {0.1, 0.2, 0.3}},
            "mean: expected a number for each channel, got an object of se",
        ),
        ({"mean": "0.5"}, "mean: expected a number for each channel, got '0.5'"),
        ({"resize": 16.5}, "resize: expected a whole number, got 16.5"),
        ({"crop": (16, 32)}, r"crop: expected a whole number, got \(16, 32\)"),
    ],
)
def test_numbers_of_another_scale_or_kind(options: dict[str, Any], says: str) -> None:
    usual = {"resize": 16, "crop": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    with pytest.raises(cz.ArgumentError, match=f"preprocess: {says}"):
        cz.Preprocess(interpolation="box", **{**usual, **options})


def test_numbers_of_numpy_are_taken() -> None:
    half = np.full(3, 0.5)
    numbers: dict[str, Any] = {"resize": np.int64(9), "mean": half, "std": [1] * 3}
    found = cz.Preprocess(crop=8, interpolation="box", **numbers)
    assert (found.resize, found.mean, found.std) == (9, (0.5,) * 3, (1.0,) * 3)
    assert hash(found) == hash(copy.copy(found))


@pytest.mark.parametrize(("mean", "std"), [((), ()), ((0.5,), (0.5, 0.5, 0.5))])
def test_as_many_deviations_as_means(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(cz.ArgumentError, match="mean and std: expected as many"):
        cz.Preprocess(resize=8, crop=8, interpolation="box", mean=mean, std=std)


def test_sixteen_bits_that_hold_bytes_are_noticed() -> None:
    bytes_ = np.full((8, 8), 200, np.uint8)
    preprocess = cz.Preprocess(
        resize=8, crop=8, interpolation="bilinear", mean=(0.0,) * 3, std=(1.0,) * 3
    )
    given: dict[str, Any] = {
        "a uint16 array": bytes_.astype(np.uint16),
        "a Pillow image of mode I": Image.fromarray(bytes_).convert("I"),
        "a Pillow image of mode I;16": Image.fromarray(bytes_.astype(np.uint16)),
    }
    for what, photo in given.items():
        with pytest.warns(cz.Notice, match=f"expected {what} .*got at most 200, .*nearly black"):
            assert not preprocess(photo).any()
    # Without a warning: all black, the darkest that a byte can say, and bytes.
    for photo in (np.zeros((8, 8), np.uint16), np.full((8, 8), 256, np.uint16), bytes_):
        preprocess(photo)
