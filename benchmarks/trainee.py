"""One side of `training.py` in a process of its own: it takes training steps on request.

Reads a line of JSON, the `Task`, and answers `{"ready": ...}`. Each further line asks for a number
of steps, for the memory of one, or for that of all so far, and is answered by a line. PyTorch's
sides never import cnnzoo, and ours never imports torch, so neither affects the other's set-up.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LR, MOMENTUM = 0.005, 0.9
# The weight of an auxiliary classifier's loss.
AUXILIARY = 0.3
CLASSES = 1000

Step = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Task:
    """The network to train, and the settings."""

    side: str
    """`ours`, `eager`, `channels_last` or `compiled`."""
    threads: int
    batch: int
    size: int
    weights: str
    """An .npz file with every parameter of the network."""
    source: str
    name: str
    """The network's name in that library."""
    options: dict[str, Any]
    graph: str | None = None
    """The text of our network's graph, used instead of source, name and options."""


def batch_of(task: Task, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images (N, C, H, W) and class labels (N,)."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal((batch, 3, task.size, task.size)).astype(np.float32)
    return x, generator.integers(0, CLASSES, batch)


def ours(task: Task) -> Step:
    """Our training step."""
    import cnnzoo as cz

    if task.graph is None:
        model = cz.create_model(task.name, source=task.source, **task.options)
    else:
        model = cz.Model.from_graph(cz.Graph.parse(task.graph))
    with np.load(task.weights) as weights:
        model.load_state_dict(dict(weights))
    optimizer = cz.SGD(model, lr=LR, momentum=MOMENTUM)
    loss = cz.CrossEntropy(auxiliary=AUXILIARY)

    def step(x: np.ndarray, y: np.ndarray) -> float:
        return model.train_step(x, y, optimizer, loss=loss).loss

    return step


def theirs(task: Task) -> Step:
    """PyTorch's training step. Like ours, it takes NumPy arrays and returns the loss as a float."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(task.threads)
    if task.source == "timm":
        import timm

        module = timm.create_model(task.name, **task.options)
    else:
        import torchvision

        module = torchvision.models.get_model(task.name, **task.options)
    with np.load(task.weights) as weights:
        module.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights})
    module.train()
    last = task.side != "eager"
    layout = torch.channels_last if last else torch.contiguous_format
    module.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=MOMENTUM, fused=True)
    run = torch.compile(module) if task.side == "compiled" else module

    def step(x: np.ndarray, y: np.ndarray) -> float:
        output = run(torch.from_numpy(x).contiguous(memory_format=layout))
        heads = [output] if isinstance(output, torch.Tensor) else list(output)
        target = torch.from_numpy(y)
        loss = functional.cross_entropy(heads[0], target)
        for head in heads[1:]:
            loss = loss + AUXILIARY * functional.cross_entropy(head, target)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def memory_of(step: Step, task: Task) -> int:
    """The bytes by which a step raises the process's peak memory.

    Memory that a first small step allocates once, such as momentum buffers, is not counted. Meant
    for a process whose allocator returns freed memory at once: else memory that it keeps would hide
    what a step needs.
    """
    step(*batch_of(task, 2))
    gc.collect()
    x, y = batch_of(task, task.batch)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # Reset the peak to the current use.
    before = kilobytes("VmHWM")
    step(x, y)
    return 1024 * (kilobytes("VmHWM") - before)


def kilobytes(field: str) -> int:
    """A field of Linux's /proc/self/status, in KiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:"))


def main() -> None:
    """Answer each line on standard input by a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Anything that a library prints goes to stderr, not among the answers.
    task = Task(**json.loads(sys.stdin.readline()))
    began = time.perf_counter()
    step = ours(task) if task.side == "ours" else theirs(task)
    x, y = batch_of(task, task.batch)
    resident = kilobytes("VmRSS")
    print(json.dumps({"ready": time.perf_counter() - began}), file=answers)
    for line in sys.stdin:
        request = line.strip()
        if request == "memory":
            print(json.dumps({"bytes": memory_of(step, task)}), file=answers)
            continue
        if request == "resident":
            grown = 1024 * (kilobytes("VmHWM") - resident)
            print(json.dumps({"bytes": grown}), file=answers)
            continue
        took = []
        for _ in range(int(request)):
            wall, cpu = time.perf_counter(), time.process_time()
            loss = step(x, y)
            took.append([time.perf_counter() - wall, time.process_time() - cpu, loss])
        print(json.dumps({"took": took}), file=answers)


if __name__ == "__main__":
    main()
