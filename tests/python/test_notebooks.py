"""Every notebook runs from top to bottom, offline, and is stored without outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

# Runs before a notebook: whoever reaches for the network fails. The kernel's own sockets are not
# Python's.
OFFLINE = """
import socket
def refuse(self, address, *rest):
    raise OSError(f"a notebook reached for the network: {address}")
socket.socket.connect = socket.socket.connect_ex = refuse
"""


def read(path: Path) -> Any:
    reader: Any = nbformat  # has no types
    notebook = reader.read(path, as_version=4)
    reader.validate(notebook)
    return notebook


def run(path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The code cells of a notebook that ran."""
    monkeypatch.setenv("IPYTHONDIR", str(folder))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(OFFLINE))  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=120, resources=resources).execute()
    return [cell for cell in notebook.cells[1:] if cell.cell_type == "code"]


def output(cells: list[Any], source: str, kind: str) -> str:
    """The output of the cell with that line in it."""
    (cell,) = (cell for cell in cells if source in cell.source)
    shown = [out.text if out.output_type == "stream" else out.data[kind] for out in cell.outputs]
    return "\n".join(shown)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path: Path) -> None:
    for cell in read(path).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert cell.metadata == {}


def check_first_photograph(cells: list[Any]) -> None:
    assert "tf_efficientnet_lite0" in output(cells, "list_models", "text/plain")
    assert ">39.5%</td>" in output(cells, "model.predict(chelsea)", "text/html")
    assert output(cells, "draw_predictions([", "image/png")
    assert "blocks.0: 16 maps of 112 × 112" in output(cells, "model.features(", "text/plain")
    chelsea, *_ = output(cells, "model.embed(", "text/plain").splitlines()
    name, itself, coffee, rocket, mirrored = chelsea.split()
    assert (name, float(itself)) == ("chelsea", 1.0)
    assert float(mirrored) > 0.8
    assert max(float(coffee), float(rocket)) < 0.5
    assert "4,652,008 parameters" in output(cells, "model.summary()", "text/plain")


# What a notebook must show, where that is said.
CHECKS = {"first_photograph": check_first_photograph}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = run(path, tmp_path, monkeypatch)
    CHECKS.get(path.stem, list)(cells)


def test_every_check_has_its_notebook() -> None:
    assert CHECKS.keys() <= {path.stem for path in NOTEBOOKS}


def test_the_network_is_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard itself works."""
    cell = "import urllib.request\nurllib.request.urlopen('http://192.0.2.1/')"
    new: Any = nbformat.v4
    nbformat.write(new.new_notebook(cells=[new.new_code_cell(cell)]), tmp_path / "n.ipynb")  # type: ignore[no-untyped-call]
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="reached for the network"):
        run(tmp_path / "n.ipynb", tmp_path, monkeypatch)
