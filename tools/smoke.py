"""Predicts a photograph and trains a step with the installed package, in whatever Python runs this.

For environments that hold nothing but the package and what it requires: `make pythons` calls it.
"""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

import cnnzoo as cz

PHOTO = Path(__file__).parents[1] / "photos" / "coffee.png"


def main() -> None:
    """Raise an error if anything of it does not work."""
    trained = cz.create_model("tf_efficientnet_lite0", weights="default")
    label = trained.predict(PHOTO)[0].label
    if label != "espresso":
        sys.exit(f"{PHOTO.name}: expected espresso, got {label}")
    model = cz.create_model("resnet18", num_classes=2, stem="small", seed=0)
    x = np.random.default_rng(0).standard_normal((4, 3, 32, 32)).astype(np.float32)
    optimizer = cz.SGD(model, lr=0.01)
    losses = [model.train_step(x, np.arange(4) % 2, optimizer).loss for _ in range(3)]
    if not losses[-1] < losses[0]:
        sys.exit(f"expected a falling loss, got {losses}")
    print(f"Python {platform.python_version()}: {label}, loss {losses[0]:.3f} to {losses[-1]:.3f}")


if __name__ == "__main__":
    main()
