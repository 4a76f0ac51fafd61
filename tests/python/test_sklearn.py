"""Estimators for scikit-learn: its own checks, and the same features and classifiers by hand."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform

import cnnzoo as cz
from cnnzoo.sklearn._training import Shuffled, weighted_cross_entropy
from tolerance import FUSED, ROUNDING, STATISTICAL, difference

PHOTOS = Path(__file__).parents[2] / "photos"
NAME = "tf_efficientnet_lite0"
SMALL = cz.Preprocess(resize=16, crop=16, interpolation="nearest", mean=(0.5,) * 3, std=(0.5,) * 3)
# A network that runs in a millisecond.
QUICK: dict[str, Any] = {"weights": None, "preprocess": SMALL}
# The checks need an estimator of tables.
BARS: dict[str, Any] = {"shape": (1, 1), **QUICK}


class Bars:
    """Draws the rows of any table as upright bars, so that scikit-learn's checks have pictures."""

    def _drawn(self, rows: np.ndarray) -> np.ndarray:
        columns = np.linspace(0, rows.shape[1], 16, endpoint=False).astype(int)
        return np.repeat(rows[:, np.newaxis, columns], 16, axis=1)


class BarClassifier(Bars, cz.sklearn.Classifier):
    """The classifier for tables."""


class BarEmbedder(Bars, cz.sklearn.Embedder):
    """The embedder for tables."""


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [BarClassifier("resnet20", **BARS), BarEmbedder("resnet20", **BARS)]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits as a table of pixels of 0 to 16, with their classes as text."""
    x, y = load_digits(return_X_y=True)
    return x[:count], np.array([f"digit {number}" for number in y[:count]])


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str]]:
    """Paths of parts of two photographs, and which of the two each is."""
    folder, generator = tmp_path_factory.mktemp("crops"), np.random.default_rng(0)
    paths, names = [], []
    for index in range(24):
        name = ("chelsea", "coffee")[index % 2]
        with Image.open(PHOTOS / f"{name}.png") as photo:
            left, top = (int(generator.integers(0, side - 220)) for side in photo.size)
            photo.convert("RGB").crop((left, top, left + 220, top + 200)).save(
                folder / f"{index}.png"
            )
        paths.append(str(folder / f"{index}.png"))
        names.append(name)
    return paths, names


def test_features_are_those_of_timm(crops: tuple[list[str], list[str]]) -> None:
    """And so is a logistic regression on them."""
    paths, names = crops
    embedder = cz.sklearn.Embedder(NAME).fit(paths)
    ours = embedder.transform(paths)
    theirs = timm.create_model(NAME).eval()
    arrays = embedder.model_.state_dict()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    config = resolve_data_config({}, model=theirs)  # type: ignore[no-untyped-call]
    # Those of the package with the weights, which differ from timm's by a two hundredth.
    config |= {"mean": embedder.model_.preprocess.mean, "std": embedder.model_.preprocess.std}
    transform: Any = create_transform(**config)
    with torch.no_grad():
        x = torch.stack([transform(Image.open(path)) for path in paths])
        network: Any = theirs
        expected = network.forward_head(network.forward_features(x), pre_logits=True).numpy()
    assert difference(ours, expected) < FUSED
    assert embedder.get_feature_names_out()[-1] == f"embedder{expected.shape[1] - 1}"
    first, second = (LogisticRegression().fit(f[:12], names[:12]) for f in (ours, expected))
    assert list(first.predict(ours[12:])) == list(second.predict(expected[12:])) == names[12:]


@pytest.mark.parametrize("classes", [2, 10])
def test_a_frozen_network_is_a_logistic_regression_on_its_features(classes: int) -> None:
    x, y = digits(120)
    chosen = np.isin(y, np.unique(y)[:classes])
    x, y = x[chosen], y[chosen]
    options: dict[str, Any] = {"shape": (8, 8), "options": {"image_size": 64}}
    classifier = cz.sklearn.Classifier(NAME, C=0.1, **options).fit(x, y)
    by_hand = make_pipeline(
        cz.sklearn.Embedder(NAME, **options), StandardScaler(), LogisticRegression(C=0.1)
    ).fit(x, y)
    assert list(classifier.classes_) == list(by_hand.classes_)
    np.testing.assert_allclose(
        classifier.predict_proba(x), by_hand.predict_proba(x), atol=10 * FUSED
    )
    assert classifier.model_.labels == tuple(classifier.classes_)


def test_fine_tuning_follows_a_loop_of_torch() -> None:
    x, y = digits(64)
    images = np.repeat((x * 15.9375).round().astype(np.uint8).reshape(-1, 8, 8, 1), 3, axis=3)
    preprocess = cz.Preprocess(
        resize=32, crop=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    start = cz.sklearn.Classifier(
        "resnet18", source="timm", weights=None, preprocess=preprocess, augment=False, batch_size=16
    )
    tuned = clone(start).set_params(epochs=1, lr=1e-3).fit(images, y)
    start.fit(images, y)
    theirs = timm.create_model("resnet18", num_classes=10)
    arrays = start.model_.state_dict()
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))
    classes = np.unique(y, return_inverse=True)[1]
    order = Shuffled(images, classes, lambda image, _, at: preprocess(image)[0], 16, seed)
    losses = []
    for batch, targets in order:
        loss = torch.nn.functional.cross_entropy(
            theirs(torch.from_numpy(batch)), torch.from_numpy(targets)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    assert tuned.history_ is not None
    assert tuned.history_[0].train_loss == pytest.approx(np.mean(losses), rel=STATISTICAL)


def test_weights_in_the_loss_are_those_of_torch() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(6, 4)).astype(np.float32)
    classes, weights = np.arange(6) % 4, generator.random(6)
    targets = np.zeros((6, 4), np.float32)
    targets[np.arange(6), classes] = weights
    x = torch.tensor(logits, requires_grad=True)
    each = torch.nn.functional.cross_entropy(x, torch.tensor(classes), reduction="none")
    expected = (each * torch.tensor(weights)).sum() / weights.sum()
    expected.backward()
    loss, gradient, total = weighted_cross_entropy(logits, targets)
    assert x.grad is not None
    assert loss == pytest.approx(expected.item(), rel=ROUNDING)
    assert total == pytest.approx(weights.sum())
    assert difference(gradient, x.grad.numpy()) < ROUNDING


def test_weights_of_photographs_and_of_classes_train_another_network() -> None:
    x, y = digits(60)
    made = cz.sklearn.Classifier(
        "resnet20", shape=(8, 8), epochs=1, lr=1e-3, augment=False, **QUICK
    )
    plain = clone(made).fit(x, y).predict_proba(x)
    ones = clone(made).fit(x, y, sample_weight=np.ones(60)).predict_proba(x)
    np.testing.assert_allclose(ones, plain, atol=STATISTICAL)
    weights = np.linspace(0, 2, 60)
    found = clone(made).fit(x, y, sample_weight=weights).predict_proba(x)
    assert np.abs(found - plain).max() > STATISTICAL
    balanced = clone(made).set_params(class_weight="balanced", epochs=0).fit(x, y)
    assert not np.array_equal(balanced.predict_proba(x), plain)


@pytest.mark.parametrize("epochs", [0, 1])
def test_weights_beyond_the_numbers_of_a_loss_are_refused(epochs: int) -> None:
    x, y = digits(60)
    made = cz.sklearn.Classifier("resnet20", shape=(8, 8), epochs=epochs, augment=False, **QUICK)
    for weights, shares in (
        (np.full(60, 1e300), None),
        (np.where(np.arange(60) == 3, 1e300, 1.0), None),
        (np.full(60, 1e20), dict.fromkeys(np.unique(y), 1e20)),
        (None, dict.fromkeys(np.unique(y), 1e300)),
    ):
        with pytest.raises(ValueError, match=r"of at most 1e\+30, .* got 1e\+(300|40)"):
            clone(made).set_params(class_weight=shares).fit(x, y, sample_weight=weights)
    large = clone(made).fit(x, y, sample_weight=np.full(60, 1e30)).predict_proba(x)
    assert np.isfinite(large).all()


def test_the_same_photographs_in_every_form(crops: tuple[list[str], list[str]]) -> None:
    paths, names = crops
    pictures = [Image.open(path) for path in paths]
    arrays = np.stack([np.asarray(picture) for picture in pictures])
    classifier = cz.sklearn.Classifier("resnet20", **QUICK).fit(paths[:8], names[:8])
    expected = classifier.predict_proba(paths)
    forms: list[Any] = [
        [Path(path) for path in paths],
        np.array(paths),
        pd.Series(paths),
        pd.DataFrame({"path": paths}),
        pictures,
        [Path(path).read_bytes() for path in paths],
        arrays,
        list(arrays),
    ]
    for form in forms:
        np.testing.assert_array_equal(classifier.predict_proba(form), expected)
    table = cz.sklearn.Classifier("resnet20", shape=(200, 220, 3), **QUICK)
    table.fit(arrays[:8].reshape(8, -1), names[:8])
    np.testing.assert_array_equal(table.predict_proba(arrays.reshape(24, -1)), expected)
    assert table.n_features_in_ == 200 * 220 * 3
    shares = cz.sklearn.Classifier("resnet20", value_range=(0, 1), **QUICK)
    shares.fit(arrays[:8] / 255, names[:8])
    np.testing.assert_array_equal(shares.predict_proba(arrays / 255), expected)


@pytest.mark.parametrize("labels", [[5, -3], ["b", "a"], [True, False], [1.0, 0.0]])
def test_classes_are_of_any_type(labels: list[Any], crops: tuple[list[str], list[str]]) -> None:
    paths, _ = crops
    y = np.array(labels * 12)
    made = cz.sklearn.Classifier("resnet20", **QUICK).fit(paths, y)
    assert list(made.classes_) == sorted(labels)
    found = made.predict(paths)
    assert found.dtype == y.dtype and set(found) <= set(labels)
    assert made.score(paths, y) == (found == y).mean()
    assert made.model_.predict(paths[0])[0].label == str(found[0])


def test_searches_and_validations_in_two_processes(crops: tuple[list[str], list[str]]) -> None:
    paths, names = crops
    made = cz.sklearn.Classifier(NAME, options={"image_size": 64})
    scores = cross_val_score(made, paths, names, cv=3, n_jobs=2)
    assert list(scores) == list(cross_val_score(clone(made), paths, names, cv=3))
    assert scores.mean() > 0.9
    pipeline = make_pipeline(
        cz.sklearn.Embedder("resnet20", **QUICK), LogisticRegression(max_iter=5000)
    )
    grid = {"logisticregression__C": [0.1, 1.0], "embedder__name": ["resnet20", "resnet32"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(paths, names)
    assert set(search.best_params_) == set(grid)
    assert search.predict(paths[:3]).shape == (3,)


def test_estimators_are_deterministic_copied_and_pickled() -> None:
    x, y = digits(40)
    made = cz.sklearn.Classifier("resnet20", shape=(8, 8), epochs=1, **QUICK)
    first = clone(made).fit(x, y)
    second = clone(made).fit(x, y)
    other = clone(made).set_params(random_state=1).fit(x, y)
    expected = first.predict_proba(x)
    np.testing.assert_array_equal(second.predict_proba(x), expected)
    assert not np.array_equal(other.predict_proba(x), expected)
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict_proba(x), expected)
    assert again.get_params() == first.get_params()
    drawn = clone(made).set_params(random_state=np.random.RandomState(0)).fit(x, y)
    assert drawn.history_ is not None


@pytest.mark.parametrize(
    ("x", "options", "said"),
    [
        (np.zeros((4, 64)), {}, "`shape` beside a table"),
        (np.zeros((4, 64)), {"shape": (8, 9)}, "rows of 72 numbers"),
        (np.zeros((4, 64)), {"shape": 64}, r"`shape`: expected \(H, W\)"),
        (np.zeros((4, 64)), {"shape": (8, 8), "value_range": (1, 0)}, "less for black"),
        (np.full((4, 64), np.nan), {"shape": (8, 8)}, "NaN"),
        (np.full((4, 8, 8), np.inf), {}, "infinity"),
        (np.zeros((4, 3, 8, 8), np.uint8), {}, "the channels last"),
        (np.zeros((0, 8, 8, 3), np.uint8), {}, "got an array of shape"),
        ([], {}, "[Ee]xpected"),
        ({"a": 1}, {}, "expected an array of photographs"),
        (np.zeros((4, 8, 8), np.uint8), {"batch_size": 0}, "`batch_size`"),
        (np.zeros((4, 8, 8), np.uint8), {"epochs": -1}, "`epochs`"),
        (np.zeros((4, 8, 8), np.uint8), {"options": 3}, "`options`"),
        (np.zeros((4, 8, 8), np.uint8), {"epochs": 1, "augment": "no"}, "`augment`"),
        (np.zeros((4, 8, 8), np.uint8), {"name": "squeezenet1_1"}, "linear layer"),
        (np.zeros((4, 8, 8), np.uint8), {"name": "resnet2"}, "closest"),
    ],
)
def test_wrong_photographs_and_options_are_refused(
    x: Any, options: dict[str, Any], said: str
) -> None:
    given: dict[str, Any] = {"name": "resnet20", **QUICK, **options}
    with pytest.raises((ValueError, KeyError), match=said):
        cz.sklearn.Classifier(**given).fit(x, [0, 1] * 2)


def test_bytes_are_not_taken_for_other_numbers() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8), np.uint8)
    made = cz.sklearn.Classifier("resnet20", **QUICK).fit(images, [0, 1, 0, 1])
    with pytest.raises(cz.ArgumentError, match=r"expected bytes \(uint8\) as in `fit`"):
        made.predict(images / 255)
    with pytest.raises(NotFittedError):
        clone(made).predict(images)


def test_a_damaged_photograph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "damaged.png"
    path.write_bytes(b"none")
    with pytest.raises(cz.DataError, match=r"damaged\.png"):
        cz.sklearn.Classifier("resnet20", **QUICK).fit([path, path], ["a", "b"])


def test_without_scikit_learn_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['sklearn.utils.validation'] = sys.modules['sklearn'] = None\n"
        "import cnnzoo as cz\n"
        "try:\n    cz.sklearn\nexcept ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'cnnzoo[sklearn]'" in done.stdout


def test_bytes_after_a_fit_on_numbers_are_refused_as_numbers_after_bytes_are() -> None:
    """The range of `fit`, 0 to 1 here, would make all bytes but 0 white."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (4, 16, 16, 3), np.uint8)
    embedder = cz.sklearn.Embedder("resnet20", **QUICK).fit(x / 255)
    with pytest.raises(cz.ArgumentError, match="no bytes, as in `fit`, got uint8"):
        embedder.transform(x)
    # Photographs of a list are bytes of 0 to 255.
    np.testing.assert_array_equal(embedder.transform(list(x)), embedder.transform(x / 255))
    ranged = cz.sklearn.Embedder("resnet20", value_range=(0, 255), **QUICK).fit(x.astype(float))
    np.testing.assert_array_equal(ranged.transform(x), embedder.transform(list(x)))


