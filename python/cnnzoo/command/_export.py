"""The command `cnnzoo export`."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from cnnzoo import onnx
from cnnzoo._text import Out
from cnnzoo.command._commands import check_place, print_json
from cnnzoo.command._models import model_of


def export(args: argparse.Namespace, out: Out, err: Out) -> int:
    """Write a model as an ONNX file."""
    check_place(args.output)
    model = model_of(args)
    written = onnx.export(
        model,
        args.output,
        batch=args.batch,
        image=args.image,
        opset=args.opset or onnx.DEFAULT_OPSET,
        preprocess=args.preprocess,
        fold=args.fold,
        external=args.external or None,
    )
    if model.quantization is not None:
        err.print(
            f"cnnzoo: {args.model} is quantized, and {args.output} is not: it computes in float32; "
            "tools of the runtimes quantize ONNX files, such as onnxruntime.quantization",
            cut=False,
        )
    if args.json:
        files = [str(path) for path in written.files]
        print_json(out, {**asdict(written), "files": files, "metadata": dict(written.metadata)})
        return 0
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
