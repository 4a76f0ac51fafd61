"""`load(lazy=True)`: large parameters stay in the file until something needs them."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnzoo as cz
from cnnzoo._native import Checkpoint

# It has a linear layer and convolutions of more than 2**16 weights, and many of fewer.
NAME = "resnet18"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = cz.create_model(NAME, num_classes=600, image_size=64, seed=5)
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def x(side: int = 64) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((2, 3, side, side), np.float32)


def same(one: cz.Model, other: cz.Model) -> None:
    first, second = one.state_dict(), other.state_dict()
    assert list(first) == list(second)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_it_runs_and_has_the_parameters_of_a_whole_load(file: Path) -> None:
    whole, lazy = cz.load(file), cz.load(file, lazy=True)
    np.testing.assert_array_equal(lazy(x()), whole(x()))
    np.testing.assert_array_equal(lazy(x(96)), whole(x(96)))
    same(lazy, whole)
    same(copy.deepcopy(lazy), whole)
    same(pickle.loads(pickle.dumps(lazy)), whole)


def test_the_parameters_are_those_of_the_file_itself(file: Path) -> None:
    stored, found = Checkpoint.open(file), cz.load(file, lazy=True).state_dict()
    assert set(stored.names()) == set(found)
    assert all(np.array_equal(stored[name], found[name]) for name in found)


def test_a_file_that_was_deleted_or_replaced_is_still_read(file: Path) -> None:
    whole, lazy = cz.load(file), cz.load(file, lazy=True)
    cz.create_model(NAME, num_classes=600, image_size=64, seed=6).save(file)
    np.testing.assert_array_equal(lazy(x()), whole(x()))
    file.unlink()
    same(lazy, whole)


def test_a_file_that_was_changed_in_place_is_refused(file: Path) -> None:
    lazy = cz.load(file, lazy=True)
    with file.open("r+b") as opened:
        opened.seek(-8, 2)
        opened.write(bytes(8))
    for use in (lazy.state_dict, lambda: lazy(x()), lambda: lazy.save(file.parent / "copy.st")):
        with pytest.raises(cz.WeightsError, match="an unchanged file"):
            use()


def test_changes_of_parameters_are_seen(file: Path) -> None:
    whole, lazy = cz.load(file), cz.load(file, lazy=True)
    other = cz.create_model(NAME, num_classes=600, image_size=64, seed=9).state_dict()
    for model in (whole, lazy):
        model.load_state_dict(other)
    np.testing.assert_array_equal(lazy(x()), whole(x()))
    lazy = cz.load(file, lazy=True).reset_classifier(num_classes=3, seed=1)
    same(lazy, cz.load(file).reset_classifier(num_classes=3, seed=1))


def test_libtorch_takes_the_parameters_over(file: Path) -> None:
    pytest.importorskip("torch")
    lazy, whole = cz.load(file, lazy=True), cz.load(file)
    lazy.freeze("layer1*")
    whole.freeze("layer1*")
    np.testing.assert_array_equal(lazy(x(), exact=True), whole(x(), exact=True))
    same(lazy, whole)


def test_lazy_is_true_or_false(file: Path) -> None:
    with pytest.raises(cz.ArgumentError, match="`lazy`: expected True or False"):
        cz.load(file, lazy="yes")  # type: ignore[arg-type]
