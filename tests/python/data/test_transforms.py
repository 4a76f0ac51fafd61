"""Transforms as users write them: whole recipes against torchvision, values, errors, previews."""

from __future__ import annotations

import json
import pickle
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import numpy as np
import PIL
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torchvision import transforms as tv

import cnnzoo
from cnnzoo import transforms as cz
from cnnzoo.errors import ArgumentError, DataError, ShapeError
from torchvision_operations import apply

NEW_PILLOW = pytest.mark.skipif(
    int(PIL.__version__.partition(".")[0]) < 13, reason="what is equalled is Pillow 13"
)

RECIPES: dict[str, cz.Compose] = {
    "imagenet_train": cz.imagenet_train(96),
    "imagenet_train with all": cz.imagenet_train(
        96, augment=cz.RandAugment(fill=(9, 99, 200)), color_jitter=0.4, erasing=0.5
    ),
    "trivial": cz.imagenet_train(96, augment=cz.TrivialAugmentWide(), interpolation="bicubic"),
    "auto": cz.imagenet_train(96, augment=cz.AutoAugment(), erasing=1.0),
    "imagenet_eval": cz.imagenet_eval(80, resize=96),
    "cifar_train": cz.cifar_train(augment=cz.AutoAugment("cifar10")),
    "fashion_mnist_train": cz.fashion_mnist_train(augment=cz.RandAugment(fill=7), erasing=0.5),
    "hue": cz.Compose([cz.ColorJitter(hue=0.5), cz.Normalize((0.5,), (0.5,))], channels=3),
    "grey": cz.Compose([cz.Grayscale(), cz.Resize((40, 50)), cz.RandomVerticalFlip()]),
    "three greys": cz.Compose([cz.Grayscale(3), cz.RandomCrop(300, pad_if_needed=True)]),
    "flips before the rest": cz.Compose(
        [
            cz.RandomHorizontalFlip(),
            cz.RandomVerticalFlip(),
            cz.RandomCrop(70),
            cz.RandAugment(num_ops=3),
            cz.RandomResizedCrop((40, 60)),
        ]
    ),
    "margins": cz.Compose([cz.CenterCrop((90, 500)), cz.RandomShift(9, padding_mode="reflect")]),
    "nothing": cz.Compose([]),
}


def by_torchvision(transform: cz.Compose, array: Any, operations: list[dict[str, Any]]) -> Any:
    """The operations that were drawn, done by torchvision."""
    image = Image.fromarray(array).convert("L" if transform._engine.channels == 1 else "RGB")
    for operation in operations:
        if operation["operation"] != "erase":
            image = apply(image, operation)
    x = tv.functional.to_tensor(image)
    for step in transform.steps:
        if isinstance(step, cz.Normalize):
            x = tv.functional.normalize(x, list(step.mean), list(step.std))
    for operation in operations:
        if operation["operation"] == "erase":
            top, left, height, width = (operation[k] for k in ("top", "left", "height", "width"))
            value = x.new_tensor(operation["value"]["numbers"])[:, None, None]
            x = tv.functional.erase(x, top, left, height, width, value)
    return x.numpy()


