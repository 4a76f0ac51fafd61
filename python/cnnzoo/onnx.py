"""Writing models as ONNX files, which other runtimes read.

The file holds the network that inference runs: the nodes keep their names, the arrays those of the
state dict, and each layer becomes ONNX's operator of the same meaning. Neither `onnx` nor torch is
needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cnnzoo import _json
from cnnzoo._arguments import instance, is_sequence, one_of, path_of, shown, text, whole
from cnnzoo._copying import ReadOnly
from cnnzoo._progress import Count
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.model import Model
from cnnzoo.preprocess import COLOURS, GREY
from cnnzoo_command.status import __version__

__all__ = ["DEFAULT_OPSET", "Exported", "ImageSize", "export"]

# A size of images: that of the model if None, any if "dynamic", one side of a square, or height and
# width.
ImageSize: TypeAlias = "Literal['dynamic'] | int | tuple[int, int] | None"

# The version that `torch.onnx.export` of PyTorch 2.13 writes, so that other tools are used to it,
# and the first in which GELU is one operator.
DEFAULT_OPSET = 20

# Endings of the names of ONNX files.
SUFFIX = ".onnx"

# The beginning of the metadata keys that `export` writes.
KEYS = "cnnzoo."


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An ONNX file that was written.

    Attributes:
        files: Its path, and that of the file with the arrays beside it, if there is one.
        opset: The version of the operators.
        input_name: The name of the input.
        input_shape: Its shape; a word in place of a size stands for any.
        output_name: The name of the output.
        output_shape: Its shape.
        metadata: The `metadata_props` of the file.
    """

    files: tuple[Path, ...]
    opset: int
    input_name: str
    input_shape: tuple[int | str, ...]
    output_name: str
    output_shape: tuple[int | str, ...]
    metadata: ReadOnly[str, str]

    def __repr__(self) -> str:
        files = " and ".join(str(path) for path in self.files)
        shapes = (
            f"{name} ({', '.join(map(str, shape))})"
            for name, shape in (
                (self.input_name, self.input_shape),
                (self.output_name, self.output_shape),
            )
        )
        return f"<Exported {files}: {' → '.join(shapes)}, opset {self.opset}>"


def export(
    model: Model,
    file: str | os.PathLike[str],
    *,
    batch: Literal["dynamic"] | int = "dynamic",
    image: ImageSize = None,
    opset: int = DEFAULT_OPSET,
    preprocess: bool = False,
    fold: bool = False,
    precision: Literal["float32"] = "float32",
    external: bool | None = None,
    input_name: str = "images",
    output_name: str = "logits",
    metadata: Mapping[str, str] | None = None,
    progress: bool | None = None,
) -> Exported:
    """Write a model as an ONNX file for inference, with its weights in float32.

    Auxiliary classifiers, dropout and stochastic depth are left out; frozen parameters are written
    as all others. A quantized model is written in float32, as it runs by default. The file appears
    whole or not at all: after an error or Ctrl-C an old file is as it was.

    Args:
        model: The model, on any device.
        file: The path of the file, whose name ends in `.onnx`.
        batch: Number of images of a run, or `"dynamic"` for any.
        image: Size of the images: `None` for the model's own, the side of a square, (height,
            width), or `"dynamic"` for any. The latter is refused for networks with layers that
            depend on the size: position embeddings, adaptive pooling to more than one pixel.
        opset: Version of ONNX's operators, 17 to 28. The default is that of PyTorch's exporter, and
            the first with GELU as one operator; attention is one from 23 on.
        preprocess: Write the normalisation of `model.preprocess` into the graph: its input is uint8
            (N, H, W, C), photographs that are resized and cropped already. Resizing is not part of
            the graph.
        fold: Fold each batch norm into the convolution before it, if nothing else reads that. By
            default they stay, so that every array of the file is one of the state dict; runtimes
            fold them when they load the file.
        precision: Precision of the weights: only `"float32"`.
        external: Write the arrays to a second file, whose name has `.data` after it. None does so
            where one file would have more than 2 GiB, which no reader takes.
        input_name: Name of the input.
        output_name: Name of the output.
        metadata: More entries of `metadata_props`, beside those whose keys begin with `cnnzoo.`.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        The paths, names and shapes.

    Raises:
        ArgumentError: An option is invalid, or no option of this model.
        DeviceError: The model has no parameters: it was built with `meta=True`.
        ShapeError: The network does not take images of this size, or `preprocess` has neither 1 nor
            3 channels.
        WeightsError: The file cannot be written.
    """
    instance("`model`", model, Model, "a Model")
    path = path_of("`file`", file)
    if path.suffix.lower() != SUFFIX:
        raise ArgumentError(f"`file`: expected a name that ends in {SUFFIX}, got {str(path)!r}")
    images = None if _is_dynamic("`batch`", batch) else whole("`batch`", batch, least=1)
    size = _image_size(image, model)
    opset = whole("`opset`", opset)
    for at, value in (("`preprocess`", preprocess), ("`fold`", fold)):
        instance(at, value, bool, "True or False")
    for at, switch in (("`external`", external), ("`progress`", progress)):
        if switch is not None:
            instance(at, switch, bool, "True, False or None")
    if precision != "float32":
        _refuse(precision)
    facts = {**_extra(metadata), **_facts(model, preprocess=preprocess)}
    choices = {
        "batch": images,
        "image": size,
        "opset": opset,
        "normalize": _normalize(model) if preprocess else None,
        "fold": fold,
        "external": external,
        "input_name": _name("`input_name`", input_name),
        "output_name": _name("`output_name`", output_name),
        "metadata": facts,
    }
    files, input_shape, output_shape = _write(model, path, choices, shown=progress is not False)
    return Exported(
        files=tuple(Path(file) for file in files),
        opset=opset,
        input_name=input_name,
        input_shape=tuple(input_shape),
        output_name=output_name,
        output_shape=tuple(output_shape),
        metadata=ReadOnly(facts),
    )


