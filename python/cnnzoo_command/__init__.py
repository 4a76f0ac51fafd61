"""The entry point of the command `cnnzoo`, which loads only what `--help` and `--version` need.

It is a package of its own, since importing any part of `cnnzoo` imports NumPy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cnnzoo_command.status import BROKEN_PIPE, INTERRUPTED, __version__, discard

__all__ = ["__version__", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments after the command's name; the process's own if not given.

    Returns:
        The exit status: 0 for success, 1 after an error (one line on stderr), 2 for invalid
        arguments, 130 after Ctrl-C, 141 when the output's pipe is closed.
    """
    try:
        return _run(argv)
    except KeyboardInterrupt:  # before a command runs, which says more
        return INTERRUPTED


def _run(argv: Sequence[str] | None) -> int:
    from cnnzoo_command.arguments import parser

    whole = parser()
    try:
        args = whole.parse_args(argv)
        if "check" in args:
            args.check(args)
    except SystemExit as finished:  # after --help, --version or a wrong argument
        return _written(finished.code if isinstance(finished.code, int) else 1)
    if args.command is None:
        whole.print_help(sys.stderr)
        return 2
    try:
        from cnnzoo.command import run
    except ImportError as error:
        print(f"cnnzoo: {error}", file=sys.stderr)
        return 1
    return run(args)


def _written(status: int) -> int:
    """The status after flushing stdout: at exit, a closed pipe would print a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        discard(sys.stdout)
        return BROKEN_PIPE if isinstance(error, BrokenPipeError) else 1
    return status
