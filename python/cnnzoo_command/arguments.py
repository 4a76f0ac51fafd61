"""The argument parser of the command `cnnzoo`."""

from __future__ import annotations

import argparse
import textwrap
from typing import Any

from cnnzoo_command.status import __version__

# The sources of definitions of networks.
SOURCES = "torchvision, timm, keras, paper"

STATUSES = """exit status:
  0    success
  1    an error, with a line on stderr: a photograph that cannot be read, no such model; or `list`
       found nothing
  2    invalid arguments
  130  interrupted by Ctrl-C
  141  the output was closed early, as by `head`"""


def parser() -> argparse.ArgumentParser:
    """The parser of all arguments."""
    whole = argparse.ArgumentParser(
        prog="cnnzoo",
        description="The classic image-classification networks: list them, show their facts, "
        "classify photographs with them.",
        epilog="`cnnzoo COMMAND --help` describes a command.\n\n" + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"cnnzoo {__version__}")
    whole.set_defaults(command=None)
    commands = whole.add_subparsers(title="commands", metavar="COMMAND")

    command = _add(
        commands,
        "list",
        "list models with their size and cost",
        """
        cnnzoo list                        everything
        cnnzoo list resnet                 names with "resnet" in them
        cnnzoo list 'efficientnet_b?'      names that match a pattern
        cnnzoo list --max-params 10M       at most ten million parameters
        cnnzoo list --source keras         models that Keras has too
        cnnzoo list --weights --json       models with trained weights, for a program
        """,
    )
    command.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a part of the name, or a glob pattern (* ? [...]) for the whole name",
    )
    command.add_argument("--family", metavar="F", help="only this family: ResNet, ResNeXt, ...")
    command.add_argument("--source", metavar="S", help=f"only models of this source: {SOURCES}")
    command.add_argument("--weights", action="store_true", help="only models with trained weights")
    command.add_argument(
        "--max-params", type=_amount, metavar="N", help="at most N parameters: 30M"
    )
    command.add_argument(
        "--max-macs", type=_amount, metavar="N", help="at most N multiply-adds for an image: 5G"
    )
    command.add_argument("--json", action="store_true", help="all facts, as a JSON list")

    command = _add(
        commands,
        "info",
        "show the facts about a model",
        """
        cnnzoo info resnet50
        cnnzoo info efficientnet_v2_s --layers
        """,
    )
    command.add_argument("model", metavar="MODEL", help="a name that `cnnzoo list` prints")
    command.add_argument("--source", metavar="S", help=f"the source of the definition: {SOURCES}")
    command.add_argument(
        "--layers", action="store_true", help="also every layer: shape, parameters, multiply-adds"
    )
    command.add_argument("--parts", action="store_true", help="also the stages and their blocks")
    command.add_argument("--json", action="store_true", help="as a JSON object")

    _add_compare(commands)

    command = _add(
        commands,
        "diagram",
        "draw a model",
        """
        cnnzoo diagram googlenet -o googlenet.svg
        cnnzoo diagram googlenet --part inception3a -o inception.svg
        cnnzoo diagram resnet50 --level node -o nodes.svg
        cnnzoo diagram densenet121 -o densenet121.dot
        """,
    )
    command.add_argument("model", metavar="MODEL", help="a name that `cnnzoo list` prints")
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="the picture, a .svg file; or the graph for Graphviz, a .dot or .gv file",
    )
    command.add_argument("--source", metavar="S", help=f"the source of the definition: {SOURCES}")
    command.add_argument(
        "--level",
        choices=("block", "node"),
        default="block",
        help="an overview with the inside of each sort of block, or every node (default: "
        "%(default)s)",
    )
    command.add_argument("--part", metavar="P", help="only the inside of this stage or block")
    command.add_argument(
        "--theme",
        choices=("auto", "light", "dark"),
        default="auto",
        help="colours for a light or a dark page; auto follows whoever looks at it (default: "
        "%(default)s)",
    )

    command = _add(
        commands,
        "predict",
        "classify photographs",
        """
        cnnzoo predict cat.jpg
        cnnzoo predict holiday/ --top 3 --format csv > holiday.csv
        cnnzoo predict cat.jpg dog.png --save picture.png
        cnnzoo predict --model run/best.safetensors daisy.jpg
        curl -s https://example.com/cat.jpg | cnnzoo predict - --format jsonl
        """,
    )
    command.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="a JPEG, PNG or WebP file, a folder with such files in it or below, or - for the "
        "bytes of one on standard input",
    )
    command.add_argument(
        "--model",
        default="tf_efficientnet_lite0",
        metavar="M",
        help="a name that `cnnzoo list` prints, or a model file, as `Model.save` and training runs "
        "(best.safetensors) write, with its weights, labels and preprocessing (default: "
        "%(default)s)",
    )
    command.add_argument(
        "--weights",
        metavar="W",
        help="weights for a network named by --model: a tag of `cnnzoo info M`, a .safetensors or "
        ".pth file, or `default`: the best published ones, which are also used if not given",
    )
    command.add_argument(
        "--top",
        type=_count,
        default=5,
        metavar="N",
        help="number of classes to show (default: %(default)s)",
    )
    command.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda or cuda:N")
    command.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        default="float32",
        help="precision of convolutions and linear layers; bfloat16 is faster on a processor with "
        "AVX512-BF16; int8 needs the file of a model that was quantized (default: %(default)s)",
    )
    command.add_argument(
        "--save",
        metavar="PICTURE",
        help="draw the photographs and their predictions into this .png, .jpg or .webp file",
    )
    command.add_argument(
        "--format",
        choices=("text", "jsonl", "csv", "json"),
        default="text",
        help="text for people (default); jsonl, an object in each line; csv, a row for each class; "
        "json, a list. Each prediction is written as soon as it is made; a photograph that "
        "cannot be read has an entry with its error",
    )
    command.add_argument(
        "--json",
        action="store_const",
        dest="format",
        const="json",
        help="the same as --format json",
    )

    command = _add(
        commands,
        "bench",
        "time inference on this machine, beside PyTorch",
        """
        cnnzoo bench resnet50
        cnnzoo bench mobilenet_v2 resnet18 --batch 1,8 --threads 1,2
        cnnzoo bench vit_b_16 --against torch,torch_compile --json vit.json
        """,
        """
        The engines run on the same random weights and images, each in a process of its own, and
        take turns; times are medians. MiB is the peak memory of the whole process, "difference"
        the largest one to PyTorch's answer over its largest value.
        """,
    )
    command.add_argument(
        "models", nargs="+", metavar="MODEL", help="a name that `cnnzoo list` prints"
    )
    command.add_argument(
        "--batch", type=_counts, default=[1], metavar="N,...", help="images at once (default: 1)"
    )
    command.add_argument(
        "--threads", type=_counts, metavar="N,...", help="threads of a run (default: every core)"
    )
    command.add_argument(
        "--rounds",
        type=_count,
        default=7,
        metavar="N",
        help="turns of each engine (default: %(default)s)",
    )
    command.add_argument(
        "--against",
        metavar="E,...",
        help="other engines: torch, torch_channels_last, torch_compile; by default the first two, "
        "if the library that has the network is installed",
    )
    command.add_argument("--json", metavar="FILE", help="write all figures into this file")
    _add_export(commands)
    return whole


