"""AlexNet of 2012 against the numbers of its paper (Krizhevsky, Sutskever, Hinton, NIPS 2012)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference


def test_layers_have_the_shapes_that_figure_2_draws() -> None:
    """Section 3.5: kernels 11×11×3, 5×5×48, 3×3×256, 3×3×192, 3×3×192, and 4096 neurons twice."""
    model = cz.create_model("alexnet_2012")
    weights = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: shape for key, shape in weights.items() if key.endswith("weight")} == {
        "conv1.weight": (96, 3, 11, 11),
        "conv2.weight": (256, 48, 5, 5),
        "conv3.weight": (384, 256, 3, 3),
        "conv4.weight": (384, 192, 3, 3),
        "conv5.weight": (256, 192, 3, 3),
        "fc6.weight": (4096, 6 * 6 * 256),
        "fc7.weight": (4096, 4096),
        "fc8.weight": (1000, 4096),
    }
    neurons = {
        row.name: int(np.prod(row.shape)) for row in model.summary() if row.op in {"conv", "linear"}
    }
    # The caption says 253,440 of the first layer, which is 55 × 48 × 96.
    assert neurons.pop("conv1") == 55 * 55 * 96
    assert list(neurons.values()) == [186_624, 64_896, 64_896, 43_264, 4096, 4096, 1000]
    # "60 million parameters and 650,000 neurons" (abstract).
    assert round(model.summary().params / 1e6) == 61
    assert round((sum(neurons.values()) + 55 * 55 * 96) / 1e4) == 66


def test_operations_are_those_of_section_3() -> None:
    """ReLU everywhere, normalisation after layers 1 and 2, overlapping pools after 1, 2 and 5."""
    order = [row.name for row in cz.create_model("alexnet_2012", meta=True).summary()]
    assert " ".join(order) == (
        "input conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5"
        " pool5 flatten fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    )
    text = str(cz.create_model("alexnet_2012", meta=True).graph)
    assert "norm1 = lrn(relu1) alpha=0.0005 k=2" in text
    assert "pool5 = pool(relu5) kernel=3 stride=2" in text
    assert "drop7 = dropout(relu7) rate=0.5" in text


def normalise(x: torch.Tensor) -> torch.Tensor:
    """Section 3.3: b[i] = a[i] / (2 + 1e-4 Σ a[j]²)^0.75, over the five channels around i."""
    squares = F.pad(x**2, (0, 0, 0, 0, 2, 2))
    channels = x.shape[1]
    return x / (2 + 1e-4 * sum(squares[:, j : j + channels] for j in range(5))) ** 0.75


def two_towers(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """The network on two GPUs that talk in the third layer and the fully connected ones."""

    def conv(name: str, halves: list[torch.Tensor], **options: int) -> list[torch.Tensor]:
        weights, biases = p[f"{name}.weight"].chunk(2), p[f"{name}.bias"].chunk(2)
        return [
            F.relu(F.conv2d(half, weight, bias, **options))
            for half, weight, bias in zip(halves, weights, biases, strict=True)
        ]

    def pool(halves: list[torch.Tensor]) -> list[torch.Tensor]:
        return [F.max_pool2d(half, 3, 2) for half in halves]

    def across(halves: list[torch.Tensor]) -> list[torch.Tensor]:
        return list(normalise(torch.cat(halves, 1)).chunk(2, 1))

    halves = pool(across(conv("conv1", [x, x], stride=4)))
    halves = pool(across(conv("conv2", halves, padding=2)))
    both = torch.cat(halves, 1)
    halves = conv("conv3", [both, both], padding=1)
    halves = conv("conv4", halves, padding=1)
    halves = pool(conv("conv5", halves, padding=1))
    x = torch.cat(halves, 1).flatten(1)
    for name in ("fc6", "fc7"):
        x = F.relu(F.linear(x, p[f"{name}.weight"], p[f"{name}.bias"]))
    return F.linear(x, p["fc8.weight"], p["fc8.bias"])


def test_logits_and_gradients_equal_two_towers_written_out() -> None:
    model = cz.create_model("alexnet_2012", drop_rate=0.0)
    parameters = {
        key: torch.from_numpy(value.copy()).requires_grad_()
        for key, value in model.state_dict().items()
    }
    # Values as large as those of pictures, so that normalisation matters.
    x = 50 * images((227, 227), 2)
    expected = two_towers(torch.from_numpy(x), parameters)
    assert difference(model(x), expected.detach().numpy()) <= ROUNDING
    cotangent = np.random.default_rng(1).standard_normal((2, 1000)).astype(np.float32)
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, expected.detach().numpy()) <= ROUNDING
    expected.backward(torch.from_numpy(cotangent))
    assert gradients.keys() == parameters.keys()
    for key, parameter in parameters.items():
        assert parameter.grad is not None
        assert difference(gradients[key], parameter.grad.numpy()) <= ROUNDING_OF_GRADIENTS, key


def test_parameters_start_as_section_5_says() -> None:
    """Normal with deviation 0.01; biases 1 in layers 2, 4, 5 and the hidden ones, else 0."""
    for key, value in cz.create_model("alexnet_2012").state_dict().items():
        if key.endswith("weight"):
            assert abs(value.mean()) < 2e-4, key
            assert abs(value.std() / 0.01 - 1) < 0.02, key
        else:
            ones = key.split(".")[0] in {"conv2", "conv4", "conv5", "fc6", "fc7"}
            assert (value == (1 if ones else 0)).all(), key
