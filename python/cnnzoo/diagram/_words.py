"""The words for kinds of nodes, for shapes and for names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from cnnzoo.diagram._collect import COLLECT
from cnnzoo.diagram._network import Network, Node

# The operations of each kind, which decides on the colour.
OPERATIONS = {
    "norm": ("batch_norm", "group_norm", "layer_norm", "lrn"),
    "pool": ("pool", "blur", "adaptive_pool", "pool_up_to"),
    "shape": ("pad", "flatten", "tokens", "select_token"),
    "join": ("add", "average", "gate", "concat", COLLECT),
    "scale": ("multiply", "affine", "layer_scale"),
    "dropout": ("dropout", "drop_path"),
    "attention": ("attention", "multi_query_attention"),
}
KINDS = {op: kind for kind, ops in OPERATIONS.items() for op in ops}
# These are kinds of their own.
KINDS |= {op: op for op in ("input", "conv", "linear", "activation", "embedding")}

# What the legend says of each kind.
KIND_WORDS = {
    "conv": "convolution",
    "depthwise": "depthwise convolution",
    "linear": "fully connected",
    "norm": "normalisation",
    "activation": "activation",
    "pool": "pooling",
    "attention": "attention",
    "embedding": "learned tokens",
    "shape": "reshaping",
    "scale": "scaling",
    "dropout": "dropout, in training only",
}

# What is said of a classifier beside the network's own.
AUXILIARY = "auxiliary, in training only"

# Joins as symbols, and what the legend says of each.
SYMBOLS = {"add": "+", "gate": "×", COLLECT: "C"}
SYMBOL_WORDS = {
    "+": "sum",
    "×": "product with a gate for each channel",
    "C": "features so far and new ones, concatenated",
}


def kind_of(network: Network, node: Node) -> str:
    """The kind of a node; depthwise convolutions are one of their own."""
    return "depthwise" if is_depthwise(network, node) else KINDS.get(node.op, "shape")


def is_depthwise(network: Network, node: Node) -> bool:
    """Whether a convolution has a filter for each channel."""
    return node.op == "conv" and 1 < node.fields["groups"] == network.channels_in(node)


def shape_words(shape: tuple[int, ...] | None) -> str:
    """A shape as boxes have it: 64×56×56; 197×768 for tokens."""
    return "" if shape is None else "×".join(map(str, shape))


def short_name(name: str, within: str) -> str:
    """A name without the path of what holds it."""
    if name.startswith(within + ".") and within:
        return name[len(within) + 1 :]
    return name


def range_of_names(names: Sequence[str]) -> str:
    """The names of a run: "layer1.1 – 3" for `layer1.1`, `layer1.2` and `layer1.3`."""
    first, last = names[0], names[-1]
    if first == last:
        return first
    # A number is not cut: 18 to 19 is not "18 – 9".
    equal = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    same = re.sub(r"\d+$", "", "".join(letter for letter, _ in equal))
    begin, end = first[len(same) :], last[len(same) :]
    if not (begin.isdecimal() and end.isdecimal()):
        return f"{first} – {last}"
    is_run = int(end) - int(begin) == len(names) - 1
    return f"{first} – {end}" if is_run else f"{first}, … {end}"


def shared_path(names: Sequence[str]) -> str:
    """The path with which all names begin, and after which none goes on with a number."""
    if not names:
        return ""
    first, last = (name.split(".") for name in (min(names), max(names)))
    shared = []
    for word, other in zip(first[:-1], last[:-1], strict=False):
        if word != other:
            break
        shared.append(word)
    while shared and any(name.split(".")[len(shared)].isdecimal() for name in names):
        shared.pop()
    return ".".join(shared)
