"""Downloads well-known data sets; imported only when a file is missing."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from cnnzoo._download import Job, Patience, digest, download
from cnnzoo.errors import (
    DataError,
    PhotoFileError,
    PhotoNotFoundError,
    WeightsError,
    WeightsFileError,
    WeightsFileNotFoundError,
)

FASHION_MNIST = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"
)
CIFAR = "https://www.cs.toronto.edu/~kriz/"
# The address of each file, and the hash that its authors publish.
SOURCES = {
    "train-images-idx3-ubyte.gz": (FASHION_MNIST, "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
    "train-labels-idx1-ubyte.gz": (FASHION_MNIST, "md5:25c81989df183df01b3e8a0aad5dffbe"),
    "t10k-images-idx3-ubyte.gz": (FASHION_MNIST, "md5:bef4ecab320f06d8554ea6380940ec79"),
    "t10k-labels-idx1-ubyte.gz": (FASHION_MNIST, "md5:bb300cfdad3c16e7a12a480ee83cd310"),
    "cifar-10-binary.tar.gz": (CIFAR, "md5:c32a1d4ab5d03f1284b67883e8d87530"),
    "cifar-100-binary.tar.gz": (CIFAR, "md5:03b5dce01913d631647c71ecec9e9cb8"),
}


def fetch(path: Path, *, download: bool) -> Path:
    """A file of `SOURCES`, downloaded to `path` unless it is there, with its hash checked.

    Raises:
        PhotoNotFoundError: It is not there and is not to be downloaded.
        DataError: It has another hash or cannot be downloaded; the message says what to do.
    """
    base, known = SOURCES[path.name]
    url = base + path.name
    if path.exists():
        try:
            if digest(path, known) == known:
                return path
        except OSError as error:
            raise PhotoFileError(f"{path}: {error.strerror or error}") from error
        raise DataError(
            f"{path}: expected {known}, got another file; delete it to download it again"
        )
    offline = os.environ.get("CNNZOO_OFFLINE", "").strip().lower() in {"1", "on", "yes", "true"}
    if offline or not download:
        why = "CNNZOO_OFFLINE forbids it" if offline else "download=False"
        raise PhotoNotFoundError(
            f"{path}: expected a file, got none, and it is not downloaded from {url}: {why}"
        )
    job = Job(
        name=path.name, url=url, path=path, hash=known, setting="CNNZOO_DATA", what="the data set"
    )
    try:
        _download(job)
    except WeightsFileNotFoundError as error:
        raise PhotoNotFoundError(str(error)) from error
    except WeightsFileError as error:
        raise PhotoFileError(str(error)) from error
    except WeightsError as error:
        raise DataError(str(error)) from error
    return path


def _download(job: Job) -> None:
    download(job, Patience())


def unpack(archive: Path, folder: Path) -> None:
    """Extract the archive's folder of the same name to `folder`, all or nothing.

    The archive is deleted afterwards.

    Raises:
        PhotoFileError: A file cannot be written.
        DataError: The archive is damaged, or has no such folder.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".cnnzoo-") as beside:
        new = Path(beside, folder.name)
        new.mkdir()
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    name = Path(member.name).name
                    file = tar.extractfile(member) if member.isfile() else None
                    if file is not None and Path(member.name).parts[:-1] == (folder.name,):
                        with file, (new / name).open("wb") as out:
                            shutil.copyfileobj(file, out)
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{archive}: expected a tar file, got one that is damaged") from error
        except OSError as error:
            raise PhotoFileError(f"{new}: {error.strerror or error}") from error
        if not any(new.iterdir()):
            raise DataError(f"{archive}: expected the folder {folder.name}, got none")
        if not folder.exists():
            new.rename(folder)
    archive.unlink()
