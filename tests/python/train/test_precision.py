"""In bfloat16 a network computes what it does under torch.autocast.

Where a sum of products is about halfway between two bfloat16 numbers, the last bit of float32 says
which one it becomes. From there on values part by a share of 2⁻⁸, and gradients of batch norms over
a few images by far more. So only the same kernels can be compared, on images that lie in memory
alike; and with these nothing differs but what float32 rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from reference import Edition, TorchReference, editions, images, pair
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

LAYOUTS = (torch.contiguous_format, torch.channels_last)
SIZE = 64
BATCH = 4

Array = NDArray[np.float32]
Run = tuple[Array, dict[str, Array]]

QUICK = ["torchvision-mobilenet_v3_small", "timm-efficientnet_b0", "timm-deit_tiny_patch16_224"]
NAMES = [
    *QUICK,
    "torchvision-resnet18",
    "torchvision-densenet121",
    "torchvision-googlenet",
    "torchvision-vgg11",
    "timm-resnetv2_18",
    "timm-xception41",
    "timm-mobilenetv4_hybrid_medium",
    "timm-vit_small_patch16_224",
]


def cases() -> list[Any]:
    known = {str(edition): edition for edition in editions()}
    marks = {name: [] if name in QUICK else [pytest.mark.slow] for name in NAMES}
    return [pytest.param(known[name], id=name, marks=marks[name]) for name in NAMES]


def autocast() -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16)


def logits(module: Any, x: torch.Tensor) -> torch.Tensor:
    """Without those of auxiliary classifiers."""
    output = module(x)
    return output if isinstance(output, torch.Tensor) else output[0]


def theirs(module: torch.nn.Module, x: Array, cotangent: Array) -> Iterator[Run]:
    """PyTorch's logits and gradients in training, for each layout of the images."""
    norms = {name: value.clone() for name, value in module.state_dict().items()}
    for layout in LAYOUTS:
        module.load_state_dict(norms)
        module.to(memory_format=layout).train()  # type: ignore[call-overload]
        module.zero_grad()
        with autocast():
            output = logits(module, torch.from_numpy(x).to(memory_format=layout))
        assert output.dtype == torch.bfloat16
        (output.float() * torch.from_numpy(cotangent)).sum().backward()
        parameters = module.named_parameters()
        gradients = {name: p.grad.numpy().copy() for name, p in parameters if p.grad is not None}
        yield output.detach().float().numpy(), gradients
    module.load_state_dict(norms)


def distance(ours: Run, other: Run) -> float:
    """The largest difference, of gradients as a share of what their rounding makes."""
    gradients = [difference(ours[1][name], value) for name, value in other[1].items()]
    share = ROUNDING / ROUNDING_OF_GRADIENTS
    return max(difference(ours[0], other[0]), share * max(gradients))


