"""A sheet as CSV, a line a picture: what it was drawn with, its score and time, and where it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from db.jobs import State
from db.sheets.submissions import Member
from studio.grid import Grid
from studio.standing import cost

COLUMNS = (
    *("label", "row_setting", "row_value", "column_setting", "column_value"),
    *("engine", "seed", "score", "seconds", "state", "job_id", "address"),
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_table(members: Sequence[Member], grid: Grid | None, address: Callable[[str], str]) -> bytes:
    """The pictures in their order. address: of a job's page or record, by its id; seconds: as `standing.cost`."""
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(COLUMNS)
    for member in members:
        job, done = member.job, member.job.state == State.SUCCEEDED
        row, column = grid.values_of(member.cell) if grid and member.cell is not None else ("", "")
        told = [grid.row_setting, row, grid.column_setting, column] if grid else [""] * 4
        figures = [job.score if done else None, round(cost(job), 3) if done else None]
        line = [member.label, *told, job.engine, job.params.get("seed"), *figures, job.state.value, job.id]
        table.writerow([_inert(one) for one in (*line, address(job.id))])
    return out.getvalue().encode("utf-8-sig")  # with its mark, or a spreadsheet takes it for another alphabet


def _inert(value: object) -> object:
    """A text as a spreadsheet shows it, none that it computes; numbers stay numbers."""
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
