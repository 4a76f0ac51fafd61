"""Xception against its paper (Chollet, arXiv:1610.02357): figure 5, table 3, and written out."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

# Figure 5: the channels of the convolutions of each module, and the step at its end. The first
# module are plain convolutions, all others separable; the first and the last have no skip.
ENTRY = [((32, 64), 1), ((128, 128), 2), ((256, 256), 2), ((728, 728), 2)]
MIDDLE = [((728, 728, 728), 1)] * 8
EXIT = [((728, 1024), 2), ((1536, 2048), 1)]
MODULES = [*ENTRY, *MIDDLE, *EXIT]

# Table 3.
PARAMETERS = 22_855_952

# Of the norms that follow every convolution the paper says no epsilon; this is the author's.
EPSILON = 1e-3


def paper(*, meta: bool = False, seed: int = 0) -> cz.Model:
    return cz.create_model("xception", source="keras", meta=meta, seed=seed)


def test_there_are_36_convolutions_in_14_modules() -> None:
    """Section 3: not counting the 1×1 of a skip, and a separable convolution once."""
    assert len(MODULES) == 14
    assert sum(len(channels) for channels, _ in MODULES) == 36
    rows = paper(meta=True).summary()
    convolutions = [row for row in rows if row.op == "conv" and "depthwise" not in row.name]
    skips = [row for row in convolutions if row.name.startswith("conv2d")]
    assert len(convolutions) - len(skips) == 36
    assert len(skips) == 4
    assert sum(row.op == "add" for row in rows) == 12


def test_channels_are_those_of_figure_5() -> None:
    separable = [channels for module, _ in MODULES[1:] for channels in module]
    for source in ("timm", "keras"):
        rows = cz.create_model("xception", source=source, meta=True).summary()
        assert [r.shape[0] for r in rows if r.name.endswith(".pointwise")] == separable


def test_sizes_are_those_of_figure_5() -> None:
    rows = {row.name: row.shape for row in paper(meta=True).summary()}
    assert rows["input"] == (3, 299, 299)
    # "19×19×728 feature maps" leave the entry flow, enter and leave the middle flow.
    assert rows["add_2"] == (728, 19, 19)
    for module in range(3, 11):
        assert rows[f"add_{module}"] == (728, 19, 19)
    assert rows["add_11"] == (1024, 10, 10)
    # "2048-dimensional vectors" leave the exit flow.
    assert rows["flatten"] == (2048,)


def test_there_are_as_many_parameters_as_in_table_3() -> None:
    for source in ("timm", "keras"):
        assert cz.model_info("xception", source=source).params == PARAMETERS


def same_pad(x: torch.Tensor, value: float) -> torch.Tensor:
    """A border for a window of 3 that steps by 2, so that ceil(size / 2) windows fit."""
    height, width = ((-(-size // 2) - 1) * 2 + 3 - size for size in x.shape[2:])
    border = (width // 2, width - width // 2, height // 2, height - height // 2)
    return F.pad(x, border, value=value)


def written_out(x: torch.Tensor, p: dict[str, torch.Tensor], *, training: bool) -> torch.Tensor:
    """Figure 5, from the top to the bottom."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance = p[f"{name}.running_mean"].clone(), p[f"{name}.running_var"].clone()
        scale, shift = p[f"{name}.weight"], p[f"{name}.bias"]
        return F.batch_norm(x, mean, variance, scale, shift, training=training, eps=EPSILON)

    def separable(x: torch.Tensor, module: int, number: int) -> torch.Tensor:
        name = f"block{module}_sepconv{number}"
        x = F.conv2d(x, p[f"{name}.depthwise.weight"], padding=1, groups=x.shape[1])
        return norm(F.conv2d(x, p[f"{name}.pointwise.weight"]), f"{name}_bn")

    x = norm(F.conv2d(x, p["block1_conv1.weight"], stride=2), "block1_conv1_bn").relu()
    x = norm(F.conv2d(x, p["block1_conv2.weight"]), "block1_conv2_bn").relu()
    skips = iter(["", "_1", "_2", "_3"])
    for module, (channels, stride) in enumerate(MODULES[1:-1], 2):
        skip = x
        if stride == 2:
            count = next(skips)
            skip = F.conv2d(x, p[f"conv2d{count}.weight"], stride=2)
            skip = norm(skip, f"batch_normalization{count}")
        for number in range(1, len(channels) + 1):
            if (module, number) != (2, 1):
                x = x.relu()
            x = separable(x, module, number)
        if stride == 2:
            x = F.max_pool2d(same_pad(x, -torch.inf), 3, 2)
        x = x + skip
    for number in (1, 2):
        x = separable(x, 14, number).relu()
    return F.linear(x.mean((2, 3)), p["predictions.weight"], p["predictions.bias"])


def test_the_network_equals_it_written_out() -> None:
    model = paper(seed=3)
    generator = torch.Generator().manual_seed(0)
    p = {key: torch.from_numpy(value.copy()) for key, value in model.state_dict().items()}
    for key, array in p.items():
        if array.ndim == 1 and key.endswith(("weight", "running_var")):
            array.uniform_(0.5, 1.5, generator=generator)
        elif array.ndim == 1:
            array.normal_(0, 0.2, generator=generator)
        if key.endswith(("weight", "bias")):
            array.requires_grad_()
    model.load_state_dict({key: value.detach().numpy() for key, value in p.items()})
    for size, batch in (((75, 90), 1), ((83, 76), 3)):
        x = images(size, batch)
        with torch.no_grad():
            expected = written_out(torch.from_numpy(x), p, training=False)
        assert difference(model(x), expected.numpy()) <= ROUNDING
    expected = written_out(torch.from_numpy(x), p, training=True)
    cotangent = np.random.default_rng(1).standard_normal(expected.shape).astype(np.float32)
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, expected.detach().numpy()) <= ROUNDING
    expected.backward(torch.from_numpy(cotangent))
    for key, gradient in gradients.items():
        grad = p[key].grad
        assert grad is not None
        assert difference(gradient, grad.numpy()) <= ROUNDING_OF_GRADIENTS, key
