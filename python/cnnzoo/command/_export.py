"""The command `cnnzoo export`."""

from __future__ import annotations

import argparse

from cnnzoo import onnx
from cnnzoo._text import Out
from cnnzoo.command._models import model_of


def export(args: argparse.Namespace, out: Out, _err: Out) -> int:
    """Write a model as an ONNX file."""
    written = onnx.export(
        model_of(args),
        args.output,
        batch=args.batch,
        image=args.image,
        opset=args.opset or onnx.DEFAULT_OPSET,
        preprocess=args.preprocess,
        fold=args.fold,
        external=args.external or None,
    )
    for path in written.files:
        out.print(f"{path}", cut=False)
    shapes = (
        f"{name} ({', '.join(map(str, shape))})"
        for name, shape in (
            (written.input_name, written.input_shape),
            (written.output_name, written.output_shape),
        )
    )
    out.print(" → ".join(shapes), cut=False)
    return 0
