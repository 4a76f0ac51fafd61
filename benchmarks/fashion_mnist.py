"""ResNet-20 on Fashion-MNIST, trained here and by a plain PyTorch loop: both test accuracies.

Both sides begin with the same weights, take the samples in the same order, augment them by the same
random shifts and flips, and train by SGD with Nesterov momentum and a one-cycle schedule. PyTorch's
side has its own network, data loader and loop: only the random draws for each picture differ.
Before training, both networks must give the same logits.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

import cnnzoo as cz

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
PADDING = 2
# The target: the test accuracy of both sides, and the largest difference between them.
LEAST, APART = 0.90, 0.005

Model = TypeVar("Model")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The data and hyperparameters of both sides."""

    train: cz.data.Dataset
    test: cz.data.Dataset
    epochs: int
    batch_size: int
    lr: float
    seed: int

    def loader(self) -> cz.data.Loader:
        """Our training loader, whose order both sides take."""
        transform = cz.transforms.fashion_mnist_train(padding=PADDING)
        return cz.data.Loader(
            self.train,
            batch_size=self.batch_size,
            transform=transform,
            seed=self.seed,
            threads=1,
            drop_last=True,
        )


# ---- ours


def train_ours(model: cz.Model, run: Run) -> None:
    """Train, and print each epoch's loss."""
    optimizer = cz.SGD(
        model, lr=run.lr, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    trainer = cz.Trainer(model, optimizer=optimizer, schedule=cz.OneCycle())
    for row in trainer.fit(run.loader(), epochs=run.epochs):
        tell("cnnzoo", row.epoch, row.train_loss)


def test_ours(model: cz.Model, run: Run) -> float:
    """The test accuracy."""
    transform = cz.transforms.fashion_mnist_eval()
    loader = cz.data.Loader(run.test, batch_size=500, transform=transform, shuffle=False, threads=1)
    return share((model(x).argmax(axis=1), y) for x, y in loader)


# ---- PyTorch's


class Block(nn.Module):
    """A residual block of two convolutions, its shortcut without parameters (paper's option A)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.more = stride, out - channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        return functional.relu(y + functional.pad(shortcut, (0, 0, 0, 0, 0, self.more)))


class ResNet20(nn.Module):
    """Three stages of three residual blocks, 16 to 64 channels (arXiv:1512.03385, section 4.2)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*(Block(16, 16, 1) for _ in range(3)))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) to (N, 10)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class Pictures(Dataset[tuple[Tensor, int]]):
    """Our data set for PyTorch's DataLoader, with torchvision's transforms."""

    def __init__(self, dataset: cz.data.Dataset, *steps: nn.Module) -> None:
        self.images = [Image.fromarray(photo[..., 0]) for photo, _ in dataset]
        self.labels = dataset.labels.tolist()
        mean, std = cz.transforms.FASHION_MNIST_MEAN, cz.transforms.FASHION_MNIST_STD
        numbers = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)]
        self.transform = v2.Compose([*steps, *numbers])

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]

    def __len__(self) -> int:
        return len(self.images)


def train_torch(model: nn.Module, run: Run) -> None:
    """The same training, as a user of PyTorch writes it."""
    mine = run.loader()
    pictures = Pictures(run.train, v2.RandomCrop(28, padding=PADDING), v2.RandomHorizontalFlip())
    optimizer = torch.optim.SGD(
        model.parameters(), run.lr, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, run.lr, total_steps=run.epochs * len(mine), cycle_momentum=False
    )
    torch.manual_seed(run.seed)
    model.train()
    for epoch in range(run.epochs):
        order = mine.order(epoch).tolist()
        losses = []
        for x, y in DataLoader(pictures, run.batch_size, sampler=order):
            loss = functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        tell("PyTorch", epoch + 1, float(np.mean(losses)))


@torch.inference_mode()
def test_torch(model: nn.Module, run: Run) -> float:
    """The test accuracy."""
    model.eval()
    loader = DataLoader(Pictures(run.test), 500)
    return share((model(x).argmax(dim=1).numpy(), y.numpy()) for x, y in loader)


# ---- both


