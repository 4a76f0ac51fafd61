"""Runs the command `cnnzoo`, given its parsed arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pkgutil import resolve_name
from typing import TYPE_CHECKING, TypeAlias

from cnnzoo._text import Out
from cnnzoo.command._commands import complain
from cnnzoo.errors import CnnzooError
from cnnzoo_command.status import BROKEN_PIPE, INTERRUPTED, discard

if TYPE_CHECKING:
    import argparse

Command: TypeAlias = "Callable[[argparse.Namespace, Out, Out], int]"

# The function of each command; its module is imported with its use, so that others start faster.
COMMANDS = {
    "list": "_commands:list_models_",
    "info": "_info:info",
    "compare": "_compare:compare_",
    "diagram": "_diagram:diagram",
    "export": "_export:export",
    "download": "_download:download",
    "predict": "_commands:predict",
    "embed": "_embed:embed",
    "evaluate": "_evaluate:evaluate",
    "train": "_train:train",
    "quantize": "_quantize:quantize",
    "bench": "_bench:bench",
    "completion": "_completion:completion",
}


def run(args: argparse.Namespace) -> int:
    """Run the command of the parsed arguments, and return the exit status that `main` describes."""
    out, err = Out(sys.stdout), Out(sys.stderr)
    try:
        command: Command = resolve_name(f"cnnzoo.command.{COMMANDS[args.command]}")
        status = command(args, out, err)
        # Here, and not at exit, where a closed pipe would print a traceback.
        out.flush()
    except KeyboardInterrupt:
        err.print("cnnzoo: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        return BROKEN_PIPE
    except CnnzooError as error:
        complain(err, error)
        return 1
    except OSError as error:
        discard(sys.stdout)
        where = f"{error.filename}: " if error.filename else "cannot write the output: "
        err.print(f"cnnzoo: {where}{error.strerror}")
        return 1
    return status
