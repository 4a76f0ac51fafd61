"""A recipe of PyTorch's, moved here, follows the same curve."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from numpy.typing import NDArray
from torch.nn import functional

import cnnzoo as cz
from cnnzoo.model import Precision
from reference import channels_last
from tolerance import ROUNDING_OF_GRADIENTS, STATISTICAL, difference
from train.small_run import loaders, pictures, trainer

CLASSES = 10
EPOCHS = 4
SIDE = 64

Batch = tuple[NDArray[np.float32], NDArray[np.int64]]


def batches(count: int, *, seed: int, size: int = 8) -> list[Batch]:
    generator = np.random.default_rng(seed)
    return [
        (
            generator.normal(size=(size, 3, SIDE, SIDE)).astype(np.float32),
            generator.integers(0, CLASSES, size),
        )
        for _ in range(count)
    ]


def twins() -> tuple[cz.Model, torch.nn.Module]:
    """Ours and torchvision's with the same weights."""
    model = cz.create_model("mobilenet_v3_small", num_classes=CLASSES, drop_rate=0.0, seed=1)
    module = torchvision.models.mobilenet_v3_small(num_classes=CLASSES, dropout=0.0)
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in model.state_dict().items()})
    return model, module


def smooth_twins() -> tuple[cz.Model, torch.nn.Module]:
    """The same of a network whose activations and gates bend nowhere, and that pools nothing."""
    model = cz.create_model(
        "efficientnet_b0", num_classes=CLASSES, drop_rate=0.0, drop_path_rate=0.0, seed=1
    )
    module = torchvision.models.efficientnet_b0(
        num_classes=CLASSES, dropout=0.0, stochastic_depth_prob=0.0
    )
    module.load_state_dict({k: torch.from_numpy(v.copy()) for k, v in model.state_dict().items()})
    return model, module


def tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return channels_last(batch[0]), torch.from_numpy(batch[1])


def test_a_whole_recipe_follows_pytorch() -> None:
    """Warm-up and cosine by update, smoothing, clipping, accumulation and a running average.

    The network is smooth everywhere. Where ReLU bends, rounding decides whether a gradient jumps:
    PyTorch's run of MobileNetV3 in float32 is 3e-4 from that in float64, whatever its threads, and
    ours with some. Of this network every two of these runs are 2e-5 apart at most.
    """
    train, validation = batches(6, seed=1), batches(3, seed=2)
    model, module = smooth_twins()
    one = cz.Trainer(
        model,
        optimizer=cz.SGD(model, lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4),
        schedule=cz.Cosine(warmup=1, warmup_start=0.1, min_lr=1e-4),
        loss=cz.CrossEntropy(label_smoothing=0.1),
        ema=0.8,
        ema_warmup=False,
        clip_norm=1.0,
        accumulate=2,
    )
    history = one.fit(train, validation, epochs=EPOCHS, progress=False)

    optimizer = torch.optim.SGD(
        module.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True
    )
    average = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.8), use_buffers=True
    )
    # The average of ours begins with the parameters before the first update.
    average.n_averaged.fill_(1)
    warm, whole = len(train), EPOCHS * len(train)
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=warm),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, whole - warm, eta_min=1e-4),
        ],
        milestones=[warm],
    )
    # Without gradients it moves nothing, and PyTorch wants one before the first new rate.
    optimizer.step()
    for epoch in range(EPOCHS):
        module.train()
        losses, hits = [], 0
        for index, batch in enumerate(train):
            x, y = tensors(batch)
            logits = module(x)
            loss = functional.cross_entropy(logits, y, label_smoothing=0.1)
            losses.append(loss.item())
            hits += int((logits.argmax(1) == y).sum())
            (loss / 2).backward()
            if index % 2:
                torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                average.update_parameters(module)
            rate = optimizer.param_groups[0]["lr"]
            schedule.step()
        average.eval()
        with torch.inference_mode():
            found = [(average(x), y) for x, y in map(tensors, validation)]
        row = history[epoch]
        assert row.lr == pytest.approx(rate, rel=1e-6)
        assert row.train_loss == pytest.approx(np.mean(losses), rel=ROUNDING_OF_GRADIENTS)
        assert row.train_top1 == hits / 48
        mean = np.mean(
            [functional.cross_entropy(x, y, label_smoothing=0.1).item() for x, y in found]
        )
        assert row.val_loss == pytest.approx(mean, rel=ROUNDING_OF_GRADIENTS)
        top1, top5 = (
            sum(int((x.topk(k).indices == y[:, None]).sum()) for x, y in found) / 24 for k in (1, 5)
        )
        assert (row.val_top1, row.val_top5) == (top1, top5)
    assert one.averaged is not None
    for ours, theirs in ((model, module), (one.averaged, average.module)):
        state = ours.state_dict()
        for name, value in theirs.state_dict().items():
            if value.is_floating_point():
                # What gradients that cancel leave of a shift is rounding alone.
                apart = difference(state[name], value.numpy(), floor=0.01)
                assert apart <= ROUNDING_OF_GRADIENTS, name
            else:
                # A count is not averaged, which PyTorch does and rounds down.
                assert state[name] == module.state_dict()[name], name


