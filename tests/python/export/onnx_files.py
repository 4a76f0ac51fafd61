"""ONNX files as others read them: onnx's checker and shape inference, and onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

import cnnzoo as cz

Array = NDArray[Any]

# The side of most tests' images.
SIDE = 64


def images(batch: int, side: int = SIDE, channels: int = 3) -> Array:
    generator = np.random.default_rng(4)
    return generator.standard_normal((batch, channels, side, side)).astype(np.float32)


def run(file: Path, x: Array) -> Array:
    """The output of onnxruntime for a batch."""
    session = session_of(file)
    (given,) = session.get_inputs()
    (logits,) = session.run(None, {given.name: x})
    found: Array = logits
    return found


def session_of(file: Path) -> Any:
    """A session of onnxruntime on one thread, which prints no warnings."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def checked(file: Path) -> Any:
    """The file without its arrays, which passed onnx's checker with the shapes that it states.

    `full_check` infers every shape, and fails where one differs from that in the file.
    """
    onnx.checker.check_model(file, full_check=True)
    return onnx.load(file, load_external_data=False)


def stated(proto: Any) -> dict[str, tuple[Any, ...]]:
    """The shapes of values as the file states them; None for sizes that it does not."""
    values = [*proto.graph.value_info, *proto.graph.output]
    return {value.name: shape_of(value) for value in values}


def inferred(proto: Any) -> dict[str, tuple[Any, ...]]:
    """The shapes as onnx infers them from the input and the arrays alone."""
    bare = onnx.ModelProto()
    bare.CopyFrom(proto)
    del bare.graph.value_info[:]
    for output in bare.graph.output:
        output.type.tensor_type.ClearField("shape")
    found = onnx.shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    return stated(found)


def shape_of(value: Any) -> tuple[Any, ...]:
    """Sizes as numbers, words or None."""
    sizes = value.type.tensor_type.shape.dim
    return tuple(size.dim_param or (size.dim_value or None) for size in sizes)


def operators(proto: Any) -> list[str]:
    """The operators of the nodes, in their order."""
    return [node.op_type for node in proto.graph.node]


def exported(model: cz.Model, folder: Path, **options: Any) -> Path:
    """A checked ONNX file of a model."""
    file = folder / "model.onnx"
    cz.onnx.export(model, file, **options)
    checked(file)
    return file