@NEW_PILLOW
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_equal_torchvision(name: str) -> None:
    transform = RECIPES[name]
    for photo in (data.chelsea()[::2, ::2], data.coffee()[:97, :131], data.coins()[:120, :90]):
        for index in range(25):
            ours = transform(photo, seed=5, epoch=1, index=index)
            drawn = transform.operations(*photo.shape[:2], seed=5, epoch=1, index=index)
            assert ours.dtype == np.float32 and ours.flags.c_contiguous
            np.testing.assert_array_equal(ours, by_torchvision(transform, photo, drawn))


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (90, 90), (33, 300), (256, 256)])
def test_evaluation_is_the_preprocessing(size: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = cnnzoo.create_model("resnet18")
    np.testing.assert_array_equal(cz.imagenet_eval()(photo), model.preprocess(photo)[0])
    small = cnnzoo._native.preprocess("resnet20")
    assert (small["mean"], small["std"]) == (cz.CIFAR_MEAN, cz.CIFAR_STD)


@pytest.mark.parametrize(
    ("size", "max_size"), [(64, None), (64, 80), ((30, 90), None), (300, None), (100, 101)]
)
@pytest.mark.parametrize("shape", [(375, 500), (500, 375), (64, 64), (3, 200), (641, 64)])
def test_resize_sizes(size: Any, max_size: int | None, shape: tuple[int, int]) -> None:
    theirs = tv.Resize(list(size) if isinstance(size, tuple) else size, max_size=max_size)
    image = theirs(Image.new("RGB", shape[::-1]))
    ours = cz.Resize(size, max_size=max_size)(np.zeros((*shape, 3), np.uint8))
    assert ours.shape == (3, image.height, image.width)


def test_photographs_of_every_kind(tmp_path: Path) -> None:
    photo = data.chelsea()
    path = tmp_path / "chelsea.png"
    Image.fromarray(photo).save(path)
    transform = cz.imagenet_train(32)
    expected = transform(photo, seed=1, epoch=2, index=3)
    for same in (path, str(path), Image.open(path), photo.copy(order="F")):
        np.testing.assert_array_equal(transform(same, seed=1, epoch=2, index=3), expected)
    assert not np.array_equal(transform(photo, seed=1, epoch=2, index=4), expected)


def test_grey_is_one_channel_or_three() -> None:
    grey = data.coins()[:28, :28]
    one, three = cz.fashion_mnist_eval()(grey), cz.cifar_eval()(grey)
    assert one.shape == (1, 28, 28) and three.shape == (3, 28, 28)
    np.testing.assert_allclose(one[0], (grey / 255 - 0.286) / 0.353, atol=1e-6)
    # MNIST's idiom means one channel, and a step before it that makes three means three.
    normalize = cz.Normalize((0.1307,), (0.3081,))
    assert cz.Compose([normalize])(grey).shape == (1, 28, 28)
    assert cz.Compose([cz.Grayscale(3), normalize])(grey).shape == (3, 28, 28)
    assert cz.Compose([normalize], channels=3)(grey).shape == (3, 28, 28)


def test_transforms_are_values() -> None:
    for transform in RECIPES.values():
        again = eval(repr(transform), {**vars(cz)})
        assert again == transform and hash(again) == hash(transform)
        assert pickle.loads(pickle.dumps(transform)) == transform
    assert cz.RandomResizedCrop(224) != cz.RandomResizedCrop(192)
    assert cz.Normalize([0.5], [0.5]) == cz.Normalize((0.5,), (0.5,))  # type: ignore[arg-type]
    with pytest.raises(AttributeError):
        cz.RandomResizedCrop(224).size = 3  # type: ignore[misc]
    inner = cz.Compose([cz.RandomHorizontalFlip(), cz.CenterCrop(3)])
    assert cz.Compose([inner, cz.CenterCrop(2)]).steps == (*inner.steps, cz.CenterCrop(2))


def test_a_recipe_prints_what_it_does() -> None:
    assert repr(cz.imagenet_train(erasing=0.1)) == (
        "Compose([\n"
        "    RandomResizedCrop(size=224, scale=(0.08, 1.0), ratio=(0.75, 4/3), "
        "interpolation='bilinear'),\n"
        "    RandomHorizontalFlip(p=0.5),\n"
        "    Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),\n"
        "    RandomErasing(p=0.1, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0.0),\n"
        "])"
    )


REFUSED: list[tuple[str, str]] = [
    ("RandomResizedCrop(0)", "RandomResizedCrop: size: expected 1 to 8192 pixels, got 0"),
    ("RandomResizedCrop(9, scale=(1, 0.5))", "scale: expected two numbers in order"),
    ("RandomResizedCrop(9, ratio=(0, 2))", "ratio: expected two numbers in order, above 0"),
    ("RandomResizedCrop(9, ratio=2)", "ratio: expected two numbers, from and to, got 2"),
    ("RandomResizedCrop(9, scale=(0.1, inf))", "scale: expected a finite number, got inf"),
    ("RandomResizedCrop(9, interpolation='cubic')", "expected one of nearest, box, .* 'cubic'"),
    ("Resize('big')", "Resize: size: expected a whole number, got 'big'"),
    ("Resize(True)", "Resize: size: expected a whole number, got True"),
    ("Resize((1, 2, 3))", r"Resize: size: expected pixels or \(height, width\)"),
    ("Resize(9, max_size=9)", "Resize: max_size: expected more than size, which is 9, got 9"),
    ("Resize((9, 9), max_size=10)", "max_size: expected none beside a size of two sides"),
    ("RandomCrop(9, padding=(1, 2, 3))", "RandomCrop: padding: expected pixels, "),
    ("RandomCrop(9, padding=-1)", r"padding: expected a whole number of 0 to 2\^64 - 1, got -1"),
    ("RandomCrop(9, padding_mode='zero')", "padding_mode: expected one of constant"),
    ("RandomCrop(9, fill=256)", r"fill: expected a byte or \(red, green, blue\), got 256"),
    ("RandomShift(2**30)", "RandomShift: padding: expected at most 1048576 pixels"),
    ("RandomHorizontalFlip(1.5)", "p: expected a probability, 0 to 1, got 1.5"),
    ("ColorJitter(brightness=-1)", "brightness: expected a number not below 0, got -1"),
    ("ColorJitter(hue=0.6)", "hue: expected two numbers in order, between -0.5 and 0.5"),
    ("Grayscale(2)", "num_output_channels: expected 1 or 3, got 2"),
    ("RandAugment(magnitude=31)", "RandAugment: magnitude: expected 0 to 30, got 31"),
    ("TrivialAugmentWide(num_magnitude_bins=1)", "num_magnitude_bins: expected 2 to 65536, got 1"),
    ("AutoAugment('mnist')", "policy: expected one of imagenet, cifar10, svhn, got 'mnist'"),
    ("Normalize((0, 0), (1, 1))", "Compose: channels: expected 1 or 3, got 2"),
    ("Normalize((), ())", "mean: expected a number, or one for each channel, got none"),
    ("Normalize((0,), (0,))", "std: expected finite numbers, not zero"),
    ("RandomErasing(scale=(0, 2))", "scale: expected two numbers in order, between 0 and 1"),
    ("RandomErasing(value='noise')", "value: expected a number, .* or 'random', got 'noise'"),
    ("RandomErasing(value=(1, 2))", "value: expected a number, or one for each of 3 channels"),
    ("Compose([Normalize(0, 1), CenterCrop(3)])", "got CenterCrop after Normalize"),
    ("Compose([Normalize(0, 1), Normalize(0, 1)])", "got Normalize after Normalize"),
    ("Compose([RandomErasing(), Normalize(0, 1)])", "got Normalize after RandomErasing"),
    ("Compose([Normalize((0, 0, 0), 1)], channels=1)", "one for each of 1 channels, got 3"),
    ("Compose([], channels=4)", "Compose: channels: expected 1 or 3, got 4"),
]


@pytest.mark.parametrize(("written", "message"), REFUSED, ids=[written for written, _ in REFUSED])
def test_refused(written: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        eval(written, {**vars(cz), "inf": float("inf")})


def test_refused_photographs(tmp_path: Path) -> None:
    photo = np.zeros((20, 30, 3), np.uint8)
    with pytest.raises(ArgumentError, match=r"RandomCrop: size: expected at most .* 20 by 30"):
        cz.RandomCrop(25)(photo)
    with pytest.raises(ArgumentError, match="index: expected a whole number of 0"):
        cz.CenterCrop(5)(photo, index=-1)
    with pytest.raises(ShapeError):
        cz.CenterCrop(5)(photo[0, 0])
    with pytest.raises(TypeError):
        cz.CenterCrop(5)(photo.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a path"):
        cz.CenterCrop(5)(3)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="Compose: steps: expected transforms, got 3"):
        cz.Compose([3])  # type: ignore[list-item]
    path = tmp_path / "no.jpg"
    path.write_text("no photograph")
    with pytest.raises(DataError, match=r"no\.jpg"):
        cz.CenterCrop(5)(path)


def test_preview_shows_what_the_network_sees() -> None:
    photo = data.chelsea()
    transform = cz.imagenet_train(128)
    preview = transform.preview(photo, count=5, seed=2)
    assert preview.pixels.shape == (2 * 132 + 4, 3 * 132 + 4, 3)
    tile = preview.pixels[4:132, 136:264]
    x = cz.Compose(transform.steps[:-1])(photo, seed=2, index=1)
    np.testing.assert_allclose(tile.transpose(2, 0, 1), 255 * x, atol=1)
    assert (preview.pixels[136:264, 268:396] == 255).all()
    assert preview._repr_png_().startswith(b"\x89PNG")
    assert preview.image.size == (400, 268)
    assert repr(preview) == "Preview(count=5, 400 x 268 pixels)"
    # Pictures of few pixels are enlarged.
    grey: NDArray[np.uint8] = data.coins()[:28, :28]
    assert cz.fashion_mnist_train().preview(grey, count=1).pixels.shape == (120, 120, 3)
    with pytest.raises(ArgumentError, match="preview: count: expected 1 to 400, got 0"):
        transform.preview(photo, count=0)


def test_importing_brings_neither_pillow_nor_torch() -> None:
    code = """
import sys, json, numpy, cnnzoo
x = cnnzoo.transforms.imagenet_train(8)(numpy.zeros((9, 9, 3), numpy.uint8))
cnnzoo.transforms.imagenet_train(8).preview(numpy.zeros((9, 9, 3), numpy.uint8))
print(json.dumps([name for name in ("PIL", "torch", "matplotlib") if name in sys.modules]))
"""
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
