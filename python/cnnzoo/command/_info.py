"""The command `cnnzoo info`: the facts about a model, or about a model file."""

from __future__ import annotations

import argparse
import math
import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnnzoo import _native
from cnnzoo._configuration import Configuration, WeightsFile, damaged
from cnnzoo._text import Out, counted, human, one_line, shorten
from cnnzoo.command._commands import print_json
from cnnzoo.command._models import model_file
from cnnzoo.errors import ArgumentError
from cnnzoo.prediction import usual_labels
from cnnzoo.registry import NARROWEST, WIDEST, ModelInfo, model_info
from cnnzoo.summary import Summary, SummaryPart


def info(args: argparse.Namespace, out: Out, _err: Out) -> int:
    """Print the facts about a model, and its layers if asked."""
    path = model_file(args.model, source=args.source)
    if path is not None:
        return _of_file(path, args, out)
    facts = model_info(args.model, source=args.source)
    summary = _summary(facts)
    if args.json:
        print_json(out, {**asdict(facts), **_inside(args, summary)})
        return 0
    width = max(NARROWEST, min(WIDEST, out.columns or WIDEST))
    out.print(facts.text(width=width))
    _print_inside(args, out, summary)
    return 0


def _of_file(path: Path, args: argparse.Namespace, out: Out) -> int:
    """Print what a file holds; its parameters are not loaded."""
    file = WeightsFile.open(path)
    saved = Configuration.of_file(file)
    arrays = dict(Counter(file.stored.dtypes().values()))
    facts: dict[str, Any] = {
        "file": file.path,
        "bytes": os.path.getsize(path),
        "arrays": arrays,
        "kind": "weights" if saved is None else "model",
    }
    summary = None
    if saved is None:
        if args.layers or args.parts:
            raise ArgumentError(
                f"{path}: expected a model file for --layers and --parts, got weights alone"
            )
    else:
        with damaged(file.path):
            engine = saved.engine()
        graph = engine.graph()
        _, height, width = graph.input_shape
        summary = Summary(graph, height, width)
        labels = saved.labels or usual_labels(engine.num_classes)
        facts |= _of_model(saved, engine, labels)
    if args.json:
        print_json(out, {**facts, **({} if summary is None else _inside(args, summary))})
        return 0
    _print_facts(out, facts)
    if summary is not None:
        _print_inside(args, out, summary)
    return 0


def _of_model(
    saved: Configuration, engine: _native.Model, labels: tuple[str, ...]
) -> dict[str, Any]:
    """The facts that a model file states."""
    quantization = saved.quantization
    graph = engine.graph()
    sizes = [math.prod(shape) for _, shape, trained in graph.parameters() if trained]
    return {
        "name": engine.name,
        "source": saved.source,
        "options": saved.options,
        "params": sum(sizes),
        "input_shape": list(graph.input_shape),
        "task": saved.task,
        "accuracy": saved.accuracy,
        "num_classes": engine.num_classes,
        "labels": list(labels),
        "preprocess": asdict(saved.preprocess),
        "quantization": None
        if quantization is None
        else {
            "images": quantization.images,
            "error": quantization.error,
            "most_error": quantization.most_error,
            "layers": len(quantization.layers),
            "in_int8": sum(layer.is_int8 for layer in quantization.layers),
        },
    }


def _print_facts(out: Out, facts: dict[str, Any]) -> None:
    """The facts about a file as lines."""
    arrays = ", ".join(f"{count} {dtype}" for dtype, count in facts["arrays"].items())
    lines = {"file": f"{facts['file']} ({facts['bytes'] / 1e6:.1f} MB)", "arrays": arrays}
    if facts["kind"] == "weights":
        lines["holds"] = "weights alone: no configuration of a network, no labels"
    else:
        options = ", ".join(f"{name}={value!r}" for name, value in facts["options"].items())
        channels, height, width = facts["input_shape"]
        preprocess, quantization = facts["preprocess"], facts["quantization"]
        lines |= {
            "model": f"{facts['name']} from {facts['source'] or 'a graph'}",
            "options": options or "none",
            "parameters": f"{human(facts['params'])} ({facts['params']:,})",
            "image": f"{channels} × {height} × {width}",
            "task": facts["task"].replace("_", "-"),
            "classes": f"{facts['num_classes']}: {', '.join(map(one_line, facts['labels']))}",
            "preprocess": f"short side to {preprocess['resize']} pixels, "
            f"{preprocess['interpolation']}, centre of {preprocess['crop']}",
            "mean": ", ".join(f"{value:.4g}" for value in preprocess["mean"]),
            "std": ", ".join(f"{value:.4g}" for value in preprocess["std"]),
            "int8": "not quantized"
            if quantization is None
            else f"{quantization['in_int8']} of {counted(quantization['layers'], 'layer')}, "
            f"measured on {counted(quantization['images'], 'image')}, error "
            f"{quantization['error']:.2%}",
        }
    indent = max(map(len, lines)) + 2
    width = out.columns or WIDEST
    for title, text in lines.items():
        out.print(f"{title:<{indent}}{shorten(text, max(NARROWEST, width - indent), out.plain)}")


def _inside(args: argparse.Namespace, summary: Summary) -> dict[str, Any]:
    """The parts and layers as JSON, as far as they are asked for."""
    found: dict[str, Any] = {}
    if args.parts:
        found["parts"] = [_part(part) for part in summary.parts]
    if args.layers:
        found["layers"] = [asdict(row) for row in summary]
    return found


def _print_inside(args: argparse.Namespace, out: Out, summary: Summary) -> None:
    if args.parts:
        out.print("\n" + summary.tree(depth=2))
    if args.layers:
        out.print(f"\n{summary!r}")


def _part(part: SummaryPart) -> dict[str, Any]:
    """A part as JSON has it, with its parts."""
    return {
        "kind": part.kind,
        "name": part.name,
        "shape": part.shape,
        "params": part.params,
        "macs": part.macs,
        "activation_bytes": part.activation_bytes,
        "receptive_field": part.receptive_field,
        "parts": [_part(inner) for inner in part.parts],
    }


def _summary(facts: ModelInfo) -> Summary:
    graph = _native.draw(facts.source_name, facts.source)
    _, height, width = graph.input_shape
    return Summary(graph, height, width)
