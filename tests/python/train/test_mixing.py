"""Mixup and CutMix are torchvision's, once they have drawn the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torchvision.transforms import v2

import cnnzoo as cz
from reference import images

CLASSES = 7
KEY: dict[str, int] = {"seed": 1, "epoch": 2, "batch": 3}

# A correct distribution is taken for a wrong one this often; draws are always the same.
SIGNIFICANCE = 1e-3
DRAWS = 4000


def batch(height: int = 12, width: int = 9) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    return images((height, width), 5), np.random.default_rng(2).integers(0, CLASSES, 5)


def theirs(mix: cz.Mix, x: NDArray[np.float32], y: NDArray[Any]) -> tuple[Any, Any]:
    """torchvision's mixed batch, from a drawn share and window."""
    labels = torch.from_numpy(y)
    params: dict[str, Any] = {"labels": labels, "batch_size": len(y), "lam": mix.share}
    transform: Any = v2.MixUp(num_classes=CLASSES)
    if mix.window is not None:
        transform = v2.CutMix(num_classes=CLASSES)
        params |= {"box": mix.window, "lam_adjusted": mix.share}
    both = (transform.transform(inpt, params) for inpt in (torch.from_numpy(x), labels))
    pixels, shares = (value.numpy() for value in both)
    return pixels, shares


@pytest.mark.parametrize("soft", [False, True], ids=["classes", "shares"])
@pytest.mark.parametrize("options", [{"mixup": 0.4}, {"cutmix": 1.0}], ids=["mixup", "cutmix"])
def test_a_mixed_batch_is_torchvisions(options: dict[str, float], soft: bool) -> None:
    mixing = cz.Mixing(**options)
    x, y = batch()
    given: NDArray[Any] = y
    if soft:
        given = np.random.default_rng(1).dirichlet(np.ones(CLASSES), len(x)).astype(np.float32)
    seen = set()
    for index in range(20):
        key = KEY | {"batch": index}
        mix = mixing.draw(height=12, width=9, **key)
        assert mix is not None
        before = x.copy()
        mixed, shares = mixing(x, given, num_classes=CLASSES, **key)
        np.testing.assert_array_equal(x, before)
        pixels, labels = theirs(mix, x, given)
        assert mixed.dtype == shares.dtype == np.dtype(np.float32)
        np.testing.assert_array_equal(mixed, pixels)
        np.testing.assert_array_equal(shares, labels)
        seen.add(mix)
    assert len(seen) > 15


