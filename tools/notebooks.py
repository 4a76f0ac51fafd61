"""Executes notebooks, and writes them with their outputs, as notebooks and as pages.

    python tools/notebooks.py target/notebooks                 # all
    python tools/notebooks.py target/notebooks 03_alexnet      # one

The sources stay as they are, without outputs. Each runs in a kernel of one thread. With
`CNNZOO_LONG=1` in the environment, notebooks that have a long variant run that.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat

SOURCES = Path(__file__).parents[1] / "notebooks"
# Seconds that a cell may take, on a machine that does other things too.
TIMEOUT = 7200 if os.environ.get("CNNZOO_LONG") == "1" else 600


def read(path: Path) -> Any:
    """A notebook that follows its format."""
    reader: Any = nbformat  # has no types
    notebook = reader.read(path, as_version=4)
    reader.validate(notebook)
    return notebook


def execute(notebook: Any, folder: Path, *, first: str = "") -> Any:
    """Run a notebook's cells in `folder`, in a kernel of its own; their outputs are set.

    Args:
        notebook: The notebook, which is changed.
        folder: The kernel's working folder.
        first: Code that runs before the first cell, which is no part of the result.

    Raises:
        nbclient.exceptions.CellExecutionError: A cell raised.
    """
    new: Any = nbformat.v4
    if first:
        notebook.cells.insert(0, new.new_code_cell(first))
    # The user's own configuration of IPython stays out.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "IPYTHONDIR": str(folder / ".ipython")}
    resources = {"metadata": {"path": str(folder)}}
    client = nbclient.NotebookClient(notebook, timeout=TIMEOUT, resources=resources)
    client.execute(env=environment)
    if first:
        del notebook.cells[0]
    return notebook


def keep(notebook: Any, folder: Path, name: str) -> None:
    """Write an executed notebook to `folder`, as `name.ipynb` and `name.html`."""
    import nbconvert

    folder.mkdir(parents=True, exist_ok=True)
    writer: Any = nbformat
    writer.write(notebook, folder / f"{name}.ipynb")
    exporter: Any = nbconvert.HTMLExporter
    page, _ = exporter().from_notebook_node(notebook)
    (folder / f"{name}.html").write_text(page, encoding="utf-8")


def main(folder: Path, names: list[str]) -> None:
    """Execute the notebooks of those names, or all."""
    import tempfile

    for path in sorted(SOURCES.glob("*.ipynb")):
        if not names or path.stem in names:
            print(path.stem, flush=True)
            with tempfile.TemporaryDirectory() as scratch:
                keep(execute(read(path), Path(scratch)), folder, path.stem)


if __name__ == "__main__":
    os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")
    main(Path(sys.argv[1]), sys.argv[2:])
