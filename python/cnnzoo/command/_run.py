"""Runs the command `cnnzoo`, given its parsed arguments."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from cnnzoo._text import Out
from cnnzoo.command import _bench, _commands, _compare, _diagram, _export
from cnnzoo.errors import CnnzooError
from cnnzoo_command.status import BROKEN_PIPE, INTERRUPTED, discard

if TYPE_CHECKING:
    import argparse

Command: TypeAlias = "Callable[[argparse.Namespace, Out, Out], int]"

COMMANDS: dict[str, Command] = {
    "list": _commands.list_models_,
    "info": _commands.info,
    "compare": _compare.compare_,
    "diagram": _diagram.diagram,
    "export": _export.export,
    "predict": _commands.predict,
    "bench": _bench.bench,
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
