"""A script that classifies files with torchvision or timm, which benchmarks/predict.py runs.

It imports neither cnnzoo nor the other library, so that its process takes no longer than it needs.
It reads a JSON object from standard input and prints a line for each of its `options`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

TOP = 5


class Photographs(Dataset[torch.Tensor]):
    """The files, each prepared by a transform."""

    def __init__(self, files: list[str], transform: Any) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as picture:
            prepared: torch.Tensor = self.transform(picture.convert("RGB"))
            return prepared


def with_torchvision(name: str, task: dict[str, Any]) -> tuple[torch.nn.Module, Any]:
    """The network and the transform of torchvision."""
    from torchvision import models, transforms

    steps = [
        transforms.Resize(task["resize"]),
        transforms.CenterCrop(task["crop"]),
        transforms.ToTensor(),
        transforms.Normalize(task["mean"], task["std"]),
    ]
    return models.get_model(name), transforms.Compose(steps)


def with_timm(name: str, task: dict[str, Any]) -> tuple[torch.nn.Module, Any]:
    """The network and the transform of timm."""
    import timm

    transform = timm.data.create_transform(
        input_size=task["crop"],
        crop_pct=task["crop"] / task["resize"],
        interpolation="bilinear",
        mean=task["mean"],
        std=task["std"],
    )
    return timm.create_model(name), transform


def classify(
    network: torch.nn.Module, data: Photographs, workers: int, batch: int, layout: str
) -> tuple[float, list[Any]]:
    """The seconds of a pass, and the probabilities and classes of each file."""
    memory = getattr(torch, layout)
    network.to(memory_format=memory)
    began = time.perf_counter()
    found: list[Any] = []
    with torch.inference_mode():
        for x in DataLoader(data, batch_size=batch, num_workers=workers):
            best = network(x.contiguous(memory_format=memory)).softmax(1).topk(TOP)
            found += zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return time.perf_counter() - began, found


def main() -> None:
    """Run every script of the task."""
    task = json.load(sys.stdin)
    build = {"torchvision": with_torchvision, "timm": with_timm}[task["library"]]
    network, transform = build(task["network"], task)
    network.load_state_dict(torch.load(task["weights"]))
    network.eval()
    for option in task["options"]:
        warm = Photographs(task["files"][: option["batch"]], transform)
        classify(network, warm, 0, option["batch"], option["layout"])
        seconds, found = classify(network, Photographs(task["files"], transform), **option)
        print(json.dumps({"seconds": seconds, "found": found}), flush=True)


if __name__ == "__main__":
    main()
