"""The answers of an engine of `peers.py` to many images, in an interpreter that has the engine.

    python benchmarks/quantization_peer.py ENGINE MODEL images.npy answers.npy THREADS

MODEL takes one image at a time.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import peers


def main() -> None:
    """Write the logits of all images, (N, classes)."""
    engine, model, given, answers, threads = sys.argv[1:]
    images = np.load(given)
    task = SimpleNamespace(model=model, threads=int(threads), precision="float32")
    # A run reads the image that it was made with, so each image takes its place.
    place = images[:1].copy()
    run = getattr(peers, engine)(task, place)
    found = []
    for image in images:
        place[0] = image
        found.append(np.array(run(), np.float32).reshape(-1))
    np.save(answers, np.stack(found))


if __name__ == "__main__":
    main()
