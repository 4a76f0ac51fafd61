"""One engine of `cold_start.py`, in a process of its own: from its start to a photograph's class.

Imports nothing that its engine does not need. Writes the index of the most probable class, and then
the process's peak memory in bytes.
"""

from __future__ import annotations

import sys

# The shorter side of the image before it is cut, as the weights of these networks have it.
SHORT = 232


def pixels(photo: str):  # noqa: ANN201  # NumPy is imported below
    """The photograph as torchvision prepares it, (1, 3, 224, 224)."""
    import numpy as np
    from PIL import Image

    image = Image.open(photo).convert("RGB")
    width, height = image.size
    short = min(width, height)
    size = (SHORT * width // short, SHORT * height // short)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - 224) / 2) for side in image.size)
    array = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean, deviation = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(((array - mean) / deviation).transpose(2, 0, 1)[None])


def cnnzoo(name: str, model: str, photo: str) -> int:
    """Ours, from a model file."""
    del name
    import cnnzoo

    return cnnzoo.load(model).predict(photo)[0].index


def torch(name: str, model: str, photo: str) -> int:
    """PyTorch and torchvision, from a state dict in the same file."""
    import torch
    import torchvision
    from safetensors.torch import load_file
    from torchvision.io import decode_image
    from torchvision.transforms import InterpolationMode

    network = getattr(torchvision.models, name)()
    network.load_state_dict(load_file(model))
    prepare = torchvision.transforms._presets.ImageClassification(
        crop_size=224, resize_size=SHORT, interpolation=InterpolationMode.BILINEAR
    )
    with torch.inference_mode():
        return int(network.eval()(prepare(decode_image(photo))[None]).argmax())


def onnxruntime(name: str, model: str, photo: str) -> int:
    """ONNX Runtime."""
    del name
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return int(session.run(None, {"x": pixels(photo)})[0].argmax())


def litert(name: str, model: str, photo: str) -> int:
    """LiteRT."""
    del name
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=model, num_threads=2)
    interpreter.allocate_tensors()
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    x = pixels(photo)
    interpreter.set_tensor(
        given["index"], x if tuple(given["shape"]) == x.shape else x.transpose(0, 2, 3, 1)
    )
    interpreter.invoke()
    return int(interpreter.get_tensor(answer["index"]).argmax())


def ncnn(name: str, model: str, photo: str) -> int:
    """Tencent's ncnn, in float32."""
    del name
    import ncnn
    import numpy as np

    net = ncnn.Net()
    net.opt.num_threads = 2
    for option in dir(net.opt):
        if "fp16" in option or "bf16" in option:
            setattr(net.opt, option, False)
    net.load_param(model)
    net.load_model(model.removesuffix("param") + "bin")
    with net.create_extractor() as extractor:
        extractor.input(net.input_names()[0], ncnn.Mat(pixels(photo)[0]).clone())
        _, out = extractor.extract(net.output_names()[0])
        return int(np.array(out).argmax())


def main() -> None:
    """Print the class, then the memory."""
    engine, name, model, photo = sys.argv[1:]
    print(globals()[engine](name, model, photo), flush=True)
    with open("/proc/self/status") as status:
        peak = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
    print(1024 * int(peak), flush=True)


if __name__ == "__main__":
    main()