def test_frozen_layers_keep_their_statistics() -> None:
    model, _ = twins()
    model.freeze("features.0", "features.1")
    before = model.state_dict()
    one = cz.Trainer(model, optimizer=cz.AdamW(model, lr=1e-3))
    one.fit(batches(3, seed=1), epochs=1, progress=False)
    after = model.state_dict()
    for name, value in before.items():
        frozen = name.startswith(("features.0.", "features.1."))
        assert np.array_equal(after[name], value) == frozen, name


def test_the_rate_belongs_to_the_user_again_after_a_fit() -> None:
    model, _ = twins()
    optimizer = cz.SGD(model, lr=0.01)
    one = cz.Trainer(model, optimizer=optimizer, schedule=cz.Polynomial())
    one.fit(batches(2, seed=1), epochs=1, progress=False)
    assert optimizer.lr == 0.01
    optimizer.lr = 0.005
    rows = one.fit(batches(2, seed=1), epochs=1, progress=False).rows
    assert [row.lr for row in rows] == [0.005, 0.0025]


def test_early_stopping_ends_after_its_patience() -> None:
    model, _ = twins()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.0))
    stop = cz.callbacks.EarlyStopping(patience=2, monitor="train_loss", min_delta=10.0)
    history = one.fit(batches(1, seed=1), epochs=9, progress=False, callbacks=[stop])
    # The first is a best by itself; then come two that are none.
    assert len(history) == 3
    history = one.fit(batches(1, seed=1), epochs=9, progress=False, callbacks=[stop])
    assert len(history) == 6


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    one = trainer()
    train, validation = loaders()
    history = one.fit(
        train, validation, epochs=4, monitor="val_loss", checkpoint=tmp_path, progress=False
    )
    best = min(row.val_loss for row in history if row.val_loss is not None)
    found = cz.metrics.evaluate(cz.load(tmp_path / "best.safetensors"), validation, loss=one.loss)
    assert found.loss == best


def test_names_of_classes_come_from_the_data() -> None:
    data = cz.data.Arrays(
        np.zeros((8, 32, 32, 3), np.uint8), np.arange(8) % 2, classes=["cat", "dog"]
    )
    model = cz.create_model("resnet20", num_classes=2)
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01))
    one.fit(cz.data.Loader(data, batch_size=4), epochs=1, progress=False)
    assert model.labels == ("cat", "dog")
    few = cz.create_model("resnet20", num_classes=1)
    one = cz.Trainer(few, optimizer=cz.SGD(few, lr=0.01))
    with pytest.raises(cz.ArgumentError, match=r"got 2; use reset_classifier\(num_classes=2\)"):
        one.fit(cz.data.Loader(data, batch_size=4), epochs=1, progress=False)


