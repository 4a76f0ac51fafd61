"""Accuracy that int8 costs, ours beside OpenVINO with NNCF, onnxruntime and LiteRT.

Every engine quantizes the same float32 weights after training, calibrated on the same 32 images,
one at a time, with the settings of `inference.py --precision int8`. Its answers are compared with
ours in float32. Before that, onnxruntime in float32 must give the same answers as ours.

photographs: EfficientNet-Lite0, 1 and 2 with their published weights, on the 26 photographs of
scikit-image, and on eight random crops of each, since 26 are few. Calibration is on other random
crops of these photographs.

fashion: a ResNet-18, MobileNetV2 and MobileNetV3-Small for small images, trained here on
Fashion-MNIST for some minutes, on its test set. Calibration is on the first pictures of the
training set. Trained networks are kept in --folder, so that a second run trains nothing.

Columns: "accuracy" is the share of right answers; "same first" the share of images with the same
first class as in float32; "same five" that with the same first five in any order; "mean" and "most"
the mean and the largest difference of probabilities, over all images and classes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from calibration import COUNT, SCALE, crops, photographs
from inference import (
    ANY,
    EVERY,
    INT8,
    PEERS,
    QUANTIZED,
    ROOT,
    MissingError,
    Network,
    converted,
    interpreter,
    known,
    machine,
    pair,
)
from numpy.typing import NDArray

import cnnzoo as cz
from cnnzoo.racing.race import difference

Array = NDArray[np.float32]

PARTS = ("photographs", "fashion")
TRAINED = ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2")
CLASSES = 10
# The largest difference of float32 engines' logits, over the largest logit.
EQUAL = 1e-4
# Images whose float32 answers are compared, and images of our batches.
COMPARED, BATCH = 64, 100
TOP = 5
# Crops of each photograph to test on, and the seed of them.
CROPS, TESTING = 8, 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The training of a network on the first images of Fashion-MNIST, by AdamW."""

    lr: float
    epochs: int
    images: int


