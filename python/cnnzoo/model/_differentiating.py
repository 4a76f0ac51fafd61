"""Gradients of a network: by its parameters, its input, and the values of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cnnzoo._arguments import node_names, one_of, seed_of, shown, text
from cnnzoo._arrays import as_given
from cnnzoo.errors import ArgumentError
from cnnzoo.model._network import Precision
from cnnzoo.model._running import Running

if TYPE_CHECKING:
    import torch

    from cnnzoo.gradients import Gradients


class Differentiating(Running):
    """A network that computes gradients."""

    @overload
    def vjp(
        self,
        x: torch.Tensor,
        cotangent: ArrayLike | torch.Tensor,
        *,
        training: bool = False,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]: ...
    @overload
    def vjp(
        self,
        x: ArrayLike,
        cotangent: ArrayLike | torch.Tensor,
        *,
        training: bool = False,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]: ...
    def vjp(
        self,
        x: Any,
        cotangent: Any,
        *,
        training: bool = False,
        precision: Precision = "float32",
        seed: int = 0,
    ) -> tuple[Any, dict[str, Any]]:
        """Vector-Jacobian product: run the network and backpropagate a gradient of its output.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            cotangent: The gradient of a loss with respect to the output, of the output's shape.
            training: Training mode: batch norm uses and tracks batch statistics; dropout is active.
            precision: Compute precision, as for `train_step`.
            seed: Seed of dropout, from which each node draws on its own.

        Returns:
            The output, and the gradient of sum(output · cotangent) by trained parameter's name;
            tensors if `x` is one.

        Raises:
            ShapeError: The cotangent's shape is not the output's, or, in training, a batch norm
                sees a single value per channel.
        """
        engine = self._with_libtorch("a gradient")
        output, found = engine.pull_back(x, cotangent, training, precision, seed_of(seed))
        gradients = {name: as_given(gradient, x) for name, gradient in found.items()}
        return as_given(output, x), gradients

    def gradients(
        self,
        x: ArrayLike | torch.Tensor,
        target: int | ArrayLike | torch.Tensor,
        *,
        at: str | Sequence[str] = (),
        output: str | None = None,
        guided: bool = False,
        precision: Precision = "float32",
    ) -> Gradients:
        """Differentiate the score of a class by the input and by the values of named nodes.

        The network runs in evaluation mode, on libtorch, and nothing of it changes: parameters have
        no part in it, frozen or not. NaN passes through.

        Args:
            x: Images (N, C, H, W), as for `__call__`.
            target: The class whose logit is differentiated: one for all images, or integers (N,).
                Or a cotangent: floating-point numbers of the output's shape; then the gradients are
                those of sum(output · cotangent).
            at: Names of `nodes()`, or one of them; a path such as `layer2` means the last node
                below it. The gradient by a value counts every way from there to the output.
            output: The node whose value is scored in place of the logits, such as those of an
                auxiliary classifier; any node, with a cotangent.
            guided: Guided backpropagation (Springenberg et al., arXiv:1412.6806): ReLU and ReLU6
                pass only positive gradients on.
            precision: Compute precision, as for `train_step`. A model that was quantized is
                differentiated in float32.

        Returns:
            The output, the gradient by the input, and value and gradient of each node: float32, as
            tensors on the device of `x` if that is one, otherwise as NumPy arrays.

        Raises:
            ArgumentError: There is no such class or node, the output does not depend on a node, or
                `guided` and there is neither ReLU nor ReLU6 before the output.
            MissingPackageError: There is no libtorch.
            ShapeError: A cotangent's shape is not the output's, the number of classes is not that
                of the images, or the images do not fit.
            TypeError: Wrong element type.
        """
        from cnnzoo.gradients import Gradients, NodeGradient, score_of

        classes, cotangent = score_of(target)
        names = node_names("`at`", at)
        if output is not None:
            output = text("`output`", output, "the name of a node")
        if not isinstance(guided, bool):
            raise ArgumentError(f"`guided`: expected True or False, got {shown(guided)}")
        precision_name = one_of("`precision`", precision, get_args(Precision))
        engine = self._with_libtorch("a gradient")
        from cnnzoo import _torch

        found: Any = _torch.gradients(
            engine, x, classes, cotangent, names, output, guided, precision_name
        )
        values, by_input, pairs = found
        nodes = {
            name: NodeGradient(*(as_given(array, x) for array in pair))
            for name, pair in zip(names, pairs, strict=True)
        }
        return Gradients(output=as_given(values, x), input=as_given(by_input, x), nodes=nodes)
