"""Converts a pickled PyTorch module for another engine, in an interpreter that has its tools.

    python benchmarks/conversions.py FORM module.pt images.npy TARGET

FORM is the ending of TARGET. Other files may be left beside TARGET.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from torch.nn import Module

# Operator sets of ONNX. DeepSparse reads old ones; layer norm needs 17, or is written out from 14.
NEW, OLD, OLD_OF_TRANSFORMERS = 17, 11, 14


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


FORMS = {
    "onnx": onnx,
    "old.onnx": old_onnx,
    "xml": openvino,
    "mnn": mnn,
    "ncnn.param": ncnn,
    "tflite": litert,
    "pte": executorch,
}


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
    form, source, images, target = sys.argv[1:]
    torch.set_num_threads(2)
    # Its fused attention is one operation that no converter knows.
    torch.backends.mha.set_fastpath_enabled(False)
    module = torch.load(source, weights_only=False).eval()
    FORMS[form](module, torch.from_numpy(np.load(images)), target)


if __name__ == "__main__":
    main()
