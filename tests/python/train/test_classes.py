"""Classes of data meet those of a model by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import cnnzoo as cz

NAMES = ("blue", "green", "red")
SIDE = 16


def photographs(count: int = 12) -> tuple[NDArray[np.uint8], list[str]]:
    """Photographs, and the name of what each shows: its brightest colour."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 80, (count, SIDE, SIDE, 3)).astype(np.uint8)
    shown = [NAMES[index % len(NAMES)] for index in range(count)]
    for photo, name in zip(x, shown, strict=True):
        photo[..., ("red", "green", "blue").index(name)] += 120
    return x, shown


def arrays(names: list[str], x: NDArray[np.uint8], shown: list[str]) -> cz.data.Dataset:
    return cz.data.Arrays(x, np.array([names.index(name) for name in shown]), classes=names)


def folder(root: Path, x: NDArray[np.uint8], shown: list[str]) -> cz.data.Dataset:
    for index, (photo, name) in enumerate(zip(x, shown, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(photo).save(root / name / f"{index}.png")
    return cz.data.ImageFolder(root)


def network(**options: Any) -> cz.Model:
    model = cz.create_model("resnet20", num_classes=3, seed=1, **options)
    model.labels = NAMES
    return model


def trainer(model: cz.Model, **options: Any) -> cz.Trainer:
    return cz.Trainer(model, optimizer=cz.AdamW(model, lr=0.005), **options)


def loader(data: cz.data.Dataset, *, batch_size: int = 4) -> cz.data.Loader:
    return cz.data.Loader(data, batch_size=batch_size, shuffle=False, threads=1)


def by_name(model: cz.Model, x: NDArray[np.uint8], shown: list[str]) -> float:
    """The share of photographs that the model calls by their name."""
    logits = model(x.transpose(0, 3, 1, 2) / np.float32(255))
    said = [model.labels[index] for index in logits.argmax(1)]
    return float(np.mean([one == other for one, other in zip(said, shown, strict=True)]))


@pytest.mark.parametrize("kind", ["folder", "table", "arrays", "subset"])
def test_validation_without_a_class_is_compared_by_name(tmp_path: Path, kind: str) -> None:
    x, shown = photographs()
    few = [index for index, name in enumerate(shown) if name != "blue"]
    some, names = x[few], [shown[index] for index in few]
    validation: cz.data.Dataset
    if kind == "folder":
        validation = folder(tmp_path / "v", some, names)
    elif kind == "table":
        folder(tmp_path / "v", some, names)
        rows = [f"v/{name}/{index}.png,{name}" for index, name in enumerate(names)]
        (tmp_path / "v.csv").write_text("\n".join(["path,label", *rows]))
        validation = cz.data.Table(tmp_path / "v.csv")
    elif kind == "arrays":
        validation = arrays(["red", "green"], some, names)
    else:
        # Of a data set that has another class as well, which no chosen sample shows.
        other = arrays(["pink", "red", "green"], x[[0, *few]], ["pink", *names])
        validation = other.subset(range(1, len(few) + 1))

    model = network()
    run = trainer(model)
    history = run.fit(
        loader(folder(tmp_path / "t", x, shown)), loader(validation), epochs=5, progress=False
    )
    right = by_name(model, some, names)
    assert right > 0.5
    assert history[-1].val_top1 == right
    evaluated = run.evaluate(loader(validation))
    assert isinstance(evaluated, cz.metrics.Metrics)
    assert evaluated.top1 == right
    measured = cz.metrics.evaluate(model, loader(validation))
    assert measured.top1 == right
    assert measured.confusion.sum(1).tolist() == [0, 4, 4]
    assert model.labels == NAMES


def test_training_in_another_order_of_classes_takes_the_same_steps() -> None:
    x, shown = photographs()
    states = []
    for names in (["blue", "green", "red"], ["red", "blue", "pink", "green"]):
        model = network()
        run = trainer(model, mixup=0.5, seed=3)
        history = run.fit(loader(arrays(names, x, shown)), epochs=2, progress=False)
        assert model.labels == NAMES
        states.append((model.state_dict(), [row.train_loss for row in history]))
    (ours, losses), (theirs, others) = states
    assert losses == others
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


class Torchlike:
    """Batches as PyTorch's loader has them: its data set, or a part of one, knows the classes."""

    def __init__(self, batches: list[tuple[Any, Any]], classes: list[str]) -> None:
        self.batches = batches
        whole = type("Whole", (), {"classes": classes})()
        self.dataset = type("Subset", (), {"dataset": whole})()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return iter(self.batches)


def test_shares_of_each_class_follow_the_names() -> None:
    x, _ = photographs(6)
    images = x.transpose(0, 3, 1, 2) / np.float32(255)
    shares = np.random.default_rng(1).dirichlet(np.ones(3), 6).astype(np.float32)
    order = [2, 0, 1]
    plain, named = network(), network()
    trainer(plain).fit([(images, shares)], epochs=1, progress=False)
    turned = Torchlike([(images, shares[:, order])], [NAMES[index] for index in order])
    trainer(named).fit(turned, epochs=1, progress=False)  # type: ignore[arg-type]
    ours, theirs = plain.state_dict(), named.state_dict()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    turned.batches = [(images, shares[:, :2])]
    with pytest.raises(cz.ArgumentError, match=r"probabilities of the data's 3 classes \(N, 3\)"):
        trainer(named).fit(turned, epochs=1, progress=False)  # type: ignore[arg-type]


def test_other_classes_give_the_model_their_names_and_say_so(tmp_path: Path) -> None:
    x, shown = photographs()
    flowers = dict(zip(NAMES, ("tulip", "daisy", "rose"), strict=True))
    data = arrays(["daisy", "rose", "tulip"], x, [flowers[name] for name in shown])
    model = network()
    run = trainer(model, ema=0.9)
    with pytest.warns(cz.Notice, match="takes their names: daisy, rose, tulip; before: blue, gre"):
        run.fit(loader(data), loader(data), epochs=1, progress=False, checkpoint=tmp_path)
    assert model.labels == ("daisy", "rose", "tulip")
    assert run.averaged is not None
    assert run.averaged.labels == model.labels
    assert cz.load(tmp_path / "best.safetensors").labels == model.labels
    # Told once: the second time they are its own.
    run.fit(loader(data), epochs=1, progress=False)


def test_a_model_without_names_takes_those_of_fewer_classes_too() -> None:
    x, shown = photographs()
    model = cz.create_model("resnet20", num_classes=5)
    trainer(model).fit(loader(arrays(["red", "green", "blue"], x, shown)), epochs=1, progress=False)
    assert model.labels == ("red", "green", "blue", "class 3", "class 4")


def numbered(most: int) -> cz.data.Dataset:
    x, _ = photographs()
    return cz.data.Arrays(x, np.arange(len(x)) % (most + 1))


def test_numbers_are_no_names() -> None:
    assert not numbered(2).named
    assert not numbered(2).subset([0]).named
    assert all(part.named for part in arrays([*NAMES], *photographs()).split(0.5))
    model = network()
    run = trainer(model)
    run.fit(loader(numbered(2)), loader(numbered(1)), epochs=1, progress=False)
    assert model.labels == NAMES
    with pytest.raises(cz.ArgumentError, match=r"validation of resnet20: .* below 3, got 3"):
        run.fit(loader(numbered(2)), loader(numbered(3)), epochs=1, progress=False)


def test_names_of_numbers_are_names(tmp_path: Path) -> None:
    x, _ = photographs()
    model = cz.create_model("resnet20", num_classes=3)
    three = folder(tmp_path / "t", x, [str(index % 3) for index in range(len(x))])
    two = folder(tmp_path / "v", x, [str(index % 2 + 1) for index in range(len(x))])
    trainer(model).fit(loader(three), epochs=1, progress=False)
    assert model.labels == ("0", "1", "2")
    assert cz.metrics.evaluate(model, loader(two)).confusion.sum(1).tolist() == [0, 6, 6]


@pytest.mark.parametrize("names", [["0", "1", "10", "2"], ["1", "2", "3", "4"]])
def test_numbers_do_not_meet_names_that_are_other_numbers(names: list[str], tmp_path: Path) -> None:
    x, _ = photographs()
    named = folder(tmp_path / "named", x, [names[index % 4] for index in range(len(x))])
    numbers = numbered(3)
    says = r"named by numbers in another order: '\d+' is class \d; got numbers"
    model = cz.create_model("resnet20", num_classes=4)
    with pytest.raises(cz.ArgumentError, match=says):
        cz.metrics.evaluate(model, loader(named))
    with pytest.raises(cz.ArgumentError, match=says):
        trainer(model).fit(loader(numbers), loader(named), epochs=1, progress=False)
    with pytest.raises(cz.ArgumentError, match=says):
        trainer(model).fit(loader(named), loader(numbers), epochs=1, progress=False)
    trainer(model).fit(loader(named), loader(named), epochs=1, progress=False)
    assert model.labels == tuple(names)
    with pytest.raises(cz.ArgumentError, match=says):
        cz.metrics.evaluate(model, loader(numbers))
    with pytest.raises(cz.ArgumentError, match=says):
        trainer(model).fit(loader(numbers), epochs=1, progress=False)
    meant = cz.data.Arrays(x, np.arange(len(x)) % 4, classes=names)
    assert cz.metrics.evaluate(model, loader(meant)).count == len(x)


Use = Callable[[cz.Model, cz.data.Loader], Any]
USES: dict[str, Use] = {
    "metrics.evaluate": cz.metrics.evaluate,
    "Trainer.evaluate": lambda model, data: trainer(model).evaluate(data),
    "fit": lambda model, data: trainer(model).fit(
        loader(arrays([*NAMES], *photographs())), data, epochs=1, progress=False
    ),
}


@pytest.mark.parametrize("use", USES)
def test_a_class_that_the_model_lacks_is_named_before_the_first_batch(use: str) -> None:
    x, shown = photographs()
    model = network()
    before = model.state_dict()
    data = arrays(["pink", *NAMES], x, ["pink", *shown[1:]])
    with pytest.raises(cz.ArgumentError, match=r"\(blue, green, red\), got .* not have: pink; set"):
        USES[use](model, loader(data))
    after = model.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert model.labels == NAMES


def test_training_on_fewer_and_other_classes_is_refused() -> None:
    x, shown = photographs()
    names = ["pink" if name == "blue" else "red" for name in shown]
    model = network()
    with pytest.raises(cz.ArgumentError, match=r"not have pink; use reset_classifier\(num_cla"):
        trainer(model).fit(loader(arrays(["pink", "red"], x, names)), epochs=1, progress=False)
    data = arrays(["pink", "pink", "red"], x, names)
    with pytest.raises(cz.ArgumentError, match="each class once, got pink twice"):
        trainer(model).fit(loader(data), epochs=1, progress=False)


def test_a_model_without_names_does_not_guess() -> None:
    x, shown = photographs()
    model = cz.create_model("resnet20", num_classes=3)
    assert cz.metrics.evaluate(model, loader(arrays([*NAMES], x, shown))).count == len(x)
    few = [index for index, name in enumerate(shown) if name != "blue"]
    some = arrays(["green", "red"], x[few], [shown[index] for index in few])
    with pytest.raises(cz.ArgumentError, match=r"no names for them, got 2: green, red; set `model"):
        cz.metrics.evaluate(model, loader(some))


def test_folders_of_imagenet() -> None:
    model = cz.create_model("mobilenetv3_small_050", image_size=32, seed=1)
    x, _ = photographs(4)
    names = ["espresso", "tabby"]
    known = cz.metrics.evaluate(
        model, loader(arrays(names, x, ["tabby", "espresso", "tabby", "tabby"]))
    )
    shown = known.confusion.sum(1)
    assert {model.labels[index]: int(shown[index]) for index in np.flatnonzero(shown)} == {
        "espresso": 1,
        "tabby": 3,
    }
    few = arrays(["n02123045", "n07920052"], x, ["n02123045"] * 4)
    with pytest.raises(cz.ArgumentError, match="have: n02123045; these are WordNet IDs"):
        cz.metrics.evaluate(model, loader(few))
    all_of_them = cz.data.Arrays(
        x, np.arange(4) + 281, classes=[f"n{number:08}" for number in range(1000)]
    )
    counted = cz.metrics.evaluate(model, loader(all_of_them)).confusion.sum(1)
    assert np.flatnonzero(counted).tolist() == [281, 282, 283, 284]


def test_a_name_that_two_classes_have_is_refused() -> None:
    x, _ = photographs(4)
    model = network()
    model.labels = ["crane", "tabby", "crane"]
    few = arrays(["crane", "tabby"], x, ["crane", "tabby"] * 2)
    with pytest.raises(
        cz.ArgumentError, match="not have: crane; it has two classes of the same name"
    ):
        cz.metrics.evaluate(model, loader(few))
    same = cz.data.Arrays(x, np.array([0, 1, 2, 2]), classes=model.labels)
    assert cz.metrics.evaluate(model, loader(same)).confusion.sum(1).tolist() == [1, 1, 2]


def test_going_on_compares_by_name(tmp_path: Path) -> None:
    x, shown = photographs()
    images = x.transpose(0, 3, 1, 2) / np.float32(255)
    y = np.array([NAMES.index(name) for name in shown])
    summaries = []
    for order in ([0, 1, 2], [1, 2, 0]):
        run = trainer(network())
        run.fit([(images, y)], epochs=1, progress=False)
        # The fit was to take two epochs.
        text = Torchlike([(images, np.argsort(order)[y])], [NAMES[index] for index in order])
        run._state.epochs = 2
        run.save(tmp_path / "run.safetensors")
        again = cz.Trainer.resume(
            tmp_path / "run.safetensors",
            text,  # type: ignore[arg-type]
            progress=False,
        )
        summaries.append([row.train_loss for row in again.history])
    assert len(summaries[0]) == 2
    assert summaries[0] == summaries[1]
    other = Torchlike(text.batches, ["pink", "green", "red"])
    run._state.epochs = 2
    with pytest.raises(cz.ArgumentError, match=r"training of resnet20: .* not have: pink"):
        cz.Trainer.resume(tmp_path / "run.safetensors", other, progress=False)  # type: ignore[arg-type]


def of_numbers(count: int, **options: Any) -> cz.data.Dataset:
    x = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    return cz.data.Arrays(x, np.arange(count), **options)


NO_ORDER: list[Any] = [{"red", "green"}, {"red": 1, "green": 0}, frozenset("ab"), "ab", None, 3]


@pytest.mark.parametrize(
    "names", NO_ORDER, ids=["set", "mapping", "frozenset", "text", "None", "number"]
)
def test_names_without_an_order_are_refused(names: Any, tmp_path: Path) -> None:
    model = cz.create_model("resnet20", num_classes=2)
    with pytest.raises(cz.ArgumentError, match="labels of resnet20: expected a name for each"):
        model.labels = names
    table = tmp_path / "table.csv"
    table.write_text("path,label\na.jpg,red\nb.jpg,green\n")
    if names is not None:
        with pytest.raises(cz.ArgumentError, match="arrays: `classes`: expected the names"):
            of_numbers(2, classes=names)
        with pytest.raises(cz.ArgumentError, match="table: `classes`: expected the names"):
            cz.data.Table(table, classes=names)
        with pytest.raises(cz.ArgumentError, match="idx: `classes`: expected the names"):
            cz.data.idx(table, table, classes=names)
    model.labels = {"red": 0, "green": 1}.keys()
    assert model.labels == ("red", "green")


def test_a_name_that_two_classes_of_the_model_have_is_no_reason_for_a_new_classifier() -> None:
    model = cz.create_model("resnet20", num_classes=3)
    model.labels = ["0", "0", "1"]
    data = loader(of_numbers(2, classes=["0", "1"]))
    for run in (
        lambda: trainer(model).fit(data, epochs=1, progress=False),
        lambda: cz.metrics.evaluate(model, data),
    ):
        with pytest.raises(cz.ArgumentError, match="it has two classes of the same name"):
            run()
