"""The optimisers: SGD, Adam, AdamW, RMSprop and LAMB."""

from __future__ import annotations

from collections.abc import Sequence

from cnnzoo.model import Model
from cnnzoo.training.optimizers.groups import ParameterGroup
from cnnzoo.training.optimizers.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent (SGD) as in `torch.optim.SGD`.

    Args:
        model: The model whose parameters are optimised.
        lr: The learning rate.
        momentum: Momentum factor.
        dampening: Dampening of the momentum: gradients enter it times 1 - dampening.
        weight_decay: L2 penalty: this times the parameter is added to its gradient.
        nesterov: Whether to use Nesterov momentum (Sutskever et al. 2013).
        norm_weight_decay: Weight decay of norm layers. None: `weight_decay`.
        bias_weight_decay: Weight decay of biases. None: `weight_decay`.
        layer_decay: Layer-wise learning-rate decay: each earlier layer's rate is multiplied by
            this. None: one rate for all.
        groups: Parameter groups with their own learning rate and weight decay.
    """

    def __init__(
        self,
        model: Model,
        *,
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        norm_weight_decay: float | None = None,
        bias_weight_decay: float | None = None,
        layer_decay: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(
            model,
            "sgd",
            {"momentum": momentum, "dampening": dampening, "nesterov": nesterov},
            lr=lr,
            weight_decay=weight_decay,
            norm_weight_decay=norm_weight_decay,
            bias_weight_decay=bias_weight_decay,
            layer_decay=layer_decay,
            groups=groups,
        )


class Adam(Optimizer):
    """Adam (Kingma and Ba, arXiv:1412.6980) as in `torch.optim.Adam`.

    Args:
        model: The model whose parameters are optimised.
        lr: The learning rate.
        betas: Decay rates of the running averages of the gradient and of its square.
        eps: Added to the denominator, the root of the averaged squared gradient.
        weight_decay: L2 penalty: this times the parameter is added to its gradient.
        norm_weight_decay: Weight decay of norm layers. None: `weight_decay`.
        bias_weight_decay: Weight decay of biases. None: `weight_decay`.
        layer_decay: Layer-wise learning-rate decay: each earlier layer's rate is multiplied by
            this. None: one rate for all.
        groups: Parameter groups with their own learning rate and weight decay.
    """

    def __init__(
        self,
        model: Model,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        norm_weight_decay: float | None = None,
        bias_weight_decay: float | None = None,
        layer_decay: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(
            model,
            "adam",
            {"betas": betas, "eps": eps, "decoupled": False},
            lr=lr,
            weight_decay=weight_decay,
            norm_weight_decay=norm_weight_decay,
            bias_weight_decay=bias_weight_decay,
            layer_decay=layer_decay,
            groups=groups,
        )


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101).

    As in `torch.optim.AdamW`.

    Args:
        model: The model whose parameters are optimised.
        lr: The learning rate.
        betas: Decay rates of the running averages of the gradient and of its square.
        eps: Added to the denominator, the root of the averaged squared gradient.
        weight_decay: Decoupled weight decay: each step multiplies the parameter by
            1 - lr * weight_decay.
        norm_weight_decay: Weight decay of norm layers. None: `weight_decay`.
        bias_weight_decay: Weight decay of biases. None: `weight_decay`.
        layer_decay: Layer-wise learning-rate decay: each earlier layer's rate is multiplied by
            this. None: one rate for all.
        groups: Parameter groups with their own learning rate and weight decay.
    """

    def __init__(
        self,
        model: Model,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        norm_weight_decay: float | None = None,
        bias_weight_decay: float | None = None,
        layer_decay: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(
            model,
            "adam",
            {"betas": betas, "eps": eps, "decoupled": True},
            lr=lr,
            weight_decay=weight_decay,
            norm_weight_decay=norm_weight_decay,
            bias_weight_decay=bias_weight_decay,
            layer_decay=layer_decay,
            groups=groups,
        )


class RMSprop(Optimizer):
    """RMSprop as in `torch.optim.RMSprop`: `eps` is added outside the root.

    Args:
        model: The model whose parameters are optimised.
        lr: The learning rate.
        alpha: Decay rate of the running average of the squared gradient.
        eps: Added to its root; torchvision trains EfficientNet with 0.0316, and alpha 0.9.
        momentum: Momentum factor.
        centered: Whether to normalise by the gradient's estimated variance (centered RMSprop).
        weight_decay: L2 penalty: this times the parameter is added to its gradient.
        norm_weight_decay: Weight decay of norm layers. None: `weight_decay`.
        bias_weight_decay: Weight decay of biases. None: `weight_decay`.
        layer_decay: Layer-wise learning-rate decay: each earlier layer's rate is multiplied by
            this. None: one rate for all.
        groups: Parameter groups with their own learning rate and weight decay.
    """

    def __init__(
        self,
        model: Model,
        *,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        norm_weight_decay: float | None = None,
        bias_weight_decay: float | None = None,
        layer_decay: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(
            model,
            "rmsprop",
            {"alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered},
            lr=lr,
            weight_decay=weight_decay,
            norm_weight_decay=norm_weight_decay,
            bias_weight_decay=bias_weight_decay,
            layer_decay=layer_decay,
            groups=groups,
        )


class LAMB(Optimizer):
    """LAMB, layer-wise adaptive moments (You et al., arXiv:1904.00962), as in `timm.optim.Lamb`.

    Args:
        model: The model whose parameters are optimised.
        lr: The learning rate.
        betas: Decay rates of the running averages of the gradient and of its square.
        eps: Added to the denominator, the root of the averaged squared gradient.
        weight_decay: Weight decay: this times the parameter is added to its Adam step. Only
            parameters with weight decay use the trust ratio |parameter| / |step|.
        max_grad_norm: Gradient clipping by norm: the largest norm of all gradients. None: none.
        norm_weight_decay: Weight decay of norm layers. None: `weight_decay`.
        bias_weight_decay: Weight decay of biases. None: `weight_decay`.
        layer_decay: Layer-wise learning-rate decay: each earlier layer's rate is multiplied by
            this. None: one rate for all.
        groups: Parameter groups with their own learning rate and weight decay.
    """

    def __init__(
        self,
        model: Model,
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        max_grad_norm: float | None = 1.0,
        norm_weight_decay: float | None = None,
        bias_weight_decay: float | None = None,
        layer_decay: float | None = None,
        groups: Sequence[ParameterGroup] = (),
    ) -> None:
        super().__init__(
            model,
            "lamb",
            {"betas": betas, "eps": eps, "max_grad_norm": max_grad_norm},
            lr=lr,
            weight_decay=weight_decay,
            norm_weight_decay=norm_weight_decay,
            bias_weight_decay=bias_weight_decay,
            layer_decay=layer_decay,
            groups=groups,
        )
