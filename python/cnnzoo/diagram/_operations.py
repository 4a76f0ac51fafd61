"""The words for an operation: "3×3 conv, 64, /2"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from cnnzoo.diagram._network import Network, Node
from cnnzoo.diagram._words import is_depthwise

Fields: TypeAlias = Mapping[str, Any]

FUNCTIONS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "silu": "SiLU",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "gelu": "GELU",
    "hard_sigmoid": "hard sigmoid",
    "hard_swish": "hard swish",
}


def words(network: Network, node: Node) -> str:
    """An operation with the fields that matter."""
    if node.op == "conv":
        return _conv(network, node)
    of = WORDS.get(node.op)
    return node.op.replace("_", " ") if of is None else of(node.fields)


def brief(network: Network, node: Node) -> str:
    """An operation beside others: "3×3, 64"; "BN" for batch norm."""
    if node.op == "conv":
        kernel = _pair(node.fields["kernel"])
        depthwise = is_depthwise(network, node)
        return f"{kernel} depthwise" if depthwise else f"{kernel}, {node.fields['out']}"
    of = BRIEF.get(node.op)
    return words(network, node) if of is None else of(node.fields)


def _conv(network: Network, node: Node) -> str:
    fields = node.fields
    kernel, groups, dilation = _pair(fields["kernel"]), fields["groups"], _pair(fields["dilation"])
    rest = _stride(fields), "" if dilation == "1×1" else f"dilation {dilation}"
    if is_depthwise(network, node):
        out = "" if fields["out"] == network.channels_in(node) else str(fields["out"])
        return _joined(f"{kernel} depthwise", out, *rest)
    split = f"{groups} groups" if groups > 1 else ""
    return _joined(f"{kernel} conv", str(fields["out"]), split, *rest)


def _pool(fields: Fields) -> str:
    kind = "max pool" if fields["kind"] == "max" else "average pool"
    return f"{_pair(fields['kernel'])} {kind}"


def _adaptive_pool(fields: Fields) -> str:
    size = _pair(fields["size"])
    return "global average pool" if size == "1×1" else f"average pool to {size}"


def _embedding(fields: Fields) -> str:
    if fields["grid"] is not None:
        return "position embedding"
    return "class token" if fields["tokens"] == 1 else f"{fields['tokens']} learned tokens"


def _heads(fields: Fields) -> str:
    return "1 head" if fields["heads"] == 1 else f"{fields['heads']} heads"


def _stride(fields: Fields) -> str:
    stride = fields["stride"]
    if isinstance(stride, int):
        return "" if stride == 1 else f"/{stride}"
    return f"/{_pair(stride)}"


def _pair(size: int | Sequence[int]) -> str:
    return f"{size}×{size}" if isinstance(size, int) else f"{size[0]}×{size[1]}"


def _joined(*texts: str) -> str:
    return ", ".join(text for text in texts if text)


WORDS: Mapping[str, Callable[[Fields], str]] = {
    "input": lambda _: "image",
    "pool": lambda fields: _joined(_pool(fields), _stride(fields)),
    "blur": lambda fields: _joined(f"{_pair(fields['size'])} blur", _stride(fields)),
    "adaptive_pool": _adaptive_pool,
    "pool_up_to": lambda fields: f"average pool up to {_pair(fields['size'])}",
    "linear": lambda fields: f"linear, {fields['out']}",
    "activation": lambda fields: FUNCTIONS.get(fields["function"], str(fields["function"])),
    "dropout": lambda fields: f"dropout {fields['rate']:.3g}",
    "drop_path": lambda fields: f"drop path {fields['rate']:.3g}",
    "multiply": lambda fields: f"× {fields['by']:.3g}",
    "attention": lambda fields: f"self-attention, {_heads(fields)}",
    "multi_query_attention": lambda fields: f"multi-query attention, {_heads(fields)}",
    "embedding": _embedding,
    "select_token": lambda fields: f"take token {fields['index']}",
    "pad": lambda _: "zero padding",
    "lrn": lambda _: "local response norm",
}
BRIEF: Mapping[str, Callable[[Fields], str]] = {
    "batch_norm": lambda _: "BN",
    "lrn": lambda _: "LRN",
    "linear": lambda fields: f"linear {fields['out']}",
    "attention": lambda fields: f"attention, {_heads(fields)}",
    "multi_query_attention": lambda fields: f"attention, {_heads(fields)}",
    "pool": _pool,
    "blur": lambda fields: f"{_pair(fields['size'])} blur",
    # Its rate grows from block to block.
    "drop_path": lambda _: "drop path",
}
