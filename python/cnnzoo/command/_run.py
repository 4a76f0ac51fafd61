"""Runs the command `cnnzoo`, given its parsed arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from cnnzoo._text import Out
from cnnzoo.command import _bench, _commands, _compare, _diagram
from cnnzoo.errors import CnnzooError
from cnnzoo_command.status import BROKEN_PIPE, INTERRUPTED, discard

if TYPE_CHECKING:
    import argparse

Command: TypeAlias = "Callable[[argparse.Namespace, Out, Out], int]"

# The commands that train and judge are imported with their first use: the others start faster.


def _info(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._info import info

    return info(args, out, err)


def _export(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._export import export

    return export(args, out, err)


def _evaluate(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._evaluate import evaluate

    return evaluate(args, out, err)


def _embed(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._embed import embed

    return embed(args, out, err)


def _download(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._download import download

    return download(args, out, err)


def _train(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._train import train

    return train(args, out, err)


def _quantize(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._quantize import quantize

    return quantize(args, out, err)


def _completion(args: argparse.Namespace, out: Out, err: Out) -> int:
    from cnnzoo.command._completion import completion

    return completion(args, out, err)


COMMANDS: dict[str, Command] = {
    "list": _commands.list_models_,
    "info": _info,
    "compare": _compare.compare_,
    "diagram": _diagram.diagram,
    "export": _export,
    "download": _download,
    "predict": _commands.predict,
    "embed": _embed,
    "evaluate": _evaluate,
    "train": _train,
    "quantize": _quantize,
    "bench": _bench.bench,
    "completion": _completion,
}


def run(args: argparse.Namespace) -> int:
    """Run the command of the parsed arguments, and return the exit status that `main` describes."""
    out, err = Out(sys.stdout), Out(sys.stderr)
    try:
        status = COMMANDS[args.command](args, out, err)
        # Here, and not at exit, where a closed pipe would print a traceback.
        out.flush()
    except KeyboardInterrupt:
        err.print("cnnzoo: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        return BROKEN_PIPE
    except CnnzooError as error:
        _commands.complain(err, error)
        return 1
    except OSError as error:
        discard(sys.stdout)
        where = f"{error.filename}: " if error.filename else "cannot write the output: "
        err.print(f"cnnzoo: {where}{error.strerror}")
        return 1
    return status
