"""Results that are rows: by place and by name, and as columns for pandas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar, TypeVar, overload

from cnnzoo._arguments import one_of_names
from cnnzoo.errors import MissingPackageError

Row = TypeVar("Row")


class Columns:
    """A result with `to_dict` and `to_pandas`."""

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns by their names, as `pandas.DataFrame` takes them."""
        raise NotImplementedError

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` of the columns of `to_dict`.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingPackageError("a DataFrame needs pandas: pip install pandas") from error
        return pandas.DataFrame(self.to_dict())


class Rows(Columns, Sequence[Row]):
    """A result whose rows are data classes.

    A class names the attribute with the rows, the attribute of a row by which it is found, and the
    properties that are columns beside the rows' fields. Columns need a row to be known.
    """

    _rows_are: ClassVar[str] = "rows"
    _found_by: ClassVar[str | None] = None
    _further_columns: ClassVar[tuple[str, ...]] = ()

    @overload
    def __getitem__(self, index: int | str) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...
    def __getitem__(self, index: int | str | slice) -> Row | tuple[Row, ...]:
        """A row by its place or, where rows have names, by its name; or some rows."""
        rows: tuple[Row, ...] = getattr(self, self._rows_are)
        if not isinstance(index, str):
            return rows[index]
        for row in rows:
            if self._found_by is not None and getattr(row, self._found_by) == index:
                return row
        raise KeyError(self._missing(index))

    def __len__(self) -> int:
        return len(getattr(self, self._rows_are))

    def __iter__(self) -> Iterator[Row]:
        return iter(getattr(self, self._rows_are))

    def to_dict(self) -> dict[str, list[Any]]:
        """The columns by their names, as `pandas.DataFrame` takes them; a value for each row."""
        values = [self._values(row) for row in self]
        # A row may lack a column that others have.
        names = dict.fromkeys(name for of in values for name in of)
        return {name: [of.get(name) for of in values] for name in names}

    def _values(self, row: Any) -> dict[str, Any]:
        """The values of a row by column."""
        names = (*(field.name for field in fields(row)), *self._further_columns)
        return {name: getattr(row, name) for name in names}

    def _missing(self, index: str) -> str:
        if self._found_by is None:
            return f"expected the number of a row, got {index!r}"
        names = [getattr(row, self._found_by) for row in self]
        return f"expected {one_of_names(index, names, self._rows_are)}, got {index!r}"
