"""The sources that pip builds from: whole, with nothing else, and built into the same wheels."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from test_package import RUN_AND_TRAIN, Environment, link_numpy, succeed
from test_package import metadata as metadata_of_cnnzoo
from test_package import names as names_of_cnnzoo
from test_package_lite import metadata as metadata_of_lite
from test_package_lite import names as names_of_lite

ROOT = Path(__file__).parents[2]
# Bytes of an archive at most: there is no data in it, and no picture.
MOST = 2_000_000
PACKAGES = ["cnnzoo", "cnnzoo_lite"]
EXTENSIONS = {"cnnzoo/_native.abi3.so", "cnnzoo/_torch.abi3.so"}
# Files of one package alone: its build backend, how cargo finds libtorch, a stub.
OURS = {"tools/backend.py", ".cargo/config.toml", "python/cnnzoo/_torch.pyi"}


def archive(package: str) -> Path:
    """The archive that `make sources` packed, or the one beside the wheel that is tested."""
    named = os.environ.get("CNNZOO_WHEEL")
    folder = Path(named).parent if named else ROOT / "dist" / "sources"
    match list(folder.glob(f"{package}-*.tar.gz")):
        case [path]:
            return path
        case found:
            pytest.fail(
                f"{folder} should hold one archive of {package}, and holds {len(found)}: "
                "run `make sources`"
            )


def contents(package: str) -> dict[str, bytes]:
    """The files of an archive, by their path below its one folder."""
    path = archive(package)
    with tarfile.open(path) as opened:
        members = opened.getmembers()
        assert all(member.isfile() for member in members)
        folder = path.name.removesuffix(".tar.gz") + "/"
        assert all(member.name.startswith(folder) for member in members)
        read = {member.name.removeprefix(folder): opened.extractfile(member) for member in members}
        return {name: file.read() for name, file in read.items() if file is not None}


def needed(package: str) -> dict[str, Path]:
    """The files that Cargo.toml and pyproject.toml name, and where each lies here."""
    below = [
        path
        for folder in ("src", "python")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".so", ".pyc"}
    ]
    others = ["Cargo.toml", "Cargo.lock", "build.rs", "LICENSE-MIT", "LICENSE-APACHE", *OURS]
    files = {str(path.relative_to(ROOT)): path for path in [*below, *(ROOT / o for o in others)]}
    described = ROOT if package == "cnnzoo" else ROOT / "lite"
    for name in ("pyproject.toml", "README.md"):
        files[name] = described / name
    if package == "cnnzoo_lite":
        files = {name: path for name, path in files.items() if name not in OURS}
    return files


@pytest.mark.parametrize("package", PACKAGES)
def test_an_archive_holds_what_a_build_needs_and_nothing_else(package: str) -> None:
    files = needed(package)
    assert contents(package).keys() == files.keys() | {"PKG-INFO"}
    assert archive(package).stat().st_size <= MOST


@pytest.mark.parametrize("package", PACKAGES)
def test_the_files_are_those_of_this_folder(package: str) -> None:
    found = contents(package)
    for name, path in needed(package).items():
        expected = path.read_bytes()
        if (package, name) == ("cnnzoo_lite", "pyproject.toml"):
            # Cargo.toml lies beside it in the archive.
            lines = rb"(?m)^# `make lite` builds .*\nmanifest-path = .*\n"
            expected, count = re.subn(lines, b"", expected)
            assert count == 1
        assert found[name] == expected, name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_files_of_python_are_those_of_the_wheel(package: str) -> None:
    names = {"cnnzoo": names_of_cnnzoo, "cnnzoo_lite": names_of_lite}[package]()
    python = {name.removeprefix("python/") for name in contents(package) if "python/" in name}
    assert python == {name for name in names if ".dist-info/" not in name} - EXTENSIONS


@pytest.mark.parametrize("package", PACKAGES)
def test_the_description_is_that_of_the_wheel(package: str) -> None:
    theirs = {"cnnzoo": metadata_of_cnnzoo, "cnnzoo_lite": metadata_of_lite}[package]()
    ours = Parser().parsestr(contents(package)["PKG-INFO"].decode())
    assert sorted(ours.items()) == sorted(theirs.items())
    assert str(ours.get_payload()) == str(theirs.get_payload())


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_pip_builds_the_wheel_from_an_archive(package: str, tmp_path: Path) -> None:
    """By a pip whose Python does not come first; with the torch that is here, of 4.7 GB."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "maturin").symlink_to(Path(sys.executable).with_name("maturin"))
    variables = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    variables.pop("VIRTUAL_ENV", None)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    options = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *options, str(archive(package).resolve())], check=True, env=variables)
    (wheel,) = tmp_path.glob("*.whl")
    names = {"cnnzoo": names_of_cnnzoo, "cnnzoo_lite": names_of_lite}[package]()
    with zipfile.ZipFile(wheel) as opened:
        assert sorted(opened.namelist()) == sorted(names)
    installed = Environment(tmp_path / "environment", wheel)
    link_numpy(installed)
    if package == "cnnzoo_lite":
        run, _ = RUN_AND_TRAIN.split("model.train_step")
        assert succeed(installed.python, run) == "(2, 4)\n"
    else:
        installed.link("torch", "nvidia")
        assert succeed(installed.python, RUN_AND_TRAIN) == "(2, 4)\n"
