"""A distributed run that goes wrong, which test_distributed_trouble starts.

Arguments: a folder for what each process finds, and the name of a case.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed

import cnnzoo as cz

GRAPH = """
graph small
input = input() channels=3 height=8 width=8
conv1 = conv(input) out={width} kernel=3 stride=2 bias=true
norm1 = batch_norm(conv1)
act1 = activation(norm1)
pool = adaptive_pool(act1)
flat = flatten(pool)
fc = linear(flat) out=3
output fc
"""
PLACE = int(os.environ["RANK"])
COUNT = int(os.environ["WORLD_SIZE"])
LAST = PLACE == COUNT - 1


def images(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 255, (count, 8, 8, 3), np.uint8)


def loader(count: int = 16, **options: Any) -> Any:
    classes = options.pop("classes", None)
    data = cz.data.Arrays(images(count), np.arange(count) % 3, classes=classes)
    return cz.data.Loader(data, **{"batch_size": 4, "seed": 3, "threads": 1, **options})


def batches(sizes: Sequence[int]) -> list[tuple[Any, Any]]:
    return [(np.ones((size, 3, 8, 8), np.float32), np.arange(size) % 3) for size in sizes]


class Lazy:
    """Batches that nobody sees before they are taken."""

    def __init__(self, sizes: Sequence[int], said: int) -> None:
        self.sizes, self.said = sizes, said

    def __len__(self) -> int:
        return self.said

    def __iter__(self) -> Iterator[Any]:
        return iter(batches(self.sizes))

    def __getitem__(self, index: int) -> Any:
        return batches(self.sizes)[index]


def trainer(width: int = 4, **options: Any) -> cz.Trainer:
    model = cz.Model.from_graph(cz.Graph.parse(GRAPH.format(width=width)), seed=0)
    frozen = options.pop("freeze", None)
    if frozen is not None:
        model.freeze(frozen)
    optimizer = cz.SGD(model, lr=options.pop("lr", 0.01))
    return cz.Trainer(
        model, optimizer=optimizer, distributed=True, **{"sync_batch_norm": True, **options}
    )


def fit(one: cz.Trainer, train: Any, checks: Any = None, **options: Any) -> None:
    one.fit(train, checks, progress=False, **{"epochs": 3, **options})


class At(cz.callbacks.Callback):
    """Does something after a batch."""

    def __init__(self, step: int, act: Callable[[cz.Trainer], Any]) -> None:
        self.step, self.act = step, act

    def on_step(self, trainer: cz.Trainer, result: Any) -> None:
        if trainer.step == self.step:
            self.act(trainer)


class AtFirst(At):
    """The same in the first process alone."""

    first_only = True


class AtEpoch(cz.callbacks.Callback):
    """Does something after each epoch."""

    def __init__(self, act: Callable[[cz.Trainer], Any]) -> None:
        self.act = act

    def on_epoch(self, trainer: cz.Trainer, row: Any) -> None:
        self.act(trainer)


class AtEnd(AtEpoch):
    """Does something at the end."""

    def on_epoch(self, trainer: cz.Trainer, row: Any) -> None:
        pass

    def on_end(self, trainer: cz.Trainer) -> None:
        self.act(trainer)


def evaluate(one: cz.Trainer) -> None:
    one.evaluate(loader())


def if_first(act: Callable[[cz.Trainer], Any]) -> Callable[[cz.Trainer], Any]:
    """Do something behind `if rank == 0`, as people write it."""
    return lambda one: act(one) if PLACE == 0 else None


def fail(_: Any) -> None:
    raise FileNotFoundError("no disk\nthere")


def stand_still(_: Any) -> None:
    time.sleep(30)


def last(act: Callable[[Any], Any], step: int = 6) -> dict[str, Any]:
    return {"callbacks": [At(step, act)] if LAST else []}


def broken(number: int) -> Callable[[cz.Trainer], None]:
    """Let an exchange of the last process fail, so many after now."""

    def act(_: Any) -> None:
        left = [number]

        def all_reduce(*given: Any, **options: Any) -> Any:
            left[0] -= 1
            if not left[0]:
                torch.distributed.all_reduce = real
                raise RuntimeError("the cable is broken")
            return real(*given, **options)

        real, torch.distributed.all_reduce = torch.distributed.all_reduce, all_reduce

    return act


def long_lived() -> None:
    """A fit of which one process fails and lives on, with whatever holds its error."""
    try:
        fit(trainer(), loader(), **last(fail))
    except Exception as error:
        KEPT.append(error)
        raise


def limited() -> None:
    one = trainer()
    limits = []

    def look(_: Any) -> None:
        processes: Any = one._processes
        options = processes._group.inner._get_backend(torch.device("cpu")).options
        limits.append(options._timeout)

    fit(one, loader(), callbacks=[At(1, look)])
    assert limits == [LIMIT], limits


def alone(act: Callable[[cz.Trainer], Any]) -> Callable[[], Any]:
    """A fit whose first process does something that all do together, and the others do not."""
    return lambda: fit(trainer(), loader(), callbacks=[AtFirst(6, act)])


def evaluate_alone(one: cz.Trainer) -> None:
    found: Any = cz.metrics.evaluate(one.model, loader())
    assert found.count == len(loader().dataset)


KEPT: list[Exception] = []
LIMIT = timedelta(seconds=1234)

CASES: dict[str, Callable[[], Any]] = {
    "batches": lambda: fit(trainer(), loader(12 if LAST else 16)),
    "images": lambda: fit(trainer(), loader(15 if LAST else 16)),
    "batch size": lambda: fit(trainer(), loader(batch_size=8 if LAST else 4)),
    "epochs": lambda: fit(trainer(), loader(), epochs=2 if LAST else 3),
    "options": lambda: fit(trainer(clip_norm=1.0 if LAST else None, lr=0.1 + PLACE), loader()),
    "statistics": lambda: fit(trainer(sync_batch_norm=LAST), loader()),
    "parameters": lambda: fit(trainer(8 if LAST else 4), loader()),
    "frozen": lambda: fit(trainer(freeze="conv1.*" if LAST else None), loader()),
    "classes": lambda: fit(trainer(), loader(classes=["a", "b", "d" if LAST else "c"])),
    "validation": lambda: fit(trainer(), loader(), None if LAST else loader()),
    "sizes": lambda: fit(trainer(), batches([4, 2 if LAST else 4])),
    "lazy sizes": lambda: fit(trainer(), Lazy([4, 2 if LAST else 4], 2)),
    "more": lambda: fit(trainer(), Lazy([4] * (3 if LAST else 2), 2)),
    "fewer": lambda: fit(trainer(), Lazy([4] * (1 if LAST else 2), 2)),
    "bad option": lambda: fit(trainer(), loader(), epochs=0 if LAST else 3),
    "evaluation": lambda: trainer().evaluate(loader(8 if LAST else 12)),
    "alone evaluate": alone(lambda one: one.evaluate(loader())),
    "alone fit": alone(lambda one: one.fit(loader(), epochs=1)),
    "alone construct": alone(lambda _: trainer()),
    "alone local": alone(evaluate_alone),
    "together": lambda: fit(
        trainer(), loader(), callbacks=[At(6, lambda one: one.evaluate(loader()))]
    ),
    "unequal step": lambda: fit(trainer(), loader(), callbacks=[At(6, if_first(evaluate))]),
    "unequal epoch": lambda: fit(trainer(), loader(), callbacks=[AtEpoch(if_first(evaluate))]),
    "unequal end": lambda: fit(trainer(), loader(), callbacks=[AtEnd(if_first(evaluate))]),
    "unequal lists": lambda: fit(
        trainer(), loader(), callbacks=[] if LAST else [AtEpoch(evaluate)]
    ),
    "equal": lambda: fit(
        trainer(), loader(), callbacks=[AtEpoch(evaluate), AtEnd(evaluate), At(2, evaluate)]
    ),
    "failed": lambda: fit(
        trainer(), loader(), callbacks=[*last(fail)["callbacks"], AtEnd(evaluate)]
    ),
    "raised": long_lived,
    "forward": lambda: fit(trainer(), loader(), **last(broken(2))),
    "backward": lambda: fit(trainer(), loader(), **last(broken(3))),
    "killed": lambda: fit(trainer(), loader(), **last(lambda _: os.kill(os.getpid(), 9))),
    "stuck": lambda: fit(trainer(), loader(), **last(stand_still)),
    "stopped": lambda: fit(trainer(), loader(), **last(lambda one: one.stop(), 2)),
    "limited": limited,
    "well": lambda: fit(trainer(), loader(), loader()),
}


def run(folder: Path, cases: str) -> None:
    limit = timedelta(seconds=10) if cases == "stuck" else LIMIT
    torch.distributed.init_process_group("gloo", timeout=limit)
    found = {}
    for case in cases.split(","):
        found[case] = ["", ""]
        try:
            CASES[case]()
        except Exception as error:
            found[case] = [type(error).__name__, str(error)]
        (folder / f"{PLACE}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
