"""The argument parser of the command `cnnzoo`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from cnnzoo_command.common import (
    SOURCES,
    add_command,
    amount,
    count,
    counts,
    json_file,
    years,
)
from cnnzoo_command.exporting import add_export
from cnnzoo_command.judging import add_completion, add_download, add_embed, add_evaluate
from cnnzoo_command.learning import add_quantize, add_train
from cnnzoo_command.status import __version__

# The commands as `cnnzoo --help` shows them.
GROUPS = {
    "find a model": ("list", "info", "compare", "diagram", "download"),
    "use it on photographs": ("predict", "embed", "evaluate"),
    "make your own": ("train", "quantize", "export"),
    "on this machine": ("bench", "completion"),
}

STATUSES = """exit status:
  0    success
  1    an error, with a line on stderr: a photograph that cannot be read, while the others were
       used; no such model; or `list` found nothing
  2    invalid arguments
  130  interrupted by Ctrl-C
  141  the output was closed early, as by `head`"""


def parser() -> argparse.ArgumentParser:
    """The parser of all arguments."""
    whole = argparse.ArgumentParser(
        prog="cnnzoo",
        usage="cnnzoo [-h] [--version] COMMAND ...",
        epilog="`cnnzoo COMMAND --help` describes a command.\n\n" + STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"cnnzoo {__version__}")
    whole.set_defaults(command=None)
    commands = whole.add_subparsers(prog="cnnzoo", metavar="COMMAND", help=argparse.SUPPRESS)
    _add_commands(commands)
    whole.description = _overview(commands.choices)
    return whole


def _overview(commands: Mapping[str, argparse.ArgumentParser]) -> str:
    """The commands in groups, with a line for each."""
    lines = [
        "The classic image-classification networks: find one, use it on photographs, train it on",
        "your own.",
    ]
    for title, names in GROUPS.items():
        lines += ["", f"{title}:"]
        for name in names:
            summary, _, _ = str(commands[name].description).partition("\n")
            lines.append(f"  {name:<12}{summary[0].lower()}{summary[1:].rstrip('.')}")
    return "\n".join(lines)


def _add_commands(commands: Any) -> None:

    command = add_command(
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
    command.add_argument("--max-params", type=amount, metavar="N", help="at most N parameters: 30M")
    command.add_argument(
        "--max-macs", type=amount, metavar="N", help="at most N multiply-adds for an image: 5G"
    )
    command.add_argument("--json", action="store_true", help="all facts, as a JSON list")

    command = add_command(
        commands,
        "info",
        "show the facts about a model or a model file",
        """
        cnnzoo info resnet50
        cnnzoo info run/best.safetensors
        cnnzoo info efficientnet_v2_s --layers
        """,
    )
    command.add_argument(
        "model", metavar="MODEL", help="a name that `cnnzoo list` prints, or a model file"
    )
    command.add_argument("--source", metavar="S", help=f"the source of the definition: {SOURCES}")
    command.add_argument(
        "--layers", action="store_true", help="also every layer: shape, parameters, multiply-adds"
    )
    command.add_argument("--parts", action="store_true", help="also the stages and their blocks")
    command.add_argument("--json", action="store_true", help="as a JSON object")

    _add_compare(commands)
    add_download(commands)

    command = add_command(
        commands,
        "diagram",
        "draw a model",
        """
        cnnzoo diagram googlenet -o googlenet.svg
        cnnzoo diagram googlenet --part inception3a -o inception.svg
        cnnzoo diagram resnet50 --level node -o nodes.svg
        cnnzoo diagram densenet121 -o densenet121.dot
        cnnzoo diagram run/best.safetensors -o mine.svg
        """,
    )
    command.add_argument(
        "model", metavar="MODEL", help="a name that `cnnzoo list` prints, or a model file"
    )
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

    command = add_command(
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
        type=count,
        default=5,
        metavar="N",
        help="number of classes to show (default: %(default)s)",
    )
    command.add_argument(
        "--device", default="cpu", metavar="D", help="cpu, cuda or cuda:N (default: %(default)s)"
    )
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

    add_embed(commands)
    add_evaluate(commands)
    add_train(commands)
    add_quantize(commands)

    command = add_command(
        commands,
        "bench",
        "time inference on this machine, beside PyTorch",
        """
        cnnzoo bench resnet50
        cnnzoo bench mobilenet_v2 resnet18 --batch 1,8 --threads 1,2
        cnnzoo bench vit_b_16 --against torch,torch_compile --json > vit.json
        cnnzoo bench run/best.safetensors
        """,
        """
        The engines run the same weights, which are random but in a model file, on the same random
        images, each in a process of its own, and take turns; times are medians. MiB is the peak
        memory of the whole process, "difference" the largest one to PyTorch's answer over its
        largest value.
        """,
    )
    command.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="a name that `cnnzoo list` prints, or a model file",
    )
    command.add_argument(
        "--batch", type=counts, default=[1], metavar="N,...", help="images at once (default: 1)"
    )
    command.add_argument(
        "--threads", type=counts, metavar="N,...", help="threads of a run (default: every core)"
    )
    command.add_argument(
        "--rounds",
        type=count,
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
    command.add_argument(
        "--json",
        nargs="?",
        const=True,
        type=json_file,
        metavar="FILE.json",
        help="print all figures as a JSON list; or write them into this file, beside the tables",
    )
    add_export(commands)
    add_completion(commands)


def _add_compare(commands: Any) -> None:
    command = add_command(
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
        help="a name that `cnnzoo list` prints, a model file, or a glob pattern (* ? [...]) for "
        "several (default: every model)",
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
        "--year", type=years, metavar="Y", help="only papers of this year, or of years: 2012-2020"
    )
    command.add_argument("--max-params", type=amount, metavar="N", help="at most N parameters: 30M")
    command.add_argument(
        "--max-macs", type=amount, metavar="N", help="at most N multiply-adds for an image: 5G"
    )
    command.add_argument(
        "--min-top1", type=amount, metavar="P", help="a top-1 accuracy of at least P percent"
    )
    command.add_argument(
        "--sort", metavar="COLUMN", help="sort by top1, params, macs, memory, milliseconds, ..."
    )
    command.add_argument(
        "--measure", action="store_true", help="measure the time of inference on this machine"
    )
    command.add_argument(
        "--batch",
        type=count,
        default=1,
        metavar="N",
        help="images at once, with --measure (default: %(default)s)",
    )
    command.add_argument(
        "--threads", type=count, metavar="N", help="threads of --measure (default: every core)"
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