def test_a_loss_that_blows_up_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model, _ = twins()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=1e30))
    with pytest.raises(cz.DivergenceError, match=r"expected a finite loss, got (nan|inf)"):
        one.fit(batches(4, seed=1), epochs=2, checkpoint=tmp_path, progress=False)
    again = cz.Trainer.resume  # the checkpoint from before the first batch is whole
    with pytest.raises(cz.DivergenceError):
        again(tmp_path, batches(4, seed=1), progress=False)


def test_arguments_that_make_no_sense() -> None:
    model, _ = twins()
    other, _ = twins()
    optimizer = cz.SGD(model, lr=0.01)
    one = cz.Trainer(model, optimizer=optimizer)
    few: Any = batches(1, seed=1)
    half: Any = "f16"
    for message, wrong in (
        ("one of another model", lambda: cz.Trainer(other, optimizer=optimizer)),
        ("`ema`: expected", lambda: cz.Trainer(model, optimizer=optimizer, ema=1.0)),
        ("`precision`: expected", lambda: cz.Trainer(model, optimizer=optimizer, precision=half)),
        ("`epochs`: expected a whole number of 1 to", lambda: one.fit(few, epochs=0)),
        ("`monitor`: expected one of", lambda: one.fit(few, epochs=1, monitor="accuracy")),
        ("expected validation data", lambda: one.fit(few, epochs=1, monitor="val_loss")),
        ("a sequence of batches", lambda: one.fit(iter(few), epochs=1)),
        ("at least one batch, got none", lambda: one.fit([], epochs=1, progress=False)),
        ("`patience`", lambda: cz.callbacks.EarlyStopping(patience=0)),
    ):
        with pytest.raises(cz.ArgumentError, match=message):
            wrong()


def test_a_line_for_each_epoch_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, _ = twins()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01))
    one.fit(batches(1, seed=1), batches(1, seed=2), epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "val top1" in lines[0]


def test_a_bar_for_each_epoch_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = twins()
    one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    one.fit(batches(2, seed=1), epochs=1)
    shown = capsys.readouterr().err
    assert "epoch 1/1: 100%" in shown
    assert "2/2" in shown


def test_control_c_works_again_after_a_fit() -> None:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        model, _ = twins()
        one = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.01))

        class Presses(cz.callbacks.Callback):
            def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(KeyboardInterrupt, match="after batch 1 of epoch 1; without"):
            one.fit(batches(3, seed=1), epochs=1, progress=False, callbacks=[Presses()])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_run_in_bfloat16_learns_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def runs(precision: Precision, folder: Path | None) -> cz.Trainer:
        model = cz.create_model("resnet20", num_classes=4, seed=1)
        optimizer = cz.SGD(model, lr=0.02, momentum=0.9)
        one = cz.Trainer(model, optimizer=optimizer, precision=precision)
        one.fit(*loaders(), epochs=3, progress=False, checkpoint=folder)
        return one

    train, validation = loaders()
    one, exact = runs("bfloat16", tmp_path), runs("float32", None)
    assert one.history[-1].train_loss < 0.7 * one.history[0].train_loss
    assert {values.dtype.name for values in one.model.state_dict().values()} == {"float32", "int64"}
    again = cz.Trainer.resume(tmp_path, train, validation, progress=False)
    for either in (one, again):
        either.fit(train, validation, epochs=1, progress=False)
    first, second = one.model.state_dict(), again.model.state_dict()
    assert all(np.array_equal(first[name], second[name]) for name in first)
    # The first losses differ by what bfloat16 rounds, and do differ.
    apart = abs(one.history[0].train_loss - exact.history[0].train_loss)
    assert 0 < apart < STATISTICAL * exact.history[0].train_loss


def test_data_sets_are_evaluated_alike_each_time() -> None:
    one = trainer()
    validation = cz.data.Loader(pictures(40, seed=2), batch_size=16, seed=3)
    assert one.evaluate(validation).loss == one.evaluate(validation).loss
