"""The two engines of a network, cnnzoo's own and libtorch's: which of them is needed for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo import _native
from cnnzoo._arguments import one_of
from cnnzoo._configuration import WeightsFile
from cnnzoo._package import need_libtorch
from cnnzoo.errors import ArgumentError
from cnnzoo.model._describing import Describing
from cnnzoo.model._network import InferencePrecision
from cnnzoo.model._packing import has_libtorch, on_libtorch
from cnnzoo.prediction import usual_labels

if TYPE_CHECKING:
    from cnnzoo import _torch
    from cnnzoo.tuning import Tuning

# The devices of our own engine.
OWN = {"cpu", "meta"}


class Choosing(Describing):
    """A network that chooses the engine for a run, and moves to libtorch where that is needed."""

    # In models that older versions pickled there is none.
    _tuning: Tuning | None = None

    def _with_libtorch(self, what: str) -> _torch.Model:
        """The engine that has libtorch, to which parameters and settings move at the first need.

        Raises:
            MissingPackageError: There is no libtorch.
        """
        need_libtorch(what)
        with self._changing:
            if not has_libtorch(self._engine):
                engine = on_libtorch(self._engine, self._configuration())
                engine.choose(choices_of(self._tuning))
                self._engine = engine
            return cast("_torch.Model", self._engine)

    def _for_training(self) -> _torch.Model:
        """The engine that has libtorch, for training and evaluation."""
        return self._with_libtorch("training or evaluation")

    def _allocate(self, device: str, seed: int | None, file: WeightsFile | None = None) -> None:
        """Allocate the parameters on a device, if the file's arrays fit.

        Without a seed they are not initialised, for whoever fills them all.
        """
        if file is not None:
            self._engine.expect(file.stored, "pretrained")
        self._on(device).allocate(device, seed)

    def _on(self, device: str) -> _native.Model:
        """The engine that knows a device."""
        return self._engine if device in OWN else self._with_libtorch(f"the device `{device}`")

    def _classify(
        self, x: ArrayLike, *, alone: bool, precision: InferencePrecision
    ) -> tuple[NDArray[np.float32], tuple[str, ...]]:
        """Logits (N, K), and the class labels of the classifier that computed them.

        Args:
            x: Images (N, C, H, W).
            alone: Run on this thread alone, as several callers do beside each other.
            precision: Compute precision.
        """
        engine = self._runner(False, precision)
        logits, labels = engine.classify(x, alone=alone, precision=precision)
        return logits, tuple(labels or usual_labels(logits.shape[1]))

    def _runner(self, exact: bool, precision: InferencePrecision = "float32") -> _native.Model:
        """The engine for a run: libtorch's where it is exact, or the precision is not ours."""
        one_of("`precision`", precision, get_args(InferencePrecision))
        if exact and precision == "int8":
            raise ArgumentError(
                f'`precision="int8"` of {self.name}: expected no exact run, which is of libtorch, '
                "got exact=True"
            )
        if exact:
            return self._with_libtorch("`exact=True`")
        if not _native.offers(precision):
            at = f'`precision="{precision}"` on a processor without AVX512-BF16'
            return self._with_libtorch(at)
        return self._engine


def choices_of(tuning: Tuning | None) -> list[tuple[Any, str]]:
    """The layers of a tuning with their algorithms, as an engine takes them."""
    return [] if tuning is None else [(layer._row, layer.chosen) for layer in tuning.layers]
