"""The command `cnnzoo completion`."""

from __future__ import annotations

import argparse

from cnnzoo._text import Out
from cnnzoo.registry import list_models
from cnnzoo_command.arguments import parser
from cnnzoo_command.completion import SCRIPTS


def completion(args: argparse.Namespace, out: Out, _err: Out) -> int:
    """Print the script for a shell, which knows the names of this version's models."""
    out.print(SCRIPTS[args.shell](parser(), list_models()), cut=False)
    return 0
