"""Tensors go in and come out; arrays of other libraries go in by DLPack; gradients are applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from reference import images
from tolerance import ROUNDING, difference

X = images((64, 64), 2)


@pytest.fixture(scope="module")
def model() -> cz.Model:
    return cz.resnet18(num_classes=10, seed=1)


def gradients(model: cz.Model, x: Any) -> dict[str, Any]:
    """All that `Model.gradients` finds, by name."""
    found = model.gradients(x, 3, at=["layer1", "fc"])
    pairs = {f"{name} {i}": one for name, pair in found.nodes.items() for i, one in enumerate(pair)}
    return {"output": found.output, "input": found.input} | pairs


def test_arrays_give_arrays_and_tensors_tensors(model: cz.Model) -> None:
    x = torch.from_numpy(X)
    for ours, theirs in (
        ({"": model(x)}, {"": model(X)}),
        ({"": model.embed(x)}, {"": model.embed(X)}),
        (model.features(x, ["layer1", "fc"]), model.features(X, ["layer1", "fc"])),
        (model.pyramid(x), model.pyramid(X)),
        (model.vjp(x, torch.ones(2, 10))[1], model.vjp(X, np.ones((2, 10)))[1]),
        (gradients(model, x), gradients(model, X)),
    ):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert type(value) is np.ndarray
            assert type(ours[name]) is torch.Tensor
            assert not ours[name].requires_grad
            np.testing.assert_array_equal(ours[name].numpy(), value)
    output, _ = model.vjp(x, np.ones((2, 10)))
    assert isinstance(output, torch.Tensor)
    model(x).add_(1)  # its memory is its own


def test_photographs_as_tensors_are_prepared_as_tensors(model: cz.Model) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 60, 3), np.uint8)
    photo, expected = torch.from_numpy(pixels), model.preprocess(pixels)
    for given in (photo, [photo], (photo, photo)):
        found = model.preprocess(given)
        assert type(found) is torch.Tensor
        np.testing.assert_array_equal(found.numpy()[:1], expected)
    mixed: Any = [photo, pixels]
    assert type(model.preprocess(mixed)) is np.ndarray
    # Where they go on, it makes no difference.
    assert model.predict(mixed)[0] == model.predict(pixels)
    of_tensor = cz.analysis.activation_statistics(model, [photo], "layer1")
    assert of_tensor.rows == cz.analysis.activation_statistics(model, [pixels], "layer1").rows


def test_tensors_of_every_kind_go_in(model: cz.Model) -> None:
    expected = model(X)
    for x in (
        torch.from_numpy(X).requires_grad_(),
        torch.nn.Parameter(torch.from_numpy(X)),
        torch.from_numpy(X).contiguous(memory_format=torch.channels_last),
        torch.from_numpy(X).double(),
    ):
        np.testing.assert_array_equal(model(x).numpy(), expected)


class OnlyDLPack:
    """An array of a library that NumPy knows nothing of."""

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.asked = 0

    def __dlpack__(self, **options: Any) -> Any:
        self.asked += 1
        return self.tensor.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()


def test_dlpack_goes_in_and_out(model: cz.Model) -> None:
    given = OnlyDLPack(torch.from_numpy(X))
    found = model(given)  # type: ignore[call-overload]
    assert given.asked == 1
    np.testing.assert_array_equal(found, model(X))
    tensor = torch.utils.dlpack.from_dlpack(found)
    assert tensor.data_ptr() == found.ctypes.data
    with pytest.raises(TypeError, match="one that NumPy cannot read"):
        model(OnlyDLPack(torch.from_numpy(X).bfloat16()))  # type: ignore[call-overload]


def test_nothing_is_copied_on_the_way_in() -> None:
    from cnnzoo import _arrays

    for x in (torch.from_numpy(X), OnlyDLPack(torch.from_numpy(X)), X):
        assert np.shares_memory(_arrays.as_array(x), X)


def of_each_call(model: cz.Model, x: torch.Tensor) -> dict[str, Any]:
    found = {"": model(x, exact=True), "embed": model.embed(x, exact=True)}
    return found | model.features(x, ["conv1", "layer2", "layer2"], exact=True)


def test_tensors_on_a_gpu_would_not_leave_it(
    model: cz.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as a machine without one can tell: tensors take that way on the CPU."""
    x = torch.from_numpy(X)
    expected = of_each_call(model, x)
    taken: list[Any] = []

    def is_on_gpu(value: Any, device: str) -> bool:
        taken.append(value)
        return isinstance(value, torch.Tensor) and value.is_floating_point()

    monkeypatch.setattr("cnnzoo.model._running.is_on_gpu", is_on_gpu)
    for given in (x, x.double(), x.clone().requires_grad_()):
        for name, value in of_each_call(model, given).items():
            assert type(value) is torch.Tensor and not value.requires_grad
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0)
    assert len(taken) == 9
    with pytest.raises(cz.ShapeError):
        model(x[:, :2])
    with pytest.raises(TypeError):
        model(x.long())
    assert isinstance(model(X), np.ndarray)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_tensors_on_a_gpu_do_not_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = cz.resnet18(num_classes=10, seed=1)
    x = torch.from_numpy(X)
    expected = of_each_call(model, x)
    on_gpu = cz.resnet18(num_classes=10, seed=1, device="cuda")

    def refused(*_: object) -> None:
        raise AssertionError("it was copied to the host")

    given = x.cuda()
    with monkeypatch.context() as patched:
        patched.setattr(torch.Tensor, "cpu", refused)
        found = of_each_call(on_gpu, given)
    for name, value in expected.items():
        assert found[name].is_cuda
        torch.testing.assert_close(found[name].cpu(), value, rtol=1e-3, atol=1e-3)
    assert on_gpu(x).device.type == "cpu"


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.1}, {"clip_value": 1e-3}], ids=str)
def test_given_gradients_make_torchs_update(clip: dict[str, float]) -> None:
    model = cz.resnet18(num_classes=10, seed=1)
    module = cz.torch.Module(model.copy())
    ours = cz.SGD(model, lr=0.1, momentum=0.9, weight_decay=1e-3)
    theirs = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    for _ in range(2):
        _, gradients = model.vjp(X, np.full((2, 10), 0.5))
        norm = model.apply_gradients(gradients, ours, **clip)
        theirs.zero_grad()
        (module.eval()(torch.from_numpy(X)) * 0.5).sum().backward()
        expected = torch.nn.utils.clip_grad_norm_(
            module.parameters(), clip.get("clip_norm", np.inf)
        )
        if "clip_value" in clip:
            torch.nn.utils.clip_grad_value_(module.parameters(), clip["clip_value"])
        theirs.step()
        assert norm == pytest.approx(float(expected), rel=1e-4)
    for name, value in module.state_dict().items():
        assert difference(model.state_dict()[name], value.numpy(), floor=0.01) < 5 * ROUNDING, name


