"""A network as a `torch.nn.Module` over its own parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from cnnzoo._arguments import in_order, instance, text
from cnnzoo.errors import ArgumentError
from cnnzoo.model import Model
from cnnzoo.torch._checkpointing import run_in_segments
from cnnzoo.torch._extension import adopt, forward, generation, share
from cnnzoo.torch._sharding import MARK, Lending, is_shard
from cnnzoo.torch._tree import Tree
from cnnzoo.torch._typed import averaging
from cnnzoo.torch.parts import Mirror, Part

# What PyTorch keeps of hooks, which copies and pickles take along.
HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


class Module(Mirror):
    """A network as a `torch.nn.Module`, whose parameters are the model's own.

    Parameters and buffers are the tensors of the model, not copies, with the names of the source:
    what `torch.optim`, `load_state_dict` or running statistics change is changed in the model, and
    its next run sees it. Freezing holds on both sides, since it is `requires_grad`. The graph runs
    as a whole in libtorch, whose autograd records it, with the GIL released; `torch.autocast`,
    `no_grad` and hooks on saved tensors work as with any module. Runs give PyTorch's bits unless
    the parameters are in channels_last.

    As in PyTorch, batch norm and dropout go by the mode of their part alone: `module.layer1.eval()`
    keeps the statistics of its norms, and `requires_grad_(False)` does not. Dropout draws from
    PyTorch's generator, `torch.manual_seed`, other masks than `torch.nn.Dropout` does. In training
    mode, a network with auxiliary classifiers returns a tuple: the logits, then theirs in the order
    of the graph.

    Batch norms are `nn.BatchNorm2d` and dropouts `nn.Dropout` to `isinstance`, with the numbers of
    the graph, which stay; other parts are no layers of `torch.nn`, and `part.op` is their
    operation. So `convert_sync_batchnorm`, which would replace norms, is an error. A norm's
    `momentum` may be None, for the mean over all batches, as `update_bn` sets it.

    Parts have forward hooks: `module.layer1[0].conv1.register_forward_hook(...)` sees inputs and
    value, and may return another value. Replacing parts, calling them, and hooks before them or in
    the backward pass are errors. To `torch.compile` a module is opaque. Copies and pickles have a
    model of their own. PyTorch does not count changes that are made by `parameter.data` or through
    NumPy: call `changed` after them.

    A model that was built with `checkpointing=True` keeps few activations for the backward pass and
    computes the others again in it (activation checkpointing), with `torch.utils.checkpoint`. Such
    runs refuse forward hooks, and their backward pass a change of a parameter before it.
    """

    # The public path, which pickles use too.
    __module__ = "cnnzoo.torch"

    def __init__(self, model: Model) -> None:
        super().__init__()
        instance("`model`", model, Model, "a model, as cnnzoo.create_model returns")
        self._build(model)

    def _build(self, model: Model) -> None:
        self.__dict__["_model"] = model
        engine = model._with_libtorch("cnnzoo.torch.Module")
        tensors = share(engine)
        for _, _, tensor in tensors:
            setattr(tensor, MARK, tuple(tensor.shape))
        self._generation = generation(engine)
        self._tree = Tree(self, model.graph, tensors)
        self._auxiliary = bool(model.graph.auxiliary)
        self._checkpointing = bool(model.options.get("checkpointing"))
        self._around: dict[Part, tuple[str, list[str]]] = {}
        self._lending = Lending()

    @property
    def model(self) -> Model:
        """The model whose parameters these are."""
        model: Model = self.__dict__["_model"]
        return model

    @property
    def _title(self) -> str:
        return f"a Module of {self.model.name}"

    def forward(self, x: torch.Tensor) -> Any:
        """Run the network.

        Args:
            x: Images (N, C, H, W), preprocessed, float32 on the device of the parameters; of half
                precision too under `torch.autocast`.

        Returns:
            Logits (N, num_classes), or features (N, C) where `num_classes` is 0; in training mode
            with auxiliary classifiers a tuple of their logits after the logits.

        Raises:
            ArgumentError: A parameter was replaced, or has another shape or type than in the graph.
            DeviceError: The images are on another device than the parameters.
            ShapeError: Wrong rank or number of channels, no images, images too small, or batch norm
                sees a single value per channel.
            TypeError: No tensor, or of another element type.
        """
        found = self._run(x, None)
        return found[0] if len(found) == 1 else tuple(found)

    def forward_nodes(self, x: torch.Tensor, nodes: str | Sequence[str]) -> dict[str, torch.Tensor]:
        """Compute the values of named nodes, recorded by autograd, without the nodes after them.

        Args:
            x: Images, as for `forward`.
            nodes: Names of `Model.nodes()`, or one of them; a path such as `layer2` means the last
                node below it.

        Returns:
            The value of each node by the name that was given.

        Raises:
            ArgumentError: There is no such node.
        """
        names = [nodes] if isinstance(nodes, str) else in_order("`nodes`", nodes, "names of nodes")
        names = [text("`nodes`", name, "the name of a node") for name in names]
        return dict(zip(names, self._run(x, names), strict=True))

    def _run(self, x: torch.Tensor, nodes: list[str] | None) -> list[torch.Tensor]:
        self._check(lends=True)
        tree = self._tree
        training = [place for place, part in tree.modal if part.training]
        draws = not tree.dropping.isdisjoint(training)
        # Drawn only where it is used, so that other draws of a program do not move.
        seed = int(torch.randint(2**63 - 1, (), device="cpu")) if draws else 0
        hooked = [part for part in tree.parts if part._forward_hooks]
        means = [norm for norm in tree.norms if norm.training and norm.momentum is None]
        run: dict[str, Any] = {
            "generation": self._generation,
            "nodes": nodes,
            "auxiliary": self._auxiliary and self.training,
            "training": training,
            "seed": seed,
        }
        engine = self.model._with_libtorch("cnnzoo.torch.Module")
        if self._checkpointing and torch.is_grad_enabled():
            if hooked:
                raise ArgumentError(
                    f"a forward hook of the part `{hooked[0].path}`: expected none in a run of "
                    f"{self._title} that records gradients with checkpointing=True, which runs "
                    "parts twice; `forward_nodes` computes values in the middle of the network"
                )
            if self._lending.lends(tree.slots):
                raise ArgumentError(
                    f"a run of {self._title} with checkpointing=True: expected parameters of its "
                    "own, got those that fully_shard gathers, which are gone when parts run again"
                )
            with averaging(means):
                return run_in_segments(engine, x, **run)

        def watch(place: int, inputs: tuple[torch.Tensor, ...], value: torch.Tensor) -> Any:
            return hooked[place]._shown(inputs, value)

        watched = [self._watched(part) for part in hooked]
        with self._lending.lent(tree.slots), averaging(means):
            return forward(engine, x, **run, watched=watched, watch=watch if hooked else None)

    def _watched(self, part: Part) -> tuple[str, list[str]]:
        if part not in self._around:
            output = self._tree.output(part)
            if output is None:
                raise ArgumentError(
                    f"a forward hook of the part `{part.path}`: expected a part with nodes, got "
                    "one of arrays alone"
                )
            self._around[part] = (output, self._tree.reads(part))
        return self._around[part]

    def _check(self, *, lends: bool = False) -> None:
        """Refuse a parameter that is not the model's own any more.

        Args:
            lends: Whether it may be one that FSDP has gathered.

        Raises:
            ArgumentError: There is one, as after `torch.func.functional_call` or a parametrization.
        """
        for owner, name, tensor in self._tree.slots:
            found = owner.get(name)
            if found is tensor or (lends and self._lending.is_whole(found, tensor)):
                continue
            if is_shard(found):
                raise ArgumentError(
                    f"`{name}` of {self._title}: expected whole parameters, got a part that "
                    "fully_shard has left here: call the module itself, which gathers them, "
                    "`unshard()` it first, or `gather()` a model"
                )
            raise ArgumentError(
                f"`{name}` of {self._title}: expected the model's own tensor, got another one "
                "in its place, which a run would not see; `copy_` changes its values"
            )

    def changed(self) -> None:
        """Say that parameters were changed by `parameter.data` or NumPy, past PyTorch's counts.

        The model's next run on cnnzoo's own engine then takes their new values.
        """
        torch.autograd.graph.increment_version([tensor for _, _, tensor in self._tree.slots])

    def gather(self) -> Model:
        """A model of its own with the values of now, gathered where FSDP has divided them.

        All processes call it together, and each gets a whole model.

        Returns:
            The model, for `save`, predictions and whatever else needs all parameters.
        """
        model = Model._described(self.model._configuration())
        model._allocate(self.model.device, None)
        # A whole that FSDP still keeps may be older than the parts.
        reshard: Callable[[], None] = getattr(self, "reshard", lambda: None)
        reshard()
        names = [name for name, _, _ in model.graph.parameters()]
        found = {}
        for name, (owner, last, _) in zip(names, self._tree.slots, strict=True):
            value = owner[last].detach()
            found[name] = value.full_tensor() if is_shard(value) else value
        model.load_state_dict(found)
        frozen = [name for name, tensor in self.named_parameters() if not tensor.requires_grad]
        return model.freeze(*frozen) if frozen else model

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Module:
        """Move or convert every tensor, in place: `to`, `cuda`, `share_memory` and their like.

        Raises:
            ArgumentError: It would change the element type, or is for the device `meta`.
        """
        self._check()
        tensors = [tensor for _, _, tensor in self._tree.slots]
        self._can_become(fn, tensors)
        # What is made in inference mode counts no changes, and could not be trained later.
        with torch.inference_mode(False):
            for tensor in tensors:
                moved = fn(tensor.data)
                if moved.data_ptr() != tensor.data_ptr() or moved.stride() != tensor.stride():
                    tensor.data = moved
                if tensor.grad is not None:
                    tensor.grad.data = fn(tensor.grad.data)
        adopt(self.model._with_libtorch("cnnzoo.torch.Module"))
        for child in self.children() if recurse else ():
            if not isinstance(child, Part):
                child._apply(fn)
        return self

    def _can_become(
        self, fn: Callable[[torch.Tensor], torch.Tensor], tensors: Iterable[torch.Tensor]
    ) -> None:
        """Try a conversion on a number of each type."""
        kinds = {(tensor.dtype, tensor.device) for tensor in tensors}
        for dtype, device in kinds:
            found = fn(torch.zeros((1, 1, 1, 1), dtype=dtype, device=device))
            if found.dtype != dtype or found.device.type not in {"cpu", "cuda"}:
                raise ArgumentError(
                    f"{self._title}: expected float32 on the CPU or a GPU, got a conversion to "
                    f"{found.dtype} on {found.device}; torch.autocast computes in half precision"
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> Module:
        """A module of a copy of the model, in the same modes; gradients are not copied."""
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        model = copy.deepcopy(self.model, memo)
        state = self.__getstate__()
        twin._restore(model, {**state, "others": {}})
        for (_, _, own), (_, _, other) in zip(self._tree.slots, twin._tree.slots, strict=True):
            memo[id(own)] = other
        twin._restore_others(copy.deepcopy(state["others"], memo))
        for part, its in zip(self._tree.parts, twin._tree.parts, strict=True):
            memo[id(part)] = its
            for name in HOOKS:
                vars(its)[name] = copy.deepcopy(vars(part)[name], memo)
        return twin

    def __getstate__(self) -> dict[str, Any]:
        """The model, the modes and hooks of the parts, and what the user added."""
        parts = {
            part.path: {name: vars(part)[name] for name in ("training", *HOOKS)}
            for part in self._tree.parts
        }
        for norm in self._tree.norms:
            parts[norm.path]["momentum"] = norm.momentum
        own = {
            "_model",
            "_generation",
            "_tree",
            "_auxiliary",
            "_checkpointing",
            "_around",
            "_lending",
            "_mirrored",
        }
        others = {name: value for name, value in vars(self).items() if name not in own}
        for name in ("_modules", "_parameters", "_buffers"):
            others[name] = {
                key: value for key, value in others[name].items() if key not in self._mirrored
            }
        return {"model": self.model, "parts": parts, "others": others}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Restore the pickled module."""
        self._restore(state["model"], state)
        self._restore_others(state["others"])

    def _restore(self, model: Model, state: Mapping[str, Any]) -> None:
        Mirror.__init__(self)
        self._build(model)
        for part in self._tree.parts:
            vars(part).update(state["parts"].get(part.path, {}))

    def _restore_others(self, others: dict[str, Any]) -> None:
        for name in ("_modules", "_parameters", "_buffers"):
            vars(self)[name].update(others.pop(name))
        vars(self).update(others)

    def _get_name(self) -> str:
        return f"Module of {self.model.name}"


def _count(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Count the changes of a step by a fused optimizer, which PyTorch does not."""
    groups = (group for group in optimizer.param_groups if group.get("fused"))
    changed = [tensor for group in groups for tensor in group["params"] if hasattr(tensor, MARK)]
    if changed:
        torch.autograd.graph.increment_version(changed)


register_optimizer_step_post_hook(_count)
