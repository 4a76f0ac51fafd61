"""The check that Ray Data is installed."""

from __future__ import annotations

from cnnzoo._package import NAME
from cnnzoo.errors import MissingPackageError

try:
    import ray.data  # noqa: F401  # with pyarrow
except ImportError as error:
    raise MissingPackageError(f"cnnzoo.ray needs Ray Data: pip install '{NAME}[ray]'") from error
