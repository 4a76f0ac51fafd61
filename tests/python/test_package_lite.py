"""The wheel of cnnzoo-lite: its size, its platform, its metadata, and its networks beside ours."""

from __future__ import annotations

import os
import re
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import numpy as np
import pytest

import cnnzoo as cz
from reference import images
from test_package import SYSTEM, Environment, link_numpy, needed, run, succeed
from test_package import metadata as metadata_of_cnnzoo
from test_package import names as names_of_cnnzoo
from test_package import wheel as wheel_of_cnnzoo
from tolerance import FUSED, difference

ROOT = Path(__file__).parents[2]
LIBRARY = "cnnzoo/_native.abi3.so"
# Bytes of the wheel at most.
MOST = 10_000_000


def wheel() -> Path:
    """The wheel that `make lite` built, or the one that CNNZOO_LITE_WHEEL names."""
    if named := os.environ.get("CNNZOO_LITE_WHEEL"):
        return Path(named)
    match list((ROOT / "dist" / "lite").glob("*.whl")):
        case [path]:
            return path
        case found:
            pytest.fail(
                f"dist/lite/ should hold one wheel, and holds {len(found)}: run `make lite`"
            )


def names() -> list[str]:
    with zipfile.ZipFile(wheel()) as archive:
        return archive.namelist()


def metadata() -> Message:
    with zipfile.ZipFile(wheel()) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        return Parser().parsestr(archive.read(name).decode())


def test_the_wheel_is_small() -> None:
    assert wheel().stat().st_size <= MOST


def test_the_wheel_holds_what_the_other_holds_but_the_extension_for_libtorch() -> None:
    def package(files: list[str]) -> set[str]:
        return {name for name in files if ".dist-info/" not in name}

    assert package(names()) == package(names_of_cnnzoo()) - {
        "cnnzoo/_torch.abi3.so",
        "cnnzoo/_torch.pyi",
    }


def test_the_platform_is_that_of_the_symbols_that_the_library_needs() -> None:
    """The tag is the oldest glibc that has them all."""
    match = re.fullmatch(
        r"cnnzoo_lite-[\d.]+-cp310-abi3-(?:manylinux2014_\w+\.)?manylinux_2_(\d+)_\w+\.whl",
        wheel().name,
    )
    assert match, wheel().name
    with zipfile.ZipFile(wheel()) as archive:
        newest, libraries = needed(archive.read(LIBRARY))
    assert newest == int(match[1])
    assert libraries <= SYSTEM


def test_the_metadata_is_that_of_the_other_but_for_torch() -> None:
    ours, theirs = metadata(), metadata_of_cnnzoo()
    assert (ours["Name"], theirs["Name"]) == ("cnnzoo-lite", "cnnzoo")
    needs, more = (set(facts.get_all("Requires-Dist", [])) for facts in (ours, theirs))
    assert more - needs == {"torch==2.13.*"} and needs <= more
    for field in ("Version", "Author", "License-Expression", "Requires-Python"):
        assert ours[field] == theirs[field]
    for field in ("Classifier", "License-File", "Provides-Extra"):
        assert ours.get_all(field) == theirs.get_all(field)
    text = str(ours.get_payload())
    assert "pip install cnnzoo-lite" in text and "pip install cnnzoo " in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    assert [link for link in links if not link.startswith("https://")] == []


RUN = """
import sys, numpy, cnnzoo
model = cnnzoo.create_model(sys.argv[1], num_classes=10, seed=3)
numpy.savez(sys.argv[2], logits=model(numpy.load(sys.argv[3])), **model.state_dict())
model.save(sys.argv[4])
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and NumPy."""
    found = Environment(tmp_path_factory.mktemp("lite"), wheel())
    link_numpy(found)
    return found


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2_035", "vit_ti_16"])
def test_its_networks_are_equal_to_ours(
    name: str, environment: Environment, tmp_path: Path
) -> None:
    """The same parameters, the same bits, and the logits of libtorch up to rounding."""
    x = images((224, 224), 2)
    np.save(tmp_path / "x.npy", x)
    files = [str(tmp_path / file) for file in ("found.npz", "x.npy", "model.safetensors")]
    succeed(environment.python, RUN, name, *files)
    model = cz.create_model(name, num_classes=10, seed=3)
    with np.load(tmp_path / "found.npz") as found:
        logits = found["logits"]
        for parameter, array in model.state_dict().items():
            np.testing.assert_array_equal(found[parameter], array)
    np.testing.assert_array_equal(logits, model(x))
    assert difference(logits, model(x, exact=True)) <= FUSED
    np.testing.assert_array_equal(cz.load(tmp_path / "model.safetensors")(x), logits)


def test_both_packages_in_one_environment_are_one_import_error(tmp_path: Path) -> None:
    both = Environment(tmp_path, wheel_of_cnnzoo(), wheel())
    failed = run(both.python, "import cnnzoo")
    (message,) = re.findall(r"^\w*Error.*", failed.stderr, re.MULTILINE)
    assert message.startswith("ImportError: cnnzoo and cnnzoo-lite are both installed in ")
    assert message.endswith("run `pip uninstall cnnzoo cnnzoo-lite`, then install one of them")