@pytest.mark.parametrize("edition", cases())
def test_logits_and_gradients_are_those_of_autocast(edition: Edition) -> None:
    model, reference = pair(edition, image_size=SIZE if edition.info.fixed_image_size else None)
    assert isinstance(reference, TorchReference)
    x = images((SIZE, SIZE), BATCH)
    with autocast():
        expected = reference.run(x, training=False).float().numpy()
    found = model(x, exact=True, precision="bfloat16")
    assert found.dtype == np.float32
    assert difference(found, expected) <= ROUNDING
    assert difference(model(x), expected) > 10 * ROUNDING

    cotangent = images((1, expected.size // 3 + 1), 1, seed=1).reshape(-1)[: expected.size]
    cotangent = cotangent.reshape(expected.shape)
    state = model.state_dict()

    def run(of: cz.Model, precision: Any) -> Run:
        of.load_state_dict(state)
        return of.vjp(x, cotangent, training=True, precision=precision)

    known = list(theirs(reference.module, x, cotangent))
    ours = run(model, "bfloat16")
    assert {gradient.dtype for gradient in ours[1].values()} == {np.dtype(np.float32)}
    assert min(distance(ours, other) for other in known) <= ROUNDING
    assert min(distance(run(model, "float32"), other) for other in known) > 10 * ROUNDING
    again = edition.create(checkpointing=True, **model.options)
    assert distance(run(again, "bfloat16"), ours) <= ROUNDING


GRAPH = """graph small
input = input() height=12 width=12
conv = conv(input) out=8 kernel=3 bias=true
lrn = lrn(conv) size=3 alpha=0.5
blur = blur(lrn) size=3 stride=2 padding=1
norm = group_norm(blur) groups=2
act = activation(norm) function=gelu
mean = adaptive_pool(norm)
gate = activation(mean) function=hard_sigmoid
both = gate(act, gate)
pool = pool(both) kind=average kernel=2 stride=2
flat = flatten(pool)
fc = linear(flat) out=5
output fc
"""


def small(x: torch.Tensor, leaves: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same by PyTorch's functions."""
    conv = functional.conv2d(x, leaves["conv.weight"], leaves["conv.bias"])
    lrn = functional.local_response_norm(conv, 3, 0.5, 0.75, 1.0)
    window = torch.tensor([0.25, 0.5, 0.25])
    kernel = (window[:, None] * window).repeat(8, 1, 1, 1)
    padded = functional.pad(lrn, (1, 1, 1, 1), "reflect")
    blur = functional.conv2d(padded, kernel, stride=2, groups=8)
    norm = functional.group_norm(blur, 2, leaves["norm.weight"], leaves["norm.bias"])
    gate = functional.hardsigmoid(functional.adaptive_avg_pool2d(norm, 1))
    both = functional.gelu(norm) * gate
    pool = functional.avg_pool2d(both, 2, 2)
    fc = functional.linear(pool.flatten(1), leaves["fc.weight"], leaves["fc.bias"])
    return {"conv": conv, "lrn": lrn, "blur": blur, "norm": norm, "both": both, "fc": fc}


def is_bfloat16(values: Array) -> bool:
    """Whether the lower half of every number's bits is zero."""
    return not (values.view(np.uint32) & 0xFFFF).any()


def test_each_operation_computes_in_what_autocast_gives_it() -> None:
    model = cz.Model.from_graph(cz.Graph.parse(GRAPH))
    x = images((12, 12), 3)
    state = {name: torch.from_numpy(value) for name, value in model.state_dict().items()}
    with torch.no_grad(), autocast():
        expected = small(torch.from_numpy(x), state)
    found = model._for_training().run(x, list(expected), exact=True, precision="bfloat16")
    for (name, value), ours in zip(expected.items(), found, strict=True):
        assert difference(ours, value.float().numpy()) <= ROUNDING, name
        assert is_bfloat16(ours) is (value.dtype == torch.bfloat16), name
    assert expected["lrn"].dtype == torch.float32


def test_a_step_is_that_of_a_loop_under_autocast() -> None:
    edition = next(e for e in editions() if str(e) == "timm-deit_tiny_patch16_224")
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    # Steps of ours are in channels_last, and without AVX-512 the layouts' kernels round otherwise.
    module: Any = reference.module.train()
    module.to(memory_format=torch.channels_last)
    ours = cz.SGD(model, lr=0.01, momentum=0.9)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9, fused=True)
    for step in range(2):
        x, y = images((224, 224), 2, seed=step), np.array([3, 5])
        result = model.train_step(x, y, ours, precision="bfloat16")
        shown = torch.from_numpy(x).to(memory_format=torch.channels_last)
        with autocast():
            loss = functional.cross_entropy(module(shown), torch.from_numpy(y))
        assert loss.dtype == torch.float32
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert result.loss == pytest.approx(loss.item(), rel=ROUNDING)
    found = model.state_dict()
    for name, value in reference.state().items():
        assert found[name].dtype == value.dtype
        assert difference(found[name], value) <= ROUNDING, name


def test_another_precision_is_refused() -> None:
    model = cz.Model.from_graph(cz.Graph.parse(GRAPH))
    x, y = images((12, 12), 2), np.arange(2)
    half: Any = "float16"
    calls: list[Callable[[], object]] = [
        lambda: model(x, precision=half),
        lambda: model.vjp(x, model(x), precision=half),
        lambda: model.train_step(x, y, cz.SGD(model, lr=0.1), precision=half),
    ]
    for call in calls:
        with pytest.raises(cz.ArgumentError, match=r"expected .*float32.*bfloat16.*, got .float1"):
            call()
