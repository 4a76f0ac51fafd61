"""Single operations as onnxruntime computes them, in every version of ONNX's operators."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from export.onnx_files import exported, run
from tolerance import ROUNDING, difference

OPSETS = range(17, 29)

IMAGE = "graph one\ninput = input() channels=4 height=9 width=13\n"

# A graph for each operation and each way to write it.
GRAPHS = {
    "conv": "y = conv(input) out=6 kernel=[3,5] stride=2 padding=[1,2] groups=2 bias=true",
    "conv_same": "y = conv(input) out=6 kernel=[3,4] stride=2 padding=same dilation=[2,1]",
    "conv_same_steps": "y = conv(input) out=6 kernel=[3,4] stride=2 padding=same",
    "conv_same_dilated": "y = conv(input) out=6 kernel=[3,4] padding=same dilation=[2,1]",
    "conv_dilated": "y = conv(input) out=4 kernel=3 padding=2 dilation=2 groups=4",
    "pad": "y = pad(input) top=1 left=2 channels=3",
    "batch_norm": "y = batch_norm(input) eps=0.01",
    "batch_norm_without_scale": "y = batch_norm(input) scale=false",
    "group_norm": "y = group_norm(input) groups=2",
    "max_pool": "y = pool(input) kernel=3 stride=2 padding=1",
    "max_pool_ceil": "y = pool(input) kernel=2 stride=2 ceil=true",
    "max_pool_outside": "y = pool(input) kernel=2 stride=2 padding=1 ceil=true",
    "max_pool_same": "y = pool(input) kernel=[2,3] stride=2 padding=same",
    "max_pool_steps": "y = pool(input) stride=2",
    "average_pool": "y = pool(input) kind=average kernel=3 stride=2 padding=1",
    "average_pool_inside": "y = pool(input) kind=average kernel=3 padding=1 count_padding=false",
    "average_pool_ceil": "y = pool(input) kind=average kernel=2 stride=2 ceil=true",
    "average_pool_ceil_padded": "y = pool(input) kind=average kernel=3 stride=2 padding=1"
    " ceil=true",
    "average_pool_ceil_inside": "y = pool(input) kind=average kernel=3 stride=2 padding=1 ceil=true"
    " count_padding=false",
    "average_pool_same": "y = pool(input) kind=average kernel=[2,3] stride=2 padding=same",
    "blur": "y = blur(input) size=4 stride=2 padding=[1,2]",
    "blur_zeros": "y = blur(input) size=3 stride=[1,2] border=zeros",
    "adaptive_pool": "y = adaptive_pool(input)",
    "adaptive_pool_to_its_size": "y = adaptive_pool(input) size=[9,13]",
    "adaptive_pool_divided": "y = adaptive_pool(input) size=[3,13]",
    "adaptive_pool_uneven": "y = adaptive_pool(input) size=[4,7]",
    "pool_up_to": "y = pool_up_to(input) size=[11,7]",
    "lrn": "y = lrn(input) size=3 alpha=0.5 k=2.0",
    "lrn_even": "y = lrn(input) size=2 alpha=0.5",
    "linear": "flat = flatten(input)\ny = linear(flat) out=5",
    "linear_without_bias": "flat = flatten(input)\ny = linear(flat) out=5 bias=false",
    "linear_of_tokens": "tokens = tokens(input)\ny = linear(tokens) out=5",
    "linear_of_tokens_without_bias": "tokens = tokens(input)\ny = linear(tokens) out=5 bias=false",
    "add": "a = activation(input)\nb = multiply(a) by=3.0\ny = add(input, a, b)",
    "add_one": "y = add(input)",
    "average": "a = activation(input)\nb = multiply(a) by=3.0\ny = average(input, a, b)",
    "affine": "y = affine(input) scale=[1.0,2.0,3.0,4.0] shift=[0.1,0.2,0.3,0.4]",
    "gate": "a = adaptive_pool(input)\ny = gate(input, a)",
    "concat": "a = activation(input)\ny = concat(input, a, input)",
    "dropout": "y = dropout(input) rate=0.5",
    "drop_path": "a = activation(input)\ny = drop_path(a) rate=0.5",
    "layer_norm": "tokens = tokens(input)\ny = layer_norm(tokens) eps=0.001",
    "layer_norm_of_a_vector": "flat = flatten(input)\ny = layer_norm(flat)",
    "layer_scale": "y = layer_scale(input)",
    "embedding": "cls = embedding() tokens=2 width=4\ntokens = tokens(input)\n"
    "y = concat(cls, tokens)",
    "positions": "tokens = tokens(input)\nplaces = embedding() tokens=117 width=4 grid=[9,13]\n"
    "y = add(tokens, places)",
    "embeddings_alone": "a = embedding() tokens=3 width=4\nb = embedding() tokens=3 width=4\n"
    "sum = add(a, b)\nnorm = layer_norm(sum)\ny = linear(norm) out=5",
    "attention": "tokens = tokens(input)\nqkv = linear(tokens) out=24\ny = attention(qkv) heads=2",
    "multi_query_attention": "q = conv(input) out=8\nk = conv(input) out=4 kernel=3 stride=2\n"
    "v = conv(input) out=6 kernel=3 stride=2\ny = multi_query_attention(q, k, v) heads=2",
    "select_token": "tokens = tokens(input)\ny = select_token(tokens) index=7",
    "one_name": "input_weight = activation(input)\ny = conv(input_weight) out=3\n"
    "y.weight = activation(y)\nz = conv(y.weight) out=2",
} | {
    function: f"y = activation(input) function={function}"
    for function in (
        *("relu", "relu6", "silu", "sigmoid", "tanh", "gelu", "hard_sigmoid", "hard_swish"),
    )
}

# Those that need an image of a size that is known.
OF_ONE_SIZE = {
    "conv_same",
    "adaptive_pool_divided", "adaptive_pool_to_its_size", "adaptive_pool_uneven", "linear",
    "layer_norm_of_a_vector", "linear_without_bias", "max_pool_outside", "pool_up_to", "positions",
}  # fmt: skip


def network(name: str) -> cz.Model:
    """One operation with parameters that all matter, on images with values of every sign."""
    lines = GRAPHS[name].splitlines()
    output = lines[-1].partition(" = ")[0]
    model = cz.Model.from_graph(cz.Graph.parse(f"{IMAGE}{GRAPHS[name]}\noutput {output}"))
    generator = np.random.default_rng(1)
    state = {
        key: np.asarray(generator.uniform(0.5, 1.5, value.shape), value.dtype)
        if "var" in key or key.endswith("tracked")
        else generator.standard_normal(value.shape).astype(np.float32)
        for key, value in model.state_dict().items()
    }
    model.load_state_dict(state)
    return model


def images(batch: int, height: int = 9, width: int = 13) -> np.ndarray:
    generator = np.random.default_rng(2)
    return 3 * generator.standard_normal((batch, 4, height, width)).astype(np.float32)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", GRAPHS)
def test_operations_equal_libtorch(name: str, opset: int, tmp_path: Path) -> None:
    model = network(name)
    file = exported(model, tmp_path, opset=opset)
    for batch in (1, 3):
        x = images(batch)
        assert difference(run(file, x), model(x, exact=True)) <= ROUNDING


@pytest.mark.parametrize("name", GRAPHS)
def test_operations_on_images_of_any_size(name: str, tmp_path: Path) -> None:
    model = network(name)
    if name in OF_ONE_SIZE:
        with pytest.raises(cz.ArgumentError, match="expected a fixed size"):
            exported(model, tmp_path, image="dynamic")
        return
    file = exported(model, tmp_path, image="dynamic")
    for batch, height, width in ((1, 9, 13), (3, 14, 11)):
        x = images(batch, height, width)
        assert difference(run(file, x), model(x, exact=True)) <= ROUNDING


@pytest.mark.parametrize("name", GRAPHS)
def test_operations_for_a_fixed_batch(name: str, tmp_path: Path) -> None:
    model = network(name)
    file = exported(model, tmp_path, batch=2)
    x = images(2)
    assert difference(run(file, x), model(x, exact=True)) <= ROUNDING
