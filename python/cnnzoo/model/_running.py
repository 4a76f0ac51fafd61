"""Running a network: logits, features and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import node_names
from cnnzoo._arrays import as_given, is_on_gpu
from cnnzoo.model._choosing import Choosing
from cnnzoo.model._network import InferencePrecision

if TYPE_CHECKING:
    import torch


class Running(Choosing):
    """A network that runs on preprocessed images."""

    @overload
    def __call__(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> torch.Tensor: ...
    @overload
    def __call__(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> NDArray[np.float32]: ...
    def __call__(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> Any:
        """Run the network in inference mode.

        Args:
            x: Images (N, C, H, W), preprocessed as by `preprocess`: float32, float64 or float16, in
                any memory layout. NaN passes through. An array, of other libraries too (DLPack), or
                a torch tensor; float32 in the order of its axes on the CPU is not copied, and
                neither is a tensor on the model's GPU.
            exact: Run operator by operator on libtorch, with the bits of PyTorch. Otherwise runs on
                the CPU are those of cnnzoo's own engine: faster, equal up to rounding.
            precision: Compute precision. With `"bfloat16"`, inputs and weights of convolutions and
                linear layers are rounded to it, unless the channels of a group are odd in number or
                a convolution is depthwise or by Winograd's algorithm; all else, sums too, is in
                float32. It needs a processor with AVX512-BF16. On others, on a GPU, and with
                `exact`, it is that of `train_step`, on libtorch. With `"int8"`, those that
                `quantize` chose multiply integers of 8 bits; it needs a quantized model on the CPU.

        Returns:
            Logits, float32 (N, num_classes); features (N, C) where `num_classes` is 0. A tensor on
            the device of `x` if that is one, otherwise a NumPy array; no gradients are recorded,
            which `cnnzoo.torch.Module` does.

        Raises:
            ArgumentError: The precision is `"int8"`, and the model is not quantized or not on the
                CPU, or the run is to be exact.
            ShapeError: Wrong rank or number of channels, no images, or images too small.
            TypeError: Wrong element type.
        """
        return self._values(x, None, exact, precision)[0]

    @overload
    def features(
        self,
        x: torch.Tensor,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, torch.Tensor]: ...
    @overload
    def features(
        self,
        x: ArrayLike,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, NDArray[np.float32]]: ...
    def features(
        self,
        x: Any,
        nodes: str | Sequence[str],
        *,
        exact: bool = False,
        precision: InferencePrecision = "float32",
    ) -> dict[str, Any]:
        """Compute the values of named nodes, without running the nodes after them.

        Args:
            x: Images (N, C, H, W), as for `__call__`; values are tensors if it is one.
            nodes: Names of `nodes()`, or one of them; a path such as `layer2` means the last node
                below it.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`. Values that are asked for are float32.

        Raises:
            ArgumentError: There is no such node, or `nodes` are no names in a list.
        """
        names = node_names("`nodes`", nodes)
        return dict(zip(names, self._values(x, names, exact, precision), strict=True))

    @overload
    def pyramid(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, torch.Tensor]: ...
    @overload
    def pyramid(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, NDArray[np.float32]]: ...
    def pyramid(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> dict[str, Any]:
        """Compute a feature pyramid: the last value of each resolution, the finest first.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`.

        Returns:
            Feature maps (N, C, H, W) by node name, each coarser than the one before.
        """
        return self.features(x, self.graph.pyramid(), exact=exact, precision=precision)

    @overload
    def embed(
        self, x: torch.Tensor, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> torch.Tensor: ...
    @overload
    def embed(
        self, x: ArrayLike, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> NDArray[np.float32]: ...
    def embed(
        self, x: Any, *, exact: bool = False, precision: InferencePrecision = "float32"
    ) -> Any:
        """Compute the pooled features (N, C) before the classifier.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            exact: As for `__call__`.
            precision: Compute precision, as for `__call__`.
        """
        return self._values(x, [self._engine.embedding], exact, precision)[0]

    def nodes(self) -> list[str]:
        """Names of all nodes, in the order in which they run."""
        return self.graph.nodes()

    def _values(
        self, x: Any, nodes: list[str] | None, exact: bool, precision: InferencePrecision
    ) -> list[Any]:
        """The values of nodes, or the output; those of a tensor on the model's GPU stay there."""
        if precision == "float32" and is_on_gpu(x, self.device):
            return self._on_gpu(x, nodes)
        found = self._runner(exact, precision).run(x, nodes, exact, precision)
        return [as_given(value, x) for value in found]

    def _on_gpu(self, x: torch.Tensor, nodes: list[str] | None) -> list[torch.Tensor]:
        engine = self._with_libtorch("a model on a GPU")
        import torch

        from cnnzoo._torch import forward, generation

        with torch.no_grad():
            return forward(
                engine,
                x.float(),
                generation=generation(engine),
                nodes=nodes,
                auxiliary=False,
                training=[],
                seed=0,
                watched=[],
                watch=None,
            )
