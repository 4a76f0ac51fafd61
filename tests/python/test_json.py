"""JSON output is valid JSON, which has neither NaN nor infinity."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
from cnnzoo import _json

NAN, INFINITY = math.nan, math.inf
GIVEN = {
    "loss": NAN,
    "row": (1.5, INFINITY, -INFINITY, [np.float32(NAN)], {"inner": np.array([0.5, NAN])}),
    "whole": np.int64(3),
    "truth": True,
    "none": None,
}


def strict(text: str) -> Any:
    def refuse(constant: str) -> Any:
        raise ValueError(f"not JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("write", [_json.line, _json.lines])
def test_numbers_that_are_not_finite_are_null(write: Callable[[Any], str]) -> None:
    assert strict(write(GIVEN)) == {
        "loss": None,
        "row": [1.5, None, None, [None], {"inner": [0.5, None]}],
        "whole": 3,
        "truth": True,
        "none": None,
    }
    with pytest.raises(TypeError, match="expected plain values, got object"):
        write([object()])


def test_values_that_are_read_again_keep_them_as_texts() -> None:
    read = strict(_json.exact(GIVEN))
    assert read["loss"] == "nan" and read["row"][:3] == [1.5, "inf", "-inf"]


def test_there_is_one_way_to_write_json() -> None:
    """Others would write NaN, unless what they write cannot hold one or goes to our own reader."""
    own = {
        "_build.py", "_configuration.py", "_files.py", "_keras_reader.py", "_record.py",
        "_json.py", "adopt.py", "contestant.py", "selection.py", "transform.py",
    }  # fmt: skip
    package = Path(cz.__file__).parent
    writers = {
        path.name
        for path in package.rglob("*.py")
        if re.search(r"json\.dumps?\(", path.read_text(encoding="utf-8"))
    }
    assert writers <= own
