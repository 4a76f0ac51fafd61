"""The command `cnnzoo diagram`."""

from __future__ import annotations

import argparse

from cnnzoo import _native
from cnnzoo._configuration import damaged
from cnnzoo._text import Out
from cnnzoo.command._models import model_file, saved_in
from cnnzoo.registry import model_info


def diagram(args: argparse.Namespace, _out: Out, _err: Out) -> int:
    """Write the diagram of a model, or of the network in a model file, into a file."""
    graph = _graph(args.model, args.source)
    graph.diagram(level=args.level, part=args.part, theme=args.theme).save(args.output)
    return 0


def _graph(model: str, source: str | None) -> _native.Graph:
    path = model_file(model, source=source)
    if path is not None:
        with damaged(str(path)):
            return saved_in(path).engine().graph()
    facts = model_info(model, source=source)
    return _native.draw(facts.source_name, facts.source)
