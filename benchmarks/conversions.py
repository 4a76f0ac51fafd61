"""Converts a pickled PyTorch module for another engine, in an interpreter that has its tools.

    python benchmarks/conversions.py FORM module.pt images.npy TARGET [calibration.npy]

FORM is the ending of TARGET. Other files may be left beside TARGET. Forms that begin with `int8.`
are quantized after training, and calibrated on all images of calibration.npy.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import Module

# Operator sets of ONNX. DeepSparse reads old ones; layer norm needs 17, or is written out from 14.
NEW, OLD, OLD_OF_TRANSFORMERS = 17, 11, 14

# Images for calibration, in batches of the network's.
Batches = list[np.ndarray]


def onnx(module: Module, x: torch.Tensor, target: str, opset: int = NEW) -> None:
    """ONNX, by way of TorchScript."""
    torch.onnx.export(
        module, (x,), target, dynamo=False, opset_version=opset, input_names=["x"],
        output_names=["y"],
    )  # fmt: skip


def old_onnx(module: Module, x: torch.Tensor, target: str) -> None:
    """ONNX of an old operator set."""
    transformer = any(isinstance(part, torch.nn.LayerNorm) for part in module.modules())
    onnx(module, x, target, OLD_OF_TRANSFORMERS if transformer else OLD)


def openvino(module: Module, x: torch.Tensor, target: str) -> None:
    """OpenVINO's own format, from PyTorch: so attention stays one operation."""
    import openvino

    converted = openvino.convert_model(module, example_input=x, input=[tuple(x.shape)])
    openvino.save_model(converted, target, compress_to_fp16=False)


def mnn(module: Module, x: torch.Tensor, target: str) -> None:
    """MNN's format, by way of ONNX."""
    between = Path(target).with_name("between.onnx")
    onnx(module, x, str(between))
    call("mnnconvert", "-f", "ONNX", "--modelFile", between, "--MNNModel", target, "--bizCode", "x")


def ncnn(module: Module, x: torch.Tensor, target: str) -> None:
    """Ncnn's two files, by way of TorchScript."""
    path = Path(target).resolve()
    script = path.with_name("pnnx.pt")
    torch.jit.trace(module, x).save(script)
    shape = ",".join(map(str, x.shape))
    call("pnnx", script, f"inputshape=[{shape}]", "fp16=0", "device=cpu", cwd=path.parent)
    path.with_name("pnnx.ncnn.bin").rename(path.with_suffix(".bin"))
    path.with_name("pnnx.ncnn.param").rename(path)


def litert(module: Module, x: torch.Tensor, target: str) -> None:
    """LiteRT's format."""
    import litert_torch

    litert_torch.convert(module, (x,)).export(target)


def executorch(module: Module, x: torch.Tensor, target: str) -> None:
    """ExecuTorch's format, in which XNNPACK runs what it can."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(module, (x,), strict=False)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    Path(target).write_bytes(lowered.to_executorch().buffer)


def int8_onnx(module: Module, x: torch.Tensor, target: str, batches: Batches) -> None:
    """ONNX with pairs of QuantizeLinear and DequantizeLinear, as ONNX Runtime reads int8.

    Activations are uint8, weights int8 by channel, and ranges from the least to the largest value.
    """
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):
        """Hands the batches out, one a call."""

        left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.left, None)
            return None if batch is None else {"x": batch}

    plain, prepared = (str(Path(target).with_name(f"{name}.onnx")) for name in ("plain", "ready"))
    onnx(module, x, plain)
    quant_pre_process(plain, prepared)
    quantization.quantize_static(
        prepared, target, Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip


def int8_openvino(module: Module, x: torch.Tensor, target: str, batches: Batches) -> None:
    """OpenVINO's own format, quantized by NNCF with its default settings."""
    import nncf
    import openvino

    converted = openvino.convert_model(module, example_input=x, input=[tuple(x.shape)])
    quantized = nncf.quantize(converted, nncf.Dataset(batches))
    openvino.save_model(quantized, target, compress_to_fp16=False)


def int8_litert(module: Module, x: torch.Tensor, target: str, batches: Batches) -> None:
    """LiteRT's format, quantized by its own tool: int8 activations, int8 weights by channel.

    Images and logits stay float32.
    """
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import qtyping, quantizer, recipe

    plain = str(Path(target).with_name("plain.tflite"))
    litert(module, x, plain)
    ((signature, names),) = Interpreter(model_path=plain).get_signature_list().items()
    (name,) = names["inputs"]
    tool = quantizer.Quantizer(plain, recipe.static_wi8_ai8())
    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        none = quantizer.AlgorithmName.NO_QUANTIZE
        tool.update_quantization_recipe(".*", end, algorithm_key=none)
    found = tool.calibrate({signature: [{name: batch} for batch in batches]}, num_threads=2)
    tool.quantize(found).export_model(target)


FORMS = {
    "onnx": onnx,
    "old.onnx": old_onnx,
    "xml": openvino,
    "mnn": mnn,
    "ncnn.param": ncnn,
    "tflite": litert,
    "pte": executorch,
}
QUANTIZED = {
    "int8.onnx": int8_onnx,
    "int8.xml": int8_openvino,
    "int8.tflite": int8_litert,
}


def batches_of(images: np.ndarray, batch: int) -> Batches:
    """The images in batches; those that fill none are left out.

    Raises:
        SystemExit: There are too few.
    """
    if len(images) < batch:
        raise SystemExit(f"expected at least {batch} images for calibration, got {len(images)}")
    return [images[i : i + batch] for i in range(0, len(images) - batch + 1, batch)]


def call(tool: str, *words: object, cwd: Path | None = None) -> None:
    """Run a tool of this interpreter's environment."""
    command = [Path(sys.executable).parent / tool, *words]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=cwd, check=False
    )
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr).strip() or f"{tool}: {done.returncode}")


def main() -> None:
    """Convert one network."""
    form, source, images, target, *calibration = sys.argv[1:]
    # The tools of OpenVINO report nothing home.
    os.environ["CI"] = "true"
    torch.set_num_threads(2)
    # Its fused attention is one operation that no converter knows.
    torch.backends.mha.set_fastpath_enabled(False)
    module = torch.load(source, weights_only=False).eval()
    x = torch.from_numpy(np.load(images))
    if form in QUANTIZED:
        QUANTIZED[form](module, x, target, batches_of(np.load(calibration[0]), len(x)))
    else:
        FORMS[form](module, x, target)


if __name__ == "__main__":
    main()
