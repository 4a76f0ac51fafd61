"""Networks without what their sources define differently: what is left tells where each array is.

Strides, borders and epsilons decide how large an image is and what a norm rounds, never which array
multiplies what. Without them two editions of one network are the same function of their arrays.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Set

import cnnzoo as cz
from reference import AnyArray

# Fields of the operations below that sources disagree about, and what all get in their place.
FIELDS = re.compile(r" (stride|padding|ceil|count_padding|top|bottom|left|right|eps)=\S+")
LEVEL = {"conv": " padding=same", "pool": " padding=same", "pad": "", "batch_norm": " eps=0.001"}


def levelled(graph: cz.Graph, state: Mapping[str, AnyArray], shared: Set[str]) -> cz.Model:
    """The network with every stride 1, borders that keep the size of an image, and one epsilon.

    Args:
        graph: An edition that reads an image of any size.
        state: Its arrays.
        shared: The names of those that the other edition has too. Biases of convolutions and
            factors of norms that it lacks are left out.
    """
    lines = [_levelled(line, shared) for line in str(graph).splitlines()]
    model = cz.Model.from_graph(cz.Graph.parse("\n".join(lines)))
    needed = [key for key in model.state_dict() if not key.endswith("num_batches_tracked")]
    model.load_state_dict({key: state[key] for key in needed}, strict=False)
    return model


def levelled_fields(graph: cz.Graph) -> Counter[tuple[str, ...]]:
    """The fields that `levelled` replaces, of all nodes in any order."""
    calls = (line.partition(" = ")[2] for line in str(graph).splitlines())
    of_these = (call for call in calls if call.partition("(")[0] in LEVEL)
    return Counter(tuple(match[0] for match in FIELDS.finditer(call)) for call in of_these)


def _levelled(line: str, shared: Set[str]) -> str:
    node, _, call = line.strip().partition(" = ")
    op = call.partition("(")[0]
    text = FIELDS.sub("", line) + LEVEL[op] if op in LEVEL else line
    if op == "conv" and f"{node}.bias" not in shared:
        text = text.replace(" bias=true", "")
    if op == "batch_norm" and f"{node}.weight" not in shared:
        text = text.replace(" scale=false", "") + " scale=false"
    return text
