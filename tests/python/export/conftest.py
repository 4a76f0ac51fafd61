"""The model of the tests of ONNX files."""

from __future__ import annotations

import pytest

import cnnzoo as cz
from export.onnx_files import SIDE


@pytest.fixture(scope="module")
def model() -> cz.Model:
    return cz.create_model("resnet18", num_classes=7, image_size=SIDE, seed=3)
