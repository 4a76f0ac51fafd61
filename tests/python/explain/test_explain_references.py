"""Explanations beside those of the packages grad-cam and captum, on the source's network."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from explain.subjects import (
    CAT,
    COFFEE,
    ESPRESSO,
    TIGER_CAT,
    trained,
    trained_twin,
    transformer,
    transformer_twin,
)
from reference import Edition, TorchReference, pair
from tolerance import FUSED, ROUNDING, difference

with warnings.catch_warnings():
    # Those of what they import are not ours.
    warnings.simplefilter("ignore")
    from captum.attr import (
        GuidedBackprop,
        IntegratedGradients,
        LayerGradCam,
        Occlusion,
        Saliency,
    )
    from pytorch_grad_cam import GradCAM, GradCAMPlusPlus
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

RESNET = Edition("resnet18", "torchvision", "resnet18")
VGG = Edition("vgg11_bn", "torchvision", "vgg11_bn")
# That of grad-cam's two scalings, each of which adds 1e-7 to the largest value of a map.
SCALING = 1e-7
# The gradients of a network with ReLU6 jump where a value is 0 or 6, and captum's places on the way
# to the photograph, computed in float32, differ from ours in the last bits.
JUMPS = 1e-3


class Scaled(torch.nn.Module):
    """A layer whose output is multiplied, and that of the next divided, by a number."""

    def __init__(self, layer: torch.nn.Module, by: float) -> None:
        super().__init__()
        self.layer, self.by = layer, by

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.layer(x) * self.by
        return value


def theirs(kind: Any, module: Any, layer: Any, x: Any, target: int, **options: Any) -> Any:
    with kind(model=module, target_layers=[layer], **options) as cam:
        return cam(input_tensor=torch.from_numpy(x), targets=[ClassifierOutputTarget(target)])[0]


@pytest.mark.parametrize("edition", [RESNET, VGG], ids=str)
@pytest.mark.parametrize("node", [None, "middle"])
def test_grad_cam_is_that_of_grad_cam_and_captum(edition: Edition, node: str | None) -> None:
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    module: Any = reference.module.eval()
    names = {RESNET: ("layer4", "layer3.0.conv1"), VGG: ("avgpool", "features.15")}[edition]
    name = names[0] if node is None else names[1]
    layer = module.get_submodule(name)
    x = model.preprocess(CAT)
    for target in (3, 500):
        ours = cz.explain.grad_cam(model, CAT, target=target, node=None if node is None else name)
        found = theirs(GradCAM, module, layer, x, target)
        scale = SCALING / np.maximum(ours.raw, 0).max()
        assert difference(ours.values, found) <= ROUNDING + 2 * scale
        captums = LayerGradCam(module, layer).attribute(torch.from_numpy(x), target)
        assert difference(ours.raw, captums.detach().numpy()[0, 0]) <= ROUNDING


@pytest.mark.parametrize("target", [TIGER_CAT, ESPRESSO])
def test_the_heatmaps_of_a_trained_network_are_those_of_grad_cam(target: int) -> None:
    model, module = trained(), trained_twin()
    ours = cz.explain.grad_cam(model, CAT, target=target)
    found = theirs(GradCAM, module, module.bn2, model.preprocess(CAT), target)
    assert difference(ours.values, found) <= 2 * ROUNDING


def test_the_patches_of_a_transformer_are_those_of_grad_cam() -> None:
    model, module = transformer(), transformer_twin()
    ours = cz.explain.grad_cam(model, CAT, target=3)
    found = theirs(
        GradCAM, module, module.blocks[-1].norm1, model.preprocess(CAT), 3,
        reshape_transform=lambda tokens: tokens[:, 1:].reshape(-1, 6, 6, 192).permute(0, 3, 1, 2),
    )  # fmt: skip
    scale = SCALING / np.maximum(ours.raw, 0).max()
    assert difference(ours.values, found) <= ROUNDING + 2 * scale


def test_grad_cam_plus_plus_is_that_of_grad_cam_without_its_epsilon() -> None:
    """Activations a million times smaller, and gradients as much larger, have the same map.

    There 1e-6 beside the square of a gradient is nothing.
    """
    model, reference = pair(RESNET)
    assert isinstance(reference, TorchReference)
    module: Any = reference.module.eval()
    x = model.preprocess(CAT)
    ours = cz.explain.grad_cam_plus_plus(model, CAT, target=3)
    small = 2.0**-20
    module.layer4 = Scaled(module.layer4, small)
    module.avgpool = torch.nn.Sequential(module.avgpool, Scaled(torch.nn.Identity(), 1 / small))
    found = theirs(GradCAMPlusPlus, module, module.layer4, x, 3)
    scale = SCALING / (small * np.maximum(ours.raw, 0).max())
    assert difference(ours.values, found) <= ROUNDING + 2 * scale


@pytest.mark.parametrize("target", [TIGER_CAT, ESPRESSO])
def test_saliency_is_that_of_captum(target: int) -> None:
    model, module = trained(), trained_twin()
    x = torch.from_numpy(model.preprocess(COFFEE)).requires_grad_()
    ours = cz.explain.saliency(model, COFFEE, target=target)
    found = Saliency(module).attribute(x, target).numpy()[0].max(0)
    assert difference(ours.raw, found) <= ROUNDING


def test_guided_backpropagation_is_that_of_captum() -> None:
    model, reference = pair(VGG)
    assert isinstance(reference, TorchReference)
    module: Any = reference.module.eval()
    for layer in module.modules():
        if isinstance(layer, torch.nn.ReLU):
            layer.inplace = False
    given = model.preprocess(CAT)
    x = torch.from_numpy(given).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = GuidedBackprop(module).attribute(x, 7).detach().numpy()
    assert difference(model.gradients(given, 7, guided=True).input, found) <= ROUNDING


@pytest.mark.parametrize(
    ("network", "twin", "target", "tolerance"),
    [
        (transformer, transformer_twin, 3, 5 * ROUNDING),
        (trained, trained_twin, TIGER_CAT, JUMPS),
    ],
)
def test_integrated_gradients_are_those_of_captum(
    network: Any, twin: Any, target: int, tolerance: float
) -> None:
    model, module = network(), twin()
    x = torch.from_numpy(model.preprocess(CAT))
    ours = cz.explain.integrated_gradients(model, CAT, target=target, steps=20)
    method = IntegratedGradients(module)
    found = method.attribute(x, target=target, n_steps=20).detach().numpy()[0].sum(0)
    assert difference(ours.raw, found) <= tolerance


def test_occlusion_is_that_of_captum() -> None:
    model, reference = pair(Edition("squeezenet1_1", "torchvision", "squeezenet1_1"))
    assert isinstance(reference, TorchReference)
    module: Any = reference.module.eval()
    x = torch.from_numpy(model.preprocess(CAT))
    ours = cz.explain.occlusion(model, CAT, target=7, window=60, stride=45)
    with torch.no_grad():
        whole = float(module(x)[0, 7])
        found = Occlusion(module).attribute(
            x, (3, 60, 60), strides=(3, 45, 45), target=7, baselines=0.0
        )
    assert difference(ours.raw, found.numpy()[0, 0], floor=abs(whole)) <= FUSED
