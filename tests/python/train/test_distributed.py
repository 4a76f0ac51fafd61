"""Several processes train as one does: the same batches, the same updates, one run checkpoint."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
from several_processes import ENDS, free_port, launch, two_machines
from small_network import BATCHES, tiny
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, difference

PROGRAM = Path(__file__).with_name("distributed_run.py")

USUAL: dict[str, Any] = {"norm": False, "sync": False, "kill": 0, "resume": False, "accumulate": 1}
# Of 38 images the last batch has 6; of 33 it has one, so that a process has none.
EVEN, ODD = 38, 33


def train(
    folder: Path, processes: int, *, namespaces: Sequence[tuple[str, str]] = (), **changes: Any
) -> tuple[list[Any], list[int]]:
    """The findings of each process, and its exit status."""
    settings = json.dumps({**USUAL, "count": EVEN, **changes, "processes": processes})
    folder.mkdir(exist_ok=True)
    ends = launch(PROGRAM, [str(folder), settings], processes, namespaces=namespaces)
    for status, errors in ends:
        if status and settings.count('"kill": 0'):
            raise AssertionError(errors)
    places = [folder / f"{place}.json" for place in range(processes)]
    return [json.loads(file.read_text()) for file in places if file.exists()], [
        status for status, _ in ends
    ]


def state(folder: Path) -> dict[str, Any]:
    with np.load(folder / "state.npz") as arrays:
        return dict(arrays)


def apart(one: Path, other: Path) -> float:
    """The largest difference of two models, relative to each array's largest value."""
    first, second = state(one), state(other)
    assert first.keys() == second.keys()
    return max(difference(first[name], value, floor=0.01) for name, value in second.items())


CASES = [
    pytest.param({"count": EVEN}, id="even"),
    pytest.param({"count": ODD, "accumulate": 2}, id="odd-accumulate"),
    pytest.param({"norm": True, "sync": True, "count": ODD}, id="norms"),
]


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("changes", CASES)
def test_several_processes_equal_one(
    tmp_path: Path, changes: dict[str, Any], processes: int
) -> None:
    (alone,), _ = train(tmp_path / "alone", 1, **changes)
    found, _ = train(tmp_path / "several", processes, **changes)
    assert len({one["digest"] for one in found}) == 1, "all have the same parameters"
    assert apart(tmp_path / "several", tmp_path / "alone") < ROUNDING_OF_GRADIENTS
    for one in found:
        np.testing.assert_allclose(one["losses"], alone["losses"], rtol=ROUNDING_OF_GRADIENTS)
        np.testing.assert_allclose(one["row"], alone["row"], rtol=100 * ROUNDING)
        assert one["evaluated"] == alone["evaluated"]
    # One run checkpoint and one log.
    files = {file.name for file in (tmp_path / "several" / "run").iterdir()}
    assert {"last.safetensors", "best.safetensors"} <= files
    lines = (tmp_path / "several" / "log.jsonl").read_text().splitlines()
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("processes", "norm"),
    [
        pytest.param(2, False, id="2-no-norms"),
        pytest.param(2, True, id="2-norms"),
        pytest.param(4, False, marks=pytest.mark.slow, id="4-no-norms"),
        pytest.param(4, True, id="4-norms"),
    ],
)
def test_batches_of_several_equal_one_of_sixteen(
    tmp_path: Path, processes: int, norm: bool
) -> None:
    """Two of eight or four of four, where rounding alone is other."""
    # Two batches of 16 in each of three epochs.
    train(tmp_path / "alone", 1, norm=norm, count=32)
    found, _ = train(tmp_path / "several", processes, norm=norm, sync=norm, count=32)
    assert len({one["digest"] for one in found}) == 1
    assert apart(tmp_path / "several", tmp_path / "alone") < ROUNDING


@pytest.mark.slow
def test_a_run_of_four_goes_on_with_two_and_with_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {"norm": True, "count": ODD}
    train(tmp_path / "whole", 1, **options)
    _, ends = train(tmp_path / "four", 4, **options, sync=True, kill=4)
    assert ends == [-signal.SIGKILL] * 4
    for processes in (2, 1):
        folder = tmp_path / f"{processes}"
        shutil.copytree(tmp_path / "four", folder)
        found, _ = train(folder, processes, **options, sync=True, resume=True)
        assert len({one["digest"] for one in found}) == 1
        assert apart(folder, tmp_path / "whole") < ROUNDING_OF_GRADIENTS