def _add_export(commands: Any) -> None:
    command = _add(
        commands,
        "export",
        "write a model as an ONNX file",
        """
        cnnzoo export resnet50 -o resnet50.onnx
        cnnzoo export run/best.safetensors -o flowers.onnx --batch 1 --preprocess
        cnnzoo export mobilenet_v2 -o mobilenet.onnx --image dynamic
        """,
    )
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a name that `cnnzoo list` prints, or a model file, as `Model.save` and training runs "
        "write",
    )
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="the .onnx file")
    command.add_argument(
        "--weights",
        metavar="W",
        help="weights for a network that is named: a tag of `cnnzoo info MODEL`, a .safetensors or "
        ".pth file, or `default`: the best published ones, which are also used if not given",
    )
    command.add_argument(
        "--batch",
        type=_count_or_dynamic,
        default="dynamic",
        metavar="N",
        help="images at once, or dynamic for any number (default: %(default)s)",
    )
    command.add_argument(
        "--image",
        type=_side_or_dynamic,
        metavar="S",
        help="the side of the images, or 240x320 for height and width, or dynamic for any, where "
        "the network allows it (default: the network's own)",
    )
    command.add_argument(
        "--opset", type=_count, metavar="N", help="the version of ONNX's operators (default: 20)"
    )
    command.add_argument(
        "--preprocess",
        action="store_true",
        help="normalise bytes (N, H, W, C) in the graph; resizing and cropping stay outside",
    )
    command.add_argument(
        "--fold", action="store_true", help="fold each batch norm into the convolution before it"
    )
    command.add_argument(
        "--external",
        action="store_true",
        help="write the arrays to FILE.data, as happens anyway where one file would be too large",
    )
    command.set_defaults(device="cpu")


