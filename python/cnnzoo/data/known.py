"""Well-known data sets, from where they are installed, else downloaded once.

`CNNZOO_DATA` sets the download folder (by default `cnnzoo/data` in the user's cache);
`CNNZOO_OFFLINE=1` forbids network access.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from cnnzoo import _native
from cnnzoo.data.dataset import Dataset, names_of

PathLike = str | os.PathLike[str]

# Where Debian's package dataset-fashion-mnist puts its files.
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def idx(images: PathLike, labels: PathLike, *, classes: list[str] | None = None) -> Dataset:
    """A data set from a pair of IDX files, plain or `.gz`: MNIST and its relatives.

    Args:
        images: The file of the images, bytes of shape (N, H, W).
        labels: The file of the class labels, bytes of shape (N,).
        classes: The names of the classes; numbers if not given.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: A file is no IDX file, cut short or too long, or they do not belong together.
    """
    names = names_of("idx", classes)
    engine = _native.Dataset.idx(images, labels, names)
    about = f"{len(engine)} pictures of {os.fspath(images)}"
    return Dataset(engine, about, made=("idx", images, labels, names), named=names is not None)


def fashion_mnist(
    root: PathLike | None = None, *, train: bool = True, download: bool = True
) -> Dataset:
    """Fashion-MNIST: 28x28 pictures of clothes, ten classes, 60000 to train and 10000 to test.

    Args:
        root: The folder of its four files, plain or `.gz`, or the one above torchvision's
            `FashionMNIST/raw`. If not given, Debian's package `dataset-fashion-mnist` if it is
            installed, else the download folder.
        train: Whether to take the training set of 60000, not the test set of 10000.
        download: Whether to download missing files; their hashes are checked.

    Raises:
        FileNotFoundError: A file is not there and is not to be downloaded.
        DataError: A file is damaged or cannot be downloaded; the message says what to do.

    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747.
    """
    part = "train" if train else "t10k"
    names = (f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz")
    if root is None and all((DEBIAN_FASHION_MNIST / name).is_file() for name in names):
        root = DEBIAN_FASHION_MNIST
    folder = _folder(root, "fashion-mnist")
    files = [_find(folder, name) or _fetch(folder, name, download=download) for name in names]
    return idx(files[0], files[1], classes=list(FASHION_CLASSES))


def cifar10(root: PathLike | None = None, *, train: bool = True, download: bool = True) -> Dataset:
    """CIFAR-10: 32x32 pictures, ten classes, 50000 to train and 10000 to test.

    Args:
        root: The folder with `cifar-10-batches-bin` of the binary version in it, or that folder
            itself; if not given, the download folder. The Python version is a pickle, and pickles
            are not read.
        train: Whether to take the training set of 50000, not the test set of 10000.
        download: Whether to download missing files; their hashes are checked.

    Raises:
        FileNotFoundError: A file is not there and is not to be downloaded.
        DataError: A file is damaged or cannot be downloaded; the message says what to do.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """
    batches = (
        [f"data_batch_{number}.bin" for number in range(1, 6)] if train else ["test_batch.bin"]
    )
    names = "batches.meta.txt"
    folder = _unpacked(root, "cifar-10-binary.tar.gz", "cifar-10-batches-bin", download=download)
    files = [folder / name for name in batches]
    engine = _native.Dataset.cifar(files, "only", folder / names)
    about = f"{len(engine)} pictures of {folder}"
    return Dataset(engine, about, made=("cifar", files, "only", folder / names))


def cifar100(
    root: PathLike | None = None,
    *,
    train: bool = True,
    labels: Literal["fine", "coarse"] = "fine",
    download: bool = True,
) -> Dataset:
    """CIFAR-100: 32x32 pictures, 100 classes in 20 superclasses, 50000 to train and 10000 to test.

    Args:
        root: The folder with `cifar-100-binary` in it, or that folder itself; if not given, the
            download folder.
        train: Whether to take the training set of 50000, not the test set of 10000.
        labels: `fine` for the 100 classes, `coarse` for their 20 superclasses.
        download: Whether to download missing files; their hashes are checked.

    Raises:
        FileNotFoundError: A file is not there and is not to be downloaded.
        DataError: A file is damaged or cannot be downloaded; the message says what to do.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """
    folder = _unpacked(root, "cifar-100-binary.tar.gz", "cifar-100-binary", download=download)
    file = folder / ("train.bin" if train else "test.bin")
    names = folder / f"{labels}_label_names.txt"
    engine = _native.Dataset.cifar([file], labels, names)
    about = f"{len(engine)} pictures of {file}"
    return Dataset(engine, about, made=("cifar", [file], labels, names))


def _folder(root: PathLike | None, name: str) -> Path:
    if root is not None:
        return Path(root).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("CNNZOO_DATA") or os.path.join(cache, "cnnzoo", "data")
    return Path(home).expanduser() / name


def _find(folder: Path, name: str) -> Path | None:
    plain = name.removesuffix(".gz")
    raw = folder / "FashionMNIST" / "raw"
    candidates = [folder / name, folder / plain, raw / plain, raw / name]
    return next((path for path in candidates if path.is_file()), None)


def _unpacked(root: PathLike | None, archive: str, inside: str, *, download: bool) -> Path:
    folder = _folder(root, "")
    if folder.name == inside:
        return folder
    if not (folder / inside).is_dir():
        from cnnzoo.data import fetch

        fetch.unpack(_fetch(folder, archive, download=download), folder / inside)
    return folder / inside


def _fetch(folder: Path, name: str, *, download: bool) -> Path:
    from cnnzoo.data import fetch

    return fetch.fetch(folder / name, download=download)