@pytest.mark.parametrize("channels", [3, 4])
def test_one_photograph_is_not_read_as_many_narrow_grey_ones(channels: int) -> None:
    x = np.random.default_rng(0).integers(0, 256, (2, 16, 16, channels), np.uint8)
    embedder = cz.sklearn.Embedder("resnet20", **QUICK).fit(x)
    with pytest.raises(cz.ShapeError, match="looks like one photograph"):
        embedder.transform(x[0])
    assert len(embedder.transform(x[0][None])) == 1


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_path_that_is_missing_is_named(missing: Any) -> None:
    paths = [str(PHOTOS / "coffee.png"), missing]
    embedder = cz.sklearn.Embedder("resnet20", **QUICK)
    for x in (paths, pd.Series(paths), pd.DataFrame({"path": paths})):
        with pytest.raises(cz.ArgumentError, match=r"X\[1\]: expected a path"):
            embedder.fit(x)


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_class_that_is_missing_is_named(missing: Any) -> None:
    x = np.zeros((4, 16, 16, 3), np.uint8)
    y = np.array(["a", "b", missing, "b"], object)
    with pytest.raises(ValueError, match=r"y\[2\]: expected a class"):
        cz.sklearn.Classifier("resnet20", epochs=1, **QUICK).fit(x, y)
