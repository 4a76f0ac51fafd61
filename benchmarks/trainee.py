"""One side of `training.py` in a process of its own: a network that takes training steps when told.

Reads a line of JSON, the `Task`, and answers `{"ready": ...}`. Each further line asks for so many
steps, for the memory of one, or for that of all so far, and is answered with a line. PyTorch's
sides never import cnnzoo, nor does ours import torch, so neither feels what the other sets up.
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
# How much an auxiliary classifier counts.
AUXILIARY = 0.3
CLASSES = 1000

Step = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Task:
    """What to train, and how."""

    side: str
    """`ours`, `eager`, `channels_last` or `compiled`."""
    threads: int
    batch: int
    size: int
    weights: str
    """An .npz file with every parameter of the network."""
    source: str
    name: str
    """In its library."""
    options: dict[str, Any]
    graph: str | None = None
    """The text of our network, instead of the others."""


def batch_of(task: Task, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, C, H, W) and what they show (N,)."""
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
    """PyTorch's own loop. Like ours it is given NumPy arrays, and gives the loss as a number."""
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
    """By how many bytes a step raises the peak of the process's memory.

    What a first small step sets up once, such as momenta, is not counted. Meant for a process in
    which freed memory goes back at once: else what the allocator keeps hides what a step needs.
    """
    step(*batch_of(task, 2))
    gc.collect()
    x, y = batch_of(task, task.batch)
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")  # The peak starts anew from what is used now.
    before = kilobytes("VmHWM")
    step(x, y)
    return 1024 * (kilobytes("VmHWM") - before)


def kilobytes(field: str) -> int:
    """A number from Linux's account of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{field}:"))


def main() -> None:
    """Answer lines on the standard input, each by a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Whatever a library prints is no answer.
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
