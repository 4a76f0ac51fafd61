"""Learning curves while training runs: in a notebook, on a terminal, and in text."""

from __future__ import annotations

import copy
import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import cnnzoo as cz
from cnnzoo.callbacks import Callback, LiveCurves
from cnnzoo.training import _canvas, _screens, live
from cnnzoo.training._progress import Bar
from train.small_run import loaders, summary, trainer


class Terminal(io.StringIO):
    """A terminal's stream."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def screen(written: str) -> list[str]:
    """The lines that a terminal shows after this was written: a terminal's own rules."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif part.startswith("\x1b"):
            number, letter = part[2:-1], part[-1]
            if letter == "A":
                row -= int(number or 1)
                assert row >= 0, "above the first line"
            elif letter == "J":
                lines = [*lines[:row], lines[row][:column]]
            elif letter == "K":
                lines[row] = lines[row][:column]
            else:
                assert letter == "m", part
        else:
            old = lines[row].ljust(column)
            lines[row] = old[:column] + part + old[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


def terminal(monkeypatch: pytest.MonkeyPatch, encoding: str = "utf-8") -> Terminal:
    """A terminal in place of stderr; not in a fixture, after which pytest sets its own."""
    found = Terminal(encoding)
    monkeypatch.setattr(sys, "stderr", found)
    for name, value in {"TERM": "xterm", "COLUMNS": "100", "LINES": "40"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return found


def fit(epochs: int, *, progress: bool, every: float = 0.0, more: Any = ()) -> cz.Trainer:
    one = trainer()
    one.fit(
        *loaders(), epochs=epochs, progress=progress, callbacks=[LiveCurves(every=every), *more]
    )
    return one


@pytest.mark.parametrize("progress", [True, False])
def test_a_terminal_shows_one_chart_below_the_lines_of_epochs(
    monkeypatch: pytest.MonkeyPatch, progress: bool
) -> None:
    stream = terminal(monkeypatch)
    one = fit(3, progress=progress)
    lines = screen(stream.getvalue())
    bars = [line for line in lines if re.match(r"epoch \d/3: 100%", line)]
    assert len(bars) == (3 if progress else 0)
    (title,) = (at for at, line in enumerate(lines) if line.startswith("loss"))
    assert all(lines.index(bar) < title for bar in bars)
    assert "training  validation" in lines[title] and "top1" in lines[title]
    assert max(map(len, lines[title:])) < 100
    # The axis of accuracies ends at the highest and the lowest.
    shares = [v for row in one.history for v in (row.train_top1, row.val_top1) if v is not None]
    assert f"{max(shares):.1%}│" in lines[title + 1]
    assert f"{min(shares):.1%}│" in lines[-4] and " 3" in lines[-3]
    assert lines[-2:] == ["", ""]


@pytest.mark.parametrize(("columns", "is_short"), [(80, True), (200, False)])
def test_the_result_of_an_epoch_fits_into_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int, is_short: bool
) -> None:
    stream = terminal(monkeypatch)
    monkeypatch.setattr(stream, "fileno", lambda: 2, raising=False)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((columns, 40)))
    one = trainer()
    [row] = one.fit(*loaders(), epochs=1)
    [line] = [line for line in screen(stream.getvalue()) if line.startswith("epoch 1/1: 100%")]
    assert f"val top1 {row.val_top1:.2%}" in line
    assert ("batch/s" not in line) is is_short


