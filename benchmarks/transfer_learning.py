"""Transfer learning: a pretrained EfficientNet-Lite0 learns ten classes from a few pictures each.

Beside it, the same network is trained from scratch on the same pictures for as many epochs. The
pictures are Fashion-MNIST's, enlarged, tested on its test set.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import cnnzoo as cz

NAME = "tf_efficientnet_lite0"


@dataclass(frozen=True, kw_only=True)
class Run:
    """The data and hyperparameters of both."""

    train: cz.data.Dataset
    test: cz.data.Dataset
    image_size: int
    epochs: int
    head_epochs: int
    batch_size: int
    threads: int
    seed: int

    def loader(self, dataset: cz.data.Dataset, *, train: bool) -> cz.data.Loader:
        """A loader of the enlarged pictures, with random shifts and flips for training."""
        preprocess = cz.create_model(NAME, meta=True).preprocess
        moved = [cz.transforms.RandomShift(2), cz.transforms.RandomHorizontalFlip()]
        transform = cz.transforms.Compose(
            [
                *(moved if train else []),
                cz.transforms.Resize(self.image_size, interpolation="bicubic"),
                cz.transforms.Normalize(preprocess.mean, preprocess.std),
            ]
        )
        return cz.data.Loader(
            dataset,
            batch_size=self.batch_size,
            transform=transform,
            shuffle=train,
            drop_last=train,
            seed=self.seed,
            threads=self.threads,
        )


def trainer_of(model: cz.Model, *, lr: float) -> cz.Trainer:
    """A trainer of the parameters that are not frozen."""
    optimizer = cz.AdamW(model, lr=lr, weight_decay=0.01)
    return cz.Trainer(model, optimizer=optimizer, schedule=cz.OneCycle())


def transferred(run: Run) -> cz.Trainer:
    """Train a new classifier on the frozen network, then fine-tune all at a lower learning rate."""
    model = cz.create_model(NAME, weights="default", image_size=run.image_size)
    model.reset_classifier(num_classes=run.train.num_classes, seed=run.seed)
    batches = run.loader(run.train, train=True)
    model.freeze().unfreeze("classifier")
    trainer_of(model, lr=5e-3).fit(batches, epochs=run.head_epochs)
    model.unfreeze()
    trainer = trainer_of(model, lr=1e-3)
    trainer.fit(batches, epochs=run.epochs - run.head_epochs)
    return trainer


def from_scratch(run: Run) -> cz.Trainer:
    """Train all parameters from random initialisation."""
    model = cz.create_model(NAME, image_size=run.image_size, seed=run.seed)
    model.reset_classifier(num_classes=run.train.num_classes, seed=run.seed)
    trainer = trainer_of(model, lr=3e-3)
    trainer.fit(run.loader(run.train, train=True), epochs=run.epochs)
    return trainer


def few(dataset: cz.data.Dataset, each: int) -> cz.data.Dataset:
    """The first `each` pictures of every class."""
    labels = dataset.labels
    chosen = [np.flatnonzero(labels == label)[:each] for label in range(dataset.num_classes)]
    return dataset.subset(np.sort(np.concatenate(chosen)).tolist())


def main() -> None:
    """Train both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=20, help="pictures of a class (default 20)")
    parser.add_argument("--test-each", type=int, default=200, help="likewise, of the test set")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--head-epochs", type=int, default=3, help="of these, with a frozen trunk")
    parser.add_argument("--batch-size", type=int, default=25)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", help="the folder of Fashion-MNIST, as cz.data.fashion_mnist's")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    run = Run(
        train=few(cz.data.fashion_mnist(given.root), given.each),
        test=few(cz.data.fashion_mnist(given.root, train=False), given.test_each),
        image_size=given.image_size,
        epochs=given.epochs,
        head_epochs=given.head_epochs,
        batch_size=given.batch_size,
        threads=given.threads,
        seed=given.seed,
    )
    print(
        f"{len(run.train)} pictures to train on, {len(run.test)} to test, of {run.image_size} "
        f"pixels; {run.epochs} epochs, {given.threads} threads\n"
        f"torch {torch.__version__}, Python {sys.version.split()[0]}"
    )
    rows = []
    kinds: dict[str, Callable[[Run], cz.Trainer]] = {
        "pretrained": transferred,
        "from scratch": from_scratch,
    }
    for kind, train in kinds.items():
        print(f"\n{kind}")
        began = time.perf_counter()
        trainer = train(run)
        took = time.perf_counter() - began
        tested = trainer.evaluate(run.loader(run.test, train=False))
        rows.append((kind, tested.top1, took))
    print(f"\n{'':14} {'accuracy':>9} {'training':>10}")
    for kind, share, took in rows:
        print(f"{kind:14} {share:9.1%} {took:8.0f} s")


if __name__ == "__main__":
    main()
