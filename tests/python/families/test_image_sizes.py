"""The sizes of images that a network takes, in the registry, here and in its source."""

from __future__ import annotations

import pytest
import torch

import cnnzoo as cz
from reference import Edition, build_keras, build_module, cheapest, editions, images

# One edition of each family and source whose sizes have a limit, and of a few that take all.
LIMITED = [e for e in cheapest(editions(), 1) if e.info.min_training_image_size > 1]
FREE = [
    Edition("resnet18", "torchvision", "resnet18"),
    Edition("mobilenet_v1_025", "keras", "MobileNet(alpha=0.25)"),
    Edition("efficientnet_b0", "timm", "efficientnet_b0"),
]


@pytest.mark.parametrize("edition", [*LIMITED, *FREE], ids=str)
def test_the_smallest_image_runs_and_a_smaller_one_is_refused(edition: Edition) -> None:
    info = edition.info
    least = info.min_image_size
    built_for = least if info.fixed_image_size else None
    model = edition.create(image_size=built_for)
    assert model(images((least, least), 1)).shape == (1, info.num_classes)
    with pytest.raises(cz.ShapeError, match=f"{least - 1}"):
        model(images((least - 1, least), 1))
    expected = f"`image_size` of {edition.name}: expected .*got {least - 1}$"
    with pytest.raises(cz.ArgumentError, match=expected):
        edition.create(image_size=least - 1, meta=True)


@pytest.mark.parametrize("edition", [e for e in LIMITED if e.source != "keras"], ids=str)
def test_the_smallest_image_is_that_of_the_source(edition: Edition) -> None:
    least = edition.info.min_image_size

    def run(side: int) -> torch.Tensor:
        module = build_module(edition, image_size=side if edition.info.fixed_image_size else None)
        with torch.no_grad():
            return module.eval()(torch.zeros(1, 3, side, side))  # type: ignore[no-any-return]

    assert run(least).shape == (1, edition.info.num_classes)
    with pytest.raises((RuntimeError, AssertionError)):
        run(least - 1)


@pytest.mark.parametrize("edition", [e for e in LIMITED if e.source == "keras"], ids=str)
def test_the_smallest_image_is_that_of_keras(edition: Edition) -> None:
    least = edition.info.min_image_size
    size = None if not edition.info.fixed_image_size else (least, least)
    logits = build_keras(edition, size)(torch.zeros(1, least, least, 3))
    assert logits.shape == (1, edition.info.num_classes)
    with pytest.raises((RuntimeError, ValueError)):
        build_keras(edition, (least - 1, least - 1))
