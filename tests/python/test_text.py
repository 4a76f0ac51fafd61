"""Text for terminals."""

from __future__ import annotations

import io
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnzoo._text import Out, human, one_line, quoted, shorten, table
from cnnzoo_command.common import from_human

# Three digits: the last one is half a unit off at most.
ROUNDING = 0.005


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ascii_stream() -> tuple[Out, io.BytesIO]:
    written = io.BytesIO()
    return Out(io.TextIOWrapper(written, encoding="ascii", write_through=True)), written


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00K"),
        (9_994, "9.99K"),
        (9_996, "10.0K"),
        (99_960, "100K"),
        (999_499, "999K"),
        (999_500, "1.00M"),
        (25_557_032, "25.6M"),
        (4_089_184_256, "4.09G"),
        (127_000_000, "127M"),
    ],
)
def test_human(number: int, text: str) -> None:
    assert human(number) == text


@given(st.integers(0, 10**14))
def test_what_people_read_is_what_they_may_type(number: int) -> None:
    assert from_human(human(number)) == pytest.approx(number, rel=ROUNDING)
    digits = human(number).rstrip("KMGT").replace(".", "")
    assert len(digits) <= 3


@pytest.mark.parametrize(("text", "number"), [("5g", 5e9), ("2e6", 2e6), ("1B", 1e9), ("7", 7)])
def test_from_human(text: str, number: float) -> None:
    assert from_human(text) == number


@pytest.mark.parametrize("text", ["", "M", "-1", "nan", "infM", "5X", "1 2"])
def test_no_number(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - no message: argparse gets its own
        from_human(text)


@given(st.text(), st.integers(0, 30), st.booleans())
def test_shorten(text: str, width: int, plain: bool) -> None:
    short = shorten(text, width, plain)
    assert len(short) <= width or short == text == ""
    assert short == text or len(text) > width


def test_table_aligns() -> None:
    lines = table(("a", "long head"), [("xyz", "1"), ("y", "234")], right=(1,)).split("\n")
    assert lines == ["a    long head", "──────────────", "xyz          1", "y          234"]


@given(st.text())
def test_one_line_is_printable(text: str) -> None:
    assert one_line(text).isprintable()
    assert one_line(text) == text or not text.isprintable()


@given(st.text())
def test_any_text_can_be_written_in_ascii(text: str) -> None:
    out, written = ascii_stream()
    out.print(text)
    assert written.getvalue().isascii()
    assert b"\x1b" not in written.getvalue()


def test_ascii_keeps_the_meaning() -> None:
    out, written = ascii_stream()
    out.print("224 × 224 · é")
    assert out.plain
    assert written.getvalue() == b"224 x 224 - \\xe9\n"


def test_a_terminal_is_as_wide_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    stream = Terminal()
    Out(stream).print("0123456789\n0123456789a")
    Out(stream).print("0123456789a", cut=False)
    assert stream.getvalue() == "0123456789\n012345678…\n0123456789a\n"


def test_a_file_takes_lines_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    Out(stream).print("x" * 1000)
    assert stream.getvalue() == "x" * 1000 + "\n"


def test_a_closed_stream_takes_everything() -> None:
    out = Out(None)
    out.print("gone")
    out.flush()


def test_a_row_of_a_table_is_one_line_whatever_its_names() -> None:
    found = table(("class", "n"), [("new\nline", "1"), ("\x1b[31mred", "22")], right=(1,))
    assert found.splitlines() == [
        "class         n",
        "─" * 15,
        r"new\nline     1",
        r"\x1b[31mred  22",
    ]


@pytest.mark.parametrize("path", ["run", "my run", "it's", "$HOME", "a;b", "`id`"])
def test_a_shell_reads_a_quoted_path_as_it_was(path: str) -> None:
    assert shlex.split(f"cnnzoo train --resume {quoted(path)}")[-1] == path
