"""The base class of the optimisers: an update rule and its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import ArrayLike

from cnnzoo._arguments import instance, kind_of, number, optional, seed_of, shown, text, whole
from cnnzoo._copying import pack_memory, unpack_memory
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model, Precision, StepResult
from cnnzoo.training.losses import LossLike, as_loss
from cnnzoo.training.optimizers.groups import ParameterGroup

if TYPE_CHECKING:
    import torch

    from cnnzoo import _training


# A sum over processes, and two choices; see `Optimizer._train_step`.
Among: TypeAlias = "tuple[Callable[[torch.Tensor], torch.Tensor], bool, bool]"


class Optimizer:
    """Base class of the optimisers: an update rule for `Model.train_step`, and its state.

    The state is kept by parameter name, so it survives freezing, moving to another device, and a
    new classifier. All optimisers take `weight_decay`; `norm_weight_decay` (for the scales and
    shifts of norm layers) and `bias_weight_decay`, where these differ from it, such as 0; `groups`,
    of which the first that matches a parameter counts; and `layer_decay`.

    `layer_decay` is layer-wise learning-rate decay: the last layer has the rate `lr`, each earlier
    one `layer_decay` times the rate of the layer after it, and a group's `lr_scale` multiplies it.
    Layers are the stem, every block, and the layers after the pooling; a norm or convolution after
    the last block belongs to that block. So the rates of timm's networks are those of
    `timm.optim.param_groups_layer_decay`, with three exceptions: in VGG a batch norm belongs to its
    convolution, and `fc1` and `fc2`, which timm has before the pooling, are layers; in
    Inception v3 each convolution of the stem is a layer; in `legacy_xception` the two convolutions
    after the last block are. Blocks are those that the graph marks; in AlexNet and VGG each
    convolution is one. In a graph without blocks, every convolution or linear layer is a layer.

    Attributes:
        model: The model whose parameters are optimised.
        lr: The learning rate, which may be set.
    """

    def __init__(
        self,
        model: Model,
        rule: str,
        numbers: dict[str, Any],
        *,
        lr: float,
        weight_decay: float,
        norm_weight_decay: float | None,
        bias_weight_decay: float | None,
        layer_decay: float | None,
        groups: Sequence[ParameterGroup],
    ) -> None:
        instance("`model`", model, Model, "a model, as cnnzoo.create_model returns")
        if not isinstance(groups, list | tuple):
            raise ArgumentError(f"`groups`: expected a list of groups, got {kind_of(groups)}")
        for index, group in enumerate(groups):
            instance(f"`groups[{index}]`", group, ParameterGroup, "a cnnzoo.ParameterGroup")
        self.model = model
        self.lr = lr
        self._rule = rule
        numbers = {name: _checked(name, value) for name, value in numbers.items()}
        weight_decay = number("`weight_decay`", weight_decay)
        norm_weight_decay = optional("`norm_weight_decay`", norm_weight_decay)
        bias_weight_decay = optional("`bias_weight_decay`", bias_weight_decay)
        if layer_decay is not None:
            layer_decay = number("`layer_decay`", layer_decay, least=0, most=1)
        self._numbers = {"weight_decay": weight_decay, **numbers}
        # Pickles of before have this name.
        self._paces = {
            "norm_weight_decay": norm_weight_decay,
            "bias_weight_decay": bias_weight_decay,
            "layer_decay": layer_decay,
        }
        self._groups = tuple(groups)
        self._engine = self._build()
        _ = self.lr_scales  # which checks the patterns
        # The number of batches so far.
        self._batches = 0

    def _build(self) -> _training.Optimizer:
        """An engine with fresh optimiser state."""
        from cnnzoo import _training

        numbers = dict(self._numbers)
        weight_decay = numbers.pop("weight_decay")
        groups = [(list(g.patterns), g.lr_scale, g.weight_decay) for g in self._groups]
        return _training.Optimizer(
            self._rule, numbers, weight_decay=weight_decay, groups=groups, **self._paces
        )

    def _train_step(
        self,
        model: Model,
        x: ArrayLike,
        y: ArrayLike,
        *,
        loss: LossLike | None,
        accumulate: int,
        clip_norm: float | None,
        clip_value: float | None,
        precision: Precision,
        seed: int | None,
        among: Among | None = None,
    ) -> StepResult:
        """Take the step of `Model.train_step`, or one among several processes.

        Args:
            model: The model.
            x: Images.
            y: Targets.
            loss: Loss function.
            accumulate: Batches per update.
            clip_norm: The largest norm of all gradients.
            clip_value: The largest component.
            precision: Compute precision.
            seed: Seed of dropout.
            among: A function that sums a tensor over all processes, whether norms use the
                statistics of all, and whether the images count, or only take part.
        """
        from cnnzoo import _training

        if model is not self.model:
            raise ArgumentError(
                f"`optimizer`: expected one of this {model.name}, got one of another model, "
                f"{self.model.name}"
            )
        _check_clips(clip_norm, clip_value)
        accumulate = whole("`accumulate`", accumulate, least=1)
        found, weight, correct, count, grad_norm = _training.train_step(
            model._for_training(),
            self._engine,
            x,
            y,
            loss=as_loss(loss)._objective(y),
            lr=self.lr,
            accumulate=accumulate,
            clip_norm=clip_norm,
            clip_value=clip_value,
            precision=precision,
            seed=self._batches if seed is None else seed_of(seed),
            among=among,
        )
        self._batches += 1
        return StepResult(
            loss=found,
            weight=weight,
            correct=correct,
            count=count,
            lr=self.lr,
            grad_norm=grad_norm,
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state for copying and pickling: the model, the options, the optimiser state."""
        memory = pack_memory(self._engine.memory(self.model._for_training()))
        return {**vars(self), "_engine": (memory, self._engine.waiting())}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the pickled optimiser."""
        vars(self).update(state)
        self._engine = self._build()
        memory, waiting = state["_engine"]
        if memory or waiting[0]:
            self._engine.recall(self.model._for_training(), unpack_memory(memory), waiting)

    @property
    def lr(self) -> float:
        """The learning rate."""
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = number("`lr`", lr, least=0)

    @property
    def lr_scales(self) -> dict[str, float]:
        """Factor on `lr` by parameter name: its group's times its layer's."""
        return {name: scale for name, scale, _ in self._engine.rates(self.model._for_training())}

    @property
    def _waiting(self) -> int:
        """The number of batches whose gradients are accumulated for the next update."""
        return self._engine.waiting()[0]

    def step(
        self, *, clip_norm: float | None = None, clip_value: float | None = None
    ) -> float | None:
        """Update the parameters with the mean of the gradients that `train_step` accumulated.

        With `accumulate=n`, `Model.train_step` makes an update after n batches. Where fewer are
        left, as at the end of an epoch, this method makes it; `Trainer` calls it by itself.

        Args:
            clip_norm: Gradient clipping by norm: the largest Euclidean norm of all gradients.
            clip_value: Gradient clipping by value: each component is limited to ± this.

        Returns:
            The norm of the gradients before clipping; None where no gradients were accumulated,
            and no parameter changes.
        """
        _check_clips(clip_norm, clip_value)
        if not self._waiting:
            return None
        return self._engine.flush(self.model._for_training(), self.lr, clip_norm, clip_value)

    def _apply_gradients(
        self,
        model: Model,
        gradients: Mapping[str, ArrayLike],
        *,
        clip_norm: float | None,
        clip_value: float | None,
    ) -> float:
        """Make the update of `Model.apply_gradients`."""
        if model is not self.model:
            raise ArgumentError(
                f"`optimizer`: expected one of this {model.name}, got one of another model, "
                f"{self.model.name}"
            )
        if not isinstance(gradients, Mapping):
            raise ArgumentError(
                f"`gradients`: expected a dict of gradients by parameter name, got "
                f"{kind_of(gradients)}"
            )
        _check_clips(clip_norm, clip_value)
        given = [
            (text("`gradients`", name, "the name of a parameter"), of)
            for name, of in gradients.items()
        ]
        if not given:
            raise ArgumentError("`gradients`: expected at least one, got none")
        return self._engine.apply(model._for_training(), given, self.lr, clip_norm, clip_value)

    def _configuration(self) -> dict[str, Any]:
        """The optimiser's arguments as values for JSON."""
        groups = [
            {"patterns": g.patterns, "lr_scale": g.lr_scale, "weight_decay": g.weight_decay}
            for g in self._groups
        ]
        numbers = {name: value for name, value in self._numbers.items() if name != "decoupled"}
        return {"lr": self.lr, **numbers, **self._paces, "groups": groups}

    def __repr__(self) -> str:
        numbers = "".join(f", {name}={value}" for name, value in self._numbers.items())
        return f"<{type(self).__name__} of {self.model.name}, lr={self.lr}{numbers}>"


def _check_clips(clip_norm: float | None, clip_value: float | None) -> None:
    """Check the options of gradient clipping."""
    for name, most in (("clip_norm", clip_norm), ("clip_value", clip_value)):
        if most is not None and not most > 0:
            raise ArgumentError(f"`{name}`: expected a number above 0, got {most}")
    if clip_norm is not None and clip_value is not None:
        raise ArgumentError("clipping: expected `clip_norm` or `clip_value`, got both")


def _checked(name: str, value: Any) -> Any:
    """A hyperparameter of an update rule, checked to be of the type that its name implies."""
    at = f"`{name}`"
    if name in {"nesterov", "decoupled", "centered"}:
        return instance(at, value, bool, "True or False")
    if name == "betas":
        pair = 2
        if not isinstance(value, list | tuple) or len(value) != pair:
            raise ArgumentError(f"{at}: expected two numbers, got {shown(value)}")
        return tuple(number(at, beta) for beta in value)
    return optional(at, value) if name == "max_grad_norm" else number(at, value)
