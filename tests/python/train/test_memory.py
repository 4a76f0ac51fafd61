"""Memory of a training step: its layout, what is written over, kept and given back."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

Parameters = dict[str, torch.Tensor]
Original = Callable[[torch.Tensor, Parameters], torch.Tensor]


def read_twice(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    conv = functional.conv2d(x, p["a.weight"])
    return functional.relu(conv) + functional.relu6(conv) + conv


def of_a_norm(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    normed = functional.batch_norm(x, None, None, p["a.weight"], p["a.bias"], True)
    return torch.tanh(normed) + torch.sigmoid(x + normed)


def read_once(x: torch.Tensor, p: Parameters) -> torch.Tensor:
    conv = functional.conv2d(x, p["a.weight"])
    return functional.hardswish(
        functional.relu(conv + functional.silu(functional.conv2d(x, p["s.weight"])) + x)
    )


@pytest.mark.parametrize(
    ("lines", "original"),
    [
        (
            [
                "a = conv(input) out=6",
                "b = activation(a)",
                "c = activation(a) function=relu6",
                "y = add(b, c, a)",
            ],
            read_twice,
        ),
        (
            [
                "a = batch_norm(input)",
                "b = activation(a) function=tanh",
                "s = add(input, a)",
                "c = activation(s) function=sigmoid",
                "y = add(b, c)",
            ],
            of_a_norm,
        ),
        (
            [
                "a = conv(input) out=6",
                "s = conv(input) out=6",
                "t = activation(s) function=silu",
                "b = add(a, t, input)",
                "c = activation(b)",
                "y = activation(c) function=hard_swish",
            ],
            read_once,
        ),
    ],
)
def test_nothing_is_overwritten_that_is_read_again(lines: list[str], original: Original) -> None:
    """By another node, or for a gradient."""
    head = ["graph test", "input = input() channels=6 height=8 width=8"]
    tail = ["p = adaptive_pool(y)", "f = flatten(p)", "output f"]
    graph = cz.Graph.parse("\n".join([*head, *lines, *tail]))
    model = cz.Model.from_graph(graph)
    parameters = {
        name: torch.from_numpy(value.copy()).requires_grad_()
        for name, value in model.state_dict().items()
        if name.endswith(("weight", "bias"))
    }
    x = np.repeat(images((8, 8), 3), 2, axis=1)
    before = x.copy()
    expected = original(torch.from_numpy(x), parameters).mean((2, 3))
    cotangent = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    expected.backward(torch.from_numpy(cotangent))
    output, gradients = model.vjp(x, cotangent, training=True)
    assert difference(output, expected.detach().numpy()) <= ROUNDING
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        assert difference(gradients[name], parameter.grad.numpy()) <= ROUNDING_OF_GRADIENTS, name
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("norm", ["batch_norm", "group_norm", "layer_norm"])
def test_a_norm_is_trained_behind_a_frozen_convolution(norm: str) -> None:
    """Libtorch's group norm ends the process where an image in channels_last records nothing."""
    text = (
        "graph test\ninput = input() channels=3 height=8 width=8\na = conv(input) out=8 kernel=3\n"
    )
    if norm == "layer_norm":
        text += "t = tokens(a)\nb = layer_norm(t)\nf = select_token(b)\noutput f"
    else:
        groups = " groups=2" if norm == "group_norm" else ""
        text += f"b = {norm}(a){groups}\np = adaptive_pool(b)\nf = flatten(p)\noutput f"
    model = cz.Model.from_graph(cz.Graph.parse(text))
    x, cotangent = images((8, 8), 3), np.ones((3, 8), np.float32)
    _, expected = model.vjp(x, cotangent, training=True)
    model.freeze("a*")
    _, gradients = model.vjp(x, cotangent, training=True)
    assert set(gradients) == {"b.weight", "b.bias"}
    for name, gradient in gradients.items():
        assert difference(gradient, expected[name], floor=1.0) <= ROUNDING_OF_GRADIENTS


# Prints how many pages a later step touches for the first time, and how many MiB the process uses
# with its optimiser and without.
MEASURE = """
import resource
import numpy as np
import cnnzoo as cz

def mebibytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) >> 10 for line in status if line.startswith("VmRSS:"))

model = cz.resnet18(num_classes=10)
optimizer = cz.SGD(model, lr=0.01)
x = np.random.default_rng(0).standard_normal((8, 3, 128, 128)).astype(np.float32)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    model.train_step(x, np.zeros(8, np.int64), optimizer)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
used = mebibytes()
del optimizer
print(pages, used, mebibytes())
"""


def measured(**environment: str) -> NDArray[np.int64]:
    cleared = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", MEASURE]
    run = subprocess.run(command, env={**cleared, **environment}, check=True, capture_output=True)
    return np.array(run.stdout.split(), np.int64)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_memory_of_a_step_stays_for_the_next_and_goes_with_the_optimizer() -> None:
    pages, training, after = measured()
    told, _, _ = measured(MALLOC_TRIM_THRESHOLD_=str(1 << 17))
    # A step of this network needs about 100 MiB, of 4 KiB a page.
    assert told > 10_000, "else there is nothing to keep"
    assert pages < told / 10
    assert after < training - 50
