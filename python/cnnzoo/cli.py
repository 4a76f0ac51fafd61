"""The command `cnnzoo`: list models, say what is known about one, classify photographs.

Exit statuses: 0 when all went well, 1 after an error that is one line on stderr, 2 for arguments
that make no sense, 130 after Ctrl-C, 141 when nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from cnnzoo import __version__, _commands
from cnnzoo._text import Out, from_human
from cnnzoo.errors import CnnzooError

Command: TypeAlias = Callable[[argparse.Namespace, Out, Out], int]

INTERRUPTED = 130
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments after the command's name; the process's own if not given.

    Returns:
        The exit status.
    """
    out, err = Out(sys.stdout), Out(sys.stderr)
    try:
        status = _run(argv, out, err)
        # Here, and not at exit, where a reader who has gone would be a traceback.
        out.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _discard(sys.stdout)
        return BROKEN_PIPE
    except CnnzooError as error:
        _commands.complain(err, error)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        where = f"{error.filename}: " if error.filename else "cannot write the output: "
        err.print(f"cnnzoo: {where}{error.strerror}")
        return 1
    return status


def _run(argv: Sequence[str] | None, out: Out, err: Out) -> int:
    parser = _parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as finished:  # after --help, --version or a wrong argument
        return finished.code if isinstance(finished.code, int) else 1
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    command: Command = args.command
    return command(args, out, err)


def _discard(stream: Any) -> None:
    """Let what is still buffered go nowhere, so that Python's own flush at exit is silent."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream without a file, as tests have
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


# The arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cnnzoo",
        description="The classic image-classification networks: find them, read about them, "
        "classify photographs with them.",
        epilog="`cnnzoo COMMAND --help` says more about a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cnnzoo {__version__}")
    parser.set_defaults(command=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    command = _add(
        commands,
        _commands.list_models_,
        "list",
        "list models with their size and cost",
        """
        cnnzoo list                        everything
        cnnzoo list resnet                 names with "resnet" in them
        cnnzoo list 'efficientnet_b?'      names that match a pattern
        cnnzoo list --max-params 10M       at most ten million parameters
        cnnzoo list --weights --json       models with trained weights, for a program
        """,
    )
    command.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERN",
        help="a part of the name; or, with * ? or [...], what the whole name looks like",
    )
    command.add_argument("--family", metavar="F", help="only this family: ResNet, ResNeXt, ...")
    command.add_argument(
        "--source", metavar="S", help="only models of this source: torchvision, timm"
    )
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
        _commands.info,
        "info",
        "say what is known about a model",
        """
        cnnzoo info resnet50
        cnnzoo info efficientnet_v2_s --layers
        """,
    )
    command.add_argument("model", metavar="MODEL", help="a name that `cnnzoo list` prints")
    command.add_argument("--source", metavar="S", help="whose definition: torchvision, timm")
    command.add_argument(
        "--layers", action="store_true", help="also every layer: shape, parameters, multiply-adds"
    )
    command.add_argument("--json", action="store_true", help="as a JSON object")

    command = _add(
        commands,
        _commands.predict,
        "predict",
        "say what photographs show",
        """
        cnnzoo predict cat.jpg
        cnnzoo predict holiday/ --top 3 --json
        cnnzoo predict cat.jpg dog.png --save picture.png
        """,
    )
    command.add_argument(
        "photos",
        nargs="+",
        metavar="PHOTO",
        help="a JPEG, PNG or WebP file, or a folder with such files in it or below",
    )
    command.add_argument(
        "--model", default="tf_efficientnet_lite0", metavar="M", help="default: %(default)s"
    )
    command.add_argument(
        "--weights",
        default="default",
        metavar="W",
        help="a tag of `cnnzoo info M`, a .safetensors or .pth file, or `default`: the best "
        "published ones",
    )
    command.add_argument(
        "--top", type=_count, default=5, metavar="N", help="how many classes (default: %(default)s)"
    )
    command.add_argument("--device", default="cpu", metavar="D", help="cpu, cuda or cuda:N")
    command.add_argument(
        "--save",
        metavar="PICTURE",
        help="draw the photographs beside their bars into this .png, .jpg or .webp file",
    )
    command.add_argument("--json", action="store_true", help="as a JSON list")
    return parser


def _add(
    commands: Any,
    command: Command,
    name: str,
    summary: str,
    examples: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=command)
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
