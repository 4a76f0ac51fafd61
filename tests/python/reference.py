"""The libraries that cnnzoo's networks are compared with, on random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import timm
import torch
import torchvision
from numpy.typing import NDArray

import cnnzoo as cz

Array = NDArray[np.float32]


def build_reference(name: str, *, meta: bool = False) -> torch.nn.Module:
    """The original of a model, without dropout and stochastic depth."""
    info = cz.model_info(name)
    with torch.device("meta" if meta else "cpu"):
        if info.source == "timm":
            return timm.create_model(name)
        rates: dict[str, Any] = {}
        if info.family.startswith("EfficientNet"):
            rates = {"dropout": 0.0, "stochastic_depth_prob": 0.0}
        return torchvision.models.get_model(name, **rates)


def randomise(module: torch.nn.Module, seed: int = 0) -> None:
    """Make every parameter and statistic matter: none stays at 0 or 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                assert layer.running_mean is not None
                assert layer.running_var is not None
                layer.weight.uniform_(0.5, 1.5, generator=generator)
                layer.bias.normal_(0, 0.2, generator=generator)
                layer.running_mean.normal_(0, 0.2, generator=generator)
                layer.running_var.uniform_(0.5, 1.5, generator=generator)
            elif isinstance(layer, torch.nn.Conv2d | torch.nn.Linear) and layer.bias is not None:
                layer.bias.normal_(0, 0.1, generator=generator)


def pair(name: str) -> tuple[cz.Model, torch.nn.Module]:
    """A model of ours and its original with the same random weights."""
    reference = build_reference(name)
    randomise(reference)
    model = cz.create_model(name, drop_rate=0.0, drop_path_rate=0.0)
    report = model.load_state_dict(reference.state_dict())
    assert not report.missing
    assert not report.unexpected
    return model, reference


def images(size: tuple[int, int], batch: int, seed: int = 0) -> Array:
    """Random images (batch, 3, height, width)."""
    generator = np.random.default_rng(seed)
    return generator.standard_normal((batch, 3, *size)).astype(np.float32)
