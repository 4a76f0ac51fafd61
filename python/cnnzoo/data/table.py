"""Data sets from a table of paths and labels."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnzoo import _native
from cnnzoo._arguments import cut, shown
from cnnzoo._files import open_regular
from cnnzoo._package import NAME
from cnnzoo.data.dataset import Dataset, names_of
from cnnzoo.errors import DataError, MissingPackageError, PhotoFileError, PhotoNotFoundError

# The most classes without names, which is the engine's limit.
MOST_NUMBERED = 1 << 20


class Table(Dataset):
    """Pictures from a table of paths and labels: `.csv`, `.tsv` or `.parquet`, with a header.

    Labels are names of classes; if all are whole numbers, they are class indices from 0 on.

    Args:
        file: The table.
        path: The name of the column with the paths.
        label: The name of the column with the labels.
        root: The folder that paths are relative to; the table's own if not given.
        classes: The names of the classes in the order of their indices. If not given, those of the
            column, sorted; numbers stay as they are.

    Raises:
        FileNotFoundError: There is no such table.
        DataError: It has no such column or no rows, or a label is no class; the message says where.
        MissingPackageError: A Parquet file, and pyarrow is not installed.
    """

    def __init__(
        self,
        file: str | os.PathLike[str],
        *,
        path: str = "path",
        label: str = "label",
        root: str | os.PathLike[str] | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        table = Path(file).expanduser()
        read = _parquet if table.suffix.lower() == ".parquet" else _csv
        try:
            columns = read(table, [path, label])
        except FileNotFoundError as error:
            raise PhotoNotFoundError(f"{table}: No such file or directory") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{table}: expected UTF-8, got {error.reason}") from error
        except OSError as error:
            raise PhotoFileError(f"{table}: {error.strerror or error}") from error
        paths, found = ([str(value) for value in column] for column in columns)
        if not paths:
            raise DataError(f"{table}: expected at least one row, got none")
        numbers, names = _numbered(table, found, classes)
        folder = table.parent if root is None else Path(root).expanduser()
        given = (folder, paths, np.array(numbers, np.int64), names)
        engine = _native.Dataset.files(*given)
        super().__init__(
            engine,
            f"{len(engine)} pictures of {table}",
            made=("files", *given),
            named=names is not None,
        )


def _csv(table: Path, names: list[str]) -> list[list[Any]]:
    import csv

    delimiter = "\t" if table.suffix.lower() == ".tsv" else ","
    with io.TextIOWrapper(open_regular(table), newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, delimiter=delimiter, strict=True)
        columns: list[list[Any]] = [[] for _ in names]
        try:
            _check(table, names, rows.fieldnames or ())
            for row in rows:
                if None in row:
                    raise DataError(
                        f"{table}, line {rows.line_num}: expected {len(rows.fieldnames or ())} "
                        f"columns, got {len(row) - 1 + len(row[None])}"
                    )
                for name, column in zip(names, columns, strict=True):
                    if not row[name]:
                        raise DataError(
                            f"{table}, line {rows.line_num}: expected a {name}, got nothing"
                        )
                    column.append(row[name])
        except csv.Error as error:
            raise DataError(f"{table}, line {rows.line_num}: {error}") from error
    return columns


def _parquet(table: Path, names: list[str]) -> list[list[Any]]:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingPackageError(
            f"{table}: reading Parquet needs pyarrow, which is not installed; "
            f"install it with: pip install '{NAME}[parquet]'"
        ) from error
    try:
        with open_regular(table) as file:
            # In this thread alone: pyarrow ends the process if it cannot start another thread.
            whole = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
            _check(table, names, whole.schema_arrow.names)
            read = whole.read(columns=names, use_threads=False)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as error:
        raise DataError(f"{table}: expected a Parquet file, got: {error}") from error
    path, label = (read.column(name).to_pylist() for name in names)
    return [
        _values(table, names[0], path, str, expected="as text"),
        _values(table, names[1], label, str, int, bool, expected="as text or a whole number"),
    ]


def _values(table: Path, name: str, column: list[Any], *kinds: type, expected: str) -> list[Any]:
    """Check that every value of a column has one of the types, and return the column."""
    for row, value in enumerate(column):
        if type(value) not in kinds or value == "":
            got = shown(value) if value not in (None, "") else "nothing"
            raise DataError(f"{table}, row {row}: expected a {name}, {expected}, got {got}")
    return column


def _check(table: Path, names: list[str], columns: Sequence[str]) -> None:
    for name in names:
        if list(columns).count(name) != 1:
            raise DataError(
                f"{table}: expected a column `{name}`, got {cut(', '.join(columns)) or 'nothing'}"
            )


def _distinct(table: Path, labels: list[str]) -> list[str]:
    """The distinct labels, sorted: the names of the classes."""
    names = sorted(set(labels))
    bare: dict[str, str] = {}
    for name in names:
        other = bare.setdefault(name.strip(), name)
        if other != name:
            raise DataError(
                f"{table}: expected labels that differ in more than spaces, got {shown(other)} and "
                f"{shown(name)}"
            )
    return names


def _numbered(
    table: Path, labels: list[str], classes: Sequence[str] | None
) -> tuple[list[int], list[str] | None]:
    """The class index of each label, and the names of the classes if they have any."""
    whole = all(label.removeprefix("-").isdecimal() for label in labels)
    names = names_of("table", classes)
    if names is None and not whole:
        names = _distinct(table, labels)
    number = {name: index for index, name in enumerate(names or ())}
    if whole and not number.keys() >= set(labels):
        most = MOST_NUMBERED if names is None else len(names)
        numbers = [_number(label) for label in labels]
        for row, (label, found) in enumerate(zip(labels, numbers, strict=True)):
            if not 0 <= found < most:
                raise DataError(
                    f"{table}, row {row}: expected a label of 0 to {most - 1}, got {cut(label)}"
                )
        return numbers, names
    twice = Counter(names or ())
    for row, label in enumerate(labels):
        if twice[label] > 1:
            raise DataError(
                f"{table}, row {row}: expected a label of one class, got {cut(label)}, "
                f"which {twice[label]} have"
            )
        if label not in number:
            raise DataError(
                f"{table}, row {row}: expected a label of {cut(', '.join(number))}, "
                f"got {cut(label)}"
            )
    return [number[label] for label in labels], names


def _number(label: str) -> int:
    """The number that a label's digits say; -1, an invalid label, if they are too many."""
    try:
        return int(label)
    except ValueError:
        return -1
