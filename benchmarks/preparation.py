"""The README's fine-tuning with the network's own training transform, and with ImageNet's.

The pictures are a few of Fashion-MNIST's, in folders; everything but the training transform is the
same on both sides, and each side runs once for every seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import cnnzoo as cz

NAME = "tf_efficientnet_lite0"
SIDES: dict[str, Callable[[cz.Model], cz.transforms.Transform]] = {
    "imagenet_train(224)": lambda _: cz.transforms.imagenet_train(224),
    "model.train_transform()": lambda model: model.train_transform(),
}


def write_folders(dataset: cz.data.Dataset, each: int, folder: Path, *, seed: int) -> None:
    """Write `each` random pictures of every class as colour PNG files."""
    generator = np.random.default_rng(seed)
    for label in range(dataset.num_classes):
        place = folder / str(label)
        place.mkdir(parents=True)
        [where] = np.nonzero(dataset.labels == label)
        for index in generator.choice(where, each, replace=False):
            picture, _ = dataset[int(index)]
            Image.fromarray(np.squeeze(picture)).convert("RGB").save(place / f"{index}.png")


def fine_tuned(
    train: cz.data.Dataset,
    test: cz.data.Dataset,
    transform: Callable[[cz.Model], cz.transforms.Transform],
    *,
    seed: int,
) -> tuple[float, float]:
    """Test accuracy and loss after the README's three epochs, preprocessed as by `predict`."""
    model = cz.create_model(NAME, weights="default")
    model.reset_classifier(num_classes=train.num_classes, seed=seed)
    batches = cz.data.Loader(train, batch_size=8, transform=transform(model), seed=seed)
    checks = cz.data.Loader(test, transform=model.preprocess, shuffle=False)
    trainer = cz.Trainer(
        model,
        optimizer=cz.AdamW(model, lr=0.01),
        schedule=cz.Cosine(),
        loss=cz.CrossEntropy(),
        seed=seed,
    )
    model.freeze().unfreeze("classifier")
    trainer.fit(batches, epochs=2)
    model.unfreeze()
    trainer.optimizer.lr = 0.0001
    trainer.fit(batches, epochs=1)
    found = trainer.evaluate(checks)
    return found.top1, found.loss


def main() -> None:
    """Train both sides for every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=20, help="pictures of a class (default 20)")
    parser.add_argument("--test-each", type=int, default=30, help="likewise, of the test set")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--root", help="the folder of Fashion-MNIST, as cz.data.fashion_mnist's")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for seed in range(given.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_folders(
                cz.data.fashion_mnist(given.root), given.each, folder / "train", seed=seed
            )
            write_folders(
                cz.data.fashion_mnist(given.root, train=False),
                given.test_each,
                folder / "test",
                seed=seed,
            )
            train = cz.data.ImageFolder(folder / "train")
            test = cz.data.ImageFolder(folder / "test")
            for side, transform in SIDES.items():
                top1, loss = fine_tuned(train, test, transform, seed=seed)
                found[side].append((top1, loss))
                print(f"seed {seed}  {side:24} {top1:6.1%}  loss {loss:.3f}", flush=True)
    print(f"\nmedian of {given.seeds} seeds")
    for side, runs in found.items():
        accuracies, losses = zip(*runs, strict=True)
        print(
            f"{side:24} {statistics.median(accuracies):6.1%} "
            f"({min(accuracies):.1%} to {max(accuracies):.1%})  "
            f"loss {statistics.median(losses):.3f} ({min(losses):.3f} to {max(losses):.3f})"
        )


if __name__ == "__main__":
    main()
