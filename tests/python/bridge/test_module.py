"""A Module and its model are one network: memory, freezing, plans, copies, threads."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import cnnzoo as cz
from reference import images
from small_network import tiny
from tolerance import FUSED, ROUNDING, difference

SIZE = 64


def resnet(**options: Any) -> cz.Model:
    return cz.resnet18(num_classes=10, seed=1, **options)


def batch(count: int = 2, size: int = SIZE) -> torch.Tensor:
    return torch.from_numpy(images((size, size), count))


def step(module: nn.Module, x: torch.Tensor, *, lr: float = 0.1, **options: Any) -> None:
    optimizer = torch.optim.SGD(module.parameters(), lr=lr, **options)
    nn.functional.cross_entropy(module(x), torch.arange(len(x)) % 3).backward()
    optimizer.step()


def test_parameters_are_the_models_own() -> None:
    model = resnet()
    module, again = cz.torch.Module(model), cz.torch.Module(model)
    assert module.model is model
    for name, parameter in module.named_parameters():
        assert type(parameter) is nn.Parameter
        assert parameter.is_leaf
        assert again.get_parameter(name) is parameter
    assert (
        sum(p.numel() for p in module.parameters()) == cz.model_info("resnet18").params - 990 * 513
    )
    with torch.no_grad():
        module.conv1.weight.fill_(0.25)
    assert (model.state_dict()["conv1.weight"] == 0.25).all()
    model.load_state_dict({**model.state_dict(), "fc.bias": np.arange(10, dtype=np.float32)})
    assert module.fc.bias.tolist() == list(range(10))


@pytest.mark.parametrize("fused", [False, True])
def test_runs_on_our_engine_see_what_torch_changes(fused: bool) -> None:
    model = resnet()
    module, x = cz.torch.Module(model).eval(), batch()
    before = model(x.numpy())
    step(module, x, fused=fused)
    expected = module(x).detach().numpy()
    assert difference(model(x.numpy()), expected) < FUSED
    assert difference(before, expected) > 10 * FUSED
    # In training mode statistics change too, by the forward pass alone.
    module.train()
    with torch.no_grad():
        module(x)
    expected = module.eval()(x).detach().numpy()
    assert difference(model(x.numpy()), expected) < FUSED
    module.load_state_dict({name: value * 0.9 for name, value in module.state_dict().items()})
    assert difference(model(x.numpy()), module(x).detach().numpy()) < FUSED


def test_changes_past_the_counts_are_told() -> None:
    model = resnet()
    module, x = cz.torch.Module(model).eval(), batch()
    model(x.numpy())
    module.fc.bias.data.add_(1.0)
    module.fc.weight.detach().numpy()[:] *= 2
    module.changed()
    assert difference(model(x.numpy()), module(x).detach().numpy()) < FUSED


def test_a_quantization_ends_with_a_change_and_not_before() -> None:
    model = resnet()
    model.quantize(images((SIZE, SIZE), 16), progress=False)
    module = cz.torch.Module(model).eval()
    x = batch()
    model(x.numpy(), precision="int8")
    module(x)
    module.requires_grad_(False)
    assert model.quantized
    with torch.no_grad():
        module.fc.bias.add_(1)
    assert not model.quantized


def test_freezing_holds_on_both_sides() -> None:
    model = resnet()
    module = cz.torch.Module(model)
    model.freeze("layer1*")
    assert not module.layer1[0].conv1.weight.requires_grad
    module.fc.requires_grad_(False)
    assert "fc.weight" not in model.trained
    assert {n for n, p in module.named_parameters() if p.requires_grad} == set(model.trained)
    module(batch()).sum().backward()
    assert {n for n, p in module.named_parameters() if p.grad is not None} == set(model.trained)
    model.unfreeze()
    assert all(p.requires_grad for p in module.parameters())


def test_what_torch_must_not_change_is_found() -> None:
    model = resnet()
    module, x = cz.torch.Module(model).eval(), batch()
    expected = model(x.numpy())
    values = module.fc.bias.data
    for wrong in (torch.zeros(3), torch.zeros(10, dtype=torch.float64)):
        module.fc.bias.data = wrong
        for run in (lambda: model(x.numpy()), lambda: module(x), model.state_dict):
            with pytest.raises(cz.ArgumentError, match=r"`fc\.bias`, which PyTorch changed"):
                run()
    module.fc.bias.data = values
    module.bn1.running_mean.requires_grad_(True)
    with pytest.raises(cz.ArgumentError, match=r"`bn1\.running_mean`, which PyTorch changed"):
        module(x)
    module.bn1.running_mean.requires_grad_(False)
    np.testing.assert_array_equal(model(x.numpy()), expected)


def test_no_grad_and_inference_mode_record_nothing() -> None:
    module, x = cz.torch.Module(resnet()).eval(), batch()
    assert module(x).requires_grad
    with torch.no_grad():
        assert not module(x).requires_grad
    with torch.inference_mode():
        assert module(x).is_inference()
    module.requires_grad_(False)
    assert not module(x).requires_grad
    (slope,) = torch.autograd.grad(module(x.requires_grad_()).sum(), x)
    assert slope.abs().max() > 0


def test_memory_formats_are_taken_over() -> None:
    model, x = resnet(), batch()
    module: Any = cz.torch.Module(model)
    twin = copy.deepcopy(module)
    assert module.to(memory_format=torch.channels_last) is module
    assert module.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    for one in (module, twin):
        step(one, x, lr=0.01)
    for (name, value), other in zip(
        module.state_dict().items(), twin.state_dict().values(), strict=True
    ):
        assert difference(value.numpy(), other.numpy()) < 20 * ROUNDING, name
    # A step of ours changes the layout as well, and a run of the model back.
    model.train_step(x.numpy(), np.zeros(2, np.int64), cz.SGD(model, lr=0.0))
    model(x.numpy(), exact=True)
    assert module.conv1.weight.is_contiguous()
    assert module.eval()(x).shape == (2, 10)


def test_gradients_move_with_their_parameters() -> None:
    module: Any = cz.torch.Module(resnet())
    x = batch()
    module(x).sum().backward()
    before = module.conv1.weight.grad
    module.to(memory_format=torch.channels_last)
    assert module.conv1.weight.grad is before
    assert before.is_contiguous(memory_format=torch.channels_last)
    assert module.cpu() is module
    assert module.float() is module
    module.share_memory()
    assert module.fc.weight.is_shared()
    assert difference(module.model(x.numpy()), module.eval()(x).detach().numpy()) < FUSED


def test_dropout_follows_torchs_seed() -> None:
    module = cz.torch.Module(cz.create_model("alexnet", num_classes=10, seed=1))
    x = batch(2, 64)
    torch.manual_seed(3)
    first, second = module(x), module(x)
    torch.manual_seed(3)
    torch.testing.assert_close(module(x), first, rtol=0, atol=0)
    assert not torch.equal(first, second)
    # Where nothing is drawn, the generator stays.
    torch.manual_seed(3)
    module.eval()(x)
    cz.torch.Module(tiny())(batch(4, 16))
    torch.testing.assert_close(module.train()(x), first, rtol=0, atol=0)
    with torch.no_grad():
        many = torch.stack([module(x) for _ in range(40)]).mean(0)
        expected = module.eval()(x)
    assert difference(many.numpy(), expected.numpy()) < 0.5


@pytest.mark.parametrize("default", ["device", "dtype"])
def test_the_defaults_of_torch_change_nothing(default: str) -> None:
    def run() -> list[Any]:
        model = cz.create_model("mobilenet_v2", num_classes=3, width=0.25, seed=1)
        module = cz.torch.Module(model)
        torch.manual_seed(3)
        step = model.train_step(x.numpy(), [0, 1], cz.AdamW(model, lr=0.01))
        twin = copy.deepcopy(module)
        return [step.loss, module(x), twin.eval()(x), *module.state_dict().values()]

    x = torch.rand(2, 3, 64, 64)
    expected = run()
    try:
        if default == "device":
            torch.set_default_device("meta")
        else:
            torch.set_default_dtype(torch.float64)
        found = run()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_auxiliary_classifiers_run_in_training() -> None:
    model = cz.create_model("googlenet", num_classes=10, aux=True, seed=1)
    module, x = cz.torch.Module(model), batch(2, 64)
    found = module(x)
    assert [value.shape for value in found] == [(2, 10)] * 3
    assert module.eval()(x).shape == (2, 10)


def test_values_of_nodes_train_a_head() -> None:
    model = resnet()
    module, x = cz.torch.Module(model).eval(), batch(4)
    values = module.forward_nodes(x, ["layer2", "layer4"])
    for name, value in model.features(x.numpy(), ["layer2", "layer4"], exact=True).items():
        np.testing.assert_array_equal(values[name].detach().numpy(), value)
    head = nn.Linear(128 + 512, 3)
    optimizer = torch.optim.AdamW([*module.parameters(), *head.parameters()], lr=3e-3)
    y, losses, before = torch.arange(4) % 3, [], module.conv1.weight.detach().clone()
    for _ in range(10):
        pooled = [v.mean((2, 3)) for v in module.forward_nodes(x, ["layer2", "layer4"]).values()]
        loss = nn.functional.cross_entropy(head(torch.cat(pooled, 1)), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert module.conv1.weight.grad is not None
    assert module.fc.weight.grad is None
    assert not torch.equal(module.conv1.weight, before)


def assert_equal_and_apart(one: Any, other: Any, x: torch.Tensor) -> None:
    torch.testing.assert_close(one(x), other(x), rtol=0, atol=0)
    assert other.fc.weight is not one.fc.weight
    with torch.no_grad():
        other.fc.weight.zero_()
    assert not torch.equal(one(x), other(x))
    assert (other.model.state_dict()["fc.weight"] == 0).all()


@pytest.mark.parametrize("way", ["deepcopy", "pickle", "torch.save"])
def test_copies_have_a_model_of_their_own(way: str) -> None:
    module, x = cz.torch.Module(resnet()).eval(), batch()
    module.layer1.train()
    module.conv1.requires_grad_(False)
    module.extra = nn.Linear(2, 2)
    module.note = "mine"
    module.layer2.register_forward_hook(hook)
    if way == "deepcopy":
        twin = copy.deepcopy(module)
    elif way == "pickle":
        twin = pickle.loads(pickle.dumps(module))
    else:
        file = io.BytesIO()
        torch.save(module, file)
        file.seek(0)
        twin = torch.load(file, weights_only=False)
    assert type(twin) is cz.torch.Module
    assert (twin.training, twin.layer1.training, twin.layer2.training) == (False, True, False)
    assert twin.layer1[0].bn1.training
    assert not twin.conv1.weight.requires_grad
    assert twin.note == "mine"
    assert "extra.weight" in twin.state_dict()
    assert len(twin.layer2._forward_hooks) == 1
    assert_equal_and_apart(module.eval(), twin.eval(), x)


def hook(*_: Any) -> None:
    """One that a pickle can name."""


def test_a_copy_takes_its_optimizer_and_what_holds_it_along() -> None:
    x = batch(4)
    whole: Any = nn.Sequential(cz.torch.Module(resnet()), nn.Linear(10, 3))
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
    twin, twins = copy.deepcopy((whole, optimizer))
    before = whole[0].fc.weight.detach().clone()
    twin(x).sum().backward()
    twins.step()
    assert torch.equal(whole[0].fc.weight, before)
    assert not torch.equal(twin[0].fc.weight, before)
    state = whole.state_dict()
    assert "0.layer1.0.conv1.weight" in state
    twin.load_state_dict(state)
    assert torch.equal(twin[0].fc.weight, before)


def test_averages_of_torch_work() -> None:
    module, x = cz.torch.Module(resnet()), batch()
    average: Any = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.5)
    )
    first = module.fc.bias.detach().clone()
    average.update_parameters(module)
    step(module, x)
    average.update_parameters(module)
    expected = (first + module.fc.bias.detach()) / 2
    torch.testing.assert_close(average.module.fc.bias.detach(), expected)


@pytest.mark.filterwarnings("ignore")
def test_torch_compile_takes_it_as_it_is() -> None:
    module, x = cz.torch.Module(resnet()).eval(), batch()
    torch._dynamo.reset()
    whole = torch.compile(nn.Sequential(module, nn.Softmax(1)), backend="eager")
    torch.testing.assert_close(whole(x), module(x).softmax(1))
    whole(x).square().sum().backward()
    assert module.conv1.weight.grad is not None


def test_checkpointing_of_torch_gives_the_same_gradients() -> None:
    module, x = cz.torch.Module(tiny()), batch(4, 16)
    twin = copy.deepcopy(module)
    module(x).square().sum().backward()
    checkpoint: Any = torch.utils.checkpoint.checkpoint
    checkpoint(twin, x, use_reentrant=False).square().sum().backward()
    for one, other in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_threads_run_beside_each_other() -> None:
    module, x = cz.torch.Module(resnet()).eval(), batch()
    expected, found = module(x), []

    def run() -> None:
        for _ in range(4):
            output = module(x)
            output.sum().backward()
            found.append(output.detach())

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    for output in found:
        torch.testing.assert_close(output, expected)


def test_parameters_outlive_model_and_module() -> None:
    module = cz.torch.Module(resnet())
    x = batch()
    output, weight = module(x), module.conv1.weight
    del module
    output.sum().backward()
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


PROGRAM = """
import gc, os, sys
import cnnzoo as cz
assert "torch" not in sys.modules
model = cz.create_model("resnet18", seed=1)
assert "torch" not in sys.modules and "cnnzoo.torch" not in sys.modules
module = cz.torch.Module(model).eval()
import torch
x = torch.zeros(1, 3, 64, 64)
expected = module(x)
child = os.fork()
if child == 0:
    with torch.no_grad():
        found = module(x)
    assert not found.requires_grad and torch.allclose(found, expected, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert module(x).dtype == torch.bfloat16
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
del model, module
gc.collect()
expected.sum().backward()
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_imports_forks_and_the_end_of_the_process() -> None:
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_a_module_moves_to_the_device_and_back() -> None:
    model = resnet()
    module, x = cz.torch.Module(model).eval(), batch()
    weight, expected = module.conv1.weight, module(x)
    module(x).sum().backward()
    assert module.cuda() is module
    assert model.device == "cuda:0"
    assert module.conv1.weight is weight
    assert weight.grad is not None and weight.grad.is_cuda
    with pytest.raises(cz.DeviceError, match="another device"):
        module(x)
    found = module(x.cuda())
    assert difference(found.detach().cpu().numpy(), expected.detach().numpy()) < 1e-3
    assert difference(model(x.cuda()).cpu().numpy(), expected.detach().numpy()) < 1e-3
    assert model(x.cuda()).is_cuda
    step(module, x.cuda())
    module.cpu()
    assert difference(model(x.numpy()), module(x).detach().numpy()) < FUSED
