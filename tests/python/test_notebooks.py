"""Every notebook runs from top to bottom, offline, shows what it claims, and has no outputs.

A notebook's check is `notebooks/NAME.py` beside this file, where NAME is the notebook's without its
number. `--notebooks FOLDER` keeps what ran. `CNNZOO_LONG=1` runs the long variants that some have.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nbclient
import nbformat
import pytest

import cnnzoo as cz
from notebook_cells import PICTURES

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKS = sorted((Path(__file__).parent / "notebooks").glob("*.py"))

# Runs before a notebook: whoever reaches for the network fails. The kernel's own sockets are not
# Python's.
OFFLINE = """
import socket
def refuse(self, address, *rest):
    raise OSError(f"a notebook reached for the network: {address}")
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def module(path: Path) -> ModuleType:
    """A module from its file alone: names such as `resnet` are many."""
    spec = importlib.util.spec_from_file_location(f"check_of_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


tools: Any = module(ROOT / "tools" / "notebooks.py")


def name_of(path: Path) -> str:
    return re.sub(r"^\d+_", "", path.stem)


def data_of(source: str) -> None:
    """Fail, and say what to do, where data that a notebook needs are not there."""
    if "fashion_mnist(" in source:
        try:
            cz.data.fashion_mnist(download=False)
            cz.data.fashion_mnist(train=False, download=False)
        except FileNotFoundError as error:
            pytest.fail(
                f"This notebook needs Fashion-MNIST: run `make data`, and set "
                f"CNNZOO_DATA=.venv/data (`make test` and `make notebooks` do both). {error}"
            )


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A notebook, executed without network."""
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    return tools.execute(tools.read(path), folder, first=OFFLINE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_stored_without_outputs(path: Path) -> None:
    for cell in tools.read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert cell.metadata == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_a_long_variant_has_run_and_a_cell_says_what_it_gave(path: Path) -> None:
    """A date and minutes stand in the text of a notebook whose code reads the switch."""
    kinds = {"code": "", "markdown": ""}
    for cell in tools.read(path).cells:
        if "CNNZOO_LONG" in cell.source:
            kinds[cell.cell_type] += cell.source
    assert bool(kinds["code"]) == bool(kinds["markdown"])
    if kinds["markdown"]:
        assert re.search(r"\d{4}-\d\d-\d\d", kinds["markdown"])
        assert "minutes" in kinds["markdown"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    data_of(path.read_text(encoding="utf-8"))
    (checked,) = (check for check in CHECKS if check.stem == name_of(path))
    check: Callable[[list[Any]], None] = module(checked).check
    notebook = run(path, tmp_path, monkeypatch)
    folder: Path | None = request.config.getoption("--notebooks")
    if folder is not None:
        tools.keep(notebook, folder, path.stem)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    check(cells)
    ends_in_a_figure_and_a_sentence(cells)


def ends_in_a_figure_and_a_sentence(cells: list[Any]) -> None:
    """The last cell prints what was measured, and a picture is near it."""
    printed = "".join(out.text for out in cells[-1].outputs if out.output_type == "stream")
    assert re.search(r"\d", printed) and printed.rstrip().endswith("."), printed
    near = [out.get("data", {}) for cell in cells[-4:] for out in cell.outputs]
    assert any(PICTURES & shown.keys() for shown in near)


def test_every_notebook_has_a_check_and_every_check_its_notebook() -> None:
    assert sorted(map(name_of, NOTEBOOKS)) == [check.stem for check in CHECKS]
    assert all(re.match(r"\d\d_", path.stem) for path in NOTEBOOKS)


def test_the_network_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard itself works."""
    cell = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/')"
    new: Any = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_code_cell(cell)]), tmp_path / "n.ipynb")  # type: ignore[no-untyped-call]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="reached for the network"):
        run(tmp_path / "n.ipynb", tmp_path, monkeypatch)


def test_missing_data_are_a_failure_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CNNZOO_DATA", str(tmp_path))
    monkeypatch.setattr("cnnzoo.data.known.DEBIAN_FASHION_MNIST", tmp_path)
    data_of("cz.data.cifar10()")
    with pytest.raises(pytest.fail.Exception, match="make data"):
        data_of("cz.data.fashion_mnist()")
