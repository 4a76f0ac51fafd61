"""Occlusion, beside a loop over squares on the source's network."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

import cnnzoo as cz
from explain.subjects import CAT, COFFEE, ESPRESSO, trained
from reference import Edition, TorchReference, pair
from tolerance import FUSED, difference


@pytest.mark.parametrize(
    ("window", "stride", "fill"), [(40, 40, 0.0), (50, 30, -1.0), (224, 1, 0.0), (64, 64, 2.0)]
)
def test_it_is_the_mean_cost_of_the_squares_that_cover_a_pixel(
    window: int, stride: int, fill: float
) -> None:
    model, reference = pair(Edition("squeezenet1_1", "torchvision", "squeezenet1_1"))
    assert isinstance(reference, TorchReference)
    x = model.preprocess(CAT)
    cost, covered = np.zeros((224, 224)), np.zeros((224, 224))
    starts = [at for at in range(0, 224, stride) if at == 0 or at - stride + window < 224]
    with torch.no_grad():
        module = reference.module.eval()
        whole = module(torch.from_numpy(x))[0, 7]
        for top in starts:
            for left in starts:
                hidden = torch.from_numpy(x.copy())
                hidden[..., top : top + window, left : left + window] = fill
                lost = float(whole - module(hidden)[0, 7])
                cost[top : top + window, left : left + window] += lost
                covered[top : top + window, left : left + window] += 1
    assert covered.min() > 0
    # One window over all costs all pixels alike.
    alike = (
        pytest.warns(cz.Notice, match="no pixel speaks more") if window == 224 else nullcontext()
    )
    with alike:
        heatmap = cz.explain.occlusion(
            model, CAT, target=7, window=window, stride=stride, fill=fill, batch_size=5
        )
    assert difference(heatmap.raw, cost / covered, floor=float(whole)) <= FUSED
    assert heatmap.method == "Occlusion" and heatmap.node is None
    if window < 224:
        positive = np.maximum(heatmap.raw, 0).astype(np.float64)
        expected = (positive - positive.min()) / np.ptp(positive)
        assert difference(heatmap.values, expected) <= 1e-6


def test_hiding_the_cup_costs_espresso_most() -> None:
    heatmap = cz.explain.occlusion(trained(), COFFEE, progress=False)
    assert heatmap.target == ESPRESSO
    # The cup is in the middle.
    middle = heatmap.values[70:154, 70:154]
    assert middle.mean() > 2 * heatmap.values[:30].mean()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no window": ({"window": 0}, "`window`"),
    "a window larger than the photograph": ({"window": 225}, "`window`.* to 224, got 225"),
    "a stride that leaves gaps": ({"window": 20, "stride": 21}, "`stride`.* to 20, got 21"),
    "no stride": ({"stride": 0}, "`stride`"),
    "no fill": ({"fill": np.nan}, "`fill`"),
    "no batch": ({"batch_size": 0}, "`batch_size`"),
    "no such class": ({"target": -1}, "`target`"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_makes_no_sense_is_refused_in_a_sentence(wrong: str) -> None:
    options, said = WRONG[wrong]
    with pytest.raises(cz.ArgumentError, match=said):
        cz.explain.occlusion(trained(), CAT, **options)
