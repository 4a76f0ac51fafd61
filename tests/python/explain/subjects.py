"""Photographs and networks that explanations are tested on, and their twins in PyTorch."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray

import cnnzoo as cz

PHOTOS = Path(__file__).parents[3] / "photos"
CAT = PHOTOS / "chelsea.png"
COFFEE = PHOTOS / "coffee.png"
TABBY, TIGER_CAT, ESPRESSO = 281, 282, 967

Doubles = NDArray[np.float64]


@functools.cache
def trained() -> cz.Model:
    """EfficientNet-Lite0 with the weights that its package ships."""
    return cz.create_model("tf_efficientnet_lite0", weights="default")


@functools.cache
def trained_twin() -> Any:
    """The same network of timm with the same weights."""
    module = timm.create_model("tf_efficientnet_lite0").eval()
    state = {name: torch.from_numpy(value) for name, value in trained().state_dict().items()}
    module.load_state_dict({name: value.reshape(value.shape) for name, value in state.items()})
    return module


@functools.cache
def transformer() -> cz.Model:
    """A small vision transformer with random weights."""
    return cz.create_model("vit_tiny_patch16_224", image_size=96, num_classes=10, seed=3)


@functools.cache
def transformer_twin() -> Any:
    """The same network of timm."""
    module = timm.create_model("vit_tiny_patch16_224", img_size=96, num_classes=10).eval()
    state = transformer().state_dict()
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return module


@contextmanager
def kept(layer: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """The outputs of a layer, with their gradients."""
    values: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: Any, value: torch.Tensor) -> torch.Tensor:
        value.retain_grad()
        values.append(value)
        return value.clone()

    handle = layer.register_forward_hook(keep)
    yield values
    handle.remove()


def value_and_gradient(
    module: Any, layer: torch.nn.Module, x: NDArray[np.float32], target: int
) -> tuple[Doubles, Doubles]:
    """The output of a layer for one image, and the gradient of a logit by it, of autograd."""
    with kept(layer) as values:
        module(torch.from_numpy(x))[0, target].backward()
    (value,) = values
    assert value.grad is not None
    return value.detach()[0].double().numpy(), value.grad[0].double().numpy()


def stretched(values: NDArray[Any], size: tuple[int, int]) -> Doubles:
    """PyTorch's bilinear enlargement, scaled from 0 to 1."""
    given = torch.from_numpy(np.ascontiguousarray(values)).double()[None, None]
    found = torch.nn.functional.interpolate(given, size, mode="bilinear", align_corners=False)
    array: Doubles = found[0, 0].numpy()
    array -= array.min()
    array /= array.max()
    return array


def guide(module: torch.nn.Module) -> int:
    """Guide the rectifiers of a network with hooks, which cut what they pass back; their number."""

    def cut(_: torch.nn.Module, back: Any, __: Any) -> Any:
        return (back[0].clamp(min=0),)

    layers = [of for of in module.modules() if isinstance(of, torch.nn.ReLU | torch.nn.ReLU6)]
    for layer in layers:
        layer.inplace = False
        layer.register_full_backward_hook(cut)
    return len(layers)
