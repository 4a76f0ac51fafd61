"""A training run of one of several processes, which test_distributed starts.

Arguments: a folder, and a JSON object of settings.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

import cnnzoo as cz

GRAPH = """
graph small
input = input() channels=3 height=16 width=16
conv1 = conv(input) out=8 kernel=3 stride=2 bias=true
{norm}
act1 = activation({after})
conv2 = conv(act1) out=8 kernel=3 bias=true
act2 = activation(conv2) function=silu
pool = adaptive_pool(act2)
flat = flatten(pool)
fc = linear(flat) out=3
output fc
"""
SIDE = 16


class Killed(cz.callbacks.Callback):
    """Ends the process as a power cut would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: cz.Trainer, result: Any) -> None:
        if trainer.step == self.step:
            os.kill(os.getpid(), signal.SIGKILL)


def loaders(settings: dict[str, Any]) -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    count = settings["count"]
    labels = np.arange(count) % 3
    shades = labels[:, None, None, None] * 60 + 40
    images = generator.normal(shades, 50, (count, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)
    train = cz.data.Arrays(images, labels)
    checks = cz.data.Arrays(images[:19], labels[:19])
    return (
        cz.data.Loader(train, batch_size=16, seed=3, threads=1),
        cz.data.Loader(checks, batch_size=8, shuffle=False, threads=1),
    )


def run(folder: Path, settings: dict[str, Any]) -> None:
    several = settings["processes"] > 1
    among = {"distributed": several, "sync_batch_norm": several and settings["sync"]}
    train, checks = loaders(settings)
    callbacks: list[cz.callbacks.Callback] = [cz.callbacks.JsonLines(folder / "log.jsonl")]
    if settings["kill"]:
        callbacks.append(Killed(settings["kill"]))
    options: dict[str, Any] = {
        "callbacks": callbacks,
        "progress": False,
        "checkpoint": folder / "run",
        "checkpoint_every": 1,
        "metrics": {"mean": lambda logits, targets: float(logits.sum() + targets.sum())},
    }
    if settings["resume"]:
        del options["checkpoint"]
        trainer = cz.Trainer.resume(folder / "run", train, checks, **options, **among)
    else:
        norm = "norm1 = batch_norm(conv1)" if settings["norm"] else ""
        text = GRAPH.format(norm=norm, after="norm1" if norm else "conv1")
        # Other parameters in each process, of which the first one's count.
        seed = 5 + int(os.environ.get("RANK", "0"))
        model = cz.Model.from_graph(cz.Graph.parse(text), seed=seed)
        optimizer = cz.SGD(model, lr=0.05, momentum=0.9, weight_decay=1e-3)
        trainer = cz.Trainer(
            model,
            optimizer=optimizer,
            schedule=cz.Cosine(),
            ema=0.9,
            accumulate=settings["accumulate"],
            clip_norm=1.0,
            **among,
        )
        trainer.fit(train, checks, epochs=3, **options)
    state = trainer.model.state_dict()
    row, evaluated = trainer.history[-1], trainer.evaluate(checks)
    assert isinstance(evaluated, cz.metrics.Metrics)
    found = {
        "digest": hashlib.sha256(b"".join(value.tobytes() for value in state.values())).hexdigest(),
        "losses": [row.train_loss for row in trainer.history],
        "row": [row.val_loss, row.val_top1, row.train_top1, row.val_metrics["mean"], row.step],
        "evaluated": evaluated.confusion.tolist(),
    }
    place = os.environ.get("RANK", "0")
    (folder / f"{place}.json").write_text(json.dumps(found))
    if place == "0":
        np.savez(folder / "state.npz", **state)  # type: ignore[arg-type]


if __name__ == "__main__":
    run(Path(sys.argv[1]), json.loads(sys.argv[2]))
