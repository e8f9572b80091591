"""The grid of a comparison: what its rows and columns are called and which picture stands where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from db.sheets.submissions import Submission


@dataclass(frozen=True)
class Grid:
    """A setting with its values for the rows, and one for the columns; a comparison of one setting has one column."""

    row_setting: str
    rows: Sequence[str]
    column_setting: str = ""
    columns: Sequence[str] = ("",)

    def values_of(self, cell: int) -> tuple[str, str]:
        """What the picture in this place, counted row by row from 0, is drawn with: the row's value, the column's."""
        row, column = divmod(cell, len(self.columns))
        return self.rows[row], self.columns[column]

    @property
    def cells(self) -> int:
        """How many places it has."""
        return len(self.rows) * len(self.columns)


def grid_of(found: Submission) -> Grid | None:
    """The grid that a sheet is; None where it is none."""
    rows, columns = found.layout.get("rows"), found.layout.get("columns")
    if found.kind != "compare" or rows is None:
        return None
    if columns is None:
        return Grid(rows["name"], rows["values"])
    return Grid(rows["name"], rows["values"], columns["name"], columns["values"])
