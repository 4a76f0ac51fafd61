"""The arguments of `cnnzoo train` and `cnnzoo quantize`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from cnnzoo_command.common import (
    SOURCES,
    add_command,
    add_threads,
    below_one,
    count,
    from_zero,
    from_zero_number,
    positive,
    share,
    strictly_between,
)

MODEL = "tf_efficientnet_lite0"
# The options that say where and how a run goes on, which `--resume` takes too.
OF_A_PROCESS = {
    "resume",
    "folder",
    "validation",
    "device",
    "threads",
    "on_error",
    "json",
    "command",
    "check",
}


def add_train(commands: Any) -> None:
    """Add the command `train`."""
    command = add_command(
        commands,
        "train",
        "train a model on a folder of photographs",
        """
        cnnzoo train flowers/ --model resnet50 --epochs 10
        cnnzoo train more/ --model run/best.safetensors -o again
        cnnzoo train train/ --validation val/ --epochs 20 -o runs/first
        cnnzoo train --resume runs/first
        torchrun --nproc-per-node=2 -m cnnzoo train flowers/ --device cuda
        cnnzoo predict --model runs/first/best.safetensors daisy.jpg
        """,
        """
        The folder has a folder of photographs for each class. Trained weights, where they are
        installed or cached, get a new classifier, which is trained first; then all parameters are
        fine-tuned, earlier layers at lower learning rates. Without trained weights, all parameters
        are trained from random ones. Learning rates follow a cosine.

        The output folder gets best.safetensors, the model of the best epoch with its labels and
        preprocessing; summary.png, curves, confusion matrix and worst errors; summary.json, the
        same as numbers; log.jsonl, a line for each epoch; and last.safetensors, from which --resume
        continues. Ctrl-C ends the run after the current batch and keeps all of it.

        Processes that torchrun starts train together; --batch-size is that of all of them.
        """,
    )
    add = command.add_argument
    add(
        "folder",
        nargs="?",
        metavar="FOLDER",
        help="a folder with a folder of photographs for each class (with --resume: the run's own)",
    )
    add(
        "--validation",
        metavar="FOLDER",
        help="such a folder to validate on (default: a part of the photographs, see --split; with "
        "--resume: the run's own)",
    )
    add(
        "--split",
        type=strictly_between,
        default=0.8,
        metavar="S",
        help="without --validation, the share of each class that is trained on; the others are "
        "validated on (default: %(default)s)",
    )
    add(
        "-o",
        "--output",
        default="run",
        metavar="RUN",
        help="the folder for the results, which may not hold a run yet (default: %(default)s)",
    )
    add(
        "--resume",
        metavar="RUN",
        help="continue the run in this folder, with its settings (default: begin a new one)",
    )
    add(
        "--model",
        default=MODEL,
        metavar="M",
        help="a name that `cnnzoo list` prints, or a model file, whose network, weights and "
        "preprocessing training begins with (default: %(default)s)",
    )
    add(
        "--source",
        metavar="S",
        help=f"the source of the definition: {SOURCES} (default: the model's own)",
    )
    add(
        "--weights",
        default="auto",
        metavar="W",
        help="auto, the best published weights that are installed or cached, else none; none, "
        "random parameters; default, the best published ones, downloaded if need be; a tag of "
        "`cnnzoo info M`; or a weights file or model file (default: %(default)s)",
    )
    add(
        "--image-size",
        type=count,
        metavar="N",
        help="pixels of each side of an image (default: the model's)",
    )
    _add_recipe(command)
    _add_augmentation(command)
    add(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="precision of convolutions and linear layers in training (default: %(default)s)",
    )
    add("--device", default="cpu", metavar="D", help="cpu, cuda or cuda:N (default: %(default)s)")
    add(
        "--sync-batch-norm",
        action="store_true",
        help="under torchrun: batch norm uses the statistics of the batch of all processes "
        "(default: of its own)",
    )
    add_threads(command)
    add(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="end at a photograph that cannot be read, or train without it (default: %(default)s)",
    )
    add(
        "--json",
        action="store_true",
        help="print the summary as a JSON object (default: as text)",
    )
    command.set_defaults(check=partial(_check_train, command))


def _add_recipe(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("recipe").add_argument
    add("--epochs", type=count, default=10, metavar="N", help="epochs (default: %(default)s)")
    add(
        "--head-epochs",
        type=from_zero,
        metavar="N",
        help="of these, with all but the classifier frozen (default: three tenths of them; 0 "
        "without trained weights)",
    )
    add(
        "--lr",
        type=positive,
        metavar="LR",
        help="learning rate for all parameters (default: 0.001; 0.002 without trained weights)",
    )
    add(
        "--head-lr",
        type=positive,
        default=0.005,
        metavar="LR",
        help="learning rate for the classifier alone (default: %(default)s)",
    )
    add(
        "--layer-decay",
        type=share,
        metavar="D",
        help="factor on the learning rate from each layer to the one before it (default: 0.85; 1 "
        "without trained weights)",
    )
    add(
        "--weight-decay",
        type=from_zero_number,
        default=0.01,
        metavar="W",
        help="weight decay of AdamW, not of biases and norms (default: %(default)s)",
    )
    add(
        "--batch-size",
        type=count,
        default=32,
        metavar="N",
        help="images for each update (default: %(default)s)",
    )
    add(
        "--ema",
        type=below_one,
        metavar="D",
        help="decay of an exponential moving average of the parameters, which is what is validated "
        "and kept; 0 is none (default: 0; 0.999 without trained weights)",
    )
    add(
        "--label-smoothing",
        type=share,
        default=0.1,
        metavar="S",
        help="label smoothing (default: %(default)s)",
    )
    add(
        "--mixup",
        type=from_zero_number,
        default=0.0,
        metavar="A",
        help="alpha of mixup; 0 is off (default: %(default)s)",
    )
    add(
        "--cutmix",
        type=from_zero_number,
        default=0.0,
        metavar="A",
        help="alpha of CutMix; 0 is off (default: %(default)s)",
    )
    add(
        "--monitor",
        choices=("val_top1", "val_loss"),
        default="val_top1",
        help="what decides which epoch is the best (default: %(default)s)",
    )
    add(
        "--seed",
        type=from_zero,
        default=0,
        metavar="N",
        help="seed of the split, the order, the augmentation and the new classifier (default: "
        "%(default)s)",
    )


def _add_augmentation(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("augmentation").add_argument
    add(
        "--augment",
        choices=("none", "light", "strong"),
        default="light",
        help="none; light, crops of at least 35 %% of a photograph, flips and other colours; "
        "strong, TrivialAugment and random erasing (default: %(default)s)",
    )
    add(
        "--no-flip",
        action="store_true",
        help="no mirrored photographs, as of text or digits (default: half of them are)",
    )


def _check_train(command: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuse arguments that contradict each other."""
    if args.resume is None:
        if args.folder is None:
            command.error("the following arguments are required: FOLDER")
        if args.validation is not None and args.split != command.get_default("split"):
            command.error("argument --split: not allowed with argument --validation")
        if args.head_epochs is not None and args.head_epochs > args.epochs:
            command.error(
                f"argument --head-epochs: expected at most the {args.epochs} epochs, got "
                f"{args.head_epochs}"
            )
        return
    for name, value in vars(args).items():
        if name not in OF_A_PROCESS and value != command.get_default(name):
            command.error(
                f"argument --{name.replace('_', '-')}: not allowed with argument --resume, which "
                "takes the settings of the run"
            )


