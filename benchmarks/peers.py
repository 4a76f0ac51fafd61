"""The engines of `inference.py` that read a converted network, as `cnnzoo.racing` loads them.

Each function makes a run of a task and its images, in a process of its own; the interpreter need
not have cnnzoo or torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cnnzoo.racing.contestant import Run, Task

Images = NDArray[np.float32]


def onnxruntime(task: Task, x: Images) -> Run:
    """ONNX Runtime on an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    session = onnxruntime.InferenceSession(task.model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def openvino(task: Task, x: Images) -> Run:
    """OpenVINO on its own format."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": task.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if task.precision == "bfloat16" else "f32",
    }
    compiled = openvino.Core().compile_model(task.model, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda: request.infer({0: x})[0]


def ncnn(task: Task, x: Images) -> Run:
    """Tencent's ncnn, an image at a time: its networks have no batch."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = task.threads
    net.opt.use_vulkan_compute = False
    for option in dir(net.opt):
        if "fp16" in option or "bf16" in option:
            setattr(net.opt, option, "bf16" in option and task.precision == "bfloat16")
    parameters = task.model.removesuffix("param") + "bin"
    if net.load_param(task.model) or net.load_model(parameters):
        raise RuntimeError(f"{task.model}: ncnn does not read it")
    images = [ncnn.Mat(np.ascontiguousarray(image)).clone() for image in x]
    entry, end = net.input_names()[0], net.output_names()[0]

    def logits(image: Any) -> Images:
        with net.create_extractor() as extractor:
            extractor.input(entry, image)
            _, out = extractor.extract(end)
            return np.array(out).reshape(-1)

    return lambda: np.stack([logits(image) for image in images])


def mnn(task: Task, x: Images) -> Run:
    """MNN in its high precision, which is float32."""
    import MNN.expr
    import MNN.nn

    settings = {"backend": 0, "precision": "high", "numThread": task.threads}
    manager = MNN.nn.create_runtime_manager((settings,))
    net = MNN.nn.load_module_from_file(
        task.model, ["x"], ["y"], runtime_manager=manager, shape_mutable=False
    )
    given = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW)
    given.write(x)

    def run() -> Images:
        return net.forward([given])[0].read()

    return run


def litert(task: Task, x: Images) -> Run:
    """LiteRT, whose float32 kernels are XNNPACK's."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=task.model, num_threads=task.threads)
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    images = (
        x if tuple(given["shape"]) == x.shape else np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    )

    def run() -> Images:
        interpreter.set_tensor(given["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


def executorch(task: Task, x: Images) -> Run:
    """ExecuTorch with the XNNPACK backend."""
    import torch
    from executorch.extension.pybindings import _portable_lib

    _portable_lib._unsafe_reset_threadpool(task.threads)
    program = _portable_lib._load_for_executorch(task.model)
    given = [torch.from_numpy(x)]

    def run() -> Images:
        return program.forward(given)[0].numpy()

    return run


def deepsparse(task: Task, x: Images) -> Run:
    """DeepSparse on an ONNX file of an old operator set."""
    from deepsparse import Engine

    engine = Engine(model=task.model, batch_size=len(x), num_cores=task.threads)
    given = [np.ascontiguousarray(x)]
    return lambda: engine.run(given)[0]