RECIPES = {
    "resnet18": Recipe(lr=2e-3, epochs=2, images=8_000),
    "mobilenet_v2": Recipe(lr=4e-3, epochs=3, images=20_000),
    "mobilenet_v3_small": Recipe(lr=4e-3, epochs=3, images=30_000),
}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network with weights, its calibration and its test.

    Attributes:
        data: The part that it belongs to.
        network: Its files, among them a module of PyTorch with the same weights.
        model: The same in our format.
        calibration: Images (N, C, H, W) that every engine is calibrated on.
        images: Images that it is tested on.
        labels: Their classes, where they are known.
    """

    data: str
    network: Network
    model: cz.Model
    calibration: Array
    images: Array
    labels: NDArray[np.int64] | None


@dataclass(frozen=True, kw_only=True)
class Row:
    """The figures of one engine on one network; None where it did not run, for this reason."""

    data: str
    network: str
    engine: str
    images: int
    accuracy: float | None = None
    same_first: float | None = None
    same_five: float | None = None
    mean: float | None = None
    most: float | None = None
    missing: str = ""


# ---- networks


def of_photographs(arguments: argparse.Namespace) -> Iterator[Subject]:
    """The networks with published weights."""
    from timm import create_model

    for name in TRAINED:
        if name not in arguments.networks:
            continue
        model = cz.create_model(name, weights="default")
        transform = model.train_transform(scale=SCALE, color_jitter=0.0)
        paths = photographs()
        whole = Subject(
            data="photographs",
            network=stored(model, create_model(name), arguments.folder / name),
            model=model,
            calibration=crops(transform),
            images=model.preprocess(paths),
            labels=None,
        )
        yield whole
        cut = crops(transform, count=CROPS * len(paths), seed=TESTING)
        yield replace(whole, data="crops", images=cut)


def of_fashion(arguments: argparse.Namespace) -> Iterator[Subject]:
    """The networks that are trained here."""
    names = [name for name in RECIPES if name in arguments.networks]
    if not names:
        return
    train = cz.data.fashion_mnist(arguments.root)
    test = first(cz.data.fashion_mnist(arguments.root, train=False), arguments.test_images)
    images = arrays(test)
    for name in names:
        folder = arguments.folder / f"fashion-{name}"
        file = folder / "network.safetensors"
        if not file.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            trained(name, train, arguments).save(file)
        model = cz.load(file)
        yield Subject(
            data="Fashion-MNIST",
            network=stored(model, twin(name), folder),
            model=model,
            calibration=arrays(train.subset(range(COUNT))),
            images=images,
            labels=test.labels.astype(np.int64),
        )


def trained(name: str, train: cz.data.Dataset, arguments: argparse.Namespace) -> cz.Model:
    """The network for small images, trained by its recipe."""
    recipe = RECIPES[name]
    epochs = arguments.epochs or recipe.epochs
    chosen = first(train, arguments.train_images or recipe.images)
    model = cz.create_model(
        name, num_classes=CLASSES, in_channels=1, image_size=28, stem="small", seed=0
    )
    loader = cz.data.Loader(
        chosen, batch_size=arguments.batch_size, seed=0, threads=1, drop_last=True,
        transform=cz.transforms.fashion_mnist_train(),
    )  # fmt: skip
    optimizer = cz.AdamW(model, lr=recipe.lr, weight_decay=0.01)
    trainer = cz.Trainer(model, optimizer=optimizer, schedule=cz.OneCycle())
    began = time.perf_counter()
    trainer.fit(loader, epochs=epochs)
    took = time.perf_counter() - began
    print(f"{name}: {epochs} epochs of {len(chosen)} pictures in {took:.0f} s", flush=True)
    return model


def twin(name: str) -> Any:
    """The module of torchvision, its stem changed for small grey images as ours."""
    import torchvision
    from torch import nn

    module = torchvision.models.get_model(name, num_classes=CLASSES)
    if name == "resnet18":
        module.conv1 = nn.Conv2d(1, module.conv1.out_channels, 3, 1, 1, bias=False)
        module.maxpool = nn.Identity()
    else:
        stem = module.features[0]
        stem[0] = nn.Conv2d(1, stem[0].out_channels, 3, 1, 1, bias=False)
    return module


def stored(model: cz.Model, module: Any, folder: Path) -> Network:
    """The files of a network, with our weights in a module of PyTorch."""
    import torch

    state = {name: torch.from_numpy(array) for name, array in model.state_dict().items()}
    module.load_state_dict(state)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(module.eval(), folder / "network.pt")
    return Network(folder.name, folder, model.preprocess.crop, 0)


def first(dataset: cz.data.Dataset, count: int | None) -> cz.data.Dataset:
    """The first `count` samples, or all."""
    return dataset if count is None else dataset.subset(range(min(count, len(dataset))))


def arrays(dataset: cz.data.Dataset) -> Array:
    """All pictures as networks read them, (N, 1, 28, 28)."""
    transform = cz.transforms.fashion_mnist_eval()
    return np.stack([transform(photo[..., 0]) for photo, _ in dataset])


# ---- engines


def answers(model: Callable[[Array], Array], images: Array) -> Array:
    """Our logits, in batches."""
    return np.concatenate([model(images[i : i + BATCH]) for i in range(0, len(images), BATCH)])


def ours(subject: Subject) -> Array:
    """Our logits in int8."""
    model = subject.model.copy()
    model.quantize(subject.calibration)
    return answers(lambda x: model(x, precision="int8"), subject.images)


def peers(
    name: str, form: str, subject: Subject, images: Array, arguments: argparse.Namespace
) -> Array:
    """The logits of another engine, from a form of the network.

    Raises:
        MissingError: The engine or its tools are not installed, or fail.
    """
    given = [path for label, path in arguments.python if label in {name, ANY}]
    tools = [sys.executable, *(path for _, path in arguments.python)]
    python = interpreter(EVERY[name].modules, [*given, sys.executable])
    model = converted(subject.network, form, images[:1], [*dict.fromkeys(tools)])
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "images.npy", Path(folder) / "answers.npy"]
        np.save(paths[0], images)
        script = Path(__file__).with_name("quantization_peer.py")
        command = [python, script, name, model, *paths, arguments.threads]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise MissingError(f"ended with status {done.returncode}: {said[0]}")
        found: Array = np.load(paths[1])
    return found


def check(subject: Subject, want: Array, arguments: argparse.Namespace) -> str:
    """Compare the converted network in float32 with ours, and say by how much they differ."""
    images = subject.images[:COMPARED]
    try:
        found = peers("onnxruntime", "onnx", subject, images, arguments)
    except MissingError as reason:
        return f"not compared in float32: {reason}"
    apart = difference(found, want[: len(images)])
    if not apart <= EQUAL:
        sys.exit(f"{subject.network.name}: expected equal networks, got logits that differ {apart}")
    return f"in float32, logits of onnxruntime and ours differ by {apart:.0e} of the largest"


# ---- figures


def probabilities(logits: Array) -> Array:
    """Softmax of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)


def leading(logits: Array) -> NDArray[np.int64]:
    """The first five classes of each row, sorted by number."""
    return np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :TOP], axis=1)


