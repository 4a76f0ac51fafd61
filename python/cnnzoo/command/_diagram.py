"""The command `cnnzoo diagram`."""

from __future__ import annotations

import argparse

from cnnzoo import _native
from cnnzoo._text import Out
from cnnzoo.registry import model_info


def diagram(args: argparse.Namespace, _out: Out, _err: Out) -> int:
    """Write the diagram of a model into a file."""
    facts = model_info(args.model, source=args.source)
    graph = _native.draw(facts.source_name, facts.source)
    graph.diagram(level=args.level, part=args.part, theme=args.theme).save(args.output)
    return 0
