"""Progress of training in a notebook, and the notebook's stop button."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

CELLS = """
import sys
sys.path.insert(0, {tests!r})
import cnnzoo as cz
from train.small_run import loaders, trainer
one = trainer()
---
history = one.fit(*loaders(), epochs=2)
---
history
---
import os, signal, threading
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    one.fit(*loaders(), epochs=1000)
except KeyboardInterrupt as stop:
    print(stop)
"""


def test_a_notebook_shows_bars_and_its_stop_button_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    tests = str(Path(__file__).parents[1])
    v4: Any = nbformat.v4
    cells = [v4.new_code_cell(cell) for cell in CELLS.format(tests=tests).split("---\n")]
    notebook = v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    _, fit, history, stopped = notebook.cells
    shown = "".join(output.get("text", "") for output in fit.outputs)
    assert "epoch 1/2: 100%" in shown
    assert "epoch 2/2: 100%" in shown
    assert "val top1" in shown
    assert "Warning" not in shown
    (table,) = history.outputs
    assert table.data["text/plain"].startswith("epoch")
    said = [output.text for output in stopped.outputs if output.get("name") == "stdout"]
    # On a busy machine it may be pressed while the validation is looked at.
    assert said[0].startswith(("interrupted after batch", "interrupted before the first batch"))
