"""Training and prediction see the same pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
import pictures

SMALL = cz.transforms.imagenet_eval(32, resize=36)


@pytest.fixture
def data(tmp_path: Path) -> cz.data.Dataset:
    return cz.data.ImageFolder(pictures.folder(tmp_path / "pictures", classes=2, each=2))


def network(**options: Any) -> cz.Model:
    return cz.create_model("mobilenetv3_small_050", num_classes=2, seed=1, **options)


def fit(model: cz.Model, *loaders: cz.data.Loader, **options: Any) -> cz.Trainer:
    trainer = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01), ema=0.9)
    trainer.fit(*loaders, epochs=1, progress=False, **options)
    return trainer


def loader(data: cz.data.Dataset, transform: Any) -> cz.data.Loader:
    return cz.data.Loader(data, batch_size=4, transform=transform, shuffle=False, threads=1)


EXPRESSED = {
    "eval": SMALL,
    "preprocess": cz.Preprocess(
        resize=40, crop=32, interpolation="bicubic", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7)
    ),
    "bytes": cz.transforms.Compose(
        [cz.transforms.Resize(33, interpolation="lanczos"), cz.transforms.CenterCrop((32, 32))]
    ),
}


def test_a_switch_for_orientation_goes_both_ways(data: cz.data.Dataset) -> None:
    model = network()
    model.preprocess = replace(model.preprocess, orientation=False)
    assert model.train_transform().orientation is False
    fit(model, loader(data, model.train_transform()), loader(data, model.preprocess))
    assert model.preprocess.orientation is False
    other = network()
    fit(other, loader(data, cz.transforms.Compose([SMALL], orientation=False)))
    assert other.preprocess.orientation is False


@pytest.mark.parametrize("kind", EXPRESSED)
def test_the_model_prepares_as_the_loaders_do(
    data: cz.data.Dataset, tmp_path: Path, kind: str
) -> None:
    model = network()
    checks = loader(data, EXPRESSED[kind])
    trainer = fit(model, checks, checks, checkpoint=tmp_path / "run")
    ((x, _),) = checks
    files = [data.name(index) for index in range(len(data))]
    assert np.array_equal(model.preprocess(files), x)
    assert trainer.averaged is not None
    model.save(tmp_path / "model.safetensors")
    for saved in (tmp_path / "model.safetensors", tmp_path / "run" / "best.safetensors"):
        assert cz.load(saved).preprocess == model.preprocess
    assert trainer.averaged.preprocess == model.preprocess
    assert model.copy().preprocess == model.preprocess


def test_pictures_of_one_size_as_they_are() -> None:
    x = np.random.default_rng(0).integers(0, 256, (4, 24, 24, 3), np.uint8)
    data = cz.data.Arrays(x, [0, 1, 0, 1])
    for transform in (None, cz.transforms.Compose([cz.transforms.Resize((32, 32))])):
        model = network()
        checks = loader(data, transform)
        fit(model, checks)
        ((given, _),) = checks
        assert np.array_equal(model.preprocess(list(x)), given)


def test_of_training_alone_size_and_numbers_count(data: cz.data.Dataset) -> None:
    model = network()
    usual = model.preprocess
    train = cz.transforms.imagenet_train(32, mean=(0.5, 0.5, 0.5), std=(0.4, 0.4, 0.4))
    fit(model, loader(data, train))
    expected = replace(usual.resized(32), mean=(0.5, 0.5, 0.5), std=(0.4, 0.4, 0.4))
    assert model.preprocess == expected


def test_a_chosen_preprocessing_is_not_replaced_in_silence(data: cz.data.Dataset) -> None:
    model = network()
    model.preprocess = replace(model.preprocess, resize=40, crop=32)
    with pytest.warns(cz.Notice, match=r"is now that of the training: resize 36 \(was 40\)"):
        fit(model, loader(data, SMALL))
    # And the second time it is its own.
    fit(model, loader(data, SMALL))


def test_what_cannot_be_expressed_is_said(data: cz.data.Dataset) -> None:
    squeezed = cz.transforms.Compose([cz.transforms.Resize((32, 32))])
    with pytest.warns(cz.Notice, match="the loader squeezes them into a square"):
        fit(network(), loader(data, squeezed))


def test_training_and_validation_that_normalise_otherwise_are_said(data: cz.data.Dataset) -> None:
    model = network(image_size=32)
    train = loader(data, cz.transforms.imagenet_train(32, mean=(0.2, 0.2, 0.2)))
    with pytest.warns(cz.Notice, match=r"`model.train_transform\(\)` is the training transform"):
        fit(model, train, loader(data, model.preprocess))
    fit(model, loader(data, model.train_transform()), loader(data, model.preprocess))


def test_a_validation_that_draws_is_said(data: cz.data.Dataset) -> None:
    model = network(image_size=32)
    drawn = loader(data, model.train_transform())
    with pytest.warns(cz.Notice, match=r"at random \(RandomResizedCrop, RandomHorizontalFlip, Col"):
        fit(model, drawn, drawn)


def test_setting_the_preprocessing() -> None:
    model = network()
    with pytest.raises(cz.ArgumentError, match="expected a Preprocess, got int"):
        model.preprocess = 5  # type: ignore[assignment]
    with pytest.raises(cz.ArgumentError, match="its 3 channels, got 1"):
        model.preprocess = model.preprocess.with_channels(1)


def test_the_training_transform_is_that_of_timm() -> None:
    from timm.data.transforms_factory import create_transform

    model = cz.create_model("tf_efficientnet_lite0", meta=True)
    ours = model.train_transform(vertical_flip=0.1, erasing=0.2).steps
    usual = model.preprocess
    theirs = create_transform(
        usual.crop,
        is_training=True,
        interpolation=usual.interpolation,
        mean=usual.mean,
        std=usual.std,
        vflip=0.1,
        re_prob=0.2,
    ).transforms
    names = [type(step).__name__.removesuffix("AndInterpolation") for step in theirs]
    names.remove("MaybeToTensor")
    assert [type(step).__name__ for step in ours] == names
    crop, flip, vertical, jitter, normalize, erasing = ours
    assert isinstance(crop, cz.transforms.RandomResizedCrop)
    assert (crop.size, crop.size) == tuple(theirs[0].size)
    assert (crop.scale, crop.ratio) == (tuple(theirs[0].scale), tuple(theirs[0].ratio))
    assert crop.interpolation == usual.interpolation == str(theirs[0].interpolation.value)
    assert isinstance(flip, cz.transforms.RandomHorizontalFlip)
    assert isinstance(vertical, cz.transforms.RandomVerticalFlip)
    assert (flip.p, vertical.p) == (theirs[1].p, theirs[2].p)
    assert isinstance(jitter, cz.transforms.ColorJitter)
    drawn = (jitter.brightness, jitter.contrast, jitter.saturation)
    assert [(1 - x, 1 + x) for x in drawn if isinstance(x, float)] == [
        tuple(x) for x in (theirs[3].brightness, theirs[3].contrast, theirs[3].saturation)
    ]
    assert isinstance(normalize, cz.transforms.Normalize)
    assert np.allclose(normalize.mean, theirs[5].mean)
    assert isinstance(erasing, cz.transforms.RandomErasing)
    assert erasing.p == theirs[6].probability


def test_a_policy_stands_in_place_of_colours() -> None:
    model = network(meta=True)
    steps = model.train_transform(augment=cz.transforms.RandAugment()).steps
    assert not any(isinstance(step, cz.transforms.ColorJitter) for step in steps)
    grey = network(in_channels=1, meta=True).train_transform()
    assert grey(np.zeros((40, 50, 3), np.uint8)).shape == (1, 224, 224)
    with pytest.raises(cz.ShapeError, match="got one that takes 4"):
        network(in_channels=4, meta=True).train_transform()
