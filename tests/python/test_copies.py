"""Copies and pickles of everything that is public."""

from __future__ import annotations

import copy
import inspect
import multiprocessing
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import cnnzoo as cz
import pictures
from cnnzoo import analysis, callbacks, errors, metrics, registry
from reference import images

X, Y = images((32, 32), 4), np.array([0, 1, 2, 1])

COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "oldest pickle": lambda thing: pickle.loads(pickle.dumps(thing, protocol=2)),
}

ways = pytest.mark.parametrize("again", COPIES.values(), ids=COPIES)


def small(**options: Any) -> cz.Model:
    """A network that runs quickly."""
    return cz.create_model("mobilenet_v1_025", num_classes=3, image_size=32, **options)


def arrays() -> cz.data.Arrays:
    """Five pictures in memory."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    return cz.data.Arrays(pixels, [0, 1, 2, 1, 0], classes=["a", "b", "c"])


def squared(logits: Any, targets: Any) -> Any:
    """A loss of one's own, for its name."""
    return (logits**2).mean(), 2 * logits / logits.size


def trainer(model: cz.Model) -> cz.Trainer:
    """One that took a step."""
    made = cz.Trainer(model, optimizer=cz.AdamW(model), ema=0.9, mixup=0.2, seed=3)
    made.fit([(X, Y)], epochs=1, progress=False)
    return made


def analyses(model: cz.Model) -> list[Any]:
    """The results of every analysis, with their parts."""
    examples = analysis.evaluate_examples(model, [(X, Y)])
    calibration = examples.calibration()
    robust = analysis.robustness(model, X, Y)
    flow = analysis.gradient_flow(model, X, Y)
    activations = analysis.activation_statistics(model, X)
    parts = [calibration.bins[0], robust.curves[0], robust.curves[0].points[0]]
    return [
        examples,
        examples[0],
        examples.pictures,
        calibration,
        robust,
        flow,
        flow.layers[0],
        activations,
        activations[0],
        *parts,
    ]