def test_a_few_gradients_change_their_parameters_alone() -> None:
    model = cz.resnet18(num_classes=10, seed=1)
    before, optimizer = model.state_dict(), cz.SGD(model, lr=0.5)
    model.apply_gradients({"fc.bias": torch.ones(10, dtype=torch.float64)}, optimizer)
    for name, value in model.state_dict().items():
        change = 0.5 if name == "fc.bias" else 0.0
        np.testing.assert_array_equal(value, before[name] - change)


def test_gradients_that_fit_nothing_are_refused() -> None:
    model = cz.resnet18(num_classes=10, seed=1)
    optimizer, bias = cz.SGD(model, lr=0.5), np.ones(10, np.float32)
    before = model.state_dict()
    for gradients, error, said in (
        ({}, cz.ArgumentError, "at least one"),
        ([("fc.bias", bias)], cz.ArgumentError, "a dict"),
        ({"fc.other": bias}, cz.ArgumentError, "names of its parameters"),
        ({"bn1.running_mean": np.ones(64, np.float32)}, cz.ArgumentError, "that is trained"),
        ({"fc.weight": bias}, cz.ShapeError, r"\(10, 512\)"),
        ({"fc.bias": np.ones(10, np.int64)}, TypeError, "float32"),
        ({3: bias}, cz.ArgumentError, "the name of a parameter"),
    ):
        with pytest.raises(error, match=said):
            model.apply_gradients(gradients, optimizer)  # type: ignore[arg-type]
    with pytest.raises(cz.ArgumentError, match="another model"):
        model.apply_gradients({"fc.bias": bias}, cz.SGD(model.copy(), lr=0.5))
    model.freeze("fc")
    with pytest.raises(cz.ArgumentError, match="that is trained"):
        model.apply_gradients({"fc.bias": bias}, optimizer)
    model.unfreeze()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    model.train_step(X, np.zeros(2, np.int64), optimizer, accumulate=2)
    with pytest.raises(cz.ArgumentError, match="has accumulated none"):
        model.apply_gradients({"fc.bias": bias}, optimizer)


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("layout torch.sparse_coo", lambda x: x.to_sparse()),
        ("on the device `meta`", lambda x: x.to("meta")),
        ("nested", lambda x: torch.nested.nested_tensor(list(x), layout=torch.strided)),
    ],
)
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_tensors_without_plain_numbers_are_refused(
    kind: str, make: Callable[[torch.Tensor], torch.Tensor], model: cz.Model
) -> None:
    odd = make(torch.from_numpy(X))
    for use in (
        lambda: model(odd),
        lambda: model.gradients(odd, 0),
        lambda: model.load_state_dict({"conv1.weight": odd}, strict=False),
    ):
        with pytest.raises(TypeError, match=f"expected a dense one .* got one that is .*{kind}"):
            use()


@pytest.mark.parametrize("mapping", [None, [("conv1.weight", X)], "state.pth"])
def test_a_state_dict_that_is_no_mapping_is_refused(mapping: Any, model: cz.Model) -> None:
    with pytest.raises(cz.ArgumentError, match="`mapping`: expected a state dict"):
        model.load_state_dict(mapping)
