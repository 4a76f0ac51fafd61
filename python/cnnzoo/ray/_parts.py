"""The Parquet files of an output: each is written whole or not at all, and names its rows."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import fs, parquet

from cnnzoo.errors import DataError

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float64()),
        ("labels", pa.list_(pa.string())),
        ("probabilities", pa.list_(pa.float64())),
        ("error", pa.string()),
    ]
)
# The names of files. Until they are whole, they begin as what Ray, Spark and pyarrow skip.
BEGINNING, ENDING, UNFINISHED = "part-", ".parquet", "_unfinished-"


def absolute(address: str) -> str:
    """A path that workers find, whose working directory is another, or an address as it is."""
    return address if "://" in address else os.path.abspath(address)


@dataclass(frozen=True)
class Output:
    """A folder of Parquet files, local or of any file system that pyarrow knows.

    Attributes:
        address: A path or an address such as `s3://bucket/folder`.
    """

    address: str

    def _opened(self) -> tuple[Any, str]:
        address = self.address
        if "://" not in address:
            return fs.LocalFileSystem(), address
        system, path = fs.FileSystem.from_uri(address)
        return system, str(path)

    def make(self) -> None:
        """Make the folder, if there is none.

        Raises:
            DataError: It cannot be made.
        """
        try:
            system, folder = self._opened()
            system.create_dir(folder, recursive=True)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"`output`, {self.address}: {error}") from error

    def files(self) -> list[str]:
        """The files that are whole."""
        system, folder = self._opened()
        found = system.get_file_info(fs.FileSelector(folder, allow_not_found=True))
        return sorted(
            info.path
            for info in found
            if info.is_file
            and info.base_name.startswith(BEGINNING)
            and info.base_name.endswith(ENDING)
        )

    def paths(self) -> Iterator[str]:
        """The paths of the photographs that are done.

        Raises:
            DataError: A file is none of ours.
        """
        system, _ = self._opened()
        for file in self.files():
            try:
                table = parquet.read_table(file, columns=["path"], filesystem=system)
            except (OSError, pa.ArrowException) as error:
                raise DataError(
                    f"{file}: expected predictions of an earlier call, got: {error}; remove it, "
                    "name another `output`, or give resume=False"
                ) from error
            yield from table["path"].to_pylist()

    def write(self, rows: list[dict[str, Any]], names: list[str]) -> str:
        """Write rows as a file whose name is a hash of what they are of, in place of the same.

        So a batch that is predicted again, as its worker died, is there once.
        """
        system, folder = self._opened()
        name = hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:24]
        path, new = (
            posixpath.join(folder, f"{beginning}{name}{ENDING}")
            for beginning in (BEGINNING, UNFINISHED)
        )
        parquet.write_table(pa.Table.from_pylist(rows, SCHEMA), new, filesystem=system)
        system.move(new, path)
        return path
