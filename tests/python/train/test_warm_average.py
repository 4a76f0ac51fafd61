"""Running averages warm up as timm's do, and the history tells the model's own figures beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from timm.utils.model_ema import ModelEmaV3

import cnnzoo as cz
from cnnzoo.callbacks import Callback
from cnnzoo.model import StepResult

X = np.random.default_rng(0).normal(size=(12, 3, 32, 32)).astype(np.float32)
Y = np.arange(12) % 3


class Theirs(Callback):
    """timm's average of what the model is after each update."""

    def __init__(self, trainer: cz.Trainer, decay: float, *, warmup: bool) -> None:
        states = trainer.model.state_dict().items()
        self.names = [name for name, values in states if values.dtype.kind == "f"]
        self.module = torch.nn.ParameterList(
            torch.nn.Parameter(torch.from_numpy(trainer.model.state_dict()[name].copy()))
            for name in self.names
        )
        self.ema = ModelEmaV3(self.module, decay=decay, use_warmup=warmup)
        self.updates = 0

    def on_step(self, trainer: cz.Trainer, result: StepResult) -> None:
        if result.grad_norm is None:
            return
        self.updates += 1
        state = trainer.model.state_dict()
        with torch.no_grad():
            for parameter, name in zip(self.module, self.names, strict=True):
                parameter.copy_(torch.from_numpy(state[name].copy()))
        self.ema.update(self.module, step=self.updates)

    def values(self) -> dict[str, NDArray[np.float32]]:
        averages: Any = self.ema.module
        return {
            name: average.detach().numpy()
            for name, average in zip(self.names, averages, strict=True)
        }


def trainer(**options: Any) -> cz.Trainer:
    model = cz.create_model("resnet20", num_classes=3, seed=1)
    return cz.Trainer(model, optimizer=cz.AdamW(model, lr=1e-3), **options)


# The first reaches its decay within the run, the second does not.
@pytest.mark.parametrize("decay", [0.6, 0.999])
def test_the_average_is_timms(decay: float) -> None:
    ours = trainer(ema=decay, accumulate=2)
    theirs = Theirs(ours, decay, warmup=True)
    for _ in range(2):  # a later fit does not warm up again
        ours.fit([(X, Y)] * 6, epochs=2, progress=False, callbacks=[theirs])
    assert ours.averaged is not None
    state = ours.averaged.state_dict()
    for name, values in theirs.values().items():
        np.testing.assert_allclose(state[name], values, rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_resumed_average_does_not_warm_up_again(tmp_path: Path) -> None:
    class Saves(Callback):
        def on_step(self, trainer: cz.Trainer, result: StepResult) -> None:
            if trainer.step == 3:
                trainer.save(tmp_path / "third.safetensors")

    one = trainer(ema=0.9)
    one.fit([(X, Y)] * 6, epochs=1, progress=False, callbacks=[Saves()])
    two = cz.Trainer.resume(tmp_path / "third.safetensors", [(X, Y)] * 6, progress=False)
    assert one.averaged is not None
    assert two.averaged is not None
    ours, theirs = one.averaged.state_dict(), two.averaged.state_dict()
    assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())


def test_the_history_tells_the_models_own_figures() -> None:
    one = trainer(ema=0.999, ema_warmup=False)
    row = one.fit([(X, Y)] * 10, [(X, Y)], epochs=1, progress=False)[-1]
    own, average = (cz.metrics.evaluate(of, [(X, Y)]) for of in (one.model, one.averaged) if of)
    assert row.own_val_loss == pytest.approx(own.loss)
    assert row.val_loss == pytest.approx(average.loss)
    assert own.loss < average.loss  # which is as good as untrained
    assert (row.own_val_top1, row.val_top1) == (own.top1, average.top1)
    assert "own top1" in repr(one.history)
    without = trainer().fit([(X, Y)], [(X, Y)], epochs=1, progress=False)
    assert without[0].own_val_top1 is None
    assert "own top1" not in repr(without)


def test_after_a_short_run_the_average_is_worth_something_only_with_a_warm_up() -> None:
    """After 60 updates, 0.999 to the 60th of the average is what the model was before training."""
    rows, data = {}, [(X[:, :, ::4, ::4], Y)]
    for warmup in (True, False):
        one = trainer(ema=0.999, ema_warmup=warmup)
        rows[warmup] = one.fit(data * 20, data, epochs=3, progress=False)[-1]
    warm, cold = rows[True], rows[False]
    assert warm.own_val_loss == cold.own_val_loss
    assert warm.val_top1 == warm.own_val_top1 == 1.0
    assert cold.own_val_top1 == 1.0
    untrained = np.log(3)
    assert warm.val_loss is not None and warm.val_loss < 0.5 * untrained
    assert cold.val_loss is not None and cold.val_loss > 0.8 * untrained