@pytest.fixture
def things(tmp_path: Path) -> dict[type, Any]:
    """An object of every public class."""
    root = pictures.folder(tmp_path / "folder", classes=2, each=1)
    paths = sorted(root.rglob("*.png"))
    rows = "".join(f"{path},label {index}\n" for index, path in enumerate(paths))
    (tmp_path / "table.csv").write_text("path,label\n" + rows)
    model = small(seed=2)
    model.labels = ("one", "two", "three")
    data, tools = cz.data, cz.transforms
    shares = np.eye(4, 3, dtype=np.float32)
    shown = metrics.evaluate(model, [(X, shares)], loss=cz.BinaryCrossEntropy())
    assert isinstance(shown, metrics.MultiLabelMetrics)
    trained, folder = trainer(model), data.ImageFolder(root)
    evaluated = trained.evaluate([(X, Y)])
    assert isinstance(evaluated, metrics.Metrics)
    loader = data.Loader(arrays(), batch_size=2, seed=4)
    profile = model.profile(X, repeats=1)
    tuning = cz.create_model("resnet20").optimize((1, 3, 16, 16), repeats=1)
    quantization = small().quantize(np.concatenate([X] * 8))
    photo = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    transformer = cz.create_model("vit_tiny_patch16_224", image_size=32, num_classes=3)
    made: list[Any] = [
        model,
        model.graph,
        model.preprocess,
        model.summary(),
        model.summary().rows[0],
        model.summary().root,
        model.diagram(),
        profile,
        profile.steps[0],
        tuning,
        tuning.layers[0],
        quantization,
        quantization.layers[0],
        model.predict(np.zeros((64, 64, 3), np.uint8)),
        model.predict(np.zeros((64, 64, 3), np.uint8))[0],
        cz.FailedPrediction(path="x", error=cz.DataError("y")),
        model.gradients(X, 0, at="conv1"),
        model.gradients(X, 0, at="conv1").nodes["conv1"],
        cz.explain.grad_cam(model, photo),
        cz.explain.attention(transformer, photo),
        cz.explain.feature_maps(model, photo),
        cz.explain.filters(model),
        cz.explain.receptive_field(model, photo),
        model.load_state_dict(model.state_dict()),
        model.train_step(X, Y, cz.SGD(model, lr=0.1)),
        cz.Mismatch("fc.weight", (3, 4), (3, 5)),
        cz.model_info("resnet18"),
        cz.compare(["resnet18", "plain34"]),
        cz.compare("resnet18")[0],
        cz.published_weights("resnet18")[0],
        cz.compound_scaling(1.0),
        cz.onnx.export(model, tmp_path / "model.onnx"),
        trained,
        trained.history,
        trained.history[0],
        evaluated,
        evaluated.per_class[0],
        search := trained.find_lr([(X, Y)], steps=6, progress=False),
        search.rows[0],
        metrics.Confusion("a", "b", 3, 0.5),
        cz.ParameterGroup("fc", lr_scale=2.0),
        *(kind(model, lr=0.1) for kind in (cz.SGD, cz.Adam, cz.AdamW, cz.RMSprop, cz.LAMB)),
        cz.CrossEntropy(class_weights=[1.0, 2.0, 3.0]),
        cz.BinaryCrossEntropy(label_smoothing=0.1),
        cz.FunctionLoss(squared),
        cz.TorchLoss(squared),
        shown,
        shown.per_label[0],
        cz.Mixing(mixup=0.2, cutmix=1.0),
        cz.Mix(share=0.5),
        cz.Constant(),
        cz.Cosine(warmup=1),
        cz.Exponential(gamma=0.9),
        cz.MultiStep(at=(1, 2)),
        cz.OneCycle(),
        cz.Polynomial(power=2.0),
        cz.Step(every=1.0),
        folder,
        data.Photos(root),
        data.Table(tmp_path / "table.csv"),
        arrays(),
        arrays().subset([3, 0]),
        loader,
        loader.state(),
        data.BadSample(index=1, name="x", error=cz.DataError("y"), replacement=None),
        *analyses(model),
        callbacks.Callback(),
        callbacks.Callbacks([callbacks.EarlyStopping(patience=1)]),
        callbacks.EarlyStopping(patience=2),
        callbacks.JsonLines(tmp_path / "log.jsonl"),
        callbacks.LiveCurves(every=2.0),
        callbacks.MLflow(experiment="flowers"),
        callbacks.TensorBoard(tmp_path / "board"),
        callbacks.WandB(project="flowers"),
        tools.imagenet_train(32),
        tools.imagenet_train(32).preview(np.zeros((64, 64, 3), np.uint8), count=2),
        tools.AutoAugment(),
        tools.CenterCrop(4),
        tools.ColorJitter(brightness=0.2),
        tools.Grayscale(),
        tools.Normalize((0.5,), (0.5,)),
        tools.RandAugment(),
        tools.RandomCrop(4, padding=2),
        tools.RandomErasing(),
        tools.RandomHorizontalFlip(),
        tools.RandomResizedCrop(4),
        tools.RandomShift(2),
        tools.RandomVerticalFlip(),
        tools.Resize(4),
        tools.TrivialAugmentWide(),
    ]
    return {type(thing): thing for thing in made}


# These have no objects of their own.
ABSTRACT = {cz.Schedule, cz.transforms.Transform}

MODULES: tuple[ModuleType, ...] = (
    cz,
    cz.data,
    cz.explain,
    cz.onnx,
    cz.transforms,
    analysis,
    callbacks,
    metrics,
    registry,
    errors,
)


def public_classes() -> list[type]:
    """Every class that a user can name."""
    found: dict[type, None] = {}
    for module in MODULES:
        for name in getattr(module, "__all__", vars(module)):
            thing = getattr(module, name)
            ours = inspect.isclass(thing) and thing.__module__.startswith("cnnzoo")
            if ours and not name.startswith("_"):
                found[thing] = None
    return list(found)


def same(first: Any, second: Any) -> bool:
    """Whether two objects hold the same, looked at from outside."""
    return bool(type(first) is type(second) and plain(first) == plain(second))


