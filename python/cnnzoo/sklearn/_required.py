"""The check that scikit-learn is installed, and not too old."""

from __future__ import annotations

from cnnzoo._package import NAME
from cnnzoo.errors import MissingPackageError

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  # since 1.6
except ImportError as error:
    raise MissingPackageError(
        f"cnnzoo.sklearn needs scikit-learn 1.6 or newer: pip install '{NAME}[sklearn]'"
    ) from error
