"""Training of a vision transformer whose parameters FSDP divides, which test_fsdp starts.

Arguments: a folder for what it finds, and the name of an optimizer of PyTorch.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

import cnnzoo as cz

PLACE, COUNT = (int(os.environ.get(name, n)) for name, n in (("RANK", "0"), ("WORLD_SIZE", "1")))
STEPS, ROWS = 3, 4
OPTIMIZERS: dict[str, Any] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9),
    # With the usual `eps`, it makes whole steps of the rounding of gradients that are zero, as
    # those of the biases of keys are.
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-3, eps=1e-4),
}


def held(module: Any, optimizer: Any) -> dict[str, int]:
    """The bytes that stay between steps: parameters, gradients, and the optimizer's state."""

    def size(tensor: Any) -> int:
        here = getattr(tensor, "to_local", lambda: tensor)()
        return int(here.numel()) * int(here.itemsize)

    parameters = list(module.parameters())
    # The model's own tensors, where others have taken their place.
    own = [tensor for owner, name, tensor in module._tree.slots if owner[name] is not tensor]
    states = [value for state in optimizer.state.values() for value in state.values()]
    return {
        "parameters": sum(map(size, parameters)),
        "own": sum(one.untyped_storage().nbytes() for one in own),
        "gradients": sum(size(one.grad) for one in parameters if one.grad is not None),
        "state": sum(size(value) for value in states if torch.is_tensor(value) and value.ndim),
    }


def refused(module: Any, x: torch.Tensor, folder: Path) -> dict[str, str]:
    """The errors of what would read parameters that are not there."""
    model = module.model
    tries: dict[str, Any] = {
        "run": lambda: model(x.numpy()),
        "exact": lambda: model(x.numpy(), exact=True),
        "state": model.state_dict,
        "save": lambda: model.save(folder / f"{PLACE}.safetensors"),
        "copy": lambda: model.copy()(x.numpy()),
        "train": lambda: (
            cz.SGD(model, lr=0.1)
            and model.train_step(x.numpy(), np.zeros(len(x), np.int64), cz.SGD(model, lr=0.1))
        ),
        "nodes": lambda: module.forward_nodes(x, "norm"),
        "to": lambda: module.to(torch.float64),
    }
    found = {}
    for name, act in tries.items():
        try:
            act()
            found[name] = ""
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def run(folder: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = cz.create_model("deit_tiny_16", image_size=32, num_classes=5, seed=0)
    module = cz.torch.Module(model)
    several = COUNT > 1
    if several:
        torch.distributed.init_process_group("gloo")
        # One of the two also frees what was gathered between forward and backward.
        fully_shard(module, reshard_after_forward=kind == "sgd")
        assert isinstance(module, FSDPModule)
    generator = np.random.default_rng(0)
    optimizer = OPTIMIZERS[kind](module.parameters())
    losses = []
    for _ in range(STEPS):
        x = torch.from_numpy(generator.normal(size=(ROWS, 3, 32, 32)).astype(np.float32))
        y = torch.from_numpy(generator.integers(0, 5, ROWS))
        rows = slice(PLACE * ROWS // COUNT, (PLACE + 1) * ROWS // COUNT)
        loss = torch.nn.functional.cross_entropy(module(x[rows]), y[rows])
        loss.backward()
        gradients = {name: one.grad for name, one in module.named_parameters()}
        optimizer.step()
        between = held(module, optimizer)
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert all(gradient is not None for gradient in gradients.values())
    found: dict[str, Any] = {"losses": losses, **between}
    if several:
        found["refused"] = refused(module, x, folder)
        module.eval()
        with torch.no_grad():
            values = module(x)
        # The whole stays gathered now; the model has nothing of it.
        found["refused after a run"] = refused(module, x, folder)["run"]
        whole = module.gather()
        np.testing.assert_array_equal(whole(x.numpy(), exact=True), values.numpy())
        register_fsdp_forward_method(module, "forward_nodes")
        with torch.no_grad():
            assert torch.equal(module.forward_nodes(x, "head")["head"], values)
        model = whole
    np.savez(folder / f"{PLACE}.npz", **model.state_dict())  # type: ignore[arg-type]
    (folder / f"{PLACE}.json").write_text(json.dumps(found))
    if several:
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])