def plain(thing: Any) -> Any:  # noqa: PLR0911 (one for each kind)
    """The contents of an object, as values that compare."""
    ours = type(thing).__module__.startswith("cnnzoo")
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, thing.tobytes()
    if isinstance(thing, cz.Model):
        given = ("labels", "options", "preprocess", "task", "accuracy", "tuning")
        names = (*given, "device", "trained", "load_report")
        return plain([getattr(thing, name) for name in names]), plain(thing.state_dict())
    if isinstance(thing, cz.data.Dataset):
        return plain([*thing, thing.classes, thing.fingerprint])
    if isinstance(thing, cz.data.Photos):
        return plain([*thing, thing.fingerprint])
    if isinstance(thing, dict):
        return {name: plain(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [type(thing).__name__, *map(plain, thing)]
    if isinstance(thing, BaseException):
        return str(thing), plain(vars(thing))
    if ours and hasattr(thing, "__dict__"):
        return {n: plain(v) for n, v in vars(thing).items() if n not in {"_engine", "_transform"}}
    if isinstance(thing, float):
        return repr(thing)
    return repr(thing) if ours else thing


@ways
def test_everything_public_is_copied_and_pickled(
    things: dict[type, Any], again: Callable[[Any], Any]
) -> None:
    """A new public class without an object here fails this test, as one that cannot be copied."""
    for kind in public_classes():
        if issubclass(kind, Exception) or kind in ABSTRACT:
            continue
        if kind is cz.data.Dataset:
            thing = arrays().subset([3, 0])
        else:
            assert kind in things, f"{kind.__name__} has no object in this test"
            thing = things[kind]
        assert same(thing, again(thing)), kind.__name__


@ways
def test_errors_keep_their_fields(again: Callable[[Any], Any], tmp_path: Path) -> None:
    for kind in public_classes():
        if issubclass(kind, Exception):
            error = kind("a sentence")
            error.expected = "that"  # type: ignore[attr-defined]
            assert same(error, again(error)), kind.__name__
    with pytest.raises(cz.WeightsError) as raised:
        cz.load(tmp_path / "none.safetensors")
    twin = again(raised.value)
    assert twin.errno == raised.value.errno is not None  # type: ignore[attr-defined]
    assert twin.path == raised.value.path  # type: ignore[attr-defined]
    assert isinstance(twin, FileNotFoundError)


@ways
def test_models_keep_all_that_they_are(again: Callable[[Any], Any]) -> None:
    model = small(drop_rate=0.1, seed=7).freeze(small().trained[0])
    model.labels = ("x", "y", "z")
    twin = again(model)
    np.testing.assert_array_equal(model(X), twin(X))
    assert same(model, twin)
    assert model.trained[0] == twin.trained[0] == small().trained[1]
    twin.train_step(X, Y, cz.SGD(twin, lr=0.1))
    assert not np.array_equal(model(X), twin(X))
    drawn = cz.Model.from_graph(model.graph, seed=3)
    np.testing.assert_array_equal(drawn(X), again(drawn)(X))
    assert again(cz.create_model("vgg16", meta=True)).device == "meta"


@pytest.mark.parametrize("rule", [cz.SGD, cz.Adam, cz.AdamW, cz.RMSprop, cz.LAMB])
def test_optimizers_go_on_to_the_same_bits(rule: type[cz.SGD]) -> None:
    """With what they remember, gradients that wait, and their model."""
    model = small()
    groups = [cz.ParameterGroup("conv1", lr_scale=2.0)]
    optimizer = rule(model, lr=0.01, weight_decay=0.1, groups=groups)
    for _ in range(3):
        model.train_step(X, Y, optimizer, accumulate=2)
    twins = [again((model, optimizer)) for again in COPIES.values()]
    for trained, its in [(model, optimizer), *twins]:
        assert its.model is trained
        assert repr(its) == repr(optimizer)
        for _ in range(2):
            trained.train_step(X, Y, its, accumulate=2)
    for trained, _ in twins:
        assert same(model.state_dict(), trained.state_dict())


@ways
def test_trainers_train_on_alike(again: Callable[[Any], Any]) -> None:
    first = trainer(small())
    second = again(first)
    assert second.optimizer.model is second.model
    for one in (first, second):
        one.fit([(X, Y)], epochs=1, progress=False)
    assert same(first.model.state_dict(), second.model.state_dict())
    assert first.averaged is not None
    assert same(first.averaged, second.averaged)


@ways
def test_loaders_go_on_where_they_stood(again: Callable[[Any], Any]) -> None:
    transform = cz.transforms.RandomCrop(8, padding=2)
    loader = cz.data.Loader(arrays(), batch_size=2, transform=transform, seed=1)
    iteration = iter(loader)
    next(iteration)
    twin = again(loader)
    assert twin.state() == loader.state()
    # Neither is in the midst of its own iteration, so both begin the next epoch.
    assert same(list(loader), list(twin))


def test_data_sets_of_other_files_are_refused(tmp_path: Path) -> None:
    root = pictures.folder(tmp_path / "folder", classes=2, each=2)
    whole = cz.data.ImageFolder(root)
    pickled = pickle.dumps(whole.split(0.5)[0])
    assert same(pickle.loads(pickled), whole.split(0.5)[0])
    next(root.rglob("*.png")).unlink()
    with pytest.raises(cz.DataError, match="as before, got other files"):
        pickle.loads(pickled)


@pytest.mark.parametrize("again", [copy.copy, *COPIES.values()])
def test_what_is_at_work_says_so(again: Callable[[Any], Any], tmp_path: Path) -> None:
    """In a sentence of ours, which is a TypeError too."""
    loader = cz.data.Loader(arrays(), batch_size=2)
    iteration = iter(loader)
    next(iteration)
    with pytest.raises(cz.CopyError, match="copy the loader") as raised:
        again(iteration)
    assert isinstance(raised.value, TypeError)
    iteration.close()  # type: ignore[attr-defined]

    found: list[str] = []

    class Copying(callbacks.Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            for thing in (trainer, log):
                with pytest.raises(cz.CopyError) as raised:
                    again(thing)
                found.append(str(raised.value))

    log = callbacks.JsonLines(tmp_path / "log.jsonl")
    model = small()
    running = cz.Trainer(model, optimizer=cz.SGD(model, lr=0.1))
    running.fit([(X, Y)], epochs=1, progress=False, callbacks=[log, Copying()])
    assert len(found) == 2
    assert "a fit" in found[0] or "no fit" in found[0]
    again(running)
    again(log)


def test_a_pickled_model_names_nothing_but_ours() -> None:
    """Loading it calls no function of another package."""
    model = small()
    text = pickle.dumps((model, cz.SGD(model, lr=0.1)), protocol=2)
    named = {arg for op, arg, _ in pickletools.genops(text) if op.name == "GLOBAL"}
    allowed = {"copy_reg __newobj__", "copy_reg _reconstructor", "__builtin__ object"}
    assert {name for name in named - allowed if not str(name).startswith("cnnzoo.")} <= {
        "_codecs encode"
    }
    assert named


def predict(model: cz.Model) -> bytes:
    """The logits' bytes."""
    return model(X).tobytes()


def test_spawned_children_predict_the_same_bits() -> None:
    model = small(seed=9)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        # A child that cannot unpickle dies, and another is begun, for ever.
        assert pool.apply_async(predict, (model,)).get(timeout=120) == predict(model)


def test_a_fresh_process_loads_a_pickle(tmp_path: Path) -> None:
    """One that has not imported the package, as joblib's workers have not."""
    model = small(seed=9)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps((model, X)))
    program = (
        "import pickle, sys; model, x = pickle.load(open(sys.argv[1], 'rb')); "
        "sys.stdout.buffer.write(model(x).tobytes())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "model.pkl")],
        check=True,
        capture_output=True,
    )
    assert done.stdout == predict(model)


def test_a_device_that_is_not_here_gives_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that were on a GPU are on the CPU then."""
    model = small()
    state = model.__getstate__()
    state["_engine"]["device"] = "cuda:7"
    twin = cz.Model.__new__(cz.Model)
    with pytest.warns(UserWarning, match="is on the CPU now: device `cuda:7`"):
        twin.__setstate__(state)
    assert twin.device == "cpu"
    np.testing.assert_array_equal(twin(X), model(X))
