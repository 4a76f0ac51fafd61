"""The schemas that src/torch/dispatch.rs relies on are those of libtorch."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

DISPATCH = Path(__file__).parents[3] / "src" / "torch" / "dispatch.rs"


def written(operator: str) -> str:
    """The schema in the comment of the call."""
    lines = [line.strip().removeprefix("//") for line in DISPATCH.read_text().splitlines()]
    text = re.sub(r"\s+", " ", " ".join(lines))
    found = re.search(rf"aten::{operator}(\(.*?\) -> \(\))", text)
    assert found is not None, operator
    return found[1]


def libtorchs(operator: str) -> str:
    """Without what is written to and without defaults."""
    schema = str(getattr(torch.ops.aten, operator).default._schema)
    schema = re.sub(r"\([a-z]!\)", "", schema.partition(operator)[2])
    return re.sub(r"=[^,)]*", "", schema)


@pytest.mark.parametrize(
    ("operator", "like"),
    [
        ("_fused_sgd_", "_fused_sgd_"),
        ("_fused_adam_", "_fused_adam_"),
        ("_fused_adamw_", "_fused_adam_"),
    ],
)
def test_a_schema_is_libtorchs(operator: str, like: str) -> None:
    assert libtorchs(operator) == written(like)
