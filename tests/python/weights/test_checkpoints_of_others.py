"""Run checkpoints of other libraries' trainers, by file and as the object in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import cnnzoo as cz

SOURCE = cz.create_model("resnet20", num_classes=3, seed=5)
STATE = {name: torch.tensor(array) for name, array in SOURCE.state_dict().items()}


def under(prefix: str, state: dict[str, Any] = STATE) -> dict[str, Any]:
    return {prefix + name: value for name, value in state.items()}


def fresh() -> cz.Model:
    return cz.create_model("resnet20", num_classes=3, seed=9)


def same(model: cz.Model, state: dict[str, Any] = STATE) -> bool:
    found = model.state_dict()
    return all(np.array_equal(found[name], np.asarray(state[name])) for name in state)


ZEROS = {name: value * 0 for name, value in STATE.items()}
CHECKPOINTS: dict[str, tuple[Any, str, set[str]]] = {
    "Lightning": (
        {"pytorch-lightning_version": "2.5.0", "epoch": 3, "state_dict": under("model.")},
        "model.",
        {"epoch", "pytorch-lightning_version"},
    ),
    "Lightning with a loss's weights": (
        {"state_dict": {**under("net."), "loss.weight": torch.ones(3)}},
        "net.",
        {"loss.weight"},
    ),
    "a compiled backbone": (
        under("student.backbone._orig_mod."),
        "student.backbone._orig_mod.",
        set(),
    ),
    "AveragedModel": (
        {**under("module."), "n_averaged": torch.tensor(5)},
        "module.",
        {"n_averaged"},
    ),
    "torchvision's EMA": (
        {"model_ema": {**under("module."), "n_averaged": torch.tensor(5)}, "epoch": 1},
        "module.",
        {"n_averaged", "epoch"},
    ),
    "timm with an EMA": ({"state_dict": STATE, "state_dict_ema": ZEROS}, "", {"state_dict_ema"}),
    "thop": (
        {**STATE, "total_ops": torch.zeros(1), "layer1.0.conv1.total_params": torch.zeros(1)},
        "",
        {"total_ops", "layer1.0.conv1.total_params"},
    ),
    "a criterion": ({**STATE, "criterion.weight": torch.ones(3)}, "", {"criterion.weight"}),
    "NumPy": ({name: value.numpy() for name, value in STATE.items()}, "", set()),
    "NumPy in Fortran's order": (
        {name: np.array(value.numpy(), order="F") for name, value in STATE.items()},
        "",
        set(),
    ),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_file_and_its_object_load_alike(tmp_path: Path, kind: str, protocol: int) -> None:
    checkpoint, prefix, ignored = CHECKPOINTS[kind]
    torch.save(checkpoint, tmp_path / "x.pth", pickle_protocol=protocol)
    for zipped in (True, False):
        torch.save(
            checkpoint,
            tmp_path / "x.pth",
            pickle_protocol=protocol,
            _use_new_zipfile_serialization=zipped,
        )
        model = fresh()
        by_file = model.load_weights(tmp_path / "x.pth")
        assert same(model)
    model = fresh()
    by_object = model.load_state_dict(checkpoint)
    assert same(model)
    for report in (by_file, by_object):
        assert len(report.loaded) == len(STATE)
        assert set(report.ignored) == ignored
        assert (f"prefix `{prefix}` removed" in report.provenance) == bool(prefix)


def test_prefix_and_key_choose(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    both = {**under("teacher.", ZEROS), **under("student.")}
    timm = {"state_dict": ZEROS, "state_dict_ema": under("module."), "mine": {"state_dict": STATE}}
    torch.save(both, path)
    for prefix, wanted in (("student.", STATE), ("student", STATE), ("teacher.", ZEROS)):
        for from_file in (True, False):
            model = fresh()
            if from_file:
                report = model.load_weights(path, prefix=prefix)
            else:
                report = model.load_state_dict(both, prefix=prefix)
            assert same(model, wanted)
            assert len(report.ignored) == len(STATE)
    without: tuple[Callable[[], object], ...] = (
        lambda: fresh().load_weights(path),
        lambda: fresh().load_state_dict(both),
    )
    for refused in without:
        with pytest.raises(
            cz.WeightsError, match=r"under each of `student.`, `teacher.`; `prefix`"
        ):
            refused()
    with pytest.raises(cz.WeightsError, match="begin with `nobody`, got such as `student"):
        fresh().load_weights(path, prefix="nobody")
    torch.save(timm, path)
    for key, wanted in (("state_dict", ZEROS), ("state_dict_ema", STATE), ("mine", STATE)):
        for from_file in (True, False):
            model = fresh()
            if from_file:
                report = model.load_weights(path, key=key)
            else:
                report = model.load_state_dict(timm, key=key)
            assert same(model, wanted)
            assert report.provenance.find(f"under `{key}`") >= 0
    mentioned = fresh().load_weights(path).ignored["state_dict_ema"]
    assert mentioned == 'another state dict, which key="state_dict_ema" loads'
    assert fresh().load_state_dict(timm).ignored["state_dict_ema"] == mentioned
    for refused in (
        lambda: fresh().load_weights(path, key="none"),
        lambda: fresh().load_state_dict(timm, key="none"),
    ):
        with pytest.raises(cz.WeightsError, match="under the key `none`"):
            refused()
    save_file(STATE, tmp_path / "x.safetensors")
    with pytest.raises(cz.WeightsError, match=r"a \.pth file with the key `a`"):
        fresh().load_weights(tmp_path / "x.safetensors", key="a")


def test_two_state_dicts_are_refused_until_one_is_chosen(tmp_path: Path) -> None:
    two = {"state_dict": STATE, "model": ZEROS}
    torch.save(two, tmp_path / "x.pth")
    loads: tuple[Callable[[], object], ...] = (
        lambda: fresh().load_weights(tmp_path / "x.pth"),
        lambda: fresh().load_state_dict(two),
    )
    for load in loads:
        with pytest.raises(cz.WeightsError, match=r"one state dict \(`key` chooses\)"):
            load()


def test_safetensors_with_a_prefix_and_counters_load(tmp_path: Path) -> None:
    save_file({**under("model.net."), "n_averaged": torch.tensor(3)}, tmp_path / "x.safetensors")
    model = cz.create_model("resnet20", num_classes=3, weights=tmp_path / "x.safetensors")
    assert same(model)


def test_what_is_another_part_of_a_network_is_still_refused(tmp_path: Path) -> None:
    more = {**STATE, "layer4.0.conv1.weight": torch.ones(3), "head.weight": torch.ones(3)}
    with pytest.raises(cz.WeightsError, match="2 unexpected: `layer4"):
        fresh().load_state_dict(more)
    less = {name: value for name, value in under("net.").items() if "fc" not in name}
    with pytest.raises(cz.WeightsError, match=r"2 missing: `fc\.weight`, `fc\.bias`"):
        fresh().load_state_dict({**less, "head.weight": torch.ones(3)})


def test_float8_is_named(tmp_path: Path) -> None:
    eight = {k: v.to(torch.float8_e4m3fn) if v.ndim == 4 else v for k, v in STATE.items()}
    torch.save(eight, tmp_path / "x.pth")
    save_file(eight, tmp_path / "x.safetensors")
    with pytest.raises(cz.WeightsError, match=r"`conv1.weight` \(a tensor of float8_e4m3fn, which"):
        fresh().load_weights(tmp_path / "x.pth")
    with pytest.raises(cz.WeightsError, match=r"`conv1.weight` \(a tensor of F8_E4M3, which"):
        fresh().load_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("what", [">f4", "object", "complex64"])
def test_other_numpy_arrays_are_named(tmp_path: Path, what: str) -> None:
    arrays = {name: value.numpy() for name, value in STATE.items()}
    arrays["conv1.weight"] = arrays["conv1.weight"].astype(what)
    torch.save(arrays, tmp_path / "x.pth")
    with pytest.raises(cz.WeightsError, match=r"1 missing: `conv1\.weight` \(a"):
        fresh().load_weights(tmp_path / "x.pth")


def test_a_loading_that_does_nothing_warns(tmp_path: Path) -> None:
    nothing = {"a.b": torch.ones(3), "c.d": torch.ones(3)}
    torch.save(nothing, tmp_path / "x.pth")
    with pytest.warns(UserWarning, match="nothing was loaded into resnet20: none of 2 names"):
        fresh().load_weights(tmp_path / "x.pth", strict=False)
    with pytest.warns(UserWarning, match="nothing was loaded"):
        fresh().load_state_dict(nothing, strict=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh().load_state_dict({"fc.bias": torch.ones(3)}, strict=False)


def test_a_file_that_is_cut_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    from cnnzoo import _native

    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    opened = _native.read_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(cz.WeightsError, match="an unchanged file"):
        opened["conv1.weight"]