def test_two_machines_equal_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {"norm": True, "count": EVEN}
    with two_machines() as places:
        (first, _), (second, _) = places
        # Neither reaches the other but over the cable.
        answer = ["ip", "-n", first, "route", "get", ENDS[1]]
        route = subprocess.run(answer, capture_output=True, text=True, check=True).stdout
        assert f"dev {places[0][1]}" in route
        assert first != second
        found, _ = train(tmp_path / "several", 2, **options, sync=True, namespaces=places)
    listed = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert first not in listed, "nothing is left of them"
    assert second not in listed, "nothing is left of them"
    assert len({one["digest"] for one in found}) == 1
    train(tmp_path / "alone", 1, **options)
    assert apart(tmp_path / "several", tmp_path / "alone") < ROUNDING_OF_GRADIENTS


def test_norms_of_each_process_by_itself_end_alike(tmp_path: Path) -> None:
    found, _ = train(tmp_path / "several", 2, norm=True)
    assert found[0]["digest"] == found[1]["digest"], "running statistics too"
    assert found[0]["row"] == found[1]["row"]
    train(tmp_path / "alone", 1, norm=True)
    assert apart(tmp_path / "several", tmp_path / "alone") > 10 * ROUNDING_OF_GRADIENTS


@pytest.mark.parametrize("step", [4])
def test_killed_it_resumes_to_the_same_bits_or_with_another_number(
    tmp_path: Path, step: int
) -> None:
    whole, _ = train(tmp_path / "whole", 2, norm=True, sync=True, count=ODD)
    _, ends = train(tmp_path / "killed", 2, norm=True, sync=True, count=ODD, kill=step)
    assert ends == [-signal.SIGKILL] * 2
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "run").mkdir()
    last = (tmp_path / "killed" / "run" / "last.safetensors").read_bytes()
    (copy / "run" / "last.safetensors").write_bytes(last)
    resumed, _ = train(tmp_path / "killed", 2, norm=True, sync=True, count=ODD, resume=True)
    assert [one["digest"] for one in resumed] == [one["digest"] for one in whole]
    assert resumed[0]["row"] == whole[0]["row"]
    train(copy, 1, norm=True, count=ODD, resume=True)
    assert apart(copy, tmp_path / "whole") < ROUNDING_OF_GRADIENTS


def test_options_that_do_not_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    optimizer = cz.SGD(model, lr=0.1)
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(cz.ArgumentError, match="torchrun started"):
        cz.Trainer(model, optimizer=optimizer, distributed=True)
    with pytest.raises(cz.ArgumentError, match="with `distributed=True` alone"):
        cz.Trainer(model, optimizer=optimizer, sync_batch_norm=True)
    with pytest.raises(cz.ArgumentError, match="True or False"):
        cz.Trainer(model, optimizer=optimizer, distributed=2)  # type: ignore[arg-type]


def test_a_loader_of_shares_reads_each_sample_once() -> None:
    images = np.arange(33 * 4 * 4 * 3).reshape(33, 4, 4, 3).astype(np.uint8)
    dataset = cz.data.Arrays(images, np.arange(33))
    whole = cz.data.Loader(dataset, batch_size=8, seed=2, threads=2)
    shares = [whole._shared(place, 4) for place in range(4)]
    assert [len(share) for share in shares] == [5] * 4
    batches = [list(share) for share in shares]
    assert [len(one) for one in batches] == [5, 4, 4, 4]
    for number, (x, y) in enumerate(whole):
        rows = [one[number] for one in batches if number < len(one)]
        np.testing.assert_array_equal(np.concatenate([images for images, _ in rows]), x)
        np.testing.assert_array_equal(np.concatenate([labels for _, labels in rows]), y)
    with pytest.raises(cz.ArgumentError, match="a multiple of 3"):
        whole._shared(0, 3)
    # One sample is the first process's.
    one = cz.data.Loader(cz.data.Arrays(images[:1], [0]), batch_size=8)
    assert [len(list(one._shared(place, 2))) for place in range(2)] == [1, 0]
    # The position is that of whole batches.
    shares[1].set_epoch(0, first_batch=2)
    np.testing.assert_array_equal(next(iter(shares[1]))[1], batches[1][2][1])


def test_ddp_trains_a_module() -> None:
    import torch
    import torch.distributed as group

    module = cz.torch.Module(tiny())
    twin = cz.torch.Module(tiny())
    group.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1
    )
    try:
        whole = torch.nn.parallel.DistributedDataParallel(module)
        for one in (whole, twin):
            optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
            x, y = BATCHES[0]
            loss = torch.nn.functional.cross_entropy(one(torch.from_numpy(x + 1)), torch.tensor(y))
            loss.backward()
            optimizer.step()
    finally:
        group.destroy_process_group()
    for name, value in module.model.state_dict().items():
        np.testing.assert_array_equal(value, twin.model.state_dict()[name])