@pytest.mark.parametrize("side", [1, 6, 11])
def test_a_window_is_one_that_torchvision_could_draw(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    transform = v2.CutMix(num_classes=CLASSES)
    picture = torch.zeros(1, 3, side, side)

    def drawn(half: int, column: int, row: int) -> tuple[Any, float]:
        """Their window of this half size and centre, and what it leaves."""
        # 1e-9: the root of a square may fall just short of a whole number.
        share = max(1 - (2 * half / side + 1e-9) ** 2, 0.0)
        centre = iter((torch.tensor([column]), torch.tensor([row])))
        monkeypatch.setattr(transform, "_dist", Constant(share))
        monkeypatch.setattr(torch, "randint", lambda *_, **__: next(centre))
        params = transform.make_params([picture])
        return params["box"], params["lam_adjusted"]

    possible = {
        drawn(half, column, row)
        for half in range(side // 2 + 1)
        for column in range(side)
        for row in range(side)
    }
    for index in range(200):
        mix = cz.Mixing(cutmix=1.0).draw(height=side, width=side, seed=0, epoch=0, batch=index)
        assert mix is not None
        assert (mix.window, mix.share) in possible


class Constant:
    def __init__(self, value: float) -> None:
        self.value = value

    def sample(self, _: object) -> float:
        return self.value


@pytest.mark.parametrize("alpha", [0.02, 0.2, 1.0, 5.0])
def test_a_share_is_of_the_beta_distribution(alpha: float) -> None:
    mixing = cz.Mixing(mixup=alpha)
    shares = [share(mixing, index) for index in range(DRAWS)]
    # With a small alpha many are nearer to 1 than numbers are: only what is below 1/2 is spread.
    low = [each for each in shares if each < 0.5]
    assert stats.binomtest(len(low), DRAWS).pvalue > SIGNIFICANCE
    distribution = stats.beta(alpha, alpha)
    assert stats.kstest(low, lambda x: 2 * distribution.cdf(x)).pvalue > SIGNIFICANCE


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_windows_are_spread_as_torchvisions(alpha: float) -> None:
    torch.manual_seed(0)
    transform = v2.CutMix(alpha=alpha, num_classes=CLASSES)
    picture = torch.zeros(1, 3, 24, 40)
    params = [transform.make_params([picture]) for _ in range(DRAWS)]
    expected = [(*each["box"], each["lam_adjusted"]) for each in params]
    mixing = cz.Mixing(cutmix=alpha)
    found = []
    for index in range(DRAWS):
        mix = mixing.draw(height=24, width=40, seed=5, epoch=1, batch=index)
        assert mix is not None
        assert mix.window is not None
        found.append((*mix.window, mix.share))
    for ours, their in zip(zip(*found, strict=True), zip(*expected, strict=True), strict=True):
        assert stats.ks_2samp(ours, their).pvalue > SIGNIFICANCE


def test_a_batch_is_mixed_in_one_of_both_ways_evenly() -> None:
    mixing = cz.Mixing(mixup=0.2, cutmix=0.5)
    drawn = [mixing.draw(height=8, width=8, seed=0, epoch=0, batch=n) for n in range(DRAWS)]
    cut = sum(mix is not None and mix.window is not None for mix in drawn)
    assert stats.binomtest(cut, DRAWS).pvalue > SIGNIFICANCE


def share(mixing: cz.Mixing, index: int, *, seed: int = 3, epoch: int = 0) -> float:
    mix = mixing.draw(height=8, width=8, seed=seed, epoch=epoch, batch=index)
    assert mix is not None
    return mix.share


def test_what_is_drawn_follows_from_the_key_alone() -> None:
    mixing = cz.Mixing(mixup=0.5)
    forwards = [share(mixing, index) for index in range(10)]
    assert [share(mixing, index) for index in reversed(range(10))] == forwards[::-1]
    others = [share(mixing, 0, epoch=1), share(mixing, 0, seed=4), *forwards]
    assert len(set(others)) == 12
    # Part of the format of a seed: a run that is taken up again goes on as it would have.
    assert forwards[:2] == pytest.approx([0.9679355375532578, 0.27071437536699045])


def test_nothing_is_mixed_where_both_are_off() -> None:
    x, y = batch()
    mixing = cz.Mixing()
    assert mixing.draw(height=12, width=9, **KEY) is None
    images, shares = mixing(x, y, num_classes=CLASSES, **KEY)
    np.testing.assert_array_equal(images, x)
    np.testing.assert_array_equal(shares, np.eye(CLASSES, dtype=np.float32)[y])


def test_one_image_is_mixed_with_itself() -> None:
    x, y = batch()
    mixed, shares = cz.Mixing(cutmix=1.0)(x[:1], y[:1], num_classes=CLASSES, **KEY)
    np.testing.assert_array_equal(mixed, x[:1])
    np.testing.assert_allclose(shares, np.eye(CLASSES)[y[:1]], rtol=1e-6)


def test_what_cannot_be_mixed_is_refused() -> None:
    x, y = batch()
    soft = np.full((5, CLASSES), 1 / CLASSES, np.float32)
    mixing = cz.Mixing(mixup=1.0)

    def mix(x: Any, y: Any, num_classes: int | None = CLASSES) -> Callable[[], object]:
        return lambda: mixing(x, y, num_classes=num_classes, **KEY)

    refusals: list[tuple[type[Exception], str, Callable[[], object]]] = [
        (cz.ArgumentError, "`mixup`: expected .* at least 0, got -1", lambda: cz.Mixing(mixup=-1)),
        (cz.ArgumentError, "`cutmix`: .*got nan", lambda: cz.Mixing(cutmix=float("nan"))),
        (cz.ArgumentError, "`cutmix`: .*got inf", lambda: cz.Mixing(cutmix=np.inf)),
        (cz.ArgumentError, "`num_classes`: expected a number", mix(x, y, None)),
        (cz.ArgumentError, f"classes of 0 to 6, got {CLASSES}", mix(x, y * 0 + CLASSES)),
        (cz.ArgumentError, "classes of 0 to 6, got -1", mix(x, y * 0 - 1)),
        (cz.ShapeError, r"\(N, C, H, W\), all at least 1, got \(3, 12, 9\)", mix(x[0], y)),
        (cz.ShapeError, r"the images of a batch", mix(x[:0], y[:0])),
        (cz.ShapeError, r"expected \(5,\), got \(4,\)", mix(x, y[:4])),
        (cz.ShapeError, r"expected \(5, 7\), got \(4, 7\)", mix(x, soft[:4])),
        (cz.ShapeError, r"expected \(5, 6\), got \(5, 7\)", mix(x, soft, CLASSES - 1)),
        (cz.ShapeError, r"integers \(N,\) or numbers \(N, K\)", mix(x, soft[0])),
        (cz.ShapeError, r"the targets of a batch", mix(x, soft[:, :0], None)),
        (TypeError, "float32, float64 or float16", mix(x.astype(np.uint8), y)),
        (
            cz.ShapeError,
            "the size of images",
            lambda: mixing.draw(height=0, width=1, **KEY),
        ),
    ]
    for error, message, call in refusals:
        with pytest.raises(error, match=message):
            call()
    again, _ = mixing(x, soft, **KEY)
    np.testing.assert_array_equal(again, mixing(x, y, num_classes=CLASSES, **KEY)[0])


@pytest.mark.parametrize("classes", [2**62, 2**63 - 1])
def test_more_classes_than_there_is_memory_for_are_refused(classes: int) -> None:
    """5 * 2**62 numbers would be 2**62 if they were counted in 64 bits."""
    x, y = batch()
    for mixing in (cz.Mixing(), cz.Mixing(mixup=0.2), cz.Mixing(cutmix=1.0)):
        with pytest.raises(cz.OutOfMemoryError, match="a mixed batch"):
            mixing(x, y, num_classes=classes, **KEY)


def test_a_window_lies_within_images_of_any_size() -> None:
    side = 2**63 - 1
    for index in range(50):
        mix = cz.Mixing(cutmix=1.0).draw(height=side, width=side, **KEY | {"batch": index})
        assert mix is not None
        assert mix.window is not None
        left, top, right, bottom = mix.window
        assert 0 <= left <= right <= side
        assert 0 <= top <= bottom <= side
        covered = (right - left) / side * ((bottom - top) / side)
        assert mix.share == pytest.approx(1 - covered, abs=1e-9)
