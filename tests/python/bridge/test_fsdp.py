"""A module whose parameters FSDP divides among processes trains as one process does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
from torch import nn

import cnnzoo as cz
from several_processes import free_port, launch
from small_network import BATCHES, tiny
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

PROGRAM = Path(__file__).with_name("fsdp_run.py")

# Of the bytes of one process: half, and a row more where the number of rows is odd.
A_HALF = 0.51


def train(folder: Path, processes: int, kind: str) -> list[dict[str, Any]]:
    folder.mkdir()
    for status, errors in launch(PROGRAM, [str(folder), kind], processes):
        assert status == 0, errors
    return [json.loads((folder / f"{place}.json").read_text()) for place in range(processes)]


def arrays(folder: Path, place: int) -> dict[str, Any]:
    with np.load(folder / f"{place}.npz") as found:
        return dict(found)


@pytest.mark.parametrize(
    ("kind", "tolerance"), [("sgd", ROUNDING), ("adamw", ROUNDING_OF_GRADIENTS)]
)
def test_two_processes_with_shards_equal_one(tmp_path: Path, kind: str, tolerance: float) -> None:
    (alone,) = train(tmp_path / "alone", 1, kind)
    several = train(tmp_path / "several", 2, kind)
    expected = arrays(tmp_path / "alone", 0)
    for place, found in enumerate(several):
        state = arrays(tmp_path / "several", place)
        assert state.keys() == expected.keys()
        worst = max(difference(value, expected[name], floor=0.01) for name, value in state.items())
        assert worst < tolerance
        # Nothing whole is left between steps, neither FSDP's nor the model's.
        assert found["own"] == 0
        for what in ("parameters", "gradients", "state"):
            assert 0 < found[what] < A_HALF * alone[what], what
        for how, error in found["refused"].items():
            assert error, f"{how} is refused"
            if how != "copy":
                assert error.startswith("ArgumentError: `cls_token`"), error
        assert found["refused after a run"].startswith("ArgumentError: `cls_token`")
    means = np.mean([found["losses"] for found in several], axis=0)
    np.testing.assert_allclose(means, alone["losses"], rtol=tolerance)


def test_gather_copies_a_module_that_is_whole() -> None:
    module = cz.torch.Module(tiny())
    module.conv1.requires_grad_(False)
    twin = module.gather()
    assert twin is not module.model
    assert twin.trained == module.model.trained
    for name, value in module.model.state_dict().items():
        np.testing.assert_array_equal(twin.state_dict()[name], value)
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert any(value.any() for value in twin.state_dict().values())


@pytest.fixture
def alone() -> Iterator[None]:
    """A group of one process."""
    address = f"tcp://127.0.0.1:{free_port()}"
    torch.distributed.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_other_ways_of_fsdp_are_refused() -> None:
    from torch.distributed.fsdp import (
        FullyShardedDataParallel,
        MixedPrecisionPolicy,
        fully_shard,
    )

    module = cz.torch.Module(tiny())
    before = {name: value.copy() for name, value in module.model.state_dict().items()}
    with pytest.raises(cz.ArgumentError, match="a forward pre-hook of the part `conv1`"):
        fully_shard(module.conv1)
    kinds: list[dict[str, Any]] = [{}, {"use_orig_params": True}]
    for options in kinds:
        # PyTorch warns of a group of one.
        with (
            pytest.warns(UserWarning, match="NO_SHARD"),
            pytest.raises(cz.ArgumentError, match="by `fully_shard`"),
        ):
            FullyShardedDataParallel(module, device_id=torch.device("cpu"), **options)
    # The module is as it was.
    x = torch.from_numpy(BATCHES[0][0])
    for name, value in module.model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    assert module(x).shape[0] == len(x)
    fully_shard(module, mp_policy=MixedPrecisionPolicy(param_dtype=torch.bfloat16))
    with pytest.raises(
        cz.ArgumentError, match=r"expected torch\.float32 on cpu, got torch\.bfloat16"
    ):
        module(x)


def test_other_parameters_are_refused_as_before() -> None:
    module = cz.torch.Module(tiny())
    other = nn.Parameter(module.fc.weight.detach().clone())
    with pytest.raises(cz.ArgumentError, match="expected what the graph has there"):
        module.fc.weight = other
