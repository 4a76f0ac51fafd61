"""Robustness: the accuracy of a network on images that are shifted, rotated, scaled or covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnzoo._arguments import number, numbers, seed_of, whole
from cnnzoo._progress import Count
from cnnzoo.analysis import distortions
from cnnzoo.analysis._images import BATCH, IMAGES_RANK, check_classifier, labelled
from cnnzoo.analysis._intervals import wilson
from cnnzoo.analysis.curves import Robustness, RobustnessCurve, RobustnessPoint
from cnnzoo.errors import ArgumentError, ShapeError
from cnnzoo.model import InferencePrecision, Model

# Shifts where none are given, as shares of the image's width.
SHIFTS = (-1 / 4, -1 / 8, -1 / 16, -1 / 32, 1 / 32, 1 / 16, 1 / 8, 1 / 4)
# Strengths beyond these leave nothing of an image.
LEAST_SCALE, MOST_SCALE, MOST_NOISE = 0.01, 100.0, 1000.0


@dataclass(frozen=True)
class _Kind:
    """A distortion.

    Attributes:
        name: Its name.
        unit: The unit of its strength.
        none: The strength that changes nothing.
        usual: The strengths where none are given.
        bounds: The bounds of a strength, as arguments of `number`.
    """

    name: str
    unit: str
    none: float
    usual: tuple[float, ...]
    bounds: dict[str, float]


KINDS = {
    "shifts": _Kind("shift", "pixels to the right", 0.0, (), {}),
    "angles": _Kind(
        "rotation", "degrees to the left", 0.0, (-60, -45, -30, -15, 15, 30, 45, 60), {}
    ),
    "scales": _Kind(
        "scale",
        "factor",
        1.0,
        (0.5, 0.7, 0.85, 1.2, 1.5, 2.0),
        {"least": LEAST_SCALE, "most": MOST_SCALE},
    ),
    "noise": _Kind(
        "noise", "standard deviation", 0.0, (0.05, 0.1, 0.2, 0.4), {"least": 0, "most": MOST_NOISE}
    ),
    "occlusion": _Kind(
        "occlusion", "share of the area", 0.0, (0.05, 0.1, 0.2, 0.4), {"least": 0, "most": 1}
    ),
}


def robustness(
    model: Model,
    images: Any,
    labels: Any = None,
    *,
    shifts: Sequence[float] | None = None,
    angles: Sequence[float] | None = None,
    scales: Sequence[float] | None = None,
    noise: Sequence[float] | None = None,
    occlusion: Sequence[float] | None = None,
    fill: float | None = None,
    batch_size: int = BATCH,
    precision: InferencePrecision = "float32",
    seed: int = 0,
    progress: bool | None = None,
) -> Robustness:
    """Measure the accuracy on distorted images.

    The network's input is distorted, after resizing, cropping and normalising, so that the
    strengths are exact and the same for every photograph; `cnnzoo.analysis.distortions` defines
    each distortion.

    Each strength is a run of the network on all images. For a distortion that is left out give an
    empty list. A seed and the number of an image determine its noise and the place where it is
    covered, so that these are the same for every network.

    Args:
        model: The model, which runs in inference mode.
        images: A loader or data set with labels, or batches (x, y), as for `evaluate_examples`; or
            with `labels` an array (N, C, H, W) ready for the network, or photographs, as for
            `Model.predict`.
        labels: The class (N,) of each image that has none.
        shifts: Pixels to the right, whole numbers; to the left where negative. By default up to a
            quarter of the width.
        angles: Degrees of a counter-clockwise rotation; by default up to 60 both ways.
        scales: Factors that enlarge around the centre; by default from 0.5 to 2.
        noise: Standard deviations of Gaussian noise, in units of pixels from 0 to 1, as they are
            before `model.preprocess` normalises them; by default up to 0.4.
        occlusion: Areas of a covered square, as shares of the image's; by default up to 0.4.
        fill: The grey of what comes into view from outside and of the covered square, from 0,
            black, to 1; the mean colour of `model.preprocess` if not given. Give the background's,
            where all images have the same.
        batch_size: Number of images that run together, where they are not in batches already.
        precision: Compute precision, as for `Model.__call__`.
        seed: Seed of the noise and of the covered places.
        progress: Show a progress bar on a terminal or in a notebook, where it takes longer.

    Returns:
        A curve for each distortion; `plot` draws them.

    Raises:
        ArgumentError: An option is invalid, there are no images, a label is no class of the model,
            or the model has no classifier, or predicts any number of labels (`task`).
        DataError: A photograph cannot be read.
        ShapeError: There are not as many labels as images, or the images are not (N, C, H, W).
        TypeError: Images of batches are not floating-point numbers.
    """
    batch_size, seed = whole("`batch_size`", batch_size, least=1), seed_of(seed)
    fill = None if fill is None else number("`fill`", fill, least=0, most=1)
    check_classifier(model, "robustness")
    given = {
        "shifts": shifts,
        "angles": angles,
        "scales": scales,
        "noise": noise,
        "occlusion": occlusion,
    }
    strengths = {option: _checked(option, values) for option, values in given.items()}
    batches, total = labelled(model, images, labels, at="robustness", batch_size=batch_size)
    tally = _Tally(model, strengths, fill=fill, precision=precision, seed=seed)
    with Count(total, "images", shown=progress is not False) as count:
        for x, y in batches:
            tally.add(x, y)
            count.advance(len(y))
    return tally.result()


class _Tally:
    """The number of right predictions at each strength, summed over batches."""

    def __init__(
        self,
        model: Model,
        strengths: dict[str, list[float] | None],
        *,
        fill: float | None,
        precision: InferencePrecision,
        seed: int,
    ) -> None:
        self._model, self._precision, self._seed = model, precision, seed
        self._strengths = strengths
        mean, std = (np.array(getattr(model.preprocess, of), np.float32) for of in ("mean", "std"))
        # In x, as the network gets it.
        self._white = 1 / std
        self._fill = np.zeros_like(mean) if fill is None else (np.float32(fill) - mean) / std
        self._images = self._plain = 0
        self._correct: dict[str, dict[float, int]] = {}

    def add(self, images: NDArray[Any], y: NDArray[np.int64]) -> None:
        at = f"robustness of {self._model.name}"
        if images.ndim != IMAGES_RANK:
            raise ShapeError(f"{at}: expected images (N, C, H, W), got {images.shape}")
        if images.dtype.kind != "f":
            raise TypeError(
                f"{at}: expected images of float32, float64 or float16, got {images.dtype}; "
                "photographs of bytes go through `preprocess`"
            )
        x = images.astype(np.float32, copy=False)
        if not self._correct:
            self._correct = {
                option: dict.fromkeys(_usual(option, x) if found is None else found, 0)
                for option, found in self._strengths.items()
                if found is None or found
            }
        self._plain += self._hits(x, y)
        index = np.arange(self._images, self._images + len(y))
        for option, correct in self._correct.items():
            for strength in correct:
                correct[strength] += self._hits(self._distorted(option, x, strength, index), y)
        self._images += len(y)

    def _hits(self, x: NDArray[np.float32], y: NDArray[np.int64]) -> int:
        logits = self._model(x, precision=self._precision)
        return int(((logits.argmax(1) == y) & ~np.isnan(logits).any(1)).sum())

    def _distorted(
        self, option: str, x: NDArray[np.float32], strength: float, index: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        if option == "shifts":
            return distortions.shifted(x, int(strength), fill=self._fill)
        if option == "angles":
            return distortions.rotated(x, strength, fill=self._fill)
        if option == "scales":
            return distortions.scaled(x, strength, fill=self._fill)
        if option == "occlusion":
            return distortions.occluded(x, strength, index, seed=self._seed, fill=self._fill)
        deviation = (strength * self._white).astype(np.float32)
        return distortions.noisy(x, deviation, index, seed=self._seed)

    def result(self) -> Robustness:
        curves = []
        for option, correct in self._correct.items():
            kind = KINDS[option]
            hits = {**correct, kind.none: self._plain}
            points = tuple(
                RobustnessPoint(
                    strength=strength,
                    images=self._images,
                    correct=hits[strength],
                    accuracy=hits[strength] / self._images,
                    interval=wilson(hits[strength], self._images),
                )
                for strength in sorted(hits)
            )
            curves.append(RobustnessCurve(name=kind.name, unit=kind.unit, points=points))
        return Robustness(
            name=self._model.name,
            images=self._images,
            accuracy=self._plain / self._images,
            curves=tuple(curves),
        )


def _checked(option: str, values: Sequence[float] | None) -> list[float] | None:
    """The strengths of an option, sorted and without the one that changes nothing."""
    if values is None:
        return None
    kind = KINDS[option]
    found = sorted(set(numbers(f"`{option}`", values, **kind.bounds)) - {kind.none})
    if option == "shifts" and any(not shift.is_integer() for shift in found):
        raise ArgumentError(f"`shifts`: expected whole numbers of pixels, got {found}")
    return found


def _usual(option: str, x: NDArray[np.float32]) -> tuple[float, ...]:
    """The strengths where none are given."""
    if option != "shifts":
        return KINDS[option].usual
    pixels = {float(round(share * x.shape[3])) for share in SHIFTS}
    return tuple(sorted(pixels - {0.0}))
