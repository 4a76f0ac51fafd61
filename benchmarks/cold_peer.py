"""One engine of `cold_start.py`, in a process of its own: from its start to a photograph's class.

Imports nothing that its engine does not need. Writes the index of the most probable class, and then
the process's peak memory in bytes.
"""

from __future__ import annotations

import sys

# The shorter side of the image before it is cut, as the weights of these networks have it.
SHORT = 232


def pixels(photo: str):  # noqa: ANN201  # NumPy is imported below
    """The photograph as torchvision prepares it, (1, 3, 224, 224)."""
    import numpy as np
    from PIL import Image

    image = Image.open(photo).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (SHORT * width // short, SHORT * height // short)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in image.size)
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(((array - mean) / deviation).transpose(2, 0, 1)[None])


def cnnzoo(model: str, photo: str) -> int:
    """Ours, from a model file."""
    import cnnzoo

    return cnnzoo.load(model, lazy=True).predict(photo)[0].index


def torch(name: str, model: str, photo: str) -> int:
    """PyTorch and torchvision, from a state dict in the same file."""
    import torch
    import torchvision
    from safetensors.torch import load_file
    from torchvision.io import decode_image
    from torchvision.transforms import InterpolationMode

    network = getattr(torchvision.models, name)()
    network.load_state_dict(load_file(model))
    prepare = torchvision.transforms._presets.ImageClassification(
        crop_size=224, resize_size=SHORT, interpolation=InterpolationMode.BILINEAR
    )
    with torch.inference_mode():
        return int(network.eval()(prepare(decode_image(photo))[None]).argmax())


def peer(engine: str, model: str, photo: str) -> int:
    """One of the engines of `peers.py`, with two threads."""
    from types import SimpleNamespace

    import peers

    task = SimpleNamespace(model=model, threads=2, precision="float32")
    return int(getattr(peers, engine)(task, pixels(photo))().argmax())


def main() -> None:
    """Print the class, then the memory."""
    engine, name, model, photo = sys.argv[1:]
    if engine == "cnnzoo":
        found = cnnzoo(model, photo)
    elif engine == "torch":
        found = torch(name, model, photo)
    else:
        found = peer(engine, model, photo)
    print(found, flush=True)
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    print(1024 * int(peak), flush=True)


if __name__ == "__main__":
    main()
