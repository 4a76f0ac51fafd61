"""Weights: published weights, weights files of other libraries, and reports of loading."""

from __future__ import annotations

import typing

from cnnzoo.weights.report import LoadReport, Mismatch

if typing.TYPE_CHECKING:
    from cnnzoo.weights.published import Published, published_weights
else:

    def __getattr__(name: str) -> object:
        """A name of `published`, which is imported with the first of them: few programs need it."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from cnnzoo.weights import published

        return getattr(published, name)


__all__ = ["LoadReport", "Mismatch", "Published", "published_weights"]