def add_quantize(commands: Any) -> None:
    """Add the command `quantize`."""
    command = add_command(
        commands,
        "quantize",
        "quantize a model to int8, for faster inference",
        """
        cnnzoo quantize --model run/best.safetensors photos/ -o small.safetensors
        cnnzoo predict --model small.safetensors --precision int8 photo.jpg
        """,
        """
        The ranges of all values are measured on the photographs: some dozens of those that the
        model is used for. Layers that would change the output too much stay in float32.
        """,
    )
    add = command.add_argument
    add(
        "folder",
        metavar="FOLDER",
        help="a folder with photographs in it or below, of which --images are taken evenly",
    )
    add(
        "--model",
        required=True,
        metavar="M",
        help="a model file, or a name that `cnnzoo list` prints, with its published weights "
        "(required)",
    )
    add("-o", "--output", required=True, metavar="FILE", help="the model file (required)")
    add(
        "--images",
        type=count,
        default=100,
        metavar="N",
        help="number of photographs that are used (default: %(default)s)",
    )
    add(
        "--max-error",
        type=positive,
        default=0.05,
        metavar="E",
        help="the largest error of a layer in int8, as a share of the spread of the logits "
        "(default: %(default)s)",
    )
    add(
        "--weights-as",
        choices=("int8", "float32"),
        default="int8",
        help="the type of the weights in the file: int8 takes a third of the space, float32 keeps "
        "their bits for other precisions (default: %(default)s)",
    )
    add_threads(command)
    add("--json", action="store_true", help="print the report as JSON (default: as a table)")