def _write(
    model: Model, path: Path, choices: dict[str, Any], *, shown: bool
) -> tuple[list[os.PathLike[str]], list[int | str], list[int | str]]:
    with ExitStack() as stack:
        bar: Count | None = None
        before = 0

        def count(done: int, total: int) -> None:
            nonlocal bar, before
            if bar is None:
                bar = stack.enter_context(Count(total, "bytes", shown=shown))
            bar.advance(done - before)
            before = done

        return model._engine.export_onnx(path, choices, count)


def _is_dynamic(at: str, value: Any) -> bool:
    """Whether a size is any.

    Raises:
        ArgumentError: It is another text.
    """
    if isinstance(value, str):
        one_of(at, value, ("dynamic",))
        return True
    return False


def _image_size(image: Any, model: Model) -> tuple[int, int] | None:
    """Height and width; None stands for any."""
    if image is None:
        _, height, width = model.graph.input_shape
        return height, width
    if _is_dynamic("`image`", image):
        return None
    if is_sequence(image):
        sides = list(image)
        if len(sides) != 2:  # noqa: PLR2004  # height and width
            raise ArgumentError(
                f'`image`: expected None, "dynamic", a side or (height, width), got {shown(image)}'
            )
        height, width = (whole("`image`", side, least=1) for side in sides)
        return height, width
    side = whole("`image`", image, least=1)
    return side, side


def _name(at: str, name: Any) -> str:
    """The name of an input or output, which readers in C end at a NUL.

    Raises:
        ArgumentError: It is empty, or contains one.
    """
    if not text(at, name) or "\0" in name:
        raise ArgumentError(f"{at}: expected a name, not empty and without NUL, got {shown(name)}")
    return str(name)


def _refuse(precision: Any) -> None:
    """Refuse a precision, and say why."""
    one_of("`precision` of an ONNX file", precision, ("float32", "bfloat16", "int8"))
    reasons = {
        "bfloat16": "onnxruntime has no convolutions in bfloat16 for processors",
        "int8": "a quantized model is written in float32; its ranges are in `model.quantization`",
    }
    raise ArgumentError(
        f'`precision` of an ONNX file: expected "float32", since {reasons[precision]}, got '
        f"{shown(precision)}"
    )


def _normalize(model: Model) -> tuple[list[float], list[float]]:
    """Means and standard deviations of the channels."""
    channels = len(model.preprocess.mean)
    if channels not in {GREY, COLOURS}:
        raise ShapeError(
            f"`preprocess` of {model.name}: expected a network that takes the 1 or 3 channels of "
            f"photographs, got one that takes {channels}"
        )
    return list(model.preprocess.mean), list(model.preprocess.std)


def _extra(metadata: Any) -> dict[str, str]:
    """The user's own entries."""
    if metadata is None:
        return {}
    instance("`metadata`", metadata, Mapping, "a mapping of text to text")  # type: ignore[type-abstract]
    entries = {
        text("`metadata`: a key", key): text(f"`metadata`: {shown(key)}", value)
        for key, value in metadata.items()
    }
    for key in entries:
        if key.startswith(KEYS):
            raise ArgumentError(
                f"`metadata`: expected keys that do not begin with {KEYS!r}, got {shown(key)}"
            )
    return entries


def _facts(model: Model, *, preprocess: bool) -> dict[str, str]:
    """The facts about the model that the file states, as text or JSON."""
    published = model._published
    facts: dict[str, Any] = {
        "version": __version__,
        "model": model.name,
        "source": model.source or "a graph",
        "options": model.options,
        "task": model.task,
        "labels": list(model.labels),
        "preprocess": asdict(model.preprocess),
        "preprocess_inside": preprocess,
        "weights": "initial values" if model.load_report is None else "loaded",
    }
    if published is not None:
        facts |= {
            "weights": published.tag,
            "weights_address": published.address,
            "weights_license": published.license or "not stated by the publisher",
        }
    return {
        KEYS + key: value if isinstance(value, str) else _json.line(value)
        for key, value in facts.items()
    }
