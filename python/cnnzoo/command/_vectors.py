"""Files of vectors: a journal that survives interruptions, and the .npy or .parquet made of it."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from cnnzoo import _json
from cnnzoo.errors import ArgumentError, DataError, MissingPackageError, PhotoFileError

# Rows that are copied at once.
CHUNK = 4096
COLUMNS = ("row", "path", "error")


class Row(NamedTuple):
    """A photograph's vector, or the error in its place."""

    path: str
    vector: NDArray[np.float32] | None
    error: str | None


class Journal:
    """The rows so far: their vectors in one file, and their paths and errors in another.

    The first line of the latter says what they are vectors of. A row counts once both are written.

    Args:
        output: The file that will be made of it.
        identity: The things that the vectors depend on, as text.
        width: Length of a vector.

    Raises:
        DataError: A journal is there, of other vectors.
        PhotoFileError: It cannot be read or written.
    """

    def __init__(self, output: Path, identity: str, width: int) -> None:
        self.output, self.width = output, width
        self._vectors = output.with_name(f"{output.name}.part")
        self._lines = output.with_name(f"{output.name}.part.jsonl")
        self._out: tuple[BinaryIO, TextIO] | None = None
        self._identity = identity
        try:
            self.done = self._recover()
        except OSError as error:
            raise self._failed(error) from error

    def _recover(self) -> int:
        """The number of whole rows; what follows them is cut off."""
        if not self._lines.exists() or not self._vectors.exists():
            self._lines.write_text(self._identity + "\n", encoding="utf-8")
            self._vectors.write_bytes(b"")
            return 0
        whole = len(self._identity.encode()) + 1
        rows = 0
        held = self._vectors.stat().st_size // (4 * self.width)
        with self._lines.open("rb") as lines:
            if lines.readline() != self._identity.encode() + b"\n":
                raise DataError(
                    f"{self._lines}: expected the rows of an interrupted run with the same "
                    "photographs, model and options, got others; remove it and "
                    f"{self._vectors.name} to begin anew"
                )
            for line in lines:
                if rows == held or not line.endswith(b"\n"):
                    break
                rows, whole = rows + 1, whole + len(line)
        os.truncate(self._lines, whole)
        os.truncate(self._vectors, rows * 4 * self.width)
        return rows

    @staticmethod
    def is_there(output: Path) -> bool:
        """Whether an interrupted run left rows for a file."""
        return output.with_name(f"{output.name}.part.jsonl").exists()

    def __enter__(self) -> Journal:
        try:
            self._out = self._vectors.open("ab"), self._lines.open("a", encoding="utf-8")
        except OSError as error:
            raise self._failed(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._out or ():
            file.close()
        self._out = None

    def add(self, rows: Sequence[Row]) -> None:
        """Write more rows.

        Raises:
            PhotoFileError: The disk is full, or another error of it.
        """
        if not rows or self._out is None:
            return
        vectors, lines = self._out
        empty = np.full(self.width, np.nan, np.float32)
        block = np.stack([empty if row.vector is None else row.vector for row in rows])
        try:
            vectors.write(block.astype("<f4").tobytes())
            vectors.flush()
            lines.write("".join(_json.line([row.path, row.error]) + "\n" for row in rows))
            lines.flush()
        except OSError as error:
            raise self._failed(error) from error
        self.done += len(rows)

    def chunks(self, *, keep: bool) -> Iterator[tuple[list[tuple[str, str | None]], Any]]:
        """Parts of the rows: paths with errors, and vectors; without errors unless kept."""
        with self._lines.open(encoding="utf-8") as lines, self._vectors.open("rb") as vectors:
            lines.readline()
            while texts := list(islice(lines, CHUNK)):
                rows = [tuple(json.loads(text)) for text in texts]
                block = np.fromfile(vectors, "<f4", len(rows) * self.width)
                block = block.reshape(-1, self.width)
                chosen = [at for at, (_, error) in enumerate(rows) if keep or error is None]
                yield [rows[at] for at in chosen], block[chosen]

    def counts(self) -> tuple[int, int]:
        """The number of rows, and of those with an error."""
        rows = errors = 0
        for some, _ in self.chunks(keep=True):
            rows += len(some)
            errors += sum(error is not None for _, error in some)
        return rows, errors

    def remove(self) -> None:
        """Remove the journal, once the file is made of it."""
        for path in (self._vectors, self._lines):
            path.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> PhotoFileError:
        return PhotoFileError(f"{self._vectors}: {error.strerror or error}")


Writer = Callable[..., tuple[int, int]]


def writer_of(output: Path) -> Writer:
    """The function that makes the file of a name's ending.

    Raises:
        ArgumentError: It has another ending.
        MissingPackageError: pyarrow is not installed.
    """
    ending = output.suffix.lower()
    if ending not in {".npy", ".parquet"}:
        raise ArgumentError(f"{output}: expected a name that ends in .npy or .parquet")
    if not output.parent.is_dir():
        raise ArgumentError(f"{output}: expected a file in a folder that exists")
    if ending == ".npy":
        return _write_npy
    try:
        import pyarrow.parquet  # noqa: F401  # it is installed
    except ImportError as error:
        raise MissingPackageError(
            "writing .parquet files needs pyarrow: pip install 'cnnzoo[parquet]'"
        ) from error
    return _write_parquet


def _write_npy(journal: Journal, *, keep: bool) -> tuple[int, int]:
    """Write the array and a table of its rows; return their number and that of errors."""
    total, errors = journal.counts()
    rows = total if keep else total - errors
    output = journal.output
    beside = output.with_name(f".{output.name}.tmp")
    table = table_of(output)
    beside_table = table.with_name(f".{table.name}.tmp")
    try:
        with (
            beside.open("wb") as file,
            beside_table.open("w", newline="", encoding="utf-8", errors="surrogateescape") as text,
        ):
            head = {"descr": "<f4", "fortran_order": False, "shape": (rows, journal.width)}
            np.lib.format.write_array_header_1_0(file, head)
            lines = csv.writer(text)
            lines.writerow(COLUMNS)
            row = 0
            for some, block in journal.chunks(keep=keep):
                file.write(block.tobytes())
                for path, error in some:
                    lines.writerow((row, path, error or ""))
                    row += 1
        beside_table.replace(table)
        beside.replace(output)
    except OSError as error:
        raise PhotoFileError(f"{output}: {error.strerror or error}") from error
    return rows, errors


def table_of(output: Path) -> Path:
    """The table of rows beside an .npy file."""
    return output.with_suffix(".csv")


def _write_parquet(journal: Journal, *, keep: bool) -> tuple[int, int]:
    """Write the table; return the number of its rows and that of errors."""
    import pyarrow as pa
    from pyarrow import parquet

    total, errors = journal.counts()
    output, width = journal.output, journal.width
    beside = output.with_name(f".{output.name}.tmp")
    vector = pa.list_(pa.float32(), width)
    schema = pa.schema([("path", pa.string()), ("vector", vector), ("error", pa.string())])
    try:
        with parquet.ParquetWriter(beside, schema) as writer:
            for some, block in journal.chunks(keep=keep):
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.ravel()), width)
                paths = pa.array([path for path, _ in some], pa.string())
                texts = pa.array([error for _, error in some], pa.string())
                writer.write_batch(pa.record_batch([paths, vectors, texts], schema=schema))
        beside.replace(output)
    except OSError as error:
        raise PhotoFileError(f"{output}: {error.strerror or error}") from error
    return total if keep else total - errors, errors
