"""The engines that run a network as it is: ours, and PyTorch's.

Each function makes a run of a task and its images. The file is loaded by its path, in processes
that must not import the other engines: every import stands in a function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cnnzoo.racing.contestant import Run, Task

Images = NDArray[np.float32]

# The side of the square matrices whose product is the machine's peak.
GEMM_SIDE = 2048


def cnnzoo(task: Task, x: Images) -> Run:
    """Our native engine, on a model file; for int8, loading calibrates and quantizes it."""
    from cnnzoo._threads import set_num_threads
    from cnnzoo.model import load

    set_num_threads(task.threads)
    model: Any = load(task.model)
    precision = task.precision
    if precision == "int8":
        model.quantize(np.load(task.calibration))
    return lambda: model(x, precision=precision)


def cnnzoo_exact(task: Task, x: Images) -> Run:
    """Our run operator by operator on libtorch, with the bits of PyTorch."""
    from cnnzoo._threads import set_num_threads
    from cnnzoo.model import load

    set_num_threads(task.threads)
    model = load(task.model)
    return lambda: model(x, exact=True)


def torch(task: Task, x: Images) -> Run:
    """PyTorch eager on a pickled module, in its default memory format."""
    import torch

    return _eager(task, x, torch.contiguous_format)


def torch_channels_last(task: Task, x: Images) -> Run:
    """PyTorch eager in channels_last."""
    import torch

    return _eager(task, x, torch.channels_last)


def torch_compile(task: Task, x: Images) -> Run:
    """`torch.compile` with frozen parameters, in channels_last; the first call compiles."""
    import torch
    from torch._inductor import config

    config.freezing = True
    module, images = _module(task, x, torch.channels_last)
    compiled = torch.compile(module)

    def run() -> Images:
        # Freezing needs tensors without gradients, and not those of the inference mode.
        with torch.no_grad():
            return _array(compiled(images))

    return run


def gemm(task: Task, x: Images) -> Run:
    """A product of square matrices, whose speed is called the machine's peak."""
    del x
    import torch

    torch.set_num_threads(task.threads)
    a, b, out = torch.rand((3, GEMM_SIDE, GEMM_SIDE)).unbind()

    def run() -> Images:
        torch.mm(a, b, out=out)
        return np.zeros((1, 1), np.float32)

    return run


def _eager(task: Task, x: Images, layout: Any) -> Run:
    import torch

    module, images = _module(task, x, layout)

    def run() -> Images:
        with torch.inference_mode():
            return _array(module(images))

    return run


def _module(task: Task, x: Images, layout: Any) -> tuple[Callable[[Any], Any], Any]:
    """The module in evaluation mode, and the images, both in a memory format."""
    import torch

    torch.set_num_threads(task.threads)
    # A pickle of the process that started this one.
    module = torch.load(task.model, weights_only=False).eval().to(memory_format=layout)
    return module, torch.from_numpy(x).to(memory_format=layout)


def _array(logits: Any) -> Images:
    array: Images = logits.numpy()
    return array
