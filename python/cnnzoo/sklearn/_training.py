"""Fine-tuning of a network on the photographs of an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import number, whole
from cnnzoo._threads import get_num_threads
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model
from cnnzoo.prediction import log_softmax
from cnnzoo.sklearn._photographs import Photographs
from cnnzoo.training import AdamW, Cosine, CrossEntropy, FunctionLoss, History, Trainer
from cnnzoo.transforms import Transform

# Images and targets: classes (N,), or weights of the images at their classes (N, K).
Batch: TypeAlias = "tuple[NDArray[Any], NDArray[Any]]"


@dataclass
class Shuffled(Sequence[Batch]):
    """Batches of photographs in an order that each pass draws anew, as `Trainer.fit` takes them.

    Batches differ by one photograph at most, so that none has a single one, unless all do.

    Attributes:
        photographs: The photographs.
        targets: Their targets.
        prepare: Function of a photograph, an epoch and an index: the image (C, H, W).
        size: Number of photographs of a batch, at most.
        seed: Seed of the order.
    """

    photographs: Photographs
    targets: NDArray[Any]
    prepare: Callable[[Any, int, int], NDArray[np.float32]]
    size: int
    seed: int
    _epoch: int = field(default=0, init=False)

    def __len__(self) -> int:
        return math.ceil(len(self.photographs) / self.size)

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError  # the trainer iterates

    def __iter__(self) -> Iterator[Batch]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.photographs))
        with ThreadPoolExecutor(get_num_threads()) as pool:
            for chosen in np.array_split(order, len(self)):
                images = pool.map(lambda at: self.prepare(self.photographs[at], epoch, at), chosen)
                yield np.stack(list(images)), self.targets[chosen]


def fine_tune(
    model: Model,
    photographs: Photographs,
    classes: NDArray[np.int64],
    sample_weight: NDArray[Any] | None,
    *,
    epochs: int,
    lr: Any,
    weight_decay: Any,
    batch_size: int,
    augment: Any,
    seed: int,
) -> History:
    """Train all parameters by AdamW with a cosine schedule.

    Args:
        model: The network, whose classifier has as many logits as there are classes.
        photographs: The photographs.
        classes: Indices of classes (N,).
        sample_weight: Weights (N,) of the photographs in the loss, if they differ.
        epochs: Number of passes over the photographs.
        lr: The largest learning rate.
        weight_decay: Weight decay of AdamW.
        batch_size: Number of photographs of an update.
        augment: Whether to augment as `model.train_transform()` does; or another transform.
        seed: Seed of order, augmentation and dropout.
    """
    loss: CrossEntropy | FunctionLoss = CrossEntropy()
    targets: NDArray[Any] = classes
    if sample_weight is not None:
        targets = np.zeros((len(classes), model.num_classes), np.float32)
        targets[np.arange(len(classes)), classes] = sample_weight / sample_weight.mean()
        loss = FunctionLoss(weighted_cross_entropy)
    data = Shuffled(
        photographs, targets, _preparation(model, augment, seed), size=batch_size, seed=seed
    )
    rate = number("`lr`", lr, above=0)
    decay = number("`weight_decay`", weight_decay, least=0)
    trainer = Trainer(
        model,
        optimizer=AdamW(model, lr=rate, weight_decay=decay),
        schedule=Cosine(),
        loss=loss,
        seed=seed,
    )
    return trainer.fit(data, epochs=whole("`epochs`", epochs, least=1), progress=False)


def weighted_cross_entropy(
    logits: NDArray[np.float32], targets: NDArray[Any]
) -> tuple[float, NDArray[np.float32], float]:
    """Cross-entropy of images with weights, its gradient, and the sum of the weights.

    Args:
        logits: Logits (N, K).
        targets: The weight of each image at its class, else 0 (N, K).
    """
    log = log_softmax(logits)
    weights = targets.sum(axis=1, keepdims=True, dtype=np.float64)
    total = float(weights.sum())
    gradient = (weights * np.exp(log) - targets) / total
    return -float((targets * log).sum()) / total, gradient.astype(np.float32), total


def _preparation(
    model: Model, augment: Any, seed: int
) -> Callable[[Any, int, int], NDArray[np.float32]]:
    """The function that makes an image of a photograph in an epoch.

    Raises:
        ArgumentError: `augment` is neither True nor False nor a transform.
    """
    if augment is False:
        preprocess = model.preprocess
        return lambda photograph, epoch, at: preprocess.to_array(photograph)[0]
    transform = model.train_transform() if augment is True else augment
    if not isinstance(transform, Transform):
        raise ArgumentError(
            f"`augment`: expected True, False or a transform of cnnzoo.transforms, got {augment!r}"
        )
    return lambda photograph, epoch, at: transform(
        photograph, seed=seed, epoch=epoch, index=int(at)
    )
