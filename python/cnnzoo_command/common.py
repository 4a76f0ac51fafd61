"""Shared by the parsers of the commands: their form, and types of arguments."""

from __future__ import annotations

import argparse
import math
import textwrap
from collections.abc import Callable
from typing import Any

# The sources of definitions of networks.
SOURCES = "torchvision, timm, keras, paper"


def add_command(
    commands: Any,
    name: str,
    summary: str,
    examples: str,
    text: str = "",
) -> argparse.ArgumentParser:
    """Add a command's parser: its summary, a longer text, and examples."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        description=f"{summary[0].upper()}{summary[1:]}.\n{textwrap.dedent(text).rstrip()}",
        epilog="examples:\n" + textwrap.indent(textwrap.dedent(examples).strip(), "  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=name)
    return parser


def add_threads(command: argparse.ArgumentParser) -> None:
    """Add the option `--threads`."""
    command.add_argument(
        "--threads", type=count, metavar="N", help="number of threads (default: every core)"
    )


def amount(text: str) -> float:
    """A number with a unit: 30M, 5G or 2e6."""
    try:
        return from_human(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a number such as 30M, 5G or 2e6, got '{text}'"
        ) from None


def count(text: str) -> int:
    """A whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 up, got '{text}'")
    return int(text)


def counts(text: str) -> list[int]:
    """Whole numbers from 1 up, with commas between them."""
    return [count(part) for part in text.split(",")]


def from_zero(text: str) -> int:
    """A whole number from 0 up."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number from 0 up, got '{text}'")
    return int(text)


def json_file(text: str) -> str:
    """A file of JSON, for an option before which names without this suffix may stand."""
    if not text.endswith(".json"):
        raise argparse.ArgumentTypeError(
            f"expected a file name that ends with .json, or nothing, got '{text}'; for the "
            "terminal or a pipe, write the option last"
        )
    return text


def positive(text: str) -> float:
    """A number above 0."""
    return _within(text, "a number above 0", lambda number: number > 0)


def from_zero_number(text: str) -> float:
    """A number of at least 0."""
    return _within(text, "a number of at least 0", lambda number: number >= 0)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _within(text, "a number from 0 to 1", lambda number: 0 <= number <= 1)


def below_one(text: str) -> float:
    """A number of at least 0 and below 1."""
    return _within(text, "a number of at least 0 and below 1", lambda number: 0 <= number < 1)


def strictly_between(text: str) -> float:
    """A number above 0 and below 1."""
    return _within(text, "a number between 0 and 1", lambda number: 0 < number < 1)


def _within(text: str, expected: str, fits: Callable[[float], bool]) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and fits(number)):
        raise argparse.ArgumentTypeError(f"expected {expected}, got '{text}'")
    return number


def years(text: str) -> tuple[int, int]:
    """The first and the last year of `2012-2020`, or of one year."""
    first, _, last = text.partition("-")
    return count(first), count(last or first)


def from_human(text: str) -> float:
    """The number that `25.6M` means, also `5e9` or `30_000_000`.

    Raises:
        ValueError: It is no number, negative or infinite.
    """
    units = {"K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12}
    unit = units.get(text[-1:].upper(), 1.0)
    number = float(text[:-1] if unit > 1 else text) * unit
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number
