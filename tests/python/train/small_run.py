"""A run with everything that is random in it, small enough to be killed often."""

from __future__ import annotations

import hashlib
import signal
import sys
from pathlib import Path

import numpy as np

import cnnzoo as cz

SIDE = 16
EPOCHS = 3


def pictures(count: int, *, seed: int) -> cz.data.Dataset:
    """Photographs of four classes, which differ in where they are bright."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, count)
    pixels = generator.integers(0, 60, (count, SIDE, SIDE, 3)).astype(np.uint8)
    for photo, label in zip(pixels, labels, strict=True):
        photo[4 * label : 4 * label + 4, :, label % 3] += 120
    return cz.data.Arrays(pixels, labels)


def loaders(*, threads: int = 2) -> tuple[cz.data.Loader, cz.data.Loader]:
    """For training, in a drawn order and augmented, and for validation."""
    augment = cz.transforms.Compose(
        [
            cz.transforms.RandomCrop(SIDE, padding=2),
            cz.transforms.RandomHorizontalFlip(),
        ]
    )
    train = cz.data.Loader(
        pictures(104, seed=1), batch_size=16, transform=augment, seed=5, threads=threads
    )
    return train, cz.data.Loader(pictures(32, seed=2), batch_size=16, shuffle=False)


def trainer(*, seed: int = 7, momentum: float = 0.9) -> cz.Trainer:
    """A trainer of a network with dropout and drop path, whose updates take two batches."""
    model = cz.create_model("resnet20", num_classes=4, drop_rate=0.2, drop_path_rate=0.1, seed=3)
    model.freeze("conv1")
    return cz.Trainer(
        model,
        optimizer=cz.SGD(model, lr=0.05, momentum=momentum, weight_decay=1e-3),
        schedule=cz.Cosine(warmup=1),
        loss=cz.CrossEntropy(label_smoothing=0.1),
        mixup=0.2,
        cutmix=1.0,
        ema=0.9,
        clip_norm=2.0,
        accumulate=2,
        seed=seed,
    )


def summary(trainer: cz.Trainer) -> str:
    """Every bit of a run that is over, but for its times."""
    digest = hashlib.sha256()
    assert trainer.averaged is not None
    for model in (trainer.model, trainer.averaged):
        for name, values in model.state_dict().items():
            digest.update(name.encode() + values.tobytes())
    for row in trainer.history:
        digest.update(repr((row.epoch, row.step, row.lr, row.train_loss, row.train_top1)).encode())
        digest.update(repr((row.val_loss, row.val_top1, row.val_top5)).encode())
    return digest.hexdigest()


def main(folder: Path) -> None:
    """Begin a run in a folder, or go on with the one that is there."""
    # A shell may start tests with SIGINT ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    train, validation = loaders()
    log = cz.callbacks.JsonLines(folder / "log.jsonl", every=1)
    if (folder / "last.safetensors").exists():
        done = cz.Trainer.resume(
            folder, train, validation, progress=False, callbacks=[log], checkpoint_every=1
        )
    else:
        done = trainer()
        done.fit(
            train,
            validation,
            epochs=EPOCHS,
            progress=False,
            callbacks=[log],
            checkpoint=folder,
            checkpoint_every=1,
        )
    print(summary(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
