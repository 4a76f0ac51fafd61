"""On a CUDA device models run, train and go on as on the CPU, and as PyTorch there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import cnnzoo as cz
from reference import Edition, TorchReference, channels_last, images, pair, smallest
from tolerance import ROUNDING, ROUNDING_OF_GRADIENTS, STATISTICAL, difference
from train.small_run import SIDE, loaders, pictures
from train.test_steps import BATCH, CLASSES, PAIRS, Pair, training_size, twins

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

SIZE = 64
STEPS = 10

# cuDNN chooses a kernel for each convolution, also by the memory that is free: those for windows of
# 5 pixels round more than others, and gradients of AlexNet differ by 6e-4 between two calls.
ROUNDING_OF_OTHER_KERNELS = 1e-3

# bfloat16 has 8 bits, and each layer rounds to them once more.
ROUNDING_OF_BFLOAT16 = 0.05


@pytest.fixture(autouse=True)
def float32_throughout() -> Iterator[None]:
    """Convolutions keep all their bits, and add in the same order each time.

    Both sides compute in one libtorch, so this tells ours too.
    """
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def test_parameters_come_back_from_the_device_bit_for_bit() -> None:
    model = cz.resnet18(seed=1)
    x = images((SIZE, SIZE), BATCH)
    expected = model(x)
    on_device = cz.create_model("resnet18", seed=1, device="cuda")
    np.testing.assert_array_equal(on_device.to("cpu")(x), expected)


def size_of(edition: Edition) -> int:
    return edition.info.input_size if edition.info.fixed_image_size else training_size(edition)


@pytest.mark.parametrize("edition", smallest(), ids=str)
def test_logits_are_those_of_the_cpu_and_gradients_those_of_pytorch(edition: Edition) -> None:
    model, reference = pair(edition)
    assert isinstance(reference, TorchReference)
    size = size_of(edition)
    x = images((size, size), BATCH)
    expected = model(x)
    model.to("cuda")
    assert model.device == "cuda:0"
    assert difference(model(x), expected) <= ROUNDING

    module = reference.module.cuda().train()
    output = module(torch.from_numpy(x).cuda())
    theirs = output if isinstance(output, torch.Tensor) else output[0]
    cotangent = images((1, theirs.shape[1]), BATCH, seed=1)[:, 0, 0]
    (theirs * torch.from_numpy(cotangent).cuda()).sum().backward()
    logits, gradients = model.vjp(x, cotangent, training=True)
    assert difference(logits, theirs.detach().cpu().numpy()) <= ROUNDING
    scale = float(np.median([np.abs(gradient).max() for gradient in gradients.values()]))
    for name, parameter in module.named_parameters():
        if parameter.grad is not None:
            known = parameter.grad.cpu().numpy()
            apart = difference(gradients[name], known, floor=scale)
            assert apart <= ROUNDING_OF_OTHER_KERNELS, name


@pytest.mark.parametrize("rule", PAIRS, ids=lambda rule: rule.name)
def test_steps_follow_pytorch(rule: Pair) -> None:
    edition = next(edition for edition in smallest() if edition.info.family == "ResNet")
    model, module, size = twins(edition)
    model.to("cuda")
    module.cuda()
    ours, theirs = rule.ours(model, rule.lr), rule.theirs(module.parameters(), rule.lr)
    generator = np.random.default_rng(0)
    for step in range(STEPS):
        x, y = images((size, size), BATCH, seed=step % 2), generator.integers(0, CLASSES, BATCH)
        result = model.train_step(x, y, ours)
        output = module(channels_last(x).cuda())
        loss = functional.cross_entropy(output, torch.from_numpy(y).cuda())
        theirs.zero_grad()
        loss.backward()
        theirs.step()
        allowed = ROUNDING if step < 2 else STATISTICAL
        assert abs(result.loss - loss.item()) <= allowed * loss.item()


def test_bfloat16_and_checkpointing() -> None:
    x, y = images((SIZE, SIZE), BATCH), np.arange(BATCH)
    losses = {}
    for name, precision, checkpointing in (
        ("plain", "float32", False),
        ("checkpointing", "float32", True),
        ("bfloat16", "bfloat16", False),
    ):
        model = cz.densenet121(checkpointing=checkpointing, seed=1, device="cuda")
        optimizer = cz.SGD(model, lr=0.01)
        steps = [model.train_step(x, y, optimizer, precision=precision) for _ in range(2)]  # type: ignore[arg-type]
        losses[name] = np.array([step.loss for step in steps])
    assert difference(losses["checkpointing"], losses["plain"]) <= ROUNDING_OF_GRADIENTS
    assert difference(losses["bfloat16"], losses["plain"]) <= ROUNDING_OF_BFLOAT16


@pytest.mark.parametrize("rule", [cz.SGD, cz.Adam, cz.LAMB])
def test_a_run_goes_on_where_it_stopped(rule: type[cz.SGD], tmp_path: Path) -> None:
    """With a running average, mixing and dropout; kernels that add in any order round apart."""

    def trainer() -> cz.Trainer:
        model = cz.create_model("resnet20", num_classes=4, drop_rate=0.2, seed=3, device="cuda")
        optimizer = rule(model, lr=0.01)
        return cz.Trainer(model, optimizer=optimizer, mixup=0.2, cutmix=1.0, ema=0.9, clip_norm=2.0)

    train, validation = loaders()
    whole = trainer()
    whole.fit(train, validation, epochs=3, progress=False)

    class Stop(cz.callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            if trainer.step == 10:
                raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        trainer().fit(
            train,
            validation,
            epochs=3,
            progress=False,
            checkpoint=folder,
            checkpoint_every=1,
            callbacks=[Stop()],
        )
    train, validation = loaders()
    resumed = cz.Trainer.resume(folder, train, validation, progress=False, device="cuda")
    assert resumed.model.device == "cuda:0"
    assert resumed.step == whole.step
    ours = np.array([row.train_loss for row in resumed.history])
    assert difference(ours, np.array([row.train_loss for row in whole.history])) <= STATISTICAL
    photo, _ = pictures(1, seed=4)[0]
    assert photo.shape[:2] == (SIDE, SIDE)
    assert len(resumed.model.predict(photo, top=2)) == 2


def test_more_than_the_device_holds_is_a_memory_error() -> None:
    model = cz.resnet18(device="cuda")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-3)
    try:
        with pytest.raises(MemoryError) as caught:
            model(np.zeros((64, 3, 224, 224), np.float32))
        assert isinstance(caught.value, cz.OutOfMemoryError)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert model(np.zeros((1, 3, 64, 64), np.float32)).shape == (1, 1000)
