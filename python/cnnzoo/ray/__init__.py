"""Predictions for very many photographs on the workers of Ray.

import cnnzoo as cz

model = cz.create_model("tf_efficientnet_lite0", weights="default")
cz.ray.predict("photos/", model, output="predictions/")
"""

from __future__ import annotations

import cnnzoo.ray._required  # noqa: F401  # whose error names the extra
from cnnzoo.ray.predicting import predict

__all__ = ["predict"]
