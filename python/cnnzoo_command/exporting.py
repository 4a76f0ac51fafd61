"""The arguments of `cnnzoo export`."""

from __future__ import annotations

from typing import Any

from cnnzoo_command.common import add_command, count


def add_export(commands: Any) -> None:
    """Add the command `export`."""
    command = add_command(
        commands,
        "export",
        "write a model as an ONNX file",
        """
        cnnzoo export resnet50 -o resnet50.onnx
        cnnzoo export run/best.safetensors -o flowers.onnx --batch 1 --preprocess
        cnnzoo export mobilenet_v2 -o mobilenet.onnx --image dynamic
        """,
        """
        The file computes in float32, also that of a quantized model: tools of the runtimes quantize
        it, such as onnxruntime.quantization.
        """,
    )
    command.add_argument(
        "model",
        metavar="MODEL",
        help="a name that `cnnzoo list` prints, or a model file, as `Model.save` and training runs "
        "write",
    )
    command.add_argument("-o", "--output", required=True, metavar="FILE", help="the .onnx file")
    command.add_argument(
        "--weights",
        metavar="W",
        help="weights for a network that is named: a tag of `cnnzoo info MODEL`, a .safetensors or "
        ".pth file, or `default`: the best published ones, which are also used if not given",
    )
    command.add_argument(
        "--batch",
        type=_count_or_dynamic,
        default="dynamic",
        metavar="N",
        help="images at once, or dynamic for any number (default: %(default)s)",
    )
    command.add_argument(
        "--image",
        type=_side_or_dynamic,
        metavar="S",
        help="the side of the images, or 240x320 for height and width, or dynamic for any, where "
        "the network allows it (default: the network's own)",
    )
    command.add_argument(
        "--opset", type=count, metavar="N", help="the version of ONNX's operators (default: 20)"
    )
    command.add_argument(
        "--preprocess",
        action="store_true",
        help="normalise bytes (N, H, W, C) in the graph; resizing and cropping stay outside",
    )
    command.add_argument(
        "--fold", action="store_true", help="fold each batch norm into the convolution before it"
    )
    command.add_argument(
        "--external",
        action="store_true",
        help="write the arrays to FILE.data, as happens anyway where one file would be too large",
    )
    command.add_argument(
        "--json", action="store_true", help="print files, shapes and metadata as a JSON object"
    )
    command.set_defaults(device="cpu")


def _count_or_dynamic(text: str) -> int | str:
    return text if text == "dynamic" else count(text)


def _side_or_dynamic(text: str) -> int | str | tuple[int, int]:
    height, x, width = text.partition("x")
    return (count(height), count(width)) if x else _count_or_dynamic(text)
