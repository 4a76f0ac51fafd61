"""Estimators for scikit-learn: networks that classify photographs or turn them into features.

import cnnzoo as cz
from sklearn.model_selection import cross_val_score

classifier = cz.sklearn.Classifier("tf_efficientnet_lite0")
print(cross_val_score(classifier, paths, labels))
"""

from __future__ import annotations

import cnnzoo.sklearn._required  # noqa: F401  # whose error names the extra
from cnnzoo.sklearn.classifier import Classifier
from cnnzoo.sklearn.embedder import Embedder

__all__ = ["Classifier", "Embedder"]