def test_the_chart_is_redrawn_in_place_while_an_epoch_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal(monkeypatch)
    seen: list[list[str]] = []

    class Looks(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            seen.append(screen(stream.getvalue()))

    # However long drawing takes.
    monkeypatch.setattr(live, "SHARE", 1e9)
    fit(2, progress=True, more=[Looks()])
    assert len(seen) == 14
    for number, lines in enumerate(seen):
        assert sum(line.startswith("loss") for line in lines) == 1
        bar = f"epoch {number // 7 + 1}/2:"
        assert lines[-1].startswith(bar)
    charts = ["\n".join(lines[-14:-1]) for lines in seen[:7]]
    assert len(set(charts)) == 7


def test_only_the_beginning_and_the_end_are_drawn_where_there_is_no_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = terminal(monkeypatch)
    fit(2, progress=False, every=1e6)
    # At the start, after the line of each epoch, and at the end.
    assert stream.getvalue().count("loss") == 3


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("", "")])
def test_a_terminal_without_colours_or_characters_has_marks(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    plain = terminal(monkeypatch, "utf-8" if variable else "ascii")
    if variable:
        monkeypatch.setenv(variable, value)
    fit(2, progress=False)
    text = plain.getvalue()
    assert text.isascii() and "\x1b[9" not in text
    lines = screen(text)
    assert any("* training  o validation" in line for line in lines)
    assert any("*" in line and "|" in line for line in lines)


def test_where_there_is_no_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    fit(1, progress=False)
    assert file.getvalue() == ""
    monkeypatch.setattr(sys, "stderr", None)
    fit(1, progress=False)
    dumb = terminal(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    fit(1, progress=False)
    assert dumb.getvalue() == ""


class Handle:
    """A display of IPython, which keeps what it was given."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def display(self, thing: Any, *, display_id: bool) -> Handle:
        assert display_id and not self.shown
        self.shown.append(thing)
        return self

    def update(self, thing: Any) -> None:
        assert self.shown
        self.shown.append(thing)

    @property
    def pictures(self) -> list[Image.Image]:
        return [Image.open(io.BytesIO(thing._repr_png_()[0])) for thing in self.shown]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Handle:
    import IPython.display

    handle = Handle()
    monkeypatch.setattr(_screens, "in_notebook", lambda: True)
    monkeypatch.setattr(IPython.display, "display", handle.display)
    return handle


def test_a_notebook_has_one_picture_that_is_replaced(notebook: Handle) -> None:
    one = fit(2, progress=False)
    # Before the first batch, and after some of them; as many as there is time for.
    assert 2 <= len(notebook.shown) <= 18
    first, last = notebook.pictures[0], notebook.pictures[-1]
    data, size = notebook.shown[-1]._repr_png_()
    assert first.size == last.size == (1296, 468)
    assert size == {"width": 864, "height": 312}
    assert np.asarray(first).tobytes() != np.asarray(last).tobytes()
    assert repr(notebook.shown[0]) == "<learning curves>"
    # The last one is that of the whole history.
    trace = _screens.Trace()
    assert len(one.history) == 2
    assert _screens._png(_screens.Curves(one.history, trace, last=2)) != data


def test_the_picture_has_the_values_of_the_history(
    monkeypatch: pytest.MonkeyPatch, notebook: Handle
) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig

    def keep(self: Figure, *arguments: Any, **options: Any) -> None:
        drawn.append(self)
        save(self, *arguments, **options)

    losses: list[float] = []

    class Losses(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            losses.append(result.loss)

    monkeypatch.setattr(Figure, "savefig", keep)
    history = fit(2, progress=False, more=[Losses()]).history
    loss, top1 = drawn[-1].axes
    lines: dict[str, Any] = {str(line.get_label()): line for line in loss.lines}
    np.testing.assert_array_equal(lines["training"].get_ydata(), [r.train_loss for r in history])
    np.testing.assert_array_equal(lines["validation"].get_ydata(), [r.val_loss for r in history])
    x, y = lines["a batch"].get_data()
    np.testing.assert_array_equal(y, losses)
    np.testing.assert_allclose(x, np.arange(1, 15) / 7)
    accuracies: Any = top1.lines[0].get_ydata()
    np.testing.assert_array_equal(accuracies, [r.train_top1 for r in history])


def test_a_run_has_the_same_bits_with_it(notebook: Handle) -> None:
    without = trainer()
    without.fit(*loaders(), epochs=2, progress=False)
    assert summary(fit(2, progress=False)) == summary(without)


def test_a_resumed_run_begins_with_its_history(notebook: Handle, tmp_path: Path) -> None:
    class Stops(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            if trainer.step == 10:
                raise RuntimeError("enough")

    curves, folder = LiveCurves(every=1e6), tmp_path / "run"
    with pytest.raises(RuntimeError, match="enough"):
        trainer().fit(
            *loaders(), epochs=3, progress=False, callbacks=[curves, Stops()], checkpoint=folder
        )
    # It is over, so it can be copied and used again.
    copy.deepcopy(curves)
    notebook.shown.clear()
    lines: list[int] = []
    plot = cz.History.plot

    def count(self: cz.History, *, ax: Any = None) -> Any:
        lines.append(len(self))
        return plot(self, ax=ax)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cz.History, "plot", count)
        cz.Trainer.resume(folder, *loaders(), progress=False, callbacks=[curves])
    assert (lines[0], lines[-1]) == (1, 3)


def test_it_cannot_be_copied_while_it_draws(notebook: Handle) -> None:
    found: list[str] = []

    class Copies(Callback):
        def on_step(self, trainer: cz.Trainer, result: cz.StepResult) -> None:
            with pytest.raises(cz.CopyError) as raised:
                copy.deepcopy(curves)
            found.append(str(raised.value))

    curves = LiveCurves()
    trainer().fit(*loaders(), epochs=1, progress=False, callbacks=[curves, Copies()])
    assert found and "LiveCurves" in found[0]


def test_losses_that_are_not_finite_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    trace = _screens.Trace()
    for at, loss in enumerate((3.0, np.nan, 2.0, np.inf)):
        trace.add(at / 4, loss)
    row = cz.EpochRow(epoch=1, step=4, lr=0.1, train_loss=np.nan, seconds=1, images_per_second=1)
    curves = _screens.Curves(cz.History([row]), trace, last=2)
    assert Image.open(io.BytesIO(_screens._png(curves))).size[0] == 1296
    bar = Bar(shown=False)
    _screens.TerminalScreen(bar, stream).draw(curves)
    assert "nan" not in stream.getvalue() and "inf" not in stream.getvalue()


def test_many_batches_become_means_of_several() -> None:
    trace, losses = _screens.Trace(), np.random.default_rng(0).normal(size=5000)
    for at, loss in enumerate(losses):
        trace.add(at, loss)
    x, y = trace.arrays()
    # Pairs four times over: a thousand points became half as many at 1000, 2000 and 4000.
    assert len(x) == 5000 // 8
    np.testing.assert_allclose(y, losses.reshape(-1, 8).mean(1))
    np.testing.assert_allclose(x, np.arange(5000).reshape(-1, 8).mean(1))


def dots(lines: list[str]) -> np.ndarray[Any, Any]:
    """The dots of a chart of braille, by the block's definition in Unicode."""
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    paper = np.zeros((4 * len(lines), 2 * max(map(len, lines))), bool)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            if "⠀" <= character <= "⣿":
                for bit, (y, x) in enumerate(order):
                    if ord(character) - 0x2800 >> bit & 1:
                        paper[4 * row + y, 2 * column + x] = True
    return paper


def test_a_curve_of_text_goes_where_its_points_are() -> None:
    x = np.linspace(0, 4, 50)
    curve = _canvas.Curve("training", x, np.sin(x), 0)
    colours = re.compile(r"\x1b\[[0-9]*m")
    options: dict[str, Any] = {"width": 60, "height": 12, "last": 4}
    lines = _canvas.draw_panels([_canvas.Panel("sine", (curve,))], plain=False, **options)
    text = [colours.sub("", line) for line in lines]
    left = text[1].index("│") + 1
    found = dots([line[left:].ljust(60 - left) for line in text[1:-1]])
    height, width = 40, 2 * (60 - left)
    for column in range(width):
        at = column / (width - 1) * 4
        high, low = np.sin(x).max(), np.sin(x).min()
        expected = (high - np.sin(at)) / (high - low) * (height - 1)
        rows = np.flatnonzero(found[:height, column])
        assert len(rows), column
        # Steep parts have several dots in a column.
        assert np.abs(rows - expected).min() <= 1
        assert np.abs(rows - expected).max() <= 2.5
    plain = _canvas.draw_panels([_canvas.Panel("sine", (curve,))], plain=True, **options)
    assert all(line.isascii() for line in plain) and len(plain) == 12
    assert plain[0].startswith("sine  * training")
    assert "1|" in plain[1] and "-0.757|" in plain[-2]


def test_charts_without_values_and_of_one_value_have_axes() -> None:
    none = np.zeros(0)
    for values in (none, np.ones(1), np.full(3, 5.0), np.array([np.nan])):
        x = np.arange(1, len(values) + 1, dtype=np.float64)
        curve = _canvas.Curve("training", x, values, 0)
        panels = [_canvas.Panel("loss", (curve,)), _canvas.Panel("top1", (curve,), percent=True)]
        for width in (10, 40, 100):
            lines = _canvas.draw_panels(panels, width=width, height=3, last=3, plain=True)
            assert len(lines) == 4 and "nan" not in "".join(lines)
            assert lines[-1].endswith(" 3")


CELLS = """
import sys
sys.path.insert(0, {tests!r})
import cnnzoo as cz
from train.small_run import loaders, trainer
one = trainer()
---
history = one.fit(*loaders(), epochs=2, callbacks=[cz.callbacks.LiveCurves(every=0)])
---
history
"""


def test_a_real_notebook_keeps_one_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    tests = str(Path(__file__).parents[1])
    v4: Any = nbformat.v4
    cells = [v4.new_code_cell(cell) for cell in CELLS.format(tests=tests).split("---\n")]
    book = v4.new_notebook(cells=cells)
    nbclient.NotebookClient(book, timeout=120).execute()
    _, fitted, history = book.cells
    pictures = [out for out in fitted.outputs if out.output_type == "display_data"]
    (picture,) = pictures
    assert picture.data["text/plain"] == "<learning curves>"
    assert picture.metadata["image/png"]["width"] == 864
    import base64

    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data["image/png"]))))
    # Both series' colours are there, in the picture that replaced the first.
    for colour in ((0x1D, 0x4E, 0x89), (0xE9, 0xA0, 0x3B)):
        assert (np.abs(pixels[..., :3].astype(int) - colour).sum(2) < 30).sum() > 200
    text = "".join(out.get("text", "") for out in fitted.outputs)
    assert "epoch 2/2: 100%" in text and "Warning" not in text
    assert history.outputs[0].data["text/plain"].startswith("epoch")


def test_without_matplotlib_a_notebook_says_what_to_install(
    notebook: Handle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(cz.MissingPackageError, match="learning curves needs matplotlib"):
        fit(1, progress=False)


@pytest.mark.parametrize("every", [-1.0, np.nan, "1", None, True])
def test_a_time_that_is_none_is_refused(every: Any) -> None:
    with pytest.raises(cz.ArgumentError, match="`every`"):
        LiveCurves(every=every)
