"""Data sets, and the data loader that batches them for a network.

import cnnzoo as cz

pictures = cz.data.ImageFolder("pictures")
train, validation = pictures.split(0.9, seed=0)
for x, y in cz.data.Loader(train, batch_size=64, transform=model.preprocess):
    ...
"""

from __future__ import annotations

from cnnzoo.data.dataset import Arrays, Dataset, ImageFolder
from cnnzoo.data.known import cifar10, cifar100, fashion_mnist, idx
from cnnzoo.data.loader import BadSample, DataWarning, Loader, LoaderState
from cnnzoo.data.photos import Photos
from cnnzoo.data.showing import show_batch
from cnnzoo.data.table import Table

__all__ = [
    "Arrays",
    "BadSample",
    "DataWarning",
    "Dataset",
    "ImageFolder",
    "Loader",
    "LoaderState",
    "Photos",
    "Table",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "idx",
    "show_batch",
]