def share(batches: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> float:
    """The share of correct predictions."""
    right = np.concatenate([answers == labels for answers, labels in batches])
    return float(right.mean())


def tell(side: str, epoch: int, loss: float) -> None:
    """Print a line for an epoch."""
    print(f"{side:8} epoch {epoch}: mean loss {loss:.4f}", flush=True)


def check_logits(ours: cz.Model, theirs: nn.Module, run: Run) -> float:
    """The largest difference of logits on some test pictures; exits if the networks differ."""
    transform = cz.transforms.fashion_mnist_eval()
    x = np.stack([transform(run.test[index][0][..., 0]) for index in range(min(64, len(run.test)))])
    with torch.inference_mode():
        expected = theirs.eval()(torch.from_numpy(x)).numpy()
    difference = float(np.abs(ours(x) - expected).max())
    if not difference < 1e-4 * max(1.0, float(np.abs(expected).max())):
        sys.exit(f"the networks differ: logits by {difference}")
    return difference


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of a side.

    Attributes:
        side: The side's name.
        accuracy: The test accuracy.
        seconds: Seconds of training.
        cpu_seconds: Processor seconds of training in all threads; on a shared machine they tell
            more.
    """

    side: str
    accuracy: float
    seconds: float
    cpu_seconds: float


def measure(
    side: str,
    model: Model,
    train: Callable[[Model, Run], None],
    test: Callable[[Model, Run], float],
    run: Run,
) -> Result:
    """Train a side and test it."""
    began, cpu_began = time.perf_counter(), time.process_time()
    train(model, run)
    took, cpu_took = time.perf_counter() - began, time.process_time() - cpu_began
    return Result(side=side, accuracy=test(model, run), seconds=took, cpu_seconds=cpu_took)


def sides(run: Run, only: str | None) -> Iterator[Result]:
    """The results of both, or of one of them."""
    ours = cz.create_model("resnet20", in_channels=1, image_size=28, seed=run.seed)
    theirs = ResNet20()
    state = {name: torch.from_numpy(array) for name, array in ours.state_dict().items()}
    theirs.load_state_dict(state)
    print(f"logits of the same weights differ by at most {check_logits(ours, theirs, run):.1e}\n")
    if only != "torch":
        yield measure("cnnzoo", ours, train_ours, test_ours, run)
    if only != "ours":
        yield measure("PyTorch", theirs, train_torch, test_torch, run)


def some(dataset: cz.data.Dataset, count: int | None) -> cz.data.Dataset:
    """The first `count` samples, or all."""
    return dataset if count is None else dataset.subset(range(min(count, len(dataset))))


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--lr", type=float, default=0.2, help="the highest (default 0.2)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both sides")
    parser.add_argument("--train-images", type=int, help="of 60000; all if not given")
    parser.add_argument("--test-images", type=int, help="of 10000; all if not given")
    parser.add_argument("--only", choices=["ours", "torch"], help="one side")
    parser.add_argument("--root", help="the folder of Fashion-MNIST, as cz.data.fashion_mnist's")
    given = parser.parse_args()
    # Both sides run on the same libtorch.
    torch.set_num_threads(given.threads)
    run = Run(
        train=some(cz.data.fashion_mnist(given.root), given.train_images),
        test=some(cz.data.fashion_mnist(given.root, train=False), given.test_images),
        epochs=given.epochs,
        batch_size=given.batch_size,
        lr=given.lr,
        seed=given.seed,
    )
    print(
        f"{run.epochs} epochs of {len(run.train)} pictures in batches of {run.batch_size}, "
        f"{given.threads} threads\ntorch {torch.__version__}, torchvision "
        f"{torchvision.__version__}, Python {sys.version.split()[0]}"
    )
    results = list(sides(run, given.only))
    print(f"\n{'side':8} {'accuracy':>9} {'training':>10} {'of CPU':>10}")
    for result in results:
        times = f"{result.seconds:8.0f} s {result.cpu_seconds:8.0f} s"
        print(f"{result.side:8} {result.accuracy:9.2%} {times}")
    shares = [result.accuracy for result in results]
    apart = max(shares) - min(shares)
    met = min(shares) >= LEAST and apart <= APART
    print(
        f"\nthe difference is {100 * apart:.2f} points; target: at least {LEAST:.0%} each, at most "
        f"{100 * APART:.1f} points apart: {'met' if met else 'missed'}"
    )


if __name__ == "__main__":
    main()