def row_of(subject: Subject, engine: str, found: Array, want: Array) -> Row:
    """The figures of an engine's logits beside those in float32."""
    apart = np.abs(probabilities(found) - probabilities(want))
    classes = found.argmax(axis=1)
    right = None if subject.labels is None else float((classes == subject.labels).mean())
    return Row(
        data=subject.data,
        network=subject.model.name,
        engine=engine,
        images=len(found),
        accuracy=right,
        same_first=float((classes == want.argmax(axis=1)).mean()),
        same_five=float((leading(found) == leading(want)).all(axis=1).mean()),
        mean=float(apart.mean()),
        most=float(apart.max()),
    )


def measure(subject: Subject, arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows of all engines on a network, ours in float32 first."""
    np.save(subject.network.calibration, subject.calibration)
    want = answers(subject.model, subject.images)
    print(f"{subject.model.name}: {check(subject, want, arguments)}", flush=True)
    yield row_of(subject, "cnnzoo, float32", want, want)
    for name in arguments.engines:
        title = f"{EVERY[name]}, int8"
        try:
            if name in PEERS:
                form = QUANTIZED + EVERY[name].form
                found = peers(name, form, subject, subject.images, arguments)
            else:
                found = ours(subject)
            yield row_of(subject, title, found, want)
        except MissingError as reason:
            yield Row(
                data=subject.data, network=subject.model.name, engine=title, missing=str(reason),
                images=len(want),
            )  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """All rows as a Markdown table."""
    head = ("data", "network", "engine", "accuracy", "same first", "same five", "mean", "most")
    lines = [head, ("---",) * len(head)]
    for row in rows:
        if row.missing:
            cells: tuple[str, ...] = (f"missing: {row.missing}", *[""] * 4)
        else:
            shares = (row.accuracy, row.same_first, row.same_five)
            apart = (row.mean, row.most)
            cells = tuple("–" if share is None else f"{share:.2%}" for share in shares)
            cells += tuple("–" if value is None else f"{value:.1e}" for value in apart)
        lines.append((f"{row.data}, {row.images}", row.network, row.engine, *cells))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def versions(arguments: argparse.Namespace) -> dict[str, str]:
    """The versions of cnnzoo, of the engines, and of the tools that quantize."""
    modules = [module for name in arguments.engines for module in EVERY[name].modules]
    modules += ["nncf"] * ("openvino" in modules)
    code = (
        "import importlib.metadata as m, json, sys\n"
        "named = m.packages_distributions()\n"
        "print(json.dumps({n: m.version(named[n][0]) for n in sys.argv[1:] if n in named}))"
    )
    found: dict[str, str] = {}
    for python in dict.fromkeys([sys.executable, *(path for _, path in arguments.python)]):
        done = subprocess.run(
            [python, "-c", code, *modules], capture_output=True, text=True, check=True
        )
        found = {**json.loads(done.stdout), **found}
    return found


def main() -> None:
    """Train what is not there, measure, and print the table."""
    networks = [*TRAINED, *RECIPES]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", type=lambda text: known(text, PARTS), default=[*PARTS],
        help=f"default {','.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--networks", type=lambda text: known(text, networks), default=networks,
        help=f"default {','.join(networks)}",
    )  # fmt: skip
    parser.add_argument(
        "--engines", type=lambda text: known(text, INT8), default=[*INT8],
        help=f"default {','.join(INT8)}",
    )  # fmt: skip
    parser.add_argument(
        "--python", type=pair, action="append", default=[], metavar="NAME=PATH",
        help=f"another interpreter to look for an engine in, or for any: {ANY}=PATH; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "target" / "quantization",
        help="for trained and converted networks",
    )  # fmt: skip
    parser.add_argument("--root", help="the folder of Fashion-MNIST, as cz.data.fashion_mnist's")
    parser.add_argument("--test-images", type=int, help="of 10000; all if not given")
    parser.add_argument("--train-images", type=int, help="each network's own number if not given")
    parser.add_argument("--epochs", type=int, help="likewise")
    parser.add_argument("--batch-size", type=int, default=128, help="of training (default 128)")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count(),
        help="of training and every engine; on a busy machine, 1 trains much faster than 2",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write all figures")
    arguments = parser.parse_args()
    cz.set_num_threads(arguments.threads)
    arguments.folder = arguments.folder.resolve()

    of = {"photographs": of_photographs, "fashion": of_fashion}
    numbers = versions(arguments)
    print(f"{machine()}\n{', '.join(f'{name} {number}' for name, number in numbers.items())}")
    rows: list[Row] = []
    for part in arguments.parts:
        for subject in of[part](arguments):
            rows += measure(subject, arguments)
    print(f"\n{table(rows)}")
    if arguments.json:
        stored = {"machine": machine(), "versions": numbers, "rows": [asdict(row) for row in rows]}
        arguments.json.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