def _add_compare(commands: Any) -> None:
    command = _add(
        commands,
        "compare",
        "compare models: size, cost, memory, published accuracy",
        """
        cnnzoo compare alexnet vgg16 resnet50 efficientnet_b0
        cnnzoo compare 'mobilenet_v*' --sort top1 --max-macs 300M
        cnnzoo compare resnet50 --weights all --source timm
        cnnzoo compare --year 2012-2020 --save timeline.png --plot timeline
        cnnzoo compare resnet18 mobilenet_v2 --measure --threads 1 --json
        """,
        """
        Accuracies are those that the publishers of the weights state; times are measured on this
        machine. Nothing is downloaded.
        """,
    )
    command.add_argument(
        "models",
        nargs="*",
        default=["*"],
        metavar="MODEL",
        help="a name that `cnnzoo list` prints, or a glob pattern (* ? [...]) for several "
        "(default: every model)",
    )
    command.add_argument("--source", metavar="S", help=f"the source of the definitions: {SOURCES}")
    command.add_argument(
        "--weights",
        choices=("best", "all"),
        default="best",
        help="the weights whose accuracy is shown: the best of each model's source (default), or "
        "a row for each",
    )
    command.add_argument(
        "--imagenet-only",
        action="store_true",
        help="no weights that were trained on more data than ImageNet-1k",
    )
    command.add_argument("--family", metavar="F", help="only this family: ResNet, ResNeXt, ...")
    command.add_argument(
        "--year", type=_years, metavar="Y", help="only papers of this year, or of years: 2012-2020"
    )
    command.add_argument(
        "--max-params", type=_amount, metavar="N", help="at most N parameters: 30M"
    )
    command.add_argument(
        "--max-macs", type=_amount, metavar="N", help="at most N multiply-adds for an image: 5G"
    )
    command.add_argument(
        "--min-top1", type=_amount, metavar="P", help="a top-1 accuracy of at least P percent"
    )
    command.add_argument(
        "--sort", metavar="COLUMN", help="sort by top1, params, macs, memory, milliseconds, ..."
    )
    command.add_argument(
        "--measure", action="store_true", help="measure the time of inference on this machine"
    )
    command.add_argument(
        "--batch",
        type=_count,
        default=1,
        metavar="N",
        help="images at once, with --measure (default: %(default)s)",
    )
    command.add_argument(
        "--threads", type=_count, metavar="N", help="threads of --measure (default: every core)"
    )
    command.add_argument(
        "--save", metavar="PICTURE", help="draw the models into this .png, .svg or .pdf file"
    )
    command.add_argument(
        "--plot",
        choices=("bubbles", "timeline", "latency", "memory"),
        default="bubbles",
        help="the chart that --save draws: bubbles, accuracy over multiply-adds, or over measured "
        "times, with an area for the parameters (default); timeline, accuracy over the years; "
        "latency and memory, a bar for each model",
    )
    command.add_argument("--json", action="store_true", help="as a JSON list")


def _add(
    commands: Any,
    name: str,
    summary: str,
    examples: str,
    text: str = "",
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n{textwrap.dedent(text).rstrip()}",
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name)
    return parser


def _amount(text: str) -> float:
    try:
        return from_human(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number such as 30M, 5G or 2e6, got '{text}'"
        ) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, got '{text}'")
    return int(text)


def _count_or_dynamic(text: str) -> int | str:
    return text if text == "dynamic" else _count(text)


def _side_or_dynamic(text: str) -> int | str | tuple[int, int]:
    height, x, width = text.partition("x")
    return (_count(height), _count(width)) if x else _count_or_dynamic(text)


def _counts(text: str) -> list[int]:
    return [_count(part) for part in text.split(",")]


def _years(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    return _count(first), _count(last or first)


def from_human(text: str) -> float:
    """The number that `25.6M` means, also `5e9` or `30_000_000`.

    Raises:
        ValueError: It is no number, negative or infinite.
    """
    units = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
    unit = units.get(text[-1:].upper(), 1.0)
    number = float(text[:-1] if unit > 1 else text) * unit
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number
