"""Folders of pictures, made for a test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, *, width: int = 64, height: int = 48) -> Image.Image:
    """Smooth colours and a little noise, another for every seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth).astype(np.int16) + random.integers(-8, 9, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def save(path: Path, seed: int, *, width: int = 64, height: int = 48) -> Path:
    """A picture in a file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(seed, width=width, height=height).save(path)
    return path


def folder(root: Path, *, classes: int = 3, each: int = 7, ending: str = ".png") -> Path:
    """A folder of folders of pictures of several sizes."""
    for seed in range(classes * each):
        width, height = 40 + 3 * seed, 70 - 2 * seed
        save(
            root / f"class{seed % classes}" / f"{seed:03}{ending}", seed, width=width, height=height
        )
    return root


def idx(array: np.ndarray) -> bytes:
    """An IDX file of bytes, as MNIST and its relatives are stored."""
    shape = b"".join(length.to_bytes(4, "big") for length in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def clothes(root: Path, *, each: int = 20) -> Path:
    """Files of Fashion-MNIST's names, sizes and classes; each class is another grey."""
    root.mkdir(parents=True, exist_ok=True)
    labels = np.tile(np.arange(10, dtype=np.uint8), each)
    noise = np.random.default_rng(0).integers(0, 20, (len(labels), 28, 28), dtype=np.uint8)
    images = noise + 23 * labels[:, np.newaxis, np.newaxis]
    for part in ("train", "t10k"):
        (root / f"{part}-images-idx3-ubyte").write_bytes(idx(images))
        (root / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels))
    return root
