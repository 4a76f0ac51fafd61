"""Throughput of the data loader in photographs a second, beside PyTorch's with torchvision.

Both read the same JPEG files of 500x375 pixels, resize the short side to 256, crop the centre to
224 and normalise. The files are random crops of the photographs in `photos/`, with noise. Every
loader is measured in turn, an epoch each, after one warm-up epoch; the table shows medians.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

import cnnzoo as cz

PHOTOS = Path(__file__).parent.parent / "photos"
SIZE = (500, 375)
BATCH = 64
WORKERS = (0, 1, 2)
# The target of our throughput, as a multiple of the best of torchvision's.
TARGET = 1.5


def make_photographs(root: Path, count: int) -> None:
    """Write `count` JPEG files into a folder for each source photograph, which is a class."""
    random = np.random.default_rng(0)
    sources = [Image.open(path).convert("RGB") for path in sorted(PHOTOS.glob("*.png"))]
    for index in range(count):
        source = sources[index % len(sources)]
        scale = random.uniform(0.6, 1.0)
        width, height = int(scale * source.width), int(scale * source.height)
        left = random.integers(0, source.width - width + 1)
        top = random.integers(0, source.height - height + 1)
        box = (left, top, left + width, top + height)
        photo = source.resize(SIZE, Image.Resampling.BICUBIC, box)
        noisy = np.asarray(photo) + random.normal(0, 4, (SIZE[1], SIZE[0], 3))
        folder = root / f"class{index % len(sources)}"
        folder.mkdir(exist_ok=True)
        pixels = noisy.clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:05}.jpg", quality=90)


def seconds(loader: Iterable[tuple[object, object]]) -> float:
    """The seconds of one epoch."""
    began = time.perf_counter()
    for _ in loader:
        pass
    return time.perf_counter() - began


def main() -> None:
    """Measure all loaders and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=512, help="files (default 512)")
    parser.add_argument("--epochs", type=int, default=5, help="measured of each (default 5)")
    arguments = parser.parse_args()

    preprocess = cz.Preprocess(
        resize=256,
        crop=224,
        interpolation="bilinear",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    transform = transforms.Compose(
        [
            transforms.Resize(preprocess.resize),
            transforms.CenterCrop(preprocess.crop),
            transforms.ToTensor(),
            transforms.Normalize(preprocess.mean, preprocess.std),
        ]
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_photographs(root, arguments.photographs)
        pictures = datasets.ImageFolder(folder, transform)
        loaders: dict[str, Callable[[], Iterable[tuple[object, object]]]] = {
            f"torchvision, {workers} workers": lambda workers=workers: DataLoader(
                pictures, batch_size=BATCH, shuffle=True, num_workers=workers
            )
            for workers in WORKERS
        }
        mine = cz.data.Loader(cz.data.ImageFolder(root), batch_size=BATCH, transform=preprocess)
        loaders[f"cnnzoo, {mine.threads} threads"] = lambda: mine
        took: dict[str, list[float]] = {name: [] for name in loaders}
        for epoch in range(arguments.epochs + 1):
            for name, loader in loaders.items():
                once = seconds(loader())
                if epoch > 0:
                    took[name].append(once)
    rates = {name: arguments.photographs / statistics.median(times) for name, times in took.items()}
    *theirs, ours = rates.values()
    print(
        f"{arguments.photographs} JPEG files of {SIZE[0]}x{SIZE[1]}, batches of {BATCH}, median of "
        f"{arguments.epochs} epochs, {os.cpu_count()} cores\ntorchvision {torchvision.__version__},"
        f" torch {torch.__version__}, Pillow {PIL.__version__}, Python {sys.version.split()[0]}\n"
    )
    print(f"{'loader':24} {'images/s':>9} {'of the best':>12}")
    for name, rate in rates.items():
        print(f"{name:24} {rate:9.0f} {rate / max(theirs):12.2f}")
    verdict = "met" if ours >= TARGET * max(theirs) else "missed"
    print(f"\ntarget: {TARGET} times the best of torchvision's: {verdict}")


if __name__ == "__main__":
    main()
